"""`fallback-mx doctor`: is everything around this service as it must be, and what is to be done if not?"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.exits import DONE, FAILED, NOTHING_MATCHED, complain
from fallback_mx.cli.options import config_option, json_option, load_config
from fallback_mx.cli.places import DurationSeconds, Place, the_path
from fallback_mx.cli.printing import on_terminal, print_json, say
from fallback_mx.spoken import counted
from fallback_mx.visible import visible

if TYPE_CHECKING:
    from fallback_mx.config import Config, Primary
    from fallback_mx.doctor.examination import Check, Progress
    from fallback_mx.doctor.finding import Finding
    from fallback_mx.doctor.patient import Patient, Tools, Ward
    from mxqueue import Queue

STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


@click.command(short_help="Check DNS, ports, certificate, primary and machine, and say what to do.")
@config_option
@json_option
@click.option("--resolver", type=Place(53), metavar="ADDRESS[:PORT]", help="Ask this name server, not the system's.")
@click.option("--to", metavar="ADDRESS", help="Ask the primary about this recipient. [default: postmaster@DOMAIN]")
@click.option(
    "--sender",
    metavar="ADDRESS",
    help="Ask it with this sender, whose SPF policy is against us. [default: one is found]",
)
@click.option("--ntp", type=Place(123), metavar="SERVER[:PORT]", help="Compare the clock with this time server's.")
@click.option("--timeout", type=DurationSeconds(), default="60s", show_default=True, help="For each check.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=25,
    show_default=True,
    help="Where others reach us; 25 but in trials.",
)
@click.argument("domain", required=False)
def doctor(
    domain: str | None,
    resolver: tuple[str, int] | None,
    to: str | None,
    sender: str | None,
    ntp: tuple[str, int] | None,
    timeout: float,
    port: int,
    as_json: bool,
) -> int:
    """Check everything around this service, of DOMAIN or of every domain, and say what to do.

    DNS (MX, address, PTR, MTA-STS, TLSA, SPF), our listener and its certificate, the way to the primary and whether it
    exempts us, the clock, the disk, the database, the lists of recipients. Where a record is missing it is shown ready
    to paste. No mail is sent: the primary is asked with MAIL and RCPT, and that is taken back. docs/doctor.md tells
    of each finding. The exit code is 1 where one is an error, 3 where DOMAIN is configured nowhere.

    \b
    Examples:
      fallback-mx doctor
      fallback-mx doctor example.org --resolver 9.9.9.9 --to you@example.org
      fallback-mx doctor --json | jq -r 'select(.level != "ok") | .reason'
    """
    settings = load_config()
    wards = _wards(settings, domain, to, sender)
    if not wards:
        complain(f"{domain} is a domain of no primary")
        return NOTHING_MATCHED
    if to is not None and not any(ward.recipient for ward in wards):
        raise click.UsageError(f"--to {visible(to)[:80]} is in no domain that is asked about.")
    found = asyncio.run(_examine(settings, wards, resolver, ntp, timeout, port))
    if as_json:
        for each in found:
            print_json(_json(each))
    else:
        _print(found)
    return FAILED if any(each.level == "error" for each in found) else DONE


async def _examine(
    settings: Config,
    wards: tuple[Ward, ...],
    resolver: tuple[str, int] | None,
    ntp: tuple[str, int] | None,
    timeout: float,
    port: int,
) -> list[Finding]:
    from fallback_mx.doctor.examination import examine
    from fallback_mx.doctor.rounds import Rounds

    @contextmanager
    def opening() -> Iterator[Queue]:
        from fallback_mx.cli.opening import migrations
        from mxqueue import Queue

        # Every set of tables that the service wants is to be of this version.
        queue = Queue.open(settings.storage.url, node=settings.server.hostname, migrations=migrations())
        try:
            yield queue
        finally:
            queue.close()

    rounds = Rounds(_patient(settings, wards, port), _tools(resolver, ntp), opening)
    return await examine(rounds.checks(), timeout, _progress())


def _tools(chosen: tuple[str, int] | None, ntp: tuple[str, int] | None) -> Tools:
    from fallback_mx.doctor.asking import resolver
    from fallback_mx.doctor.patient import Tools

    return Tools(resolver(chosen), is_chosen=chosen is not None, clock_server=ntp)


def _wards(settings: Config, domain: str | None, to: str | None, sender: str | None) -> tuple[Ward, ...]:
    """The primaries that are asked about, each with the domains that are. Raises click.UsageError."""
    from fallback_mx.domains import normalised

    wanted = None
    if domain is not None:
        try:
            wanted = normalised(domain)
        except ValueError as reason:
            raise click.UsageError(f"{visible(domain)[:80]} is not a domain: {reason}.") from None
    found = []
    for primary in settings.primaries:
        domains = tuple(each for each in primary.domains if wanted in (None, each))
        if domains:
            found.append(_ward(settings, primary, domains, the_path(to or ""), the_path(sender or "")))
    return tuple(found)


def _ward(settings: Config, primary: Primary, domains: tuple[str, ...], to: str, sender: str) -> Ward:
    from fallback_mx.doctor.patient import Ward
    from fallback_mx.service.lists import has_list
    from fallback_mx.service.next_hops import destination_of, dial_settings

    is_ours = to.rpartition("@")[2] in primary.domains
    return Ward(
        primary.name,
        domains,
        destination_of(primary, settings.server),
        dial_settings(primary, settings.server),
        hosts=tuple(each.host for each in primary.next_hosts),
        has_list=has_list(primary),
        stale_after=primary.recipients_stale_after,
        unknown_recipients=primary.unknown_recipients,
        takes_routing_characters=primary.routing_characters == "accept",
        recipient=to if is_ours else "",
        sender=sender,
    )


def _patient(settings: Config, wards: tuple[Ward, ...], port: int) -> Patient:
    import ipaddress

    from fallback_mx.doctor.patient import Patient
    from mxqueue.engine import parse_url

    server, storage = settings.server, settings.storage
    sources = dict.fromkeys(str(each) for primary in settings.primaries for each in primary.source_address)
    url = parse_url(storage.url)
    file = url.database if url.drivername == "sqlite" else None
    loopback = ipaddress.ip_address("127.0.0.1")
    return Patient(
        server.hostname,
        tuple((each.host, each.port) for each in server.listen),
        wards,
        port=port,
        certificate=server.tls_certificate,
        sources=tuple(sources),
        is_behind_proxy=any(loopback in network for network in server.proxy_protocol_from),
        queue_directory=None if file is None else Path(file).absolute().parent,
        min_free_octets=storage.min_free_space,
    )


def _progress() -> Progress:
    """Says on a terminal what is waited for. Nothing where nobody watches."""
    is_watched = sys.stderr.isatty()

    def tell(done: int, under_way: Sequence[Check]) -> None:
        if not is_watched:
            return
        waiting = ", ".join(dict.fromkeys(f"{each.name} of {each.subject}" for each in under_way[:2]))
        more = f" and {len(under_way) - 2} more" if len(under_way) > 2 else ""
        line = f"{done} of {done + len(under_way)} checks done, waiting for {waiting}{more}" if under_way else ""
        click.echo(f"\r\x1b[K{visible(line)[:100]}", err=True, nl=False)

    return tell


def _json(finding: Finding) -> dict[str, object]:
    return {
        "check": finding.check,
        "subject": finding.subject,
        "level": finding.level.value,
        "reason": finding.reason,
        "fix": finding.fix,
        "records": list(finding.records),
    }


def _print(found: Sequence[Finding]) -> None:
    for each in found:
        _print_line(each)
        if each.level == "ok":
            continue
        say(f"         → {each.fix}")
        for record in each.records:
            say(f"           {record}")
    bad = {level: sum(each.level == level for each in found) for level in ("error", "warning", "ok")}
    say(f"{counted(bad['error'], 'error')}, {counted(bad['warning'], 'warning')}, {bad['ok']} ok.")


def _print_line(finding: Finding) -> None:
    line = f"{finding.check:<12} {visible(finding.reason)}"
    if not on_terminal():
        say(f"{finding.level.value:<8} {line}")
        return
    from rich.console import Console
    from rich.text import Text

    text = Text.assemble((f"{finding.level.value:<8} ", STYLES[finding.level.value]), line)
    Console(markup=False, highlight=False, emoji=False, soft_wrap=True).print(text)
