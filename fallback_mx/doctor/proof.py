"""What a drill has shown, as text for a file that can be kept: what was done, what became of the mail, did it pass?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fallback_mx.spoken import counted, duration


@dataclass(frozen=True, slots=True)
class Letter:
    """The test message: `trouble` is why it was not taken, "" where it was. `delivered_at` None: it was not."""

    queue_id: str = ""
    trouble: str = ""
    accepted_at: datetime | None = None
    delivered_at: datetime | None = None
    reply: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """`recipients` counts those of all mail that was taken from `began` to `ended`, by their state. `is_cut_short`
    where the drill was stopped before its time."""

    primary: str
    node: str
    actor: str
    began: datetime
    ended: datetime
    looked_at: datetime
    letter: Letter
    messages: int = 0
    recipients: Mapping[str, int] | None = None
    last_delivered_at: datetime | None = None
    is_cut_short: bool = False

    @property
    def states(self) -> Mapping[str, int]:
        return self.recipients or {}

    @property
    def objections(self) -> tuple[str, ...]:
        """Why it has not passed; none where it has."""
        found = []
        if self.letter.trouble:
            found.append(f"the test message was not taken: {self.letter.trouble}")
        elif self.letter.delivered_at is None:
            found.append("the test message was not delivered")
        elif self.letter.delivered_at < self.ended:
            found.append("the test message was delivered while the primary was to count as down")
        if waiting := self.states.get("pending", 0):
            found.append(f"{counted(waiting, 'recipient')} still waiting")
        for state in ("held", "failed", "expired"):
            if count := self.states.get(state, 0):
                found.append(f"{counted(count, 'recipient')} {state}")
        return tuple(found)

    @property
    def sentence(self) -> str:
        taken = f"{counted(self.messages, 'message')} taken in {duration(self.ended - self.began)}"
        if self.objections:
            return f"The drill of {self.primary} has not passed: {'; '.join(self.objections)} ({taken})."
        assert self.last_delivered_at is not None
        after = duration(max(self.last_delivered_at, self.ended) - self.ended)
        return f"The drill of {self.primary} has passed: {taken}, the last delivered {after} after its end."

    def text(self) -> str:
        """The file."""
        letter = self.letter
        counts = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items())) or "none"
        lines = [
            f"# Drill of {self.primary}, {_at(self.began)}",
            "",
            self.sentence,
            "",
            f"- By {self.actor}, on {self.node}.",
            f"- Treated as down from {_at(self.began)} to {_at(self.ended)}"
            + (", stopped before its time." if self.is_cut_short else "."),
            f"- Mail taken in that time: {counted(self.messages, 'message')}; recipients: {counts}.",
            f"- The last of it was delivered {_at(self.last_delivered_at)}.",
            f"- Test message {letter.queue_id or '(not taken)'}: taken {_at(letter.accepted_at)}, "
            f"delivered {_at(letter.delivered_at)}" + (f" ({letter.reply})." if letter.reply else "."),
            f"- Looked at {_at(self.looked_at)}. The record of outages has no part of it: the primary was not away.",
        ]
        return "\n".join(lines) + "\n"

    def json(self) -> dict[str, object]:
        return {
            "primary": self.primary,
            "passed": not self.objections,
            "sentence": self.sentence,
            "objections": list(self.objections),
            "began_at": self.began,
            "ended_at": self.ended,
            "cut_short": self.is_cut_short,
            "messages": self.messages,
            "recipients": dict(self.states),
            "last_delivered_at": self.last_delivered_at,
            "test_message": {
                "queue_id": self.letter.queue_id or None,
                "accepted_at": self.letter.accepted_at,
                "delivered_at": self.letter.delivered_at,
                "reply": self.letter.reply,
            },
        }


def _at(moment: datetime | None) -> str:
    return "never" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S UTC")
