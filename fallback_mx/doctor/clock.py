"""Is the clock in step? The record of outages, Received lines and certificates go by it.

The kernel is asked whether something keeps its clock in step (adjtimex(2), which changes nothing), and, where one is
named, a time server how far we are off (SNTP: RFC 4330, section 5).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fallback_mx.doctor.finding import Finding, error, ok, warning

CHECK = "clock"
SUBJECT = "this machine"
TOLERABLE_SECONDS, BAD_SECONDS = 1.0, 30.0
PATIENCE_SECONDS = 5.0

_SINCE_1900 = 2_208_988_800
_ASK = b"\x23" + bytes(47)  # version 4, client
_UNSYNCHRONISED = 0x40  # STA_UNSYNC


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """`is_kept` is what the kernel says, None where it does not. `offset_seconds` is how far a time server is before
    us, None where none was asked; `trouble` is why it did not say."""

    is_kept: bool | None = None
    offset_seconds: float | None = None
    trouble: str = ""


class _Timex(ctypes.Structure):
    """The beginning of struct timex, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


def kernel_says() -> bool | None:
    """Whether something keeps the kernel's clock in step; None where that cannot be known."""
    try:
        asked = _Timex()
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(asked))
    except (OSError, AttributeError):
        return None
    if state < 0 or os.name != "posix":
        return None
    return not asked.status & _UNSYNCHRONISED


async def gather(server: tuple[str, int] | None) -> ClockFacts:
    is_kept = kernel_says()
    if server is None:
        return ClockFacts(is_kept)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return ClockFacts(is_kept, await offset_from(server))
    except (OSError, ValueError) as failure:  # TimeoutError is one
        return ClockFacts(is_kept, None, f"{server[0]} does not tell the time: {failure or 'no answer'}")


async def offset_from(server: tuple[str, int], now: Callable[[], float] | None = None) -> float:
    """How many seconds this server's clock is before ours. Raises OSError and ValueError."""
    read = now or (lambda: datetime.now(UTC).timestamp())
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Question(answered), remote_addr=server)
    try:
        asked_at = read()
        transport.sendto(_ASK)
        answer = await answered
        heard_at = read()
    finally:
        transport.close()
    if len(answer) < 48 or answer[0] & 0x07 != 4 or not 0 < answer[1] < 16:
        raise ValueError("its answer is none")
    received_at, sent_at = _moment(answer[32:40]), _moment(answer[40:48])
    return ((received_at - asked_at) + (sent_at - heard_at)) / 2


class _Question(asyncio.DatagramProtocol):
    def __init__(self, answered: asyncio.Future[bytes]) -> None:
        self._answered = answered

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self._answered.done():
            self._answered.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answered.done():
            self._answered.set_exception(exc)


def _moment(octets: bytes) -> float:
    seconds, fraction = struct.unpack("!II", octets)
    return float(seconds) - _SINCE_1900 + float(fraction) / 2**32


def judge(facts: ClockFacts) -> Finding:
    fix = "Keep it in step: systemctl enable --now systemd-timesyncd (or chrony), and timedatectl says how it goes."
    if facts.offset_seconds is not None:
        off = abs(facts.offset_seconds)
        where = "behind" if facts.offset_seconds > 0 else "ahead"
        if off > TOLERABLE_SECONDS:
            finding = error if off > BAD_SECONDS else warning
            return finding(CHECK, SUBJECT, f"the clock is {off:.1f} s {where}", fix)
    if facts.trouble:
        return warning(CHECK, SUBJECT, facts.trouble, "Name another time server with --ntp.")
    if facts.is_kept is False:
        return warning(CHECK, SUBJECT, "nothing keeps this machine's clock in step, the kernel says", fix)
    if facts.offset_seconds is not None:
        return ok(CHECK, SUBJECT, f"the clock is right to {abs(facts.offset_seconds):.3f} s")
    if facts.is_kept is None:
        return warning(
            CHECK, SUBJECT, "the kernel does not say whether the clock is in step", "Name a time server: --ntp."
        )
    return ok(CHECK, SUBJECT, "something keeps the clock in step, the kernel says")
