"""`python -m fallback_mx.accepting CONTROL PORT…`: descriptors of the service. Not to be started by hand."""

import sys

from fallback_mx.accepting.process import run

raise SystemExit(run(int(sys.argv[1]), [int(argument) for argument in sys.argv[2:]]))
