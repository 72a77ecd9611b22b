"""Whether an MTA-STS policy names us: fetched from a real HTTPS server, as a sender fetches it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from fallback_mx.doctor import mta_sts
from fallback_mx.doctor.finding import Finding
from tests.fakes.dns import NameServer, resolver_for

US, DOMAIN = "mx2.example.com", "example.org"
AUTHORITY = trustme.CA()
POLICY = "version: STSv1\r\nmode: {mode}\r\nmx: mail.example.org\r\nmx: {host}\r\nmax_age: 86400\r\n"


@asynccontextmanager
async def web_server(name: str, body: str, status: str = "200 OK") -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        assert request.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n")
        writer.write(
            f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(name).configure_cert(context)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def found(body: str, *, status: str = "200 OK", name: str = f"mta-sts.{DOMAIN}", untrusted: str | None = "") -> Finding:
    async def look() -> Finding:
        records = {
            (f"_mta-sts.{DOMAIN}.", "TXT"): ['"something else"', '"v=STSv1; " "id=20260101;"'],
            (f"mta-sts.{DOMAIN}.", "A"): ["127.0.0.1"],
        }
        async with web_server(name, body, status) as port, resolver_for(NameServer(records)) as resolver:
            facts = await mta_sts.gather(DOMAIN, US, resolver, port)
        return mta_sts.judge(mta_sts.with_trust(facts, untrusted))

    return asyncio.run(look())


@pytest.fixture(autouse=True)
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "authority.pem"
    path.write_bytes(AUTHORITY.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


@pytest.mark.parametrize("host", [US, "MX2.example.com", "*.example.com"])
def test_a_policy_that_names_us_is_well(host: str) -> None:
    finding = found(POLICY.format(mode="enforce", host=host))
    assert (finding.level, finding.fix) == ("ok", ""), finding


@pytest.mark.parametrize(("mode", "level"), [("enforce", "error"), ("testing", "warning"), ("none", "ok")])
@pytest.mark.parametrize("host", ["mx3.example.com", "*.mx2.example.com", "*.com"])
def test_a_policy_that_does_not_name_us_is_as_bad_as_it_is_meant(mode: str, level: str, host: str) -> None:
    finding = found(POLICY.format(mode=mode, host=host))
    assert finding.level == level, finding
    if level != "ok":
        assert f"does not name {US}" in finding.reason
        assert f"`mx: {US}`" in finding.fix


@pytest.mark.parametrize(
    ("untrusted", "reason"), [("self-signed certificate", "would not be believed"), (None, "shows no certificate")]
)
def test_a_policy_that_names_us_wants_a_certificate_that_is_believed(untrusted: str | None, reason: str) -> None:
    finding = found(POLICY.format(mode="enforce", host=US), untrusted=untrusted)
    assert (finding.level, reason in finding.reason) == ("error", True), finding


@pytest.mark.parametrize(
    ("status", "name", "body", "reason"),
    [
        ("404 Not Found", f"mta-sts.{DOMAIN}", "", "answered with 404"),
        # A redirect is not followed (RFC 8461, section 3.3).
        ("302 Found", f"mta-sts.{DOMAIN}", "", "answered with 302"),
        ("200 OK", "www.example.org", POLICY.format(mode="enforce", host=US), "Hostname mismatch"),
        ("200 OK", f"mta-sts.{DOMAIN}", "<html>", "cannot be used"),
        ("200 OK", f"mta-sts.{DOMAIN}", "version: STSv1\nmode: perhaps\n", "cannot be used"),
    ],
)
def test_a_policy_that_cannot_be_had_is_a_warning(status: str, name: str, body: str, reason: str) -> None:
    finding = found(body, status=status, name=name)
    assert (finding.level, reason in finding.reason) == ("warning", True), finding
