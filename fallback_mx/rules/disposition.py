"""What an attempt makes of a recipient: delivered, deferred, failed, held, returned, or suspect.

Unknown means temporary: whatever is not plainly a success or a refusal (a timeout, a lost connection, a reply that
makes no sense) is tried again. A refusal soon after the primary came back is *suspect*: half-restored servers refuse
everybody, so it is tried again too, until `recovery_guard` has passed. (RFC 5321, sections 4.2.1 and 4.5.4.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum


class Disposition(StrEnum):
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    SUSPECT = "suspect"  # refused for good, but by a server that has only just come back: kept and tried again
    HELD = "held"
    FAILED = "failed"
    RETURNED = "returned"  # refused for good, and the sender is to be told


class OnRefusal(StrEnum):
    """What becomes of mail that the primary refuses for good."""

    HOLD = "hold"
    BOUNCE = "bounce"
    DISCARD = "discard"


_REFUSED = {
    OnRefusal.HOLD: Disposition.HELD,
    OnRefusal.BOUNCE: Disposition.RETURNED,
    OnRefusal.DISCARD: Disposition.FAILED,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete SMTP reply. `text` is printable; the lines of a reply that had several are joined by a blank.

    `lines` has them one by one, for those who hand the reply on; it may be left empty where there is but one.
    """

    code: int
    text: str
    lines: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()

    @property
    def is_success(self) -> bool:
        return 200 <= self.code < 300

    @property
    def is_refusal(self) -> bool:
        """Refused for good, as far as the server knows."""
        return 500 <= self.code < 600


@dataclass(frozen=True, slots=True)
class Lost:
    """No reply came. `ambiguous`: the final dot was on its way, so the next hop may have the message."""

    detail: str
    ambiguous: bool = False

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True, slots=True)
class Unfit:
    """It was not offered to the next hop, because it could not get there undamaged."""

    reason: str

    def __str__(self) -> str:
        return self.reason


Result = Reply | Lost | Unfit


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one transaction gave: a result for each forward-path, in their order.

    `untouched`: the connection ended before anything was said about this message, and had carried others before, so
    that the failure is the connection's own. `seconds` is how long the next hop took over it.
    """

    results: tuple[Result, ...]
    untouched: bool = False
    seconds: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether the next hop took it for every recipient."""
        if self.untouched:
            return False
        for result in self.results:
            if not (isinstance(result, Reply) and 200 <= result.code < 300):
                return False
        return bool(self.results)


class NoConnection(Exception):
    """There is no connection to the next hop. `phase` is as far as it got: route, ours, connect, banner, ehlo,
    starttls, auth. "ours" is what our own machine lacks: descriptors, a source address, a password that can be read."""

    def __init__(self, phase: str, detail: str) -> None:
        super().__init__(f"{phase}: {detail}")
        self.phase = phase
        self.detail = detail

    @property
    def is_ours(self) -> bool:
        """Whether the next hop has no part in it: the way to it (DNS), or our own machine."""
        return self.phase in ("route", "ours")


class Loop(NoConnection):
    """The next hop is we ourselves: mail sent there would come back (RFC 5321, section 6.3)."""

    def __init__(self, detail: str) -> None:
        super().__init__("route", detail)


@dataclass(frozen=True, slots=True)
class RefusalPolicy:
    """How refusals are taken. `recovery_guard` is counted from the moment the primary came back."""

    on_refusal: OnRefusal = OnRefusal.HOLD
    recovery_guard: timedelta = timedelta(minutes=15)


def judge(result: Result, since_recovery: timedelta | None, policy: RefusalPolicy) -> Disposition:
    """The disposition of one recipient. `since_recovery` is None where no recovery is known of."""
    match result:
        case Unfit():
            return Disposition.HELD
        case Reply(is_success=True):
            return Disposition.DELIVERED
        case Reply(is_refusal=True):
            if since_recovery is not None and since_recovery < policy.recovery_guard:
                return Disposition.SUSPECT
            return _REFUSED[policy.on_refusal]
    return Disposition.DEFERRED


def was_served(delivery: Delivery, dispositions: Sequence[Disposition], slow_seconds: float) -> bool | None:
    """Whether the next hop did its work. False where it shows strain, None where this told nothing.

    Strain is a server that took nothing and asks to wait, refuses just after it came back, says nothing, or is slow.
    One full mailbox among recipients that were served is none, and neither is a refusal meant for good.
    """
    if delivery.untouched and not any(isinstance(result, Reply) for result in delivery.results):
        return None  # an idle connection that was closed, as is the server's right
    if delivery.seconds >= slow_seconds:
        return False
    if all(isinstance(result, Unfit) for result in delivery.results):
        return None
    return not all(each is Disposition.DEFERRED or each is Disposition.SUSPECT for each in dispositions)


def was_answered(delivery: Delivery, slow_seconds: float) -> bool:
    """Whether a next hop that did not serve a message spoke of its recipients, and at once: it does its work, and may
    take the next one. 421 and 452 speak of the server itself (RFC 5321, section 4.2.3)."""
    return delivery.seconds < slow_seconds and all(
        isinstance(result, Reply) and result.code not in (421, 452) for result in delivery.results
    )


def strain(delivery: Delivery, slow_seconds: float) -> str:
    """What a next hop that did not serve a message has said or done, for an operator to read."""
    if delivery.seconds >= slow_seconds:
        return f"a message took {delivery.seconds:.0f} s"
    return next((str(result) for result in delivery.results if not isinstance(result, Unfit)), "")
