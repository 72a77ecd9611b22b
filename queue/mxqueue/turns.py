"""Whose turn it is: the domains of a route are claimed for in turn, so that much mail for one does not keep the others
waiting.

A round takes the oldest of each domain, the oldest of these first; then comes the next round. Where there is one domain
this is the order of arrival. Each domain is looked for along an index that has its mail apart, so a claim costs as many
looks as domains wait, whatever waits behind them; of very many domains a claim looks at some, and the next one at the
next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import ceil

from sqlalchemy import Connection, text

from mxqueue.prepared import Prepared
from mxqueue.schema import to_micros

# So many domains are looked at in one claim.
MOST_DOMAINS = 200

Row = tuple[int, str]
"""When a recipient is due, in microseconds, and its message's id."""


def in_turn(waiting: Mapping[str, Sequence[Row]], limit: int) -> list[str]:
    """The first `limit` rows in turn, as the ids of their messages without doubles. Each domain's rows are in order."""
    ranked = sorted((rank, *row) for rows in waiting.values() for rank, row in enumerate(rows))
    return list(dict.fromkeys(message_id for _, _, message_id in ranked[:limit]))


# From one domain to the next by a look each: reading all that waits to find its few domains would take a second.
_DOMAINS = """WITH RECURSIVE each(domain) AS (
      SELECT (SELECT min(domain) FROM recipient WHERE state = 'pending' AND route = :route AND domain {} :after)
      UNION ALL
      SELECT (SELECT min(domain) FROM recipient WHERE state = 'pending' AND route = :route AND domain > each.domain)
        FROM each WHERE each.domain IS NOT NULL
    )
    SELECT domain FROM each WHERE domain IS NOT NULL LIMIT :most
"""
_FIRST_DOMAINS, _MORE_DOMAINS = text(_DOMAINS.format(">=")), text(_DOMAINS.format(">"))

_OF_DOMAIN = """SELECT recipient.not_before, recipient.message_id FROM recipient {join}
     WHERE recipient.state = 'pending' AND recipient.route = :route AND recipient.domain = :domain
       AND recipient.not_before <= :now AND (recipient.lease_until IS NULL OR recipient.lease_until <= :free_at)
     ORDER BY recipient.not_before, recipient.message_id LIMIT :most {lock}
"""
_NAMES = ("route", "domain", "now", "free_at", "most")
_READ = Prepared(text(_OF_DOMAIN.format(join="", lock="")), *_NAMES)
# What another node is claiming at this moment is passed over, message by message; see `leases`.
_LOCKED = Prepared(
    text(
        _OF_DOMAIN.format(
            join="JOIN message ON message.id = recipient.message_id", lock="FOR UPDATE OF message SKIP LOCKED"
        )
    ),
    *_NAMES,
)


class Turns:
    """For the writer's thread alone. What it remembers is where the last claim ended, of routes with very many domains:
    to forget it is unfair to nobody for long."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def next(self, connection: Connection, route: str, now: datetime, limit: int) -> list[str] | None:
        """The ids of due messages in turn; None where there is one domain at most, and the order is that of arrival."""
        start = self._last.get(route, "")
        seen: set[str] = set()
        while True:
            domains = [each for each in self._domains(connection, route, start) if each not in seen]
            if not seen and len(domains) < 2:
                return None
            if not domains:
                return []
            seen.update(domains)
            start = domains[-1]
            if len(domains) == MOST_DOMAINS:
                self._last[route] = start
            if found := in_turn(_due(connection, route, domains, now, limit), limit):
                return found

    @staticmethod
    def _domains(connection: Connection, route: str, after: str) -> list[str]:
        """Up to so many domains for which something waits, those behind `after` first, then those from the start."""
        bound = {"route": route, "after": after, "most": MOST_DOMAINS}
        found = list(connection.scalars(_MORE_DOMAINS, bound)) if after else []
        if len(found) < MOST_DOMAINS:
            first = connection.scalars(_FIRST_DOMAINS, bound | {"after": ""})
            found = list(dict.fromkeys([*found, *first]))
        return found[:MOST_DOMAINS]


def _due(
    connection: Connection, route: str, domains: Sequence[str], now: datetime, limit: int
) -> dict[str, Sequence[Row]]:
    """Of each domain its first due rows, enough of them for `limit` rows in turn."""
    statement = _LOCKED if connection.dialect.name == "postgresql" else _READ
    at = to_micros(now)
    share = ceil(limit / len(domains))
    rows: dict[str, Sequence[Row]] = {}
    wanted = domains
    while True:
        for domain in wanted:
            rows[domain] = [
                (row[0], row[1]) for row in statement.one(connection, route, domain, at, at, share).fetchall()
            ]
        lacking = limit - sum(map(len, rows.values()))
        # Only where a domain gave all that it was asked for can it have more.
        wanted = [domain for domain in wanted if len(rows[domain]) == share]
        if lacking <= 0 or not wanted:
            return rows
        share += ceil(lacking / len(wanted))
