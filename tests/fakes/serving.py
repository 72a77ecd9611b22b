"""A victim for the supervisor: the real service, imported beforehand so that each life begins at once."""

from __future__ import annotations

import os
import sys

import fallback_mx.service  # noqa: F401  # what `serve` would import in every life
from fallback_mx.cli import main


def serve(config_file: str, log_file: str) -> None:
    """`fallback-mx serve --config FILE`, its output in the log."""
    log = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["fallback-mx", "serve", "--config", config_file]
    main()
