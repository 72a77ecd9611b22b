"""The composition root: builds every part from the configuration, starts them in order and stops them in order.

Nothing else builds parts. If one of them cannot be had (a port, the database) nothing is left half-started: what had
been opened is closed again, and the error says which it was and what to do.
"""

from fallback_mx.service.house import run

__all__ = ["run"]
