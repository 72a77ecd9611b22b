"""The way into a queue that is a list: what is committed is there at once, and nothing is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from mxqueue import Envelope, Spool


class KeptCommits:
    """Implements the listener's `Commits`. `kept` has every message's content, in the order of their commits."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self._number = 0

    def new_id(self) -> str:
        self._number += 1
        return f"{self._number:026}"

    def accept(self, envelopes: Sequence[Envelope], spool: Spool, then: Callable[[Exception | None], None]) -> None:
        self.kept.append(b"".join(spool.chunks()))
        asyncio.get_running_loop().call_soon(then, None)
