"""When a drain may say that its primary is taking mail: a connection stands, and something was served lately."""

from __future__ import annotations

from fallback_mx.redelivery.pace import Pace
from fallback_mx.redelivery.terms import DrainSettings


def test_a_primary_takes_mail_while_a_connection_stands_and_something_was_served_lately() -> None:
    now = 1000.0
    pace = Pace(DrainSettings(), lambda: 0.5, lambda: now)
    pace.connections = 1
    assert not pace.has_served(60), "nothing was served yet"
    pace.on_served(False)
    assert not pace.has_served(60), "what was refused was not served"
    pace.on_served(True)
    now += 60
    assert pace.has_served(60)
    now += 1
    assert not pace.has_served(60), "that was too long ago"
    pace.on_served(True)
    pace.connections = 0
    assert not pace.has_served(60), "no connection stands"
