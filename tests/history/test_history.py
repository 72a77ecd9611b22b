"""Senders, primary and service under kills, cuts and stalls of either side: what they wrote down keeps every promise.

`FALLBACK_MX_HISTORY_SECONDS=180` plays each story for three minutes, `FALLBACK_MX_HISTORY_SEED` plays the one that
failed.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.history.check import violations
from tests.history.story import Story

SECONDS = float(os.environ.get("FALLBACK_MX_HISTORY_SECONDS", "4"))
SEED = int(os.environ.get("FALLBACK_MX_HISTORY_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)


@pytest.mark.parametrize(("when_up", "connections"), [("accept", 1), ("accept", 5), ("proxy", 5)])
def test_every_promise_is_kept_whatever_befalls_senders_service_and_primary(when_up: str, connections: int) -> None:
    story = Story(SEED, connections, when_up)
    try:
        history = story.play(SECONDS)
    except BaseException as error:
        error.add_note(f"FALLBACK_MX_HISTORY_SEED={SEED}, {story.misfortunes}")
        raise
    found = violations(history)
    said = "\n".join(str(each) for each in found[:20])
    assert not found, f"{len(found)} violations with FALLBACK_MX_HISTORY_SEED={SEED}, {story.misfortunes}:\n{said}"
    answered = sum(each.is_answered for each in history.tries)
    assert answered > 10, f"expected something to check, found {answered} messages"
    copies = len(history.copies)
    again = copies - len({(each.queue_id, each.forward_path) for each in history.copies})
    print(f"{answered} of {len(history.tries)} tries answered, {copies} copies, {again} second; {story.misfortunes}")
