"""`fallback-mx demo`: an outage from beginning to end, with real sockets and the real service, in a directory that
goes away afterwards."""

from __future__ import annotations

import click


@click.command(short_help="Play an outage from beginning to end.")
def demo() -> int:
    """Play an outage: a primary goes away, mail arrives, the primary comes back.

    Everything runs on 127.0.0.1 in a temporary directory; no configuration is read. The exit code is 0 only if every
    message that was answered with 250 reached the primary exactly once and octet by octet.

    \b
    Examples:
      fallback-mx demo
    """
    from fallback_mx import demo as story

    return story.run()
