"""Are we no open relay? Asked of our own listener alone, without DATA, with recipients that cannot exist (RFC 6761).

Besides the plain case the old tricks are tried by which servers were led to relay: routes, gateways in a local part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fallback_mx.doctor.finding import Finding, error, ok, warning
from fallback_mx.doctor.listening import call
from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp.steps import Step

CHECK = "relay"
NOWHERE = "relay-test.invalid"
SENDER = f"nobody@{NOWHERE}"


@dataclass(frozen=True, slots=True)
class RelayFacts:
    """What each forward-path was answered, as (path, code, reply); `trouble` is why nothing could be asked."""

    place: str
    answers: tuple[tuple[str, int, str], ...] = ()
    trouble: str = ""


def attempts(domain: str, *, with_tricks: bool) -> tuple[str, ...]:
    """Forward-paths that lead elsewhere. Those with our domain are for who has not allowed them."""
    elsewhere = (f"nobody@{NOWHERE}",)
    if not with_tricks:
        return elsewhere
    return (
        *elsewhere,
        f"nobody%{NOWHERE}@{domain}",
        f"{NOWHERE}!nobody@{domain}",
        f'"nobody@{NOWHERE}"@{domain}',
        f"@{domain}:nobody@{NOWHERE}",
    )


async def gather(place: tuple[str, int], paths: Sequence[str]) -> RelayFacts:
    where = f"{place[0]}:{place[1]}"
    try:
        pipeline, _ = await call(place)
    except NoConnection as failure:
        return RelayFacts(where, trouble=failure.detail)
    answers: list[tuple[str, int, str]] = []
    try:
        mail = await pipeline.converse(Step.MAIL, f"MAIL FROM:<{SENDER}>\r\n".encode())
        if mail is None or not mail.is_success:
            return RelayFacts(where, tuple((path, mail.code if mail else 0, str(mail)) for path in paths))
        for path in paths:
            reply = await pipeline.converse(Step.RCPT, f"RCPT TO:<{path}>\r\n".encode())
            if reply is None:
                break
            answers.append((path, reply.code, str(reply)))
        await pipeline.converse(Step.RSET, b"RSET\r\n")
        await pipeline.leave()
    finally:
        pipeline.abort()
    return RelayFacts(where, tuple(answers), "" if answers else str(pipeline.broken))


def judge(facts: RelayFacts) -> Finding:
    if facts.trouble:
        reason = f"our listener could not be asked: {facts.trouble}"
        return error(CHECK, facts.place, reason, "See to the listener first.")
    taken = [path for path, code, _ in facts.answers if 200 <= code < 300]
    if taken:
        reason = f"recipients elsewhere are taken: {', '.join(taken)}"
        fix = (
            "Stop the service now, and see what listens there; `fallback-mx config show` has the domains it is to take."
        )
        return error(CHECK, facts.place, reason, fix)
    unsure = [reply for _, code, reply in facts.answers if not 500 <= code < 600]
    if unsure:
        reason = f"recipients elsewhere are put off, not refused: {unsure[0]}"
        return warning(CHECK, facts.place, reason, "Look again in a moment; what is put off now may be taken then.")
    return ok(CHECK, facts.place, f"recipients elsewhere are refused, in {len(facts.answers)} ways of writing them")
