"""`fallback-mx primary probe`: one look at a primary now, step by step, by the way that its mail goes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.exits import DONE, FAILED, complain
from fallback_mx.cli.options import config_option, json_option, load_config
from fallback_mx.cli.printing import print_json, print_table, say
from fallback_mx.cli.recipients_verify import the_primary
from fallback_mx.visible import visible

if TYPE_CHECKING:
    from fallback_mx.config import Primary, Server
    from fallback_mx.rules.health import Observation

COLUMNS = ("PHASE", "SAID", "SECONDS")


def register(group: click.Group) -> None:
    group.add_command(probe)


@click.command(short_help="Look at it once, now, step by step.")
@config_option
@json_option
@click.argument("name")
def probe(name: str, as_json: bool) -> int:
    """Look at a primary once, now, by the way that its mail goes: connect, greet, encrypt, log in, leave.

    Each step is shown with what was said. Nothing of it is put on record: the running service looks for itself. The
    exit code is 1 where no mail could be sent that way, however far it came.

    \b
    Examples:
      fallback-mx primary probe main
      fallback-mx primary probe main --json | jq -r '.steps[].said'
    """
    from fallback_mx.smtp.probe import NotProbed

    settings = load_config()
    primary = the_primary(settings, name)
    try:
        seen, steps = asyncio.run(_look(primary, settings.server))
    except NotProbed as reason:
        complain(f"this machine could not try: {reason}")
        return FAILED
    if as_json:
        told = [{"phase": phase, "said": said, "seconds": round(seconds, 3)} for phase, said, seconds in steps]
        print_json({"primary": primary.name, "good": seen.good, "phase": seen.phase, "steps": told})
    else:
        rows = [(phase, said, f"{seconds:.3f}") for phase, said, seconds in steps]
        print_table(COLUMNS, rows, right=("SECONDS",), fixed=("PHASE",))
        if seen.good:
            say(f"{primary.name} answers; it took {seen.duration_seconds or 0:.3f} s.")
    if not seen.good:
        complain(f"{primary.name} does not answer as it must ({seen.phase}: {visible(seen.detail)})")
    return DONE if seen.good else FAILED


async def _look(primary: Primary, server: Server) -> tuple[Observation, list[tuple[str, str, float]]]:
    """What was seen, and each step: its phase, what was said, and how long it took in seconds."""
    from fallback_mx.service.next_hops import destination_of, dial_settings
    from fallback_mx.smtp.dial import Line, open_first
    from fallback_mx.smtp.probe import TIMEOUTS
    from fallback_mx.smtp.probe import probe as look

    began = time.monotonic()
    steps: list[tuple[str, str, float]] = []

    def hear(phase: str, said: str) -> None:
        nonlocal began
        now = time.monotonic()
        steps.append((phase, said, now - began))
        began = now

    dial = replace(dial_settings(primary, server, TIMEOUTS), hear=hear)
    route = destination_of(primary, server).route()

    async def connect() -> Line:
        return await open_first(await route.next_hops(), dial)

    return await look(connect), steps
