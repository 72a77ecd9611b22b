"""`fallback-mx primary probe`: one look at a primary now, step by step, by the way that its mail goes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.completing import primary_names
from fallback_mx.cli.exits import DONE, FAILED, complain
from fallback_mx.cli.options import config_option, json_option, load_config
from fallback_mx.cli.printing import print_json, print_table, say, short
from fallback_mx.cli.recipients_verify import the_primary
from fallback_mx.visible import visible

if TYPE_CHECKING:
    from fallback_mx.config import Primary, Server
    from fallback_mx.rules.observation import Observation, PortSeen

COLUMNS = ("PHASE", "SAID", "SECONDS")


def register(group: click.Group) -> None:
    group.add_command(probe)


@click.command(short_help="Look at it once, now, step by step.")
@config_option
@json_option
@click.argument("name", shell_complete=primary_names)
def probe(name: str, as_json: bool) -> int:
    """Look at a primary once, now, as deep as `probe` says: connect, greet, encrypt, log in, ask for a recipient.

    Its other ports are knocked at, too. Each step is shown with what was said. Nothing of it is put on record: the
    running service looks for itself. The exit code is 1 where no mail could be sent that way, however far it came.

    \b
    Examples:
      fallback-mx primary probe main
      fallback-mx primary probe main --json | jq -r '.steps[].said'
    """
    from fallback_mx.smtp.probe import NotProbed

    settings = load_config()
    primary = the_primary(settings, name)
    try:
        seen, steps, ports = asyncio.run(_look(primary, settings.server))
    except NotProbed as reason:
        complain(f"this machine could not try: {reason}")
        return FAILED
    if as_json:
        told = [{"phase": phase, "said": said, "seconds": round(seconds, 3)} for phase, said, seconds in steps]
        others = [{"port": port.name, "good": port.good, "said": port.detail} for port in ports]
        ends = seen.certificate_expires_at
        print_json(
            {
                "primary": primary.name,
                "good": seen.good,
                "phase": seen.phase,
                "steps": told,
                "ports": others,
                "certificate_expires_at": None if ends is None else ends.isoformat().replace("+00:00", "Z"),
            }
        )
    else:
        rows = [(phase, said, f"{seconds:.3f}") for phase, said, seconds in steps]
        rows += [(f"port {port.name}", port.detail, "") for port in ports]
        print_table(COLUMNS, rows, right=("SECONDS",), fixed=("PHASE",))
        if seen.certificate_expires_at is not None:
            say(f"Its certificate is valid until {short(seen.certificate_expires_at)}.")
        if seen.good:
            say(f"{primary.name} answers; it took {seen.duration_seconds or 0:.3f} s.")
    if not seen.good:
        complain(f"{primary.name} does not answer as it must ({seen.phase}: {visible(seen.detail)})")
    return DONE if seen.good else FAILED


async def _look(primary: Primary, server: Server) -> tuple[Observation, list[tuple[str, str, float]], list[PortSeen]]:
    """What was seen; each step: its phase, what was said, and how long it took in seconds; and its other ports."""
    from fallback_mx.service.looks import knock_at, manner_of
    from fallback_mx.service.next_hops import destination_of, dial_settings
    from fallback_mx.smtp.dial import Line, open_first
    from fallback_mx.smtp.probe import TIMEOUTS, Stopwatch
    from fallback_mx.smtp.probe import probe as look

    steps: list[tuple[str, str, float]] = []
    stopwatch = Stopwatch(lambda phase, said, seconds: steps.append((phase, said, seconds)))
    manner = manner_of(primary)
    dial = replace(dial_settings(primary, server, TIMEOUTS), depth=manner.depth, hear=stopwatch.hear)
    route = destination_of(primary, server).route()

    async def connect() -> Line:
        return await open_first(await route.next_hops(), dial)

    seen = await look(connect, manner=manner, stopwatch=stopwatch)
    ports = [await knock_at(port, route, dial.source) for port in (*primary.down_ports, *primary.alert_ports)]
    return seen, steps, [port for port in ports if port is not None]
