"""What tests of more than one file need here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from fallback_mx.smtp.sink import Sink
from mxqueue import Queue
from tests.fakes.played import Play, Story, playing
from tests.fakes.tables import lay


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    """Runs a story of a listener in proxy mode, on the loop that the service runs on or on another."""
    queue = Queue.open(lay(tmp_path / "queue.db"), node="mx2", exclusive=True)

    def run(
        story: Story,
        sink: Sink | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
        **options: Any,
    ) -> None:
        async def main() -> None:
            async with asyncio.timeout(60), playing(queue, tmp_path, sink, **options) as scene:
                await story(scene)

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())

    yield run
    queue.close()
