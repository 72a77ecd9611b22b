"""A service, its primary and the world's name servers, all well, for `fallback-mx doctor` to look at.

A test spoils one thing and asks what is found. Our own listener and the primary are sinks; both can be scripted. What
cannot be well on a machine's loopback is not: our address is one that nobody elsewhere reaches.
"""

from __future__ import annotations

import json
import ssl
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trustme

from fallback_mx.smtp.sink import EXTENSIONS, Script, Sink, SinkSession
from tests.fakes.dns import NameServer, serving
from tests.fakes.loop_thread import LoopThread
from tests.fakes.operator import Operator
from tests.fakes.ports import free_port

US, PRIMARY, DOMAIN = "mx2.example.com", "mail.example.org", "example.org"
ADDRESS = "127.0.0.1"

CONFIG = """\
[server]
hostname = "{us}"
listen = ["127.0.0.1:{listener_port}"]
{certificate}
[storage]
url = "{url}"
min_free_space = "{floor}"

[http]
listen = ""

[[primary]]
name = "main"
domains = ["{domain}"]
host = "{primary}"
port = {primary_port}
"""


def _greeting(name: str, *more: str) -> dict[str, Script]:
    def ehlo(session: SinkSession, argument: str) -> str:
        offered = [*EXTENSIONS, *more]
        if session.sink.tls is not None and not session.is_encrypted:
            offered.append("STARTTLS")
        lines = [name, *offered]
        return "\r\n".join(f"250{' ' if line is lines[-1] else '-'}{line}" for line in lines)

    return {"banner": f"220 {name} ESMTP", "ehlo": ehlo}


class Clinic:
    """Use it as a context. `records` is the zone, `listener` and `primary` are the two servers."""

    def __init__(self, directory: Path) -> None:
        self.operator = Operator(directory).create()
        self.directory = directory
        self.authority = trustme.CA()
        self.more_config = ""
        self.floor = "1B"
        self.listener_port = free_port()
        self.has_certificate = True
        self.listener = Sink(replies={**_greeting(US), "rcpt": "550 5.7.1 No relaying"})
        self.primary = Sink(replies=_greeting(PRIMARY))
        self.wear(US)
        self.name_server = NameServer(
            {
                (f"{DOMAIN}.", "MX"): [f"10 {PRIMARY}.", f"20 {US}."],
                (f"{DOMAIN}.", "TXT"): ['"v=spf1 ip4:192.0.2.25 -all"'],
                (f"{PRIMARY}.", "A"): ["127.0.0.1"],
                (f"{US}.", "A"): [ADDRESS],
                ("1.0.0.127.in-addr.arpa.", "PTR"): [f"{US}."],
            }
        )
        self._thread = LoopThread()
        self._stack = AsyncExitStack()

    @property
    def records(self) -> dict[tuple[str, str], Any]:
        return self.name_server.records

    def wear(self, *names: str, not_before: datetime | None = None, not_after: datetime | None = None) -> None:
        """Let the listener show a certificate for these names, and put it into the configured file."""
        issued = self.authority.issue_cert(*names, not_before=not_before, not_after=not_after)
        self.listener.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(self.listener.tls)
        self.certificate_file.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        (self.directory / "key.pem").write_bytes(issued.private_key_pem.bytes())
        self.authority_file.write_bytes(self.authority.cert_pem.bytes())

    @property
    def certificate_file(self) -> Path:
        return self.directory / "certificate.pem"

    @property
    def authority_file(self) -> Path:
        return self.directory / "authority.pem"

    @property
    def certificate(self) -> bytes:
        """In DER."""
        text = self.certificate_file.read_text()
        return ssl.PEM_cert_to_DER_cert(text[: text.index(ssl.PEM_FOOTER)] + ssl.PEM_FOOTER + "\n")

    def __enter__(self) -> Self:
        self._thread.do(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.do(self._stop())
        self._thread.close()

    async def _start(self) -> None:
        self.resolver_port = await self._stack.enter_async_context(serving(self.name_server))
        await self.listener.start(port=self.listener_port)
        await self.primary.start()
        self.primary_port = self.primary.port

    async def _stop(self) -> None:
        await self.listener.stop()
        await self.primary.stop()
        await self._stack.aclose()

    def silence(self, sink: Sink) -> None:
        """Nobody listens there any more."""
        self._thread.do(sink.stop())

    @property
    def words(self) -> tuple[str, ...]:
        return ("--resolver", f"127.0.0.1:{self.resolver_port}", "--port", str(self.listener_port))

    def write_config(self) -> None:
        certificate = f'tls_certificate = "{self.certificate_file}"\ntls_key = "{self.directory / "key.pem"}"'
        self.operator.config.write_text(
            CONFIG.format(
                us=US,
                domain=DOMAIN,
                primary=PRIMARY,
                floor=self.floor,
                url=self.operator.url,
                listener_port=self.listener_port,
                primary_port=self.primary_port,
                certificate=certificate if self.has_certificate else "",
            )
            + self.more_config
        )

    def run(self, *words: str) -> Any:
        self.write_config()
        return self.operator.run("doctor", *self.words, *words)

    def found(self, *words: str) -> dict[str, dict[str, Any]]:
        """The findings by check: where there are several, the worst of them."""
        result = self.run("--json", *words)
        assert result.exit_code in (0, 1), result.output
        found = [json.loads(line) for line in result.stdout.splitlines()]
        rank = ("error", "warning", "ok")
        worst: dict[str, dict[str, Any]] = {}
        for each in sorted(found, key=lambda one: rank.index(one["level"])):
            worst.setdefault(each["check"], each)
        assert (result.exit_code == 1) == any(each["level"] == "error" for each in found)
        return worst
