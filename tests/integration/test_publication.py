"""What a service tells its pages, read from a real database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fallback_mx.cli.opening import migrations
from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.spans import Span, Watch
from fallback_mx.published.facts import Facts
from fallback_mx.published.publication import PAST_IS_GOOD_FOR, Publication
from fallback_mx.published.samples import SLOT, Sample, SampleBook, slot_of
from fallback_mx.published.telling import facts
from fallback_mx.published.terms import Terms
from fallback_mx.rules.draining import Phase
from fallback_mx.rules.health import State
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.windows import Window
from fallback_mx.status import Live
from mxqueue import Queue
from tests.fakes.tables import lay
from tests.fakes.told import NOW, drain, listed, window

GAP = timedelta(minutes=3)
STARTED = NOW - timedelta(minutes=14)


class Told:
    """A publication on a database of its own; `asked` has each period that maintenance was asked for."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.log = OutageLog(queue.writer.submit, queue.read, "mx2")
        self.samples = SampleBook(queue.writer.submit, queue.read)
        self.latest: dict[str, Sample] = {}
        self.windows: dict[str, Sequence[Window]] = {}
        self.asked: list[Interval] = []
        self.live: dict[str, Live] = {}
        self.publication = Publication(queue, self.log, lambda: self.latest, self._announced)
        self.publication.terms = Terms(primaries=(listed("main", "Example"), listed("other")))

    def _announced(self, primaries: Sequence[str], period: Interval) -> Mapping[str, Sequence[Window]]:
        assert list(primaries) == ["main", "other"]
        self.asked.append(period)
        return self.windows

    def facts(self, now: datetime = NOW, customer: str | None = None) -> Facts:
        gaps = {"main": GAP, "other": GAP}
        return facts(self.publication.read(self.live, gaps, now), self.publication.terms, customer)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    queue = Queue.open(lay(tmp_path / "queue.db", migrations()), node="mx2", exclusive=True, migrations=migrations())
    one = Told(queue)
    one.log.write(
        [Span("S1", "main", "mx2", STARTED, "connect", "refused", STARTED + timedelta(seconds=20))],
        [Watch(f"W-{name}", name, "mx2", NOW - timedelta(days=30), NOW) for name in ("main", "other")],
    ).result()
    yield one
    queue.close()


def test_states_days_and_outages_are_those_on_record(told: Told) -> None:
    found = told.facts()
    main, other = found.primaries
    assert (main.state, other.state) == (State.DOWN, State.UP)
    assert main.cause == "it refused the connection"
    assert main.days[-1].parts.down == timedelta(minutes=14)
    assert other.days[-1].parts.up == NOW - NOW.replace(hour=0, minute=0)
    assert main.days[0].parts.unknown == timedelta(days=1)
    assert [(one.primary, one.started_at, one.ended_at) for one in found.outages] == [("main", STARTED, None)]


def test_a_customer_is_told_of_that_customers_primaries_alone(told: Told) -> None:
    assert [one.title for one in told.facts(customer="Example").primaries] == ["main"]
    assert told.facts(customer="Nobody").primaries == ()
    assert told.facts(customer="Nobody").sentence == "There is nothing to show here."


def test_maintenance_is_asked_for_from_the_first_day_on_to_two_months_ahead(told: Told) -> None:
    told.windows = {
        "main": [window("2026-11-24 03:10 > 03:20", "new disks"), window("2026-12-01 22:00 > 23:00", "later")]
    }
    main = told.facts().primaries[0]
    assert told.asked == [Interval(datetime.fromisoformat("2026-08-27T00:00:00+00:00"), NOW + timedelta(days=60))]
    assert main.days[-1].parts.maintenance == timedelta(minutes=10)
    assert main.days[-1].parts.down == timedelta(minutes=6)
    assert [(one.why, one.is_on) for one in main.maintenance] == [("later", False)]


def test_the_record_is_read_again_when_a_state_changes_or_terms_do_and_otherwise_every_ten_seconds(told: Told) -> None:
    told.facts()
    told.facts(NOW + PAST_IS_GOOD_FOR / 2)
    assert len(told.asked) == 1
    told.facts(NOW + PAST_IS_GOOD_FOR)
    assert len(told.asked) == 2
    told.live = {"main": Live(State.UP, NOW, None, drain(Phase.IDLE))}
    told.facts(NOW + PAST_IS_GOOD_FOR * 1.5)
    assert len(told.asked) == 3
    told.publication.terms = replace(told.publication.terms, shows_hosts=True)
    assert told.facts(NOW + PAST_IS_GOOD_FOR * 1.5).outages[0].cause == "refused"
    assert len(told.asked) == 4


def test_a_clock_that_was_stepped_back_does_not_keep_an_old_record(told: Told) -> None:
    told.facts(NOW)
    told.facts(NOW - timedelta(hours=1))
    assert len(told.asked) == 2


def test_samples_of_the_record_and_the_last_look_stand_side_by_side(told: Told) -> None:
    now = slot_of(NOW)
    told.samples.write(now - SLOT, {"main": Sample(3, 60), "other": Sample(4, 30)}).result()
    told.samples.write(now, {"main": Sample(9, 90)}).result()
    told.latest = {"main": Sample(5, 120)}
    assert told.facts().samples[-3:] == ((now - 2 * SLOT, None), (now - SLOT, Sample(7, 60)), (now, Sample(9, 120)))
    assert len(told.facts().samples) == 289
