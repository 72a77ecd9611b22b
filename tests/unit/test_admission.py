"""Who is sent where, by the primary's state and by what its owner wants."""

from __future__ import annotations

import pytest

from fallback_mx.rules.admission import Verdict, WhenUp, admit
from fallback_mx.rules.health import State


@pytest.mark.parametrize(
    ("when_up", "verdict"),
    [
        (WhenUp.GUARD, Verdict.USE_PRIMARY),
        (WhenUp.PROXY, Verdict.PLAY_THROUGH),
        (WhenUp.ACCEPT, Verdict.TAKE),
    ],
)
def test_a_primary_that_is_up_has_what_its_owner_wants(when_up: WhenUp, verdict: Verdict) -> None:
    assert admit(when_up, State.UP) is verdict


@pytest.mark.parametrize("state", [state for state in State if state is not State.UP])
@pytest.mark.parametrize("when_up", WhenUp)
def test_in_every_other_state_mail_is_taken(when_up: WhenUp, state: State) -> None:
    assert admit(when_up, state) is Verdict.TAKE
