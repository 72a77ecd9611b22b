"""Any octets as a command line: MAIL, RCPT and XCLIENT, whose arguments we read by grammars of our own.

What is refused is refused in the one way that is foreseen. What is taken can be handed on: read again as we would say
it to a next hop, it means the same.
"""

from __future__ import annotations

import re

from fallback_mx.domains import normalised
from fallback_mx.smtp import command_line, parameters, paths, xclient
from fallback_mx.smtp.parameters import BadParameter, MailParameters
from fallback_mx.smtp.paths import BadPath, Path
from mxqueue import ReportRequest

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff]")


def check(data: bytes) -> None:
    verb, argument = command_line.split(data.replace(b"\r", b"").replace(b"\n", b""))
    if argument is None:
        return
    assert _CONTROLS.search(argument) is None, "control characters in an argument"
    if verb == b"MAIL":
        _mail(argument)
    elif verb == b"RCPT":
        _rcpt(argument)
    elif verb == b"XCLIENT":
        _xclient(argument)


def _mail(argument: str) -> None:
    try:
        path, rest = paths.reverse_path(argument)
        given = parameters.of_mail(rest)
    except (BadPath, BadParameter) as error:
        _refused(error)
        return
    if path is not None:
        _taken(path, argument, "FROM")
    said = f" SIZE={given.size} BODY={given.body}" + " SMTPUTF8" * given.smtputf8
    said += f" RET={given.ret}" * bool(given.ret) + f" ENVID={given.envid}" * bool(given.envid)
    assert parameters.of_mail(said) == given
    assert isinstance(given, MailParameters)
    assert given.size >= 0
    assert given.ret in {"", "FULL", "HDRS"}
    assert given.envid.isascii()


def _rcpt(argument: str) -> None:
    for smtputf8 in (False, True):
        try:
            path, rest = paths.forward_path(argument)
            request = parameters.of_rcpt(rest, smtputf8=smtputf8)
        except (BadPath, BadParameter) as error:
            _refused(error)
            continue
        _taken(path, argument, "TO")
        _asked(request, smtputf8=smtputf8)


def _taken(path: Path, argument: str, keyword: str) -> None:
    address = path.address
    assert _CONTROLS.search(address) is None, f"control characters in {address!r}"
    assert ">" not in path.domain
    assert len(address.encode()) <= 512
    if path.domain and not path.is_literal:
        assert path.domain.isascii()
        assert path.domain == path.domain.lower().removesuffix(".")
        _as_configured(path.domain)
    again = paths.reverse_path if keyword == "FROM" else paths.forward_path
    said, rest = again(f"{keyword}:<{address}>")
    assert said is not None
    assert rest == ""
    assert (said.local, said.domain) == (path.local, path.domain), f"{address!r} is handed on as another"
    assert said.could_be_followed == path.could_be_followed
    whole, left = paths._path(argument, keyword)
    assert (whole, left) == again(argument), "the short way and the whole grammar differ"
    if not path.could_be_followed:
        assert re.search(r"[%!@]", path.local) is None, f"{path.local!r} could be followed"


def _as_configured(domain: str) -> None:
    """A domain that can be configured is found by the name that an address gives it."""
    try:
        configured = normalised(domain)
    except ValueError:
        return
    assert configured == domain


def _asked(request: ReportRequest, *, smtputf8: bool) -> None:
    said = f" NOTIFY={request.notify}" * bool(request.notify) + f" ORCPT={request.orcpt}" * bool(request.orcpt)
    assert parameters.of_rcpt(said, smtputf8=smtputf8) == request
    narrow = parameters.narrow(request.orcpt)
    assert narrow.isascii()
    if len(narrow) <= parameters.MAX_ORCPT and narrow:
        parameters.of_rcpt(f" ORCPT={narrow}", smtputf8=False)


def _xclient(argument: str) -> None:
    try:
        told = xclient.parse(argument)
    except xclient.BadAttribute as error:
        _refused(error)
        return
    for value in (told.address, told.helo, told.protocol, told.name, told.port, told.login):
        assert value is None or (value.isascii() and value.isprintable()), f"{value!r}"
    assert told.helo is None or " " not in told.helo


def _refused(error: Exception) -> None:
    """The text goes into a reply, as it is or behind a code: it must be good for one."""
    text = str(error)
    assert re.fullmatch(r"[\x20-\x7e]{1,490}", text), f"{text!r}"
