"""The `fallback-mx` program: one file for each noun; parsing of arguments and printing, nothing else.

Commands work on the database, so they work whether or not the service runs. What takes long to import is imported
where a command needs it: `--help` answers at once.
"""

from __future__ import annotations

import click

from fallback_mx import __version__
from fallback_mx.cli.exits import Program
from fallback_mx.cli.options import config_option, json_option_of_group

NOUNS = (
    "init",
    "serve",
    "demo",
    "status",
    "doctor",
    "test-mail",
    "drill",
    "queue",
    "primary",
    "recipients",
    "outage",
    "maintenance",
    "sla",
    "invoice",
    "config",
    "db",
    "check",
    "completion",
    "mailq",
)


@click.group("fallback-mx", cls=Program, nouns=NOUNS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fallback-mx")
@config_option
@json_option_of_group
def program() -> None:
    """A second mail exchanger that keeps mail safe while the primary is down.

    \b
    Examples:
      fallback-mx demo                     the whole story in under a minute, nothing touched
      fallback-mx init                     a configuration, from a few questions
      fallback-mx config check             is the configuration right?
      fallback-mx serve                    run the service
      fallback-mx doctor                   is everything around it right?
      fallback-mx status                   how are the primaries, what waits?
      fallback-mx queue list               which mail waits?
      fallback-mx outage list --month 2026-11
      fallback-mx sla report --month 2026-11

    \b
    Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 nothing matched,
    4 database unreachable, 5 partly done.
    """


def main() -> None:
    """The console script."""
    program()
