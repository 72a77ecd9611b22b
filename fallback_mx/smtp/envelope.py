"""What is said of one parcel before its content, and the replies that came to it, in that order."""

from __future__ import annotations

from fallback_mx.rules.disposition import Reply, Result
from fallback_mx.smtp.parcel import Parcel
from fallback_mx.smtp.pipeline import Exchange
from fallback_mx.smtp.steps import Step


class Envelope:
    """MAIL, RCPT and, where the content goes by it, DATA; before MAIL whatever else belongs there.

    `lead` is how many commands come before MAIL.
    """

    __slots__ = ("exchange", "lead", "parcel")

    def __init__(self, parcel: Parcel, exchange: Exchange) -> None:
        self.parcel = parcel
        self.exchange = exchange
        steps = exchange.steps
        self.lead = steps.index(Step.MAIL) if Step.MAIL in steps else len(steps)

    @property
    def replies(self) -> list[Reply]:
        """From the one to MAIL on."""
        return self.exchange.replies[self.lead :]

    @property
    def mail(self) -> Reply:
        return self.exchange.replies[self.lead]

    @property
    def rcpts(self) -> list[Reply]:
        first = self.lead + 1
        return self.exchange.replies[first : first + len(self.parcel.message.recipients)]

    @property
    def data(self) -> Reply | None:
        """None where DATA was not sent, since nobody was accepted or the content goes in chunks."""
        return self.exchange.replies[-1] if self.exchange.steps[-1] is Step.DATA else None

    @property
    def is_accepted(self) -> bool:
        return self.mail.is_success and any(reply.is_success for reply in self.rcpts)

    @property
    def is_forwarded(self) -> bool:
        """Whether XFORWARD was not refused, if it was said."""
        if self.lead == 0:
            return True
        asked = zip(self.exchange.steps, self.exchange.replies, strict=False)
        return all(reply.is_success for step, reply in asked if step is Step.XFORWARD)

    def results(self, outcome: Result) -> tuple[Result, ...]:
        """Each recipient's own refusal, or else what became of the message."""
        if not self.mail.is_success:
            return (self.mail,) * len(self.parcel.message.recipients)
        return tuple(outcome if reply.is_success else reply for reply in self.rcpts)
