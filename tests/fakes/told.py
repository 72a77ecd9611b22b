"""What a service would tell its pages: a night in which one primary is down, one gets its mail, and one is up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from fallback_mx.outages.spans import Span
from fallback_mx.published.past import past_of
from fallback_mx.published.samples import SLOT, Sample, slot_of
from fallback_mx.published.telling import Whole
from fallback_mx.published.terms import Listed, Terms, digest
from fallback_mx.rules.draining import DrainStatus, Phase
from fallback_mx.rules.health import Observation, State
from fallback_mx.settlement.business_days import business_days
from fallback_mx.settlement.gathering import Record
from fallback_mx.settlement.month import Contract
from fallback_mx.sla.claims import Customer
from fallback_mx.sla.intervals import difference, intersection, union
from fallback_mx.sla.settling import History
from fallback_mx.sla.windows import Window
from fallback_mx.status import Primary, Queued, Status
from tests.fakes.settled import EVER, KERIO, between

NOW = datetime(2026, 11, 24, 3, 26, tzinfo=UTC)
TOKEN = "0123456789abcdef0123456789abcdef"


class Told:
    """A publisher whose every answer can be replaced, by an error too. `asked` counts."""

    node = "mx2.example.org"
    version = "9.9.9"

    def __init__(self, terms: Terms, whole: Whole | Exception) -> None:
        self.terms = terms
        self.answer = whole
        self.asked = 0

    async def whole(self) -> Whole:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def listed(name: str, customer: str = "", *, title: str = "", region: str = "") -> Listed:
    who = Customer(customer, "", frozenset(), ZoneInfo("UTC"))
    return Listed(name, title or name, customer, Contract(name, KERIO, region, who, business_days("")))


def record(
    name: str,
    outages: Iterable[str] = (),
    unwatched: Iterable[str] = (),
    windows: Sequence[Window] = (),
    cause: tuple[str, str] = ("connect", "connection refused"),
) -> Record:
    """A record of a primary that was watched but for the times that are named."""
    spans = tuple(_span(f"{name}-{number}", name, times, cause) for number, times in enumerate(outages))
    known = difference([EVER], (between(times) for times in unwatched))
    down = union(span.interval for span in spans)
    return Record(name, History(down, intersection(down, known), known, tuple(windows)), spans)


def _span(key: str, name: str, times: str, cause: tuple[str, str]) -> Span:
    interval = between(times)
    end = None if times.endswith("> now") else interval.end
    return Span(key, name, "mx2", interval.start, *cause, interval.start + timedelta(seconds=20), None, end, "250 hi")


def window(times: str, why: str) -> Window:
    interval = between(times)
    return Window(interval, "scheduled", interval.start - timedelta(days=5), why, "root")


def drain(phase: Phase, rate: float = 0.0) -> DrainStatus:
    return DrainStatus(phase, "450 4.7.1 <carol@example.org> busy", True, 3, 3, 5, 3, 188, 190, rate, "", 0.0)


def whole(primaries: Sequence[tuple[Listed, Primary, Record]], samples: Mapping[str, object] | None = None) -> Whole:
    return Whole(
        Status(NOW, tuple(primary for _, primary, _ in primaries), (), {}),
        {one.name: past_of(one, of_one, NOW) for one, _, of_one in primaries},
        samples or {},  # type: ignore[arg-type]
    )


def samples(*depths: int, until: datetime = NOW) -> dict[datetime, Sample]:
    """One for each five minutes, the last of which is now; a negative depth is none at all."""
    last = slot_of(until)
    found = {}
    waited = 0
    for back, messages in zip(range(len(depths) - 1, -1, -1), depths, strict=True):
        waited = waited + 300 if messages > 0 else 0
        if messages >= 0:
            found[last - SLOT * back] = Sample(messages, waited)
    return found


def night() -> Told:
    """The page that is looked at in the pictures."""
    one, two, three = (
        listed("connect-1", "Example", region="cloud/EU"),
        listed("connect-2", "Example"),
        listed("archive", "Other"),
    )
    down = Primary(
        *("connect-1", State.DOWN, NOW - timedelta(minutes=14), "198.51.100.7:25: Connection refused"),
        observation=Observation(False, NOW, "connect", "198.51.100.7:25: Connection refused"),
        queued=Queued(212, 0, 230, NOW - timedelta(minutes=13)),
        drain=drain(Phase.WAITING),
    )
    draining = Primary(
        *("connect-2", State.UP, NOW - timedelta(minutes=3), ""),
        queued=Queued(148, 2, 170, NOW - timedelta(hours=2, minutes=35)),
        drain=drain(Phase.AT_CAP, 1.25),
    )
    up = Primary("archive", State.UP, NOW - timedelta(days=41), "")
    cut_off = ["2026-11-09 20:00 > 23:00"]
    disks = [window("2026-11-26 22:00 > 23:00", "new disks")]
    version = [window("2026-11-12 01:00 > 02:00", "a new version")]
    ramp = [0] * 150 + [-1] * 10 + [0] * 70
    told = whole(
        [
            (one, down, record(one.name, ["2026-10-02 10:00 > 16:30", "2026-11-24 03:12 > now"], cut_off)),
            (two, draining, record(two.name, ["2026-11-24 00:55 > 03:23", "2026-09-14 08:00 > 08:06"], (), disks)),
            (three, up, record(three.name, (), ["2026-01-01 00:00 > 2026-10-01 12:00"], version)),
        ],
        {
            "connect-1": samples(*ramp, *([0] * 57), 80, 212),
            "connect-2": samples(*ramp, *([0] * 28), *(12 * step for step in range(1, 30)), 260, 148),
            "archive": samples(*ramp, *([0] * 59)),
        },
    )
    return Told(Terms(True, False, (one, two, three), {digest(TOKEN): "Example"}), told)


def quiet(number: int) -> Told:
    """So many primaries, all of them up, and nothing that waits."""
    many = [listed(f"connect-{count}") for count in range(1, number + 1)]
    since = NOW - timedelta(days=100)
    told = whole([(one, Primary(one.name, State.UP, since), record(one.name)) for one in many])
    return Told(Terms(True, False, tuple(many)), told)


def named(told: Told, name: str, cause: str = "") -> Told:
    """The same with one more primary, of that name, that failed with those words."""
    one = listed(name, "Example")
    seen = Observation(False, NOW, "ehlo", cause)
    bad = Primary(name, State.DOWN, NOW - timedelta(minutes=1), cause or "refused", seen)
    assert isinstance(told.answer, Whole)
    alone = whole([(one, bad, record(name, ["2026-11-24 03:25 > now"], cause=("ehlo", cause)))])
    status = replace(told.answer.status, primaries=(*told.answer.status.primaries, *alone.status.primaries))
    both = replace(told.answer, status=status, past={**told.answer.past, **alone.past})
    return Told(replace(told.terms, primaries=(*told.terms.primaries, one)), both)
