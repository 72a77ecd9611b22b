"""`fallback-mx primary`: the mail servers that this service stands in for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fallback_mx.cli import primary_orders, primary_probe
from fallback_mx.cli.exits import DONE
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option, json_option_of_group
from fallback_mx.cli.printing import print_json, print_table, short
from fallback_mx.cli.status import read, tables
from fallback_mx.rules.orders import Order, Standing, What

if TYPE_CHECKING:
    from fallback_mx.maintenance.windows import Upkeep

COLUMNS = ("PRIMARY", "STATE", "SINCE", "NEXT HOP", "WHEN UP", "MESSAGES", "DOMAINS", "MAINTENANCE", "ORDERED")


@click.group()
@config_option
@json_option_of_group
def primary() -> None:
    """Look at the primaries, and say how they are to be treated.

    \b
    Examples:
      fallback-mx primary list
      fallback-mx primary probe main
      fallback-mx primary pause main --for 2h --reason "disks are being replaced"
      fallback-mx primary force main up --for 30m
      fallback-mx primary resume main
    """


@primary.command("list")
@config_option
@json_option
def list_(as_json: bool) -> int:
    """List the configured primaries with their state on record.

    \b
    Examples:
      fallback-mx primary list
      fallback-mx primary list --json | jq -r 'select(.state != "up").name'
    """
    from fallback_mx.maintenance.telling import as_json as upkeep_json
    from fallback_mx.status import orders_json

    with opened(*tables()) as (store, settings):
        current = {one.name: one for one in read(store, settings).primaries}
    if as_json:
        for one in settings.primaries:
            known = current[one.name]
            print_json(
                {
                    "name": one.name,
                    "state": known.state.value,
                    "since": known.since,
                    "cause": known.cause,
                    "host": one.next_hosts[0].host if one.next_hosts else None,
                    "port": one.next_hosts[0].port if one.next_hosts else one.port,
                    "hosts": [str(each) for each in one.next_hosts],
                    "when_up": one.when_up,
                    "domains": one.domains,
                    "messages": known.queued.messages,
                    "orders": orders_json(known.orders),
                    "maintenance": upkeep_json(known.upkeep),
                }
            )
        return DONE
    rows = [
        (
            one.name,
            current[one.name].state.value,
            short(current[one.name].since),
            ", ".join(map(str, one.next_hosts)) or "by MX",
            one.when_up,
            current[one.name].queued.messages,
            ", ".join(one.domains),
            _upkeep(current[one.name].upkeep),
            _ordered(current[one.name].orders),
        )
        for one in settings.primaries
    ]
    print_table(COLUMNS, rows, right=("MESSAGES",), fixed=("SINCE",))
    return DONE


def _upkeep(upkeep: Upkeep) -> str:
    """Until when it is on, otherwise when it is next."""
    if upkeep.until is not None:
        return f"until {short(upkeep.until)}"
    return "" if upkeep.next is None else f"from {short(upkeep.next.interval.start)}"


def _ordered(orders: Standing) -> str:
    """What an operator has ordered, with its end, who gave it and why."""
    return ", ".join(_told(each) for each in (orders.pause, orders.force) if each is not None)


def _told(order: Order) -> str:
    what = "paused" if order.what is What.PAUSE else order.what.value.replace("force", "forced")
    until = "" if order.until is None else f" until {short(order.until)}"
    return f"{what}{until} by {order.actor}" + (f" ({order.reason})" if order.reason else "")


primary_orders.register(primary)
primary_probe.register(primary)
