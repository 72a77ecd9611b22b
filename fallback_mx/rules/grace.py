"""When a sender that ought to use the primary is taken all the same: it may be cut off from it while we are not.

To guard our door while the primary is up rests on the sender's reaching the primary. One that cannot reach it comes
back to us with the same message (RFC 5321, section 4.5.4.1: after half an hour or so, for days); a spammer's program,
which tries the last exchanger to get round the filters of the first, mostly does not. So what comes again after a while
is taken. After a day a try is forgotten and the next one is the first.

The null reverse-path is judged like any other. A bounce must be able to get through as every message must (section
4.5.5), and to be stricter with it would keep nobody out: who sends junk writes whatever reverse-path it likes. It says
less than others do, so that two different bounces from one network to one person look like one that came again; the
second may then be taken at its first try, and the primary, which gets it from us, still filters it.

Moments are seconds of one monotonic clock: a clock that is set makes nobody wait longer, nor shorter.
"""

from __future__ import annotations

from fallback_mx.rules.admission import Verdict

REMEMBERED_SECONDS = 24 * 3600.0


def came_back(first_try: float | None, now: float, after_seconds: float) -> bool:
    """Whether a try at `now` is the return of the one at `first_try`: not too soon, and within the day."""
    return first_try is not None and after_seconds <= now - first_try < REMEMBERED_SECONDS


def grace(first_try: float | None, now: float, grace_after_seconds: float) -> Verdict:
    """TAKE what came back, USE_PRIMARY what is here for the first time or too soon. `first_try` is None if unknown."""
    return Verdict.TAKE if came_back(first_try, now, grace_after_seconds) else Verdict.USE_PRIMARY
