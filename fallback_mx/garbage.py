"""What Python's collector of garbage is to do in a process that lives long."""

from __future__ import annotations

import gc

# Sessions come and go by the hundred: Python's own 700 would have it look for garbage several times for each.
THRESHOLDS = (20_000, 50, 50)


def settle() -> None:
    """To be called once everything stands: it stays until the end, and need not be walked over again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
