"""FAULTS 50: octets of any kind, arriving in any way, in each state of a session.

`check` plays a script as it stands, and twice without what is a matter of time: with the octets in one piece, and in
pieces of a few. Those two must come to the same, and to what a client may believe (`belief`); the first must not come
to anything else, only to less of it.
"""

from __future__ import annotations

import re

from tests.fuzz.belief import Client, Disbelief, Message
from tests.fuzz.play import Account, play
from tests.fuzz.primary import Kept
from tests.fuzz.reading import path_in
from tests.fuzz.script import Op, Script, Setting
from tests.fuzz.stage import ROUTES, Committed
from tests.fuzz.told import Reply, replies_in

# Pieces so small only where there are few of them.
SMALL_OCTETS = 250

_TRACE = re.compile(rb"Received: from [\w.:\[\]?-]{1,255} \(\[[\w.:]+\]\)\r\n\tby ")


def check(data: bytes) -> None:
    check_script(Script.read(data))


def check_script(script: Script) -> None:
    """Raises AssertionError where something does not hold that must."""
    given = play(script)
    believed(script, given)
    whole = play(script.calm(None), is_patient=True)
    octets = sum(len(event) for event in script.stream if isinstance(event, bytes))
    size = 1 if octets <= SMALL_OCTETS else 1 + octets // SMALL_OCTETS
    pieces = play(script.calm(size), is_patient=True)
    believed(script, whole)
    same(whole, pieces, is_whole=True)
    if Setting.DELAYED not in script.settings:
        # Otherwise it is a matter of time whether a client is heard at all.
        same(whole, given, is_whole=False)


def believed(script: Script, account: Account) -> list[Message]:
    """The messages of this account, if they and the replies are what a client may believe."""
    client = Client(script.settings, replies_in(account.said))
    client.follow(script.stream)
    committed, kept = list(account.committed), list(account.kept)
    for each in committed:
        _check_commit(each)
    for message in client.messages:
        _settle(message, committed, kept)
    if committed or kept:
        raise Disbelief(f"committed or kept, and never sent: {committed}, {kept}")
    return client.messages


def _settle(message: Message, committed: list[Committed], kept: list[Kept]) -> None:
    """Find what became of this message, in the queue and at the primary, and take it away there.

    What was told of it must be true. What is not of this message is of the next one, which may be the same.
    """
    code = message.reply.code if message.reply is not None else None
    queued = committed[0] if committed and _is_same(message, committed[0]) else None
    if queued is not None and code not in {None, _TOLD[queued.result]}:
        queued = None
    at_primary = kept[0] if kept and _is_kept(message, kept[0]) else None
    if at_primary is not None and at_primary.is_sure:
        at_primary = at_primary if code in {None, 250} else None
        queued = queued if at_primary is None else None
    if at_primary is not None and queued is not None:
        assert all(each.ambiguous for each in queued.envelopes), "two copies, and the queue does not say so"
    is_queued = queued is not None and queued.result is Op.COMMITTED
    if code == 250 and not is_queued and not (at_primary is not None and at_primary.is_sure):
        raise Disbelief(f"told 250 and in nobody's hands: {message}, {committed[:1]}, {kept[:1]}")
    if queued is not None:
        committed.pop(0)
    if at_primary is not None:
        kept.pop(0)


_TOLD = {Op.COMMITTED: 250, Op.FULL: 452, Op.FAILED: 451}


def _is_kept(message: Message, kept: Kept) -> bool:
    trace = re.match(rb"Received: .*\r\n(?:\t.*\r\n)+", kept.content)
    assert trace is not None, f"our Received line is missing: {kept.content!r}"
    return (
        kept.content[trace.end() :] == message.content
        and {path_in(path.decode("latin-1"), "") for path in kept.recipients} == set(message.recipients)
        and path_in(kept.reverse_path.decode("latin-1"), "") == message.reverse_path
    )


def _is_same(message: Message, committed: Committed) -> bool:
    paths = [path for envelope in committed.envelopes for path in envelope.forward_paths]
    return (
        committed.content == message.content
        and _as_compared(message.recipients) == _as_compared(paths)
        and all(
            envelope.reverse_path == message.reverse_path or "?" in message.reverse_path
            for envelope in committed.envelopes
        )
    )


def _as_compared(paths: list[str]) -> set[str]:
    # IDNA is not the reference's business: of a domain that is not ASCII only the local part is compared.
    return {path.replace("@xn--bcher-kva.test", "@?") for path in paths}


def _check_commit(committed: Committed) -> None:
    assert committed.is_sound, "the spool does not give its own size and hash"
    assert committed.envelopes, "a message without an envelope"
    for envelope in committed.envelopes:
        assert envelope.forward_paths, "an envelope without a recipient"
        for path in envelope.forward_paths:
            route = ROUTES.get(path.rpartition("@")[2])
            assert route is not None, f"{path} is not ours"
            assert route.name == envelope.route, f"{path} on the way to {envelope.route}"
        for text in (envelope.reverse_path, *envelope.forward_paths, envelope.helo, envelope.client_address):
            text.encode()
            assert re.search(r"[\x00-\x1f\x7f-\x9f]", text) is None, f"control characters in {text!r}"
        assert re.match(rb"Received: from [\w.:\[\]?-]{1,255} \(\[[\w.:]+\]\)\r\n\tby ", envelope.trace), (
            f"{envelope.trace!r}"
        )
        for line in envelope.trace.splitlines(keepends=True):
            assert re.fullmatch(rb"[\t\x20-\x7e]+\r\n", line), f"not a line of a header: {line!r}"


def same(whole: Account, other: Account, *, is_whole: bool) -> None:
    """Whether the other account is of the same session, or of the beginning of it."""
    expected, found = _compared(whole), _compared(other)
    if not is_whole:
        # One that takes too long or comes when the service stops is told so at any point, and no more after it.
        found = found[:-1] if found and found[-1].startswith("421") else found
        expected = expected[: len(found)]
    assert found == expected, f"{found} is not {expected}"
    commits = [(each.envelopes, each.content, each.result) for each in whole.committed]
    others = [(each.envelopes, each.content, each.result) for each in other.committed]
    assert other.kept == (whole.kept if is_whole else whole.kept[: len(other.kept)]), "the primary kept other mail"
    assert others == (commits if is_whole else commits[: len(others)]), "other commits"


def _compared(account: Account) -> list[str]:
    return [_as_compared_reply(reply) for reply in replies_in(account.said)]


def _as_compared_reply(reply: Reply) -> str:
    # Of several faults in one message it is a matter of time which is noticed first.
    return "content refused" if reply.code in {552, 554} else str(reply)


__all__ = ["Setting", "check", "check_script"]
