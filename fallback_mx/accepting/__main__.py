"""`python -m fallback_mx.accepting CONTROL CROWD SLOTS SLOT PORT…`: descriptors of the service, and this process's
place in the crowd. Not to be started by hand."""

import sys

from fallback_mx.accepting.process import run
from fallback_mx.smtp.crowd import Crowd

control, crowd, slots, slot, *ports = (int(argument) for argument in sys.argv[1:])
raise SystemExit(run(control, Crowd(slots=slots, slot=slot, descriptor=crowd), ports))
