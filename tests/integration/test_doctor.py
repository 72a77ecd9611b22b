"""`fallback-mx doctor` against scripted name servers and peers: each finding, well and not."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.rcode
import pytest

from fallback_mx.recipients import listed
from fallback_mx.recipients.listed import ListState
from fallback_mx.smtp import tls_policy
from fallback_mx.smtp.sink import Act
from tests.fakes.clinic import ADDRESS, DOMAIN, PRIMARY, US, Clinic
from tests.fakes.identities import tlsa

Spoil = Callable[[Clinic], None]
NOW = datetime.now(UTC)


@pytest.fixture
def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clinic]:
    made = Clinic(tmp_path)
    # The authorities that OpenSSL takes for the system's; what this process has read of them before is forgotten.
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority_file))
    tls_policy._verifying.cache_clear()
    yield made
    tls_policy._verifying.cache_clear()


def put(name: str, kind: str, *values: str) -> Spoil:
    """Let the zone say this of a name; nothing, where there are no values."""

    def spoil(clinic: Clinic) -> None:
        clinic.records.pop((name, kind), None)
        if values:
            clinic.records[name, kind] = list(values)

    return spoil


def broken(name: str) -> Spoil:
    def spoil(clinic: Clinic) -> None:
        clinic.name_server.broken[name] = dns.rcode.SERVFAIL

    return spoil


def primary_says(step: str, said: Any) -> Spoil:
    def spoil(clinic: Clinic) -> None:
        clinic.primary.replies[step] = said

    return spoil


def listener_says(step: str, said: Any) -> Spoil:
    def spoil(clinic: Clinic) -> None:
        clinic.listener.replies[step] = said

    return spoil


def to_forbidden(reply: str) -> Spoil:
    """The primary says this to recipients of everybody but the null sender."""
    return primary_says("rcpt", lambda session, _: reply if session.reverse_path else None)


def wears(*names: str, **dates: datetime) -> Spoil:
    return lambda clinic: clinic.wear(*names, **dates)


def without_certificate(clinic: Clinic) -> None:
    clinic.has_certificate = False
    clinic.listener.tls = None


def without_starttls(clinic: Clinic) -> None:
    clinic.listener.tls = None


def after_renewal(clinic: Clinic) -> None:
    shown = clinic.listener.tls
    clinic.wear(US)
    clinic.listener.tls = shown


def with_config(text: str) -> Spoil:
    def spoil(clinic: Clinic) -> None:
        clinic.more_config += text + "\n"

    return spoil


def without_room(clinic: Clinic) -> None:
    clinic.floor = "100000TB"


def without_database(clinic: Clinic) -> None:
    clinic.operator.database.unlink()


def with_list(age: timedelta) -> Spoil:
    """The primary has a list that was last confirmed so long ago."""

    def spoil(clinic: Clinic) -> None:
        queue = clinic.operator.open()
        then = datetime.now(UTC) - age
        state = ListState("main", "file", 1, 1, "x", then, then)
        queue.writer.submit(lambda connection: listed.put_list_state(connection, state)).result()
        queue.close()
        with_config(f'recipients_file = "{clinic.certificate_file}"')(clinic)

    return spoil


def validated(then: Spoil) -> Spoil:
    def spoil(clinic: Clinic) -> None:
        clinic.name_server.is_validating = True
        then(clinic)

    return spoil


def with_tlsa(clinic: Clinic) -> None:
    clinic.records[f"_{clinic.listener_port}._tcp.{US}.", "TLSA"] = [tlsa(3, 1, 1, clinic.certificate)]


def with_anothers_tlsa(clinic: Clinic) -> None:
    with_tlsa(clinic)
    clinic.wear(US)


def tlsa_without_certificate(clinic: Clinic) -> None:
    with_tlsa(clinic)
    without_certificate(clinic)


MX, ADDRESS_NAME, REVERSE = f"{DOMAIN}.", f"{US}.", "1.0.0.127.in-addr.arpa."

CASES: list[tuple[str, str, Spoil | None, str, str, str]] = [
    # what is wrong, the check, how, the level, what the reason says, what the fix or a record says
    ("all well", "mx", None, "ok", f"{US} (20) stands behind {PRIMARY} (10)", ""),
    ("not listed", "mx", put(MX, "MX", f"10 {PRIMARY}."), "error", "is not among", f"{DOMAIN}. IN MX 20 {US}."),
    ("first", "mx", put(MX, "MX", f"10 {PRIMARY}.", f"5 {US}."), "error", "comes before", f"IN MX 20 {US}."),
    ("as high", "mx", put(MX, "MX", f"10 {PRIMARY}.", f"10 {US}."), "error", "stands as high as", f"IN MX 20 {US}."),
    ("alone", "mx", put(MX, "MX", f"10 {US}."), "error", "is the only exchanger", f"IN MX 10 {PRIMARY}."),
    ("no MX", "mx", put(MX, "MX"), "error", "has no MX records", f"{DOMAIN}. IN MX 20 {US}."),
    ("null MX", "mx", put(MX, "MX", "0 ."), "error", "takes no mail", f"IN MX 20 {US}."),
    ("SERVFAIL", "mx", broken(MX), "error", "no answer for MX of example.org", "--resolver"),
    ("on loopback", "address", None, "warning", f"{US} is {ADDRESS}", "--resolver 9.9.9.9"),
    ("no address", "address", put(ADDRESS_NAME, "A"), "error", "has no address", f"{US}. IN A "),
    ("an alias", "address", put(ADDRESS_NAME, "CNAME", "host.example.net."), "error", "alias of host.example.net",
     "CNAME"),
    ("SERVFAIL", "address", broken(ADDRESS_NAME), "error", f"no answer for A of {US}", "name servers"),
    ("all well", "ptr", None, "ok", f"{ADDRESS} leads back to {US}", ""),
    ("no PTR", "ptr", put(REVERSE, "PTR"), "error", "leads back to no name", f"{REVERSE} IN PTR {US}."),
    ("unconfirmed", "ptr", put(REVERSE, "PTR", "x.example.net."), "error", "which does not lead to", f"IN PTR {US}."),
    ("another name", "ptr", put(REVERSE, "PTR", f"{PRIMARY}."), "warning", "and we greet as", f"IN PTR {US}."),
    ("SERVFAIL", "ptr", broken(REVERSE), "error", "no answer for PTR", "--resolver"),
    ("no policy", "helo", None, "ok", "no SPF policy that is against us", ""),
    ("no address", "helo", put(ADDRESS_NAME, "A"), "error", "no address", "address first"),
    ("passes", "helo", put(ADDRESS_NAME, "TXT", '"v=spf1 a -all"'), "ok", "lets us send", ""),
    ("fails", "helo", put(ADDRESS_NAME, "TXT", '"v=spf1 -all"'), "error", "refused", f'{US}. IN TXT "v=spf1 a -all"'),
    ("wrong", "helo", put(ADDRESS_NAME, "TXT", '"v=spf1 x"'), "warning", "says permerror", "IN TXT"),
    ("all well", "listener", None, "ok", f"answers as {US}", ""),
    ("another server", "listener", listener_says("ehlo", "250 other.test"), "error", "answers as other.test",
     "Another mail"),
    ("silence", "listener", listener_says("banner", Act.DROP), "error", "nothing answers where we listen", "systemctl"),
    ("all well", "port-in", None, "ok", f"answers as {US}, seen from this machine", ""),
    ("address elsewhere", "port-in", put(ADDRESS_NAME, "A", "127.0.0.9"), "warning", "does not answer", "nc -v"),
    ("no address", "port-in", put(ADDRESS_NAME, "A"), "error", "no address", "address first"),
    ("another server", "port-in", listener_says("ehlo", "250 other.test"), "error", "another server",
     "Correct the address"),
    ("all well", "starttls", None, "ok", "speaks TLSv1.3", ""),
    ("no certificate", "starttls", without_certificate, "warning", "STARTTLS is not offered", "server.tls_certificate"),
    ("not loaded", "starttls", without_starttls, "error", "does not offer STARTTLS", "restart"),
    ("handshake fails", "starttls", listener_says("starttls", "454 not now"), "error", "does not work",
     "certificate and key"),
    ("all well", "certificate", None, "ok", f"for {US}, of an authority that this machine knows", ""),
    ("none", "certificate", without_certificate, "warning", "no certificate is configured", "tls_certificate"),
    ("over", "certificate", wears(US, not_after=NOW - timedelta(1)), "error", "the certificate ended on", "Renew it"),
    ("over soon", "certificate", wears(US, not_after=NOW + timedelta(9.5)), "warning", "ends in 9 days", "Renew it"),
    ("begins later", "certificate", wears(US, not_before=NOW + timedelta(9)), "error", "begins on", "clock"),
    ("another name", "certificate", wears("x.example.net"), "warning", f"not for {US}", f"issued for {US}"),
    ("a wildcard", "certificate", wears("*.example.com"), "ok", "*.example.com", ""),
    ("not reloaded", "certificate", after_renewal, "warning", "still shows another certificate", "reload"),
    ("all well", "tlsa", None, "ok", "has no TLSA records", ""),
    ("matches", "tlsa", validated(with_tlsa), "ok", "matches the certificate", ""),
    ("of another key", "tlsa", validated(with_anothers_tlsa), "error", "no TLSA record matches", "IN TLSA 3 1 1 "),
    ("unsigned", "tlsa", with_tlsa, "warning", "has not validated", "DNSSEC"),
    ("no certificate", "tlsa", tlsa_without_certificate, "error", "we show no certificate", "take the records out"),
    ("all well", "mta-sts", None, "ok", "has no MTA-STS policy", ""),
    ("not there", "mta-sts", put("_mta-sts.example.org.", "TXT", '"v=STSv1; id=1"'), "warning", "cannot be fetched",
     "https://"),
    ("no name server", "mta-sts", broken("_mta-sts.example.org."), "error", "no answer for TXT", "name servers"),
    ("all well", "port-out", None, "ok", "main is reached at", ""),
    ("all well", "primary", None, "ok", f"main would take mail for postmaster@{DOMAIN} from us", ""),
    ("greylisted", "primary", primary_says("rcpt", "451 4.7.1 Greylisted"), "warning", "greylists us", "greylisting"),
    ("limited", "primary", primary_says("mail", "421 4.7.0 Too many messages"), "warning", "limits",
     "rate and connection"),
    ("put off", "primary", primary_says("rcpt", "450 4.2.0 Later"), "warning", "puts us off: 450", "its log"),
    ("refused", "primary", primary_says("rcpt", "554 5.7.1 Blocked"), "error", "refuses mail", "block lists"),
    ("turned away", "primary", primary_says("banner", "554 5.7.1 Go away"), "error", "554 5.7.1 Go away",
     "block lists"),
    ("busy", "primary", primary_says("banner", "421 4.7.0 Too many connections"), "warning", "limits",
     "connection limits"),
    ("cut", "primary", primary_says("rcpt", Act.DROP), "warning", "puts us off", "its log"),
    ("all well", "spf", None, "ok", f"takes postmaster@{DOMAIN} (SPF: fail) from us", ""),
    ("refused", "spf", to_forbidden("550 5.7.23 SPF check failed"), "error", "for its SPF policy", f"exempt {ADDRESS}"),
    ("for another reason", "spf", to_forbidden("550 5.7.1 No"), "error", "takes the null sender from us, and not",
     "SPF"),
    ("put off", "spf", to_forbidden("450 4.7.1 Later"), "warning", "takes the null sender from us", "greylisting"),
    ("no such sender", "spf", put(MX, "TXT"), "warning", "no sender was found", "--sender"),
    ("all well", "relay", None, "ok", "recipients elsewhere are refused, in 5 ways", ""),
    ("open", "relay", listener_says("rcpt", "250 2.1.5 Ok"), "error", "are taken: nobody@relay-test.invalid",
     "Stop the"),
    ("unsure", "relay", listener_says("rcpt", "451 4.3.0 Later"), "warning", "put off, not refused", "Look again"),
    ("all well", "disk", None, "ok", "are free under", ""),
    ("no room", "disk", without_room, "error", "mail is refused (452)", "Make room"),
    ("all well", "sqlite", None, "ok", "keeps what it has committed", ""),
    ("all well", "database", None, "ok", "is there", ""),
    ("not there", "database", without_database, "error", "does not exist", "db migrate"),
    ("none", "recipients", None, "ok", "has no list", ""),
    ("fresh", "recipients", with_list(timedelta(minutes=5)), "ok", "was read 5 min ago", ""),
    ("getting old", "recipients", with_list(timedelta(hours=15)), "warning", "counts no more in 8 h",
     "recipients import"),
    ("stale", "recipients", with_list(timedelta(days=2)), "error", "refuses nobody any more", "recipients import"),
    ("no list", "recipients", with_config('unknown_recipients = "refuse"'), "error", "so is all mail",
     "Configure a list"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "spoil", "level", "reason", "fix"), [case[1:] for case in CASES], ids=[f"{c[1]}: {c[0]}" for c in CASES]
)
def test_what_is_found_and_what_to_do(
    clinic: Clinic, check: str, spoil: Spoil | None, level: str, reason: str, fix: str
) -> None:
    if spoil is not None:
        spoil(clinic)
    with clinic:
        found = clinic.found()[check]
    assert (found["level"], reason in found["reason"]) == (level, True), found
    assert (found["level"] == "ok") == (not found["fix"]), found
    assert fix in "\n".join([found["fix"], *found["records"]]), found


def test_nobody_at_the_primary_is_an_error_that_says_what_may_keep_us_out(clinic: Clinic) -> None:
    with clinic:
        clinic.silence(clinic.primary)
        found = clinic.found()
    assert found["port-out"]["level"] == "error"
    assert "connection refused" in found["port-out"]["reason"]
    assert "Many providers close port 25" in found["port-out"]["fix"]
    assert {found[check]["level"] for check in ("primary", "spf")} == {"warning"}


def test_nobody_at_our_listener_is_an_error_of_each_check_that_asks_it(clinic: Clinic) -> None:
    with clinic:
        clinic.silence(clinic.listener)
        found = clinic.found()
    assert {found[check]["level"] for check in ("listener", "port-in", "starttls", "relay")} == {"error"}
    # The file is there to be looked at.
    assert found["certificate"]["level"] == "ok"


def test_no_mail_is_sent_and_nobody_but_our_listener_is_asked_to_relay(clinic: Clinic) -> None:
    with clinic:
        clinic.found()
    said = [command.partition(b" ")[0] for command in clinic.primary.commands + clinic.listener.commands]
    assert {b"DATA", b"BDAT"} & set(said) == set()
    assert [each for each in clinic.primary.commands if b"RCPT" in each and b"@example.org>" not in each] == []
    assert clinic.primary.messages == clinic.listener.messages == []


def test_a_check_that_hangs_holds_up_none_of_the_others(clinic: Clinic) -> None:
    clinic.primary.replies["banner"] = Act.SILENT
    with clinic:
        found = clinic.found("--timeout", "3s")
    assert found["primary"]["level"] == "error"
    assert "did not come to its end within 3 s" in found["primary"]["reason"]
    assert {found[check]["level"] for check in ("mx", "listener", "relay", "disk")} == {"ok"}


def test_a_name_server_that_says_nothing_is_told_of_each_question(clinic: Clinic) -> None:
    clinic.name_server.silent = frozenset({MX})
    with clinic:
        found = clinic.found()
    assert found["mx"]["reason"] == "no answer for MX of example.org in time"
    assert found["ptr"]["level"] == "ok"


def test_a_recipient_and_a_sender_can_be_named(clinic: Clinic) -> None:
    clinic.records["sender.test.", "TXT"] = ['"v=spf1 -all"']
    with clinic:
        clinic.found("--to", "you@example.org", "--sender", "alice@sender.test")
    assert b"MAIL FROM:<alice@sender.test>" in clinic.primary.commands
    assert [c for c in clinic.primary.commands if c.startswith(b"RCPT")] == [b"RCPT TO:<you@example.org>"] * 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("example.com",), 3, "example.com is a domain of no primary"),
        (("not a domain",), 2, "not a domain is not a domain"),
        (("--to", "you@elsewhere.test"), 2, "--to you@elsewhere.test is in no domain that is asked about."),
        (("--to", "you"), 2, "you is not an address"),
        (("--resolver", "127.0.0.1:x"), 2, "is no address and port"),
        (("--timeout", "soon"), 2, "is not a duration"),
    ],
)
def test_what_was_meant_wrongly_asks_nobody(clinic: Clinic, words: tuple[str, ...], code: int, said: str) -> None:
    with clinic:
        result = clinic.run(*words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert clinic.name_server.asked == []


def test_what_people_read_has_a_line_a_finding_what_to_do_below_it_and_a_sum(clinic: Clinic) -> None:
    put(MX, "MX", f"10 {PRIMARY}.")(clinic)
    with clinic:
        result = clinic.run(DOMAIN)
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"error    mx           {US} is not among")
    assert lines[1] == "         → Add this record; senders find us by it in an outage."
    assert lines[2] == f"           {DOMAIN}. IN MX 20 {US}."
    assert lines[-1].startswith("1 error, ")
    assert (result.exit_code, result.stderr) == (1, "")


def test_json_has_exactly_the_promised_fields(clinic: Clinic) -> None:
    with clinic:
        lines = clinic.run("--json").stdout.splitlines()
    assert {tuple(json.loads(line)) for line in lines} == {("check", "subject", "level", "reason", "fix", "records")}


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)


def test_on_a_terminal_it_says_what_is_waited_for_and_levels_have_colour(
    clinic: Clinic, terminal: tuple[int, int]
) -> None:
    ours, theirs = terminal
    with clinic:
        clinic.write_config()
        command = [sys.executable, "-m", "fallback_mx", "doctor", *clinic.words]
        environment = {**os.environ, "FALLBACK_MX_CONFIG": str(clinic.operator.config), "TERM": "xterm-256color"}
        environment.pop("NO_COLOR", None)
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        pieces = []
        try:
            while piece := os.read(ours, 65536):
                pieces.append(piece)
        except OSError:
            pass
        assert process.wait(60) == 0
    output = b"".join(pieces).decode()
    assert "checks done, waiting for mx of example.org" in output
    assert "\x1b[32mok" in output
    assert f"mx           {US} (20) stands behind" in output
