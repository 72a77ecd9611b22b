"""`python -m fallback_mx.delivering CONTROL`: a descriptor of the service. Not to be started by hand."""

import sys

from fallback_mx.delivering.process import run

raise SystemExit(run(int(sys.argv[1])))
