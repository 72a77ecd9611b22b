"""`fallback-mx check queue|primary|self`: a plugin for Nagios, Icinga and their like. The only command with their exit
codes: 0 ok, 1 warning, 2 critical, 3 unknown; see plugin.py."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from fallback_mx.cli.completing import primary_names
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option
from fallback_mx.cli.plugin import Figure, Level, Plugin, Threshold, answer, threshold, worst
from fallback_mx.durations import parse_duration, parse_size
from fallback_mx.spoken import counted, duration, octets

if TYPE_CHECKING:
    from fallback_mx.config import Config
    from fallback_mx.status import Primary, Status


class Range(click.ParamType[Threshold]):
    """A threshold of the guidelines, whose numbers are plain, durations or sizes."""

    def __init__(self, kind: str) -> None:
        self.name = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Threshold:
        if isinstance(value, Threshold):
            return value
        readers: dict[str, Callable[[str], float]] = {"number": float, "age": _seconds, "size": _octets}
        examples = {"number": "500 or 10:500", "age": "30m or 2h", "size": "2GB: (less than that alerts)"}
        try:
            return threshold(value, readers[self.name])
        except (ValueError, OverflowError):
            self.fail(f"{value} is not a threshold. Write one such as {examples[self.name]}.", param, ctx)


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return parse_duration(text).total_seconds()


def _octets(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float(parse_size(text))


NUMBER, AGE, SIZE = Range("number"), Range("age"), Range("size")


@click.group(cls=Plugin, short_help="Answer Nagios and Icinga, as a plugin.")
@config_option
def check() -> None:
    """Ask as a plugin for Nagios or Icinga does: one line, figures behind a bar, and the exit code.

    \b
    The exit code is 0 for ok, 1 for a warning, 2 for critical, 3 for unknown: also for a
    configuration that is not right, or a database that does not answer.
    Thresholds are those of the plugin guidelines: 10 alerts above 10, 10: below 10,
    10:20 outside and @10:20 inside.

    \b
    Examples:
      fallback-mx check queue -w 500 -c 5000
      fallback-mx check primary main
      fallback-mx check self -w 5GB: -c 1GB:
    """


@check.command(short_help="How much waits, and for how long.")
@config_option
@click.option("-w", "--warning", type=NUMBER, metavar="RANGE", help="Warn by this many messages that wait.")
@click.option("-c", "--critical", type=NUMBER, metavar="RANGE", help="Critical by this many.")
@click.option("--warning-age", type=AGE, metavar="RANGE", help="Warn by the age of the oldest, such as 30m.")
@click.option("--critical-age", type=AGE, metavar="RANGE", help="Critical by the age of the oldest, such as 6h.")
@click.option("--warning-held", type=NUMBER, metavar="RANGE", help="Warn by this many that are held; 0 for any.")
@click.option("--critical-held", type=NUMBER, metavar="RANGE", help="Critical by this many that are held.")
@click.option("--primary", metavar="NAME", shell_complete=primary_names, help="Mail for this primary alone.")
def queue(
    warning: Threshold | None,
    critical: Threshold | None,
    warning_age: Threshold | None,
    critical_age: Threshold | None,
    warning_held: Threshold | None,
    critical_held: Threshold | None,
    primary: str | None,
) -> int:
    """How many messages wait, how old the oldest is, and how many are held for somebody to look at.

    Without thresholds it is always ok, with figures for a graph.

    \b
    Examples:
      fallback-mx check queue -w 500 -c 5000 --warning-age 1h --critical-age 12h
      fallback-mx check queue --primary main --warning-held 0
    """
    from fallback_mx.cli.unknown import unknown_primary
    from mxqueue import RecipientState

    with opened() as (store, settings):
        counts = [one for one in store.count().result() if primary in (None, one.route)]
        now = datetime.now(UTC)
    unknown = unknown_primary(settings, primary)
    if unknown and not counts:
        raise click.UsageError(unknown)
    pending = sum(one.messages for one in counts if one.state is RecipientState.PENDING)
    held = sum(one.messages for one in counts if one.state is RecipientState.HELD)
    arrivals = [one.oldest_arrived_at for one in counts if one.oldest_arrived_at is not None]
    age = max(now - min(arrivals), timedelta()) if arrivals else timedelta()
    figures = [
        Figure("pending", pending, "", warning, critical),
        Figure("held", held, "", warning_held, critical_held),
        Figure("oldest", age.total_seconds(), "s", warning_age, critical_age),
    ]
    oldest = f"; oldest {duration(age)}" if arrivals else ""
    said = f"{counted(pending, 'message')} waiting, {held} held{oldest}"
    return answer("QUEUE", worst([each.level for each in figures]), said, figures)


@check.command(short_help="Whether the primaries are up.")
@config_option
@click.option("-w", "--warning", type=AGE, metavar="RANGE", help="Warn once it is not up for so long, such as 5m.")
@click.option("-c", "--critical", type=AGE, metavar="RANGE", help="Critical once it has been down for so long.")
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=primary_names)
def primary(names: tuple[str, ...], warning: Threshold | None, critical: Threshold | None) -> int:
    """Whether these primaries, or all of them, are up.

    Up is ok, falling and rising are a warning, down is critical; where nobody is watching it is unknown. With
    thresholds it is the time that counts, for whichever of these: -w 0s is what is done without.

    \b
    Examples:
      fallback-mx check primary
      fallback-mx check primary main -w 1m -c 10m
    """
    from fallback_mx.cli.recipients_verify import the_primary
    from fallback_mx.cli.status import read, tables

    with opened(*tables()) as (store, settings):
        wanted = [the_primary(settings, name).name for name in names]
        current = read(store, settings)
    found = [one for one in current.primaries if one.is_configured and (not wanted or one.name in wanted)]
    levels = [_level(one, current, warning, critical) for one in found]
    figures = [
        figure
        for one in found
        for figure in (
            Figure(f"{one.name} up", one.state == "up"),
            Figure(f"{one.name} not up for", _away(one, current).total_seconds(), "s", warning, critical),
        )
    ]
    return answer("PRIMARY", worst(levels), ", ".join(_said(one, current) for one in found), figures)


def _away(one: Primary, current: Status) -> timedelta:
    """How long it has not been up, as far as somebody was watching."""
    if one.state in ("up", "unknown") or one.since is None:
        return timedelta()
    return max(current.as_of - one.since, timedelta())


def _level(one: Primary, current: Status, warning: Threshold | None, critical: Threshold | None) -> Level:
    if one.state == "up":
        return Level.OK
    if one.state == "unknown":
        return Level.UNKNOWN
    seconds = _away(one, current).total_seconds()
    if one.state == "down" and (critical is None or critical.alerts(seconds)):
        return Level.CRITICAL
    return Level.WARNING if warning is None or warning.alerts(seconds) else Level.OK


def _said(one: Primary, current: Status) -> str:
    length = f" for {duration(current.as_of - one.since)}" if one.since is not None and one.state != "up" else ""
    cause = f" ({one.cause})" if one.cause else ""
    said = "has not been watched" if one.state == "unknown" else f"is {one.state.value}"
    return f"{one.name} {said}{length}{cause}"


@check.command("self", short_help="Whether the service runs and has room.")
@config_option
@click.option("-w", "--warning", type=SIZE, metavar="RANGE", help="Warn by the free space; otherwise twice the floor.")
@click.option("-c", "--critical", type=SIZE, metavar="RANGE", help="Critical by it; otherwise min_free_space.")
def self_(warning: Threshold | None, critical: Threshold | None) -> int:
    """Whether the service runs, its database can be read and is of this version, and the disk has room for mail.

    Whether it runs is seen by who holds the queue; where the database is a server, by when a primary was last looked
    at. Where [http] listens on this machine the service is asked whether it is ready, too. A range that ends with a
    colon alerts below: 5GB: is less than 5 GB free.

    \b
    Examples:
      fallback-mx check self
      fallback-mx check self -w 20GB: -c 5GB:
    """
    from fallback_mx.cli.live import not_ready
    from fallback_mx.cli.status import read, tables
    from mxqueue.engine import is_served

    with opened(*tables()) as (store, settings):
        served = is_served(settings.storage.url)
        current = read(store, settings)
        figures = _space(settings, warning, critical)
    watched = any(one.state != "unknown" for one in current.primaries)
    wrong = not_ready(settings)
    if served is False or (served is None and not watched):
        return answer("SELF", Level.CRITICAL, "the service is not running", figures)
    free = f", {octets(int(figures[0].value))} free" if figures else ""
    if wrong:
        return answer("SELF", Level.CRITICAL, f"the service is not ready: {'; '.join(wrong)}{free}", figures)
    level = worst([each.level for each in figures])
    return answer("SELF", level, f"the service is running{free}", figures)


def _space(settings: Config, warning: Threshold | None, critical: Threshold | None) -> list[Figure]:
    """The free space where the queue lies; nothing where a database server keeps it."""
    from fallback_mx.space import Space
    from mxqueue.engine import database_path

    path = database_path(settings.storage.url)
    if path is None:
        return []
    floor = settings.storage.min_free_space
    free = Space(path.parent, floor).free_octets
    limits = warning or threshold(f"{2 * floor}:"), critical or threshold(f"{floor}:")
    return [Figure("free", free, "B", *limits)]
