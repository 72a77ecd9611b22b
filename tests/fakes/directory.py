"""A small LDAP server (RFC 4511): simple binds, and searches with pages (RFC 2696), on a thread of its own."""

from __future__ import annotations

import socketserver
import ssl
import threading
from types import TracebackType
from typing import Any, Self

from ldap3.protocol import rfc4511
from ldap3.protocol.rfc2696 import RealSearchControlValue
from pyasn1.codec.ber import decoder, encoder
from pyasn1.error import SubstrateUnderrunError

PAGED = "1.2.840.113556.1.4.319"
INVALID_CREDENTIALS = 49
NO_SUCH_OBJECT = 32


class FakeDirectory:
    """Every search finds all of `values`, one entry each, a page at a time. `password` is wanted where it is set."""

    def __init__(self, values: list[bytes], password: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.values = values
        self.password = password
        self.result = 0
        self.binds: list[str] = []
        self.searches: list[dict[str, Any]] = []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                _Session(outer, tls.wrap_socket(self.request, server_side=True) if tls else self.request).serve()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *arguments: None  # type: ignore[method-assign]
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Session:
    def __init__(self, directory: FakeDirectory, connection: Any) -> None:
        self._directory = directory
        self._connection = connection

    def serve(self) -> None:
        pending = b""
        while octets := self._connection.recv(65536):
            pending += octets
            while pending:
                try:
                    message, pending = decoder.decode(pending, asn1Spec=rfc4511.LDAPMessage())
                except SubstrateUnderrunError:
                    break
                if not self._answer(message):
                    return

    def _answer(self, message: Any) -> bool:
        number, operation = int(message["messageID"]), message["protocolOp"]
        kind = operation.getName()
        if kind == "bindRequest":
            self._bind(number, operation["bindRequest"])
        elif kind == "searchRequest":
            self._search(number, operation["searchRequest"], message)
        return kind != "unbindRequest"

    def _bind(self, number: int, request: Any) -> None:
        given = str(request["authentication"]["simple"])
        self._directory.binds.append(str(request["name"]))
        is_right = self._directory.password in (None, given)
        response = rfc4511.BindResponse()
        self._say(number, "bindResponse", _result(response, 0 if is_right else INVALID_CREDENTIALS))

    def _search(self, number: int, request: Any, message: Any) -> None:
        size, start = 0, 0
        for control in message["controls"] if message["controls"].hasValue() else ():
            if str(control["controlType"]) == PAGED:
                page, _ = decoder.decode(bytes(control["controlValue"]), asn1Spec=RealSearchControlValue())
                size, start = int(page["size"]), int(bytes(page["cookie"]) or b"0")
        attributes = [str(each) for each in request["attributes"]]
        self._directory.searches.append({"base": str(request["baseObject"]), "attributes": attributes, "size": size})
        values = self._directory.values[start : start + size] if size else self._directory.values
        for index, value in enumerate(values, start):
            self._entry(number, f"uid={index}", attributes[0], value)
        end = start + len(values)
        cookie = str(end).encode() if end < len(self._directory.values) else b""
        self._say(number, "searchResDone", _result(rfc4511.SearchResultDone(), self._directory.result), cookie)

    def _entry(self, number: int, name: str, attribute: str, value: bytes) -> None:
        entry = rfc4511.SearchResultEntry()
        entry["object"] = rfc4511.LDAPDN(name)
        values = rfc4511.Vals()
        values.setComponentByPosition(0, rfc4511.AttributeValue(value))
        one = rfc4511.PartialAttribute()
        one["type"] = rfc4511.AttributeDescription(attribute)
        one["vals"] = values
        attributes = rfc4511.PartialAttributeList()
        attributes.setComponentByPosition(0, one)
        entry["attributes"] = attributes
        self._say(number, "searchResEntry", entry)

    def _say(self, number: int, kind: str, response: Any, cookie: bytes | None = None) -> None:
        message = rfc4511.LDAPMessage()
        message["messageID"] = rfc4511.MessageID(number)
        operation = rfc4511.ProtocolOp()
        operation[kind] = response
        message["protocolOp"] = operation
        if cookie is not None:
            value = RealSearchControlValue()
            value["size"] = 0
            value["cookie"] = cookie
            control = rfc4511.Control()
            control["controlType"] = rfc4511.LDAPOID(PAGED)
            control["criticality"] = rfc4511.Criticality(False)
            control["controlValue"] = rfc4511.ControlValue(encoder.encode(value))
            controls = rfc4511.Controls()
            controls.setComponentByPosition(0, control)
            message["controls"] = controls
        self._connection.sendall(encoder.encode(message))


def _result(response: Any, code: int) -> Any:
    response["resultCode"] = rfc4511.ResultCode(code)
    response["matchedDN"] = rfc4511.LDAPDN("")
    response["diagnosticMessage"] = rfc4511.LDAPString("")
    return response
