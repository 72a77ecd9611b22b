"""What becomes of recipients that are given up: a report to the sender, or, where none may go, mail that is held.

No report goes to the null reverse-path, nor to a sender that nobody vouches for, nor to one that has had a great many
lately (where there is a `quota`): such mail is held, with the reason.
Where the sender asked not to be told (NOTIFY of RFC 3461) it is given up without. Nothing is written down here: the
caller puts outcomes and report on record together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from fallback_mx.bounces.quota import Quota
from fallback_mx.rules import dsn
from fallback_mx.rules.bouncing import NULL_REASON, REPORTS, GivenUp, Verdict, domain_of
from fallback_mx.rules.dsn import Failure, Report, Why, without_report
from fallback_mx.rules.returned import FULL_OCTETS, HEADER_OCTETS, Returned
from mxqueue import BytesContent, Damaged, Enclosed, Envelope, Message, Outcome, RecipientState

Chunks = Callable[[], AsyncIterator[bytes]]
_STATES = {
    Why.REFUSED: RecipientState.FAILED,
    Why.EXPIRED: RecipientState.EXPIRED,
    Why.RETURNED: RecipientState.FAILED,
}


class Vouches(Protocol):
    async def vouch(self, message: Message, chunks: Chunks) -> Verdict: ...


@dataclass(frozen=True, slots=True)
class ReporterSettings:
    """`primaries` by domain: a report to a sender of ours goes where that domain's mail goes."""

    hostname: str
    primaries: Mapping[str, str]


class Reporter:
    """Gives up recipients of one message at a time; see `give_up`."""

    def __init__(
        self,
        settings: ReporterSettings,
        voucher: Vouches,
        new_id: Callable[[], str],
        clock: Callable[[], datetime],
        quota: Quota | None = None,
    ) -> None:
        self.settings = settings
        self._quota = quota
        self._voucher = voucher
        self._new_id = new_id
        self._clock = clock

    async def give_up(self, message: Message, failures: Mapping[int, Failure], chunks: Chunks) -> GivenUp:
        """What becomes of these recipients, by position. Raises QueueError where the content cannot be read now."""
        if message.reverse_path == "":
            return _hold(failures, NULL_REASON)
        notify = {each.position: each.notify for each in message.recipients}
        told = {position: one for position, one in failures.items() if dsn.is_wanted(notify[position])}
        silent = {
            position: _end(one, without_report(one.said, "the sender asked for none"))
            for position, one in failures.items()
            if position not in told
        }
        if not told:
            return GivenUp(silent)
        try:
            verdict = await self._voucher.vouch(message, chunks)
            if not verdict.is_vouched:
                return GivenUp(silent | dict(_hold(told, verdict.why).outcomes))
            if self._quota is not None and (too_many := self._quota.refusal(message.reverse_path)):
                return GivenUp(silent | dict(_hold(told, too_many).outcomes))
            report = await self._report(message, told, chunks)
        except Damaged as error:
            return GivenUp(silent | dict(_hold(told, str(error)).outcomes))
        enclosed = self._enclosed(message, report)
        ended = {
            position: _end(one, f"{one.said} (report {report.id} goes to the sender: {verdict.why})")
            for position, one in told.items()
        }
        return GivenUp(silent | ended, enclosed)

    async def _report(self, message: Message, told: Mapping[int, Failure], chunks: Chunks) -> Report:
        orcpt = {each.position: each.orcpt for each in message.recipients}
        return Report(
            id=self._new_id(),
            at=self._clock(),
            hostname=self.settings.hostname,
            reverse_path=message.reverse_path,
            arrived_at=message.arrived_at,
            failures=tuple(replace(one, orcpt=orcpt[position]) for position, one in sorted(told.items())),
            returned=await _beginning(message, chunks),
            ret=message.ret,
            envid=message.envid,
        )

    def _enclosed(self, message: Message, report: Report) -> Enclosed:
        rendered = dsn.render(report)
        route = self.settings.primaries.get(domain_of(message.reverse_path), REPORTS)
        envelope = Envelope(
            reverse_path="",
            forward_paths=(message.reverse_path,),
            route=route,
            body=rendered.body,
            smtputf8=rendered.smtputf8,
            id=report.id,
        )
        return Enclosed(envelope, BytesContent(rendered.content), f"a report on {message.id}")


async def _beginning(message: Message, chunks: Chunks) -> Returned:
    """As much of the content as a report could return."""
    pieces: list[bytes] = []
    octets = 0
    async for piece in chunks():
        pieces.append(piece)
        octets += len(piece)
        if message.size > FULL_OCTETS and octets >= HEADER_OCTETS:
            return Returned(b"".join(pieces)[:HEADER_OCTETS], is_whole=False)
    return Returned(b"".join(pieces), is_whole=True)


def _end(failure: Failure, reply: str) -> Outcome:
    return Outcome(_STATES[failure.why], reply)


def _hold(failures: Mapping[int, Failure], reason: str) -> GivenUp:
    return GivenUp(
        {position: Outcome(RecipientState.HELD, without_report(one.said, reason)) for position, one in failures.items()}
    )
