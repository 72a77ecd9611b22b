"""The log: one function for each event that can happen to mail, to a primary, or to the service.

A line is `time=… level=… id=… event=…` and then what the event says, as key=value pairs (logfmt) or, when asked for,
as one JSON object. The queue id comes before everything else the event has to say. Control characters are escaped, so
that no sender and no reply can forge a line. Addresses of persons are written at level debug alone: above it there is
the domain, and local parts in replies are left out.

A line that cannot be written is counted in `lost_lines()`; nothing here raises.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, BinaryIO

from fallback_mx import loglines
from fallback_mx.loglines import Lines
from fallback_mx.visible import impersonal


class _Library(logging.Handler):
    """What libraries have to say, in our form: a library's warning is an event like any other."""

    def emit(self, record: logging.LogRecord) -> None:
        detail = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            detail = f"{detail}: {_traceback(record.exc_info[1])}"
        write = _log.error if record.levelno >= logging.ERROR else _log.warning
        write("library", part=record.name, detail=_shown(detail))


_lines = Lines(None)
# The log of a process is one: every part writes to it, and only `configure` replaces it.
_log: Any = None
_with_persons = False
_form = ("info", False)
# Primaries that are under maintenance: that they fail alarms nobody.
_quiet: frozenset[str] = frozenset()


def configure(level: str = "info", *, as_json: bool = False, stream: BinaryIO | None = None) -> None:
    """Set the level (debug, info, warning, error) and the form for the whole process."""
    global _form, _log, _lines, _with_persons
    _form = (level, as_json)
    _lines = Lines(stream)
    _with_persons = level == "debug"
    _log = loglines.Log(_lines, loglines.as_json if as_json else loglines.logfmt, level)


def form() -> tuple[str, bool]:
    """The level and whether lines are JSON, as `configure` was told."""
    return _form


def quieten(primaries: Iterable[str]) -> None:
    """Let no failure of these primaries alarm anybody, and of all others again: it is in the log at level info."""
    global _quiet
    _quiet = frozenset(primaries)


def together() -> AbstractContextManager[None]:
    """What is logged within goes out at its end, in as few writes as can be: for many lines of one moment."""
    return _lines.together()


def capture_libraries() -> None:
    """Let what libraries log, from warnings on, come out here, in place of the handlers they have set up."""
    logging.basicConfig(handlers=[_Library()], level=logging.WARNING, force=True)


def lost_lines() -> int:
    """How many lines could not be written since `configure`."""
    return _lines.lost


def _domain(path: str | None) -> str | None:
    if path is None:
        return None
    return path.rpartition("@")[2] if path else "<>"


def _person(path: str | None) -> str | None:
    if path is None or not _with_persons:
        return None
    return path or "<>"


def _shown(text: str) -> str:
    return text if _with_persons else impersonal(text)


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-loglines.MAX_VALUE :]


def _alarm(event: str, primary: str, **values: Any) -> None:
    """A warning about a primary; no warning while it is under maintenance."""
    if primary in _quiet:
        _log.info(event, primary=primary, **values, maintenance=True)
    else:
        _log.warning(event, primary=primary, **values)


# Mail in --------------------------------------------------------------------------------------------------------


def accepted(
    queue_id: str,
    *,
    primary: str,
    client_address: str,
    reverse_path: str,
    forward_paths: Sequence[str],
    size: int,
) -> None:
    """A message was committed and answered with 250."""
    _log.info(
        "accepted",
        id=queue_id,
        primary=primary,
        client=client_address,
        sender_domain=_domain(reverse_path),
        recipients=len(forward_paths),
        size=size,
        sender=_person(reverse_path),
        to=" ".join(forward_paths) if _with_persons else None,
    )


def proxied(
    queue_id: str,
    *,
    primary: str,
    client_address: str,
    reverse_path: str,
    forward_paths: Sequence[str],
    size: int,
    reply: str,
) -> None:
    """A message was played through: the primary took it, and that was the sender's answer. The id is in its trace
    line alone; it was never in the queue."""
    _log.info(
        "proxied",
        id=queue_id,
        primary=primary,
        client=client_address,
        sender_domain=_domain(reverse_path),
        recipients=len(forward_paths),
        size=size,
        reply=_shown(reply),
        sender=_person(reverse_path),
        to=" ".join(forward_paths) if _with_persons else None,
    )


def proxy_failed(primary: str, *, detail: str, ambiguous: bool) -> None:
    """The primary failed while a transaction was played through to it; it goes on towards the queue."""
    _alarm("proxy_failed", primary, detail=_shown(detail), ambiguous=ambiguous or None)


def refused(
    reason: str,
    *,
    client_address: str,
    reply: str = "",
    primary: str | None = None,
    reverse_path: str | None = None,
    forward_path: str | None = None,
) -> None:
    """A command, a recipient or a message was answered with 4xx or 5xx. `reason` is the word the metrics use."""
    _log.info(
        "refused",
        reason=reason,
        client=client_address,
        primary=primary,
        reply=_shown(reply) or None,
        sender_domain=_domain(reverse_path),
        recipient_domain=_domain(forward_path),
        sender=_person(reverse_path),
        to=_person(forward_path),
    )


def let_in(reason: str, *, client_address: str, primary: str, forward_path: str) -> None:
    """A recipient was taken though the primary is up and guards its door. `reason` is the word the metrics use."""
    _log.info(
        "let_in",
        reason=reason,
        client=client_address,
        primary=primary,
        recipient_domain=_domain(forward_path),
        to=_person(forward_path),
    )


def session_limit(client_address: str, limit: str) -> None:
    """A client came to one of the standing limits (connections, recipients, junk commands, time)."""
    _log.info("session_limit", client=client_address, limit=limit)


# Mail out -------------------------------------------------------------------------------------------------------


def delivered(queue_id: str, *, primary: str, forward_path: str, reply: str, attempts: int, age_seconds: float) -> None:
    """The primary answered 2xx for this recipient, and that is on record."""
    _log.info("delivered", **_attempt(queue_id, primary, forward_path, reply), attempts=attempts, age=age_seconds)


def deferred(
    queue_id: str, *, primary: str, forward_path: str, reply: str, attempts: int, not_before: datetime
) -> None:
    """An attempt failed for now; the recipient is tried again at `not_before`."""
    _log.info("deferred", **_attempt(queue_id, primary, forward_path, reply), attempts=attempts, not_before=not_before)


def held(queue_id: str, *, primary: str, forward_path: str, reply: str) -> None:
    """The recipient is kept until an operator decides."""
    _log.warning("held", **_attempt(queue_id, primary, forward_path, reply))


def failed(queue_id: str, *, primary: str, forward_path: str, reply: str) -> None:
    """The primary refused the recipient for good, and the configuration says to end it."""
    _log.warning("failed", **_attempt(queue_id, primary, forward_path, reply))


def reported(queue_id: str, *, report_id: str, route: str, forward_path: str) -> None:
    """The sender of mail that is given up is told: the report is in the queue under an id of its own."""
    _log.info(
        "reported",
        id=queue_id,
        report=report_id,
        route=route,
        recipient_domain=_domain(forward_path),
        to=_person(forward_path),
    )


def expired(primary: str, *, recipients: int, action: str) -> None:
    """Mail on this route outlived its lifetime; `action` is what became of it (expired, held)."""
    _log.warning("expired", primary=primary, recipients=recipients, action=action)


def settlement_refused(queue_id: str, *, primary: str, position: int) -> None:
    """An outcome came too late: somebody else has had the recipient since. It is in the ledger."""
    _log.warning("settlement_refused", id=queue_id, primary=primary, position=position)


def damaged(queue_id: str, detail: str) -> None:
    """Stored content no longer matches its hash; the message is set aside."""
    _log.error("damaged", id=queue_id, detail=detail)


def _attempt(queue_id: str, primary: str, forward_path: str, reply: str) -> dict[str, Any]:
    return {
        "id": queue_id,
        "primary": primary,
        "recipient_domain": _domain(forward_path),
        "to": _person(forward_path),
        "reply": _shown(reply),
    }


def connection_failed(primary: str, *, next_hop: str, phase: str, detail: str) -> None:
    """A connection to the primary failed before any reply about a message."""
    _log.info("connection_failed", primary=primary, next_hop=next_hop, phase=phase, detail=_shown(detail))


def loop(primary: str, *, next_hop: str, detail: str) -> None:
    """The next hop of this primary is this service itself. Its mail stays here until somebody puts that right."""
    _log.error("loop", primary=primary, next_hop=next_hop, detail=_shown(detail))


def login_failed(primary: str, *, next_hop: str, detail: str) -> None:
    """The primary does not let us in with our name and password. Its mail stays here until somebody puts that right."""
    _log.error("login_failed", primary=primary, next_hop=next_hop, detail=_shown(detail))


def drain_started(primary: str) -> None:
    """What waits for this primary begins to move."""
    _log.info("drain_started", primary=primary)


def drain_ended(primary: str, *, delivered: int, seconds: float) -> None:
    """Nothing that is due is left for this primary, or it went away again."""
    _log.info("drain_ended", primary=primary, delivered=delivered, seconds=seconds)


# Primaries ------------------------------------------------------------------------------------------------------


def primary_state(primary: str, *, before: str, now: str, detail: str = "") -> None:
    """The state of a primary changed (up, falling, down, rising, unknown)."""
    _log.info("primary_state", primary=primary, before=before, now=now, detail=_shown(detail) or None)


def etrn(primary: str, *, client_address: str, messages: int, state: str) -> None:
    """A client that may has asked for what waits for this primary: so many messages."""
    _log.info("etrn", primary=primary, client=client_address, messages=messages, state=state)


def order_began(primary: str, *, what: str, until: datetime | None, actor: str, reason: str) -> None:
    """An operator's order is obeyed from now on (pause, force up, force down), until it is taken back or `until`."""
    _log.warning("order_began", primary=primary, what=what, until=until, actor=actor, reason=_shown(reason) or None)


def order_ended(primary: str, *, what: str) -> None:
    """An order has come to its end, or was taken back."""
    _log.warning("order_ended", primary=primary, what=what)


def maintenance_began(primary: str, *, until: datetime, kind: str, reason: str) -> None:
    """A window of maintenance begins: that the primary fails alarms nobody until it is over."""
    _log.info("maintenance_began", primary=primary, until=until, kind=kind, reason=_shown(reason) or None)


def maintenance_ended(primary: str, *, state: str) -> None:
    """It is over, or was cancelled; `state` is the primary's."""
    _log.info("maintenance_ended", primary=primary, state=state)


def outage_started(primary: str, *, started_at: datetime, cause: str) -> None:
    """An outage is confirmed; it began with the first failed observation. It is told once more where a primary is still
    away when its maintenance is over."""
    _alarm("outage_started", primary, started_at=started_at, cause=_shown(cause))


def outage_ended(primary: str, *, started_at: datetime, ended_at: datetime) -> None:
    """The primary is back; the outage ended with the first good observation."""
    seconds = (ended_at - started_at).total_seconds()
    _alarm("outage_ended", primary, started_at=started_at, ended_at=ended_at, seconds=seconds)


def slow_started(primary: str, *, started_at: datetime, detail: str) -> None:
    """The primary answers, and has taken too long to for `slow_for`. It is no outage."""
    _alarm("slow_started", primary, started_at=started_at, detail=_shown(detail))


def slow_ended(primary: str, *, ended_at: datetime, detail: str) -> None:
    """The primary answers in good time again, or not at all."""
    _alarm("slow_ended", primary, ended_at=ended_at, detail=_shown(detail) or None)


def port_failed(primary: str, *, port: str, started_at: datetime, detail: str) -> None:
    """Nobody answers at one of the primary's other ports."""
    _alarm("port_failed", primary, port=port, started_at=started_at, detail=_shown(detail))


def port_recovered(primary: str, *, port: str, ended_at: datetime) -> None:
    """Somebody answers at that port again."""
    _alarm("port_recovered", primary, port=port, ended_at=ended_at)


def certificate_ends(primary: str, *, expires_at: datetime, is_over: bool) -> None:
    """The certificate that the primary shows is valid for a few days more, or not any more."""
    _log.warning("certificate_ends", primary=primary, expires_at=expires_at, is_over=is_over or None)


def cut_off(detail: str) -> None:
    """It is our own network that is gone: of no primary it is known how it is, and mail is taken for all of them."""
    _log.error("cut_off", detail=_shown(detail))


def reached_again() -> None:
    """Our own network is back."""
    _log.warning("reached_again")


def stood_still(seconds: float) -> None:
    """This process did not run for so long: it was stopped, the machine slept, or had no time for it."""
    _log.warning("stood_still", seconds=round(seconds, 3))


def clock_stepped(seconds: float) -> None:
    """The wall clock was set by so much, back where it is below zero."""
    _log.warning("clock_stepped", seconds=round(seconds, 3))


def recipients_imported(primary: str, *, addresses: int, added: int, removed: int, passed_over: int) -> None:
    """A new list of this primary's recipients is in force; `passed_over` are addresses in domains that are not its."""
    _log.info(
        "recipients_imported",
        primary=primary,
        addresses=addresses,
        added=added,
        removed=removed,
        passed_over=passed_over or None,
    )


# The service ----------------------------------------------------------------------------------------------------


def service_started(*, version: str, node: str, listen: Sequence[str], primaries: Sequence[str]) -> None:
    """Every part runs and the listeners are open."""
    _log.info(
        "service_started",
        version=version,
        node=node,
        listen=" ".join(listen),
        primaries=" ".join(primaries),
    )


def service_stopping(reason: str) -> None:
    """The ordered stop begins."""
    _log.info("service_stopping", reason=reason)


def service_stopped(*, seconds: float) -> None:
    """Every part has stopped, every write is committed."""
    _log.info("service_stopped", seconds=seconds)


def config_reloaded(path: str) -> None:
    """A new configuration is in force."""
    _log.info("config_reloaded", path=path)


def config_rejected(path: str, problems: Sequence[str]) -> None:
    """The file is not valid: the settings that were in force stay. One line a problem."""
    for problem in problems or ("unreadable",):
        _log.error("config_rejected", path=path, problem=problem)


def trouble(part: str, detail: str, advice: str = "") -> None:
    """Something of ours does not work; what came in is answered 451 and what was accepted is safe."""
    _log.error("trouble", part=part, detail=_shown(detail), advice=advice or None)


def recovered(part: str) -> None:
    """What was in trouble works again."""
    _log.warning("recovered", part=part)


def crashed(part: str, error: BaseException) -> None:
    """A part met an error nobody foresaw. The traceback is in the line; the peer saw 451 at most."""
    _log.error("crashed", part=part, error=type(error).__name__, detail=_shown(_traceback(error)))


configure()
