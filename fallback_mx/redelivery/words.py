"""What a drain and the couriers that it has in another process say to each other. It travels as pickles.

Messages and outcomes, which are many, are bare tuples of what the other end needs of them: a frozen dataclass takes ten
times as long to carry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fallback_mx.rules.disposition import Lost, Reply, Result, Unfit
from mxqueue.model import EPOCH, Claim, Message, Recipient, RecipientState

Parcel = tuple[Any, ...]
Outcome = tuple[int, tuple[tuple[Any, ...], ...], bool, float, str]
"""The number of the load, a result for each recipient, and what else a Delivery has; the next hop's host."""

Given = tuple[int, int, list[Parcel]]
"""To the couriers: so many outcomes are on record, so many may be away from it, and what else is to be delivered."""


@dataclass(frozen=True, slots=True)
class Connect:
    """To the couriers: open a connection, and deliver on it. `way` is for who connects to understand."""

    number: int
    way: object


@dataclass(frozen=True, slots=True)
class Shut:
    """To the couriers: begin nothing that was given so far, give it back, and leave."""


@dataclass(frozen=True, slots=True)
class Fewer:
    """To the couriers: let so many connections leave."""

    connections: int


@dataclass(frozen=True, slots=True)
class Cut:
    """To the couriers: end this connection now."""

    number: int


@dataclass(frozen=True, slots=True)
class Connected:
    number: int
    host: str
    tls: str | None
    tls_error: str | None


@dataclass(frozen=True, slots=True)
class NotConnected:
    number: int
    phase: str
    detail: str
    is_loop: bool


@dataclass(frozen=True, slots=True)
class Closed:
    number: int


@dataclass(frozen=True, slots=True)
class Back:
    """From the couriers: these were not tried."""

    loads: Sequence[int]


def parcel_of(number: int, message: Message) -> Parcel:
    return (
        number,
        *(message.id, message.reverse_path, message.route, message.size, message.client_address, message.helo),
        *(message.trace, message.body, message.smtputf8, message.ret, message.envid),
        tuple((each.position, each.forward_path, each.notify, each.orcpt) for each in message.recipients),
    )


def claim_of(parcel: Parcel) -> Claim:
    """What a courier has to know of it, under its number; when it came and how often it was tried is not said."""
    number, id_, reverse_path, route, size, client, helo, trace, body, smtputf8, ret, envid, recipients = parcel
    each = tuple(
        [
            Recipient(id_, position, path, RecipientState.PENDING, 0, EPOCH, "", None, None, notify, orcpt)
            for position, path, notify, orcpt in recipients
        ]
    )
    message = Message(id_, EPOCH, reverse_path, route, size, client, helo, trace, body, smtputf8, "", each, ret, envid)
    return Claim(message, str(number), EPOCH)


def packed(results: Sequence[Result]) -> tuple[tuple[Any, ...], ...]:
    return tuple([_packed(each) for each in results])


def _packed(result: Result) -> tuple[Any, ...]:
    if isinstance(result, Reply):
        return (result.code, result.text)
    if isinstance(result, Lost):
        return (0, result.detail, result.ambiguous)
    return (1, result.reason)


def unpacked(results: Sequence[tuple[Any, ...]]) -> tuple[Result, ...]:
    return tuple([_unpacked(*each) for each in results])


def _unpacked(code: int, text: str, is_ambiguous: bool = False) -> Result:
    if code > 1:
        return Reply(code, text)
    return Unfit(text) if code == 1 else Lost(text, is_ambiguous)
