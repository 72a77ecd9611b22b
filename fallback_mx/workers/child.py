"""One process that works for this service: started by it, joined to it by a channel, ended by it.

If the service goes its children see their channel end, and go too: no signal is needed for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from fallback_mx.workers.channel import Channel


class Child:
    """Made by `start`. `on_end` of the channel may come before the process has ended, and the other way round."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.channel = channel
        self._process = process

    @classmethod
    async def start(
        cls,
        module: str,
        on_frame: Callable[[Any, int | None], None],
        on_end: Callable[[], None],
        arguments: Sequence[int] = (),
        descriptors: Sequence[int] = (),
    ) -> Child:
        """`python -m module CONTROL ARGUMENT…`, with these descriptors besides. Raises OSError."""
        ours, theirs = socket.socketpair()
        channel = Channel(ours, on_frame, on_end)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", module, str(theirs.fileno()), *map(str, arguments)),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *descriptors],
            )
        except BaseException:
            channel.close()
            raise
        finally:
            theirs.close()
        return cls(process, channel)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Until it has ended; its status."""
        return await self._process.wait()

    async def end(self, seconds: float) -> None:
        """Wait so long for it to end, as it was told to, then kill it."""
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
