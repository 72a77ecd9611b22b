"""How the drains of a running service are doing: that is in no database, so its own /status.json is asked.

Only where it listens on this machine, and for a moment: a command is not to wait for a service that is busy or gone.
Where there is no answer, or one that is not understood, nothing is said.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import fields
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fallback_mx.rules.draining import DrainStatus, Phase

if TYPE_CHECKING:
    from fallback_mx.config import Config

PATIENCE_SECONDS = 1.0
MAX_OCTETS = 16 * 1024 * 1024
LARGEST = 1e9


def drains(settings: Config) -> Mapping[str, DrainStatus]:
    """By the primary's name, for those of which the service says something."""
    try:
        said = json.loads(_ask(settings, "/status.json", HTTPStatus.OK))
        return {each["name"]: drain for each in said["primaries"] if (drain := _drain(each["drain"])) is not None}
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return {}


def not_ready(settings: Config) -> list[str]:
    """What keeps the service from taking mail, as it says itself; nothing where nothing does, or nobody answers."""
    try:
        said = json.loads(_ask(settings, "/readyz", HTTPStatus.SERVICE_UNAVAILABLE))
        return [f"{each['name']}: {each['detail']}" for each in said["checks"] if not each["ok"]]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return []


def here(host: str) -> str | None:
    """The address by which a service that listens at `host` is reached without leaving this machine."""
    if host == "localhost":
        return host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return host if address.is_loopback else None


def _ask(settings: Config, path: str, wanted: HTTPStatus) -> bytes:
    """What the service on this machine answers, where it is an answer of this status. Raises OSError or ValueError."""
    where = settings.http.listen
    host = None if where is None or where.port == 0 else here(where.host)
    if where is None or host is None:
        raise ValueError("it listens nowhere on this machine")
    connection = http.client.HTTPConnection(host, where.port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != wanted:
            raise ValueError(answer.status)
        return answer.read(MAX_OCTETS)
    finally:
        connection.close()


def _drain(said: Any) -> DrainStatus | None:
    """What the service says of one drain; None where it is of another version, or somebody else answers."""
    if not isinstance(said, dict):
        return None
    values = {each.name: said[each.name] for each in fields(DrainStatus)}
    for name in ("reason", "last_failure"):
        if not isinstance(values[name], str):
            return None
    numbers = ("connections", "allowed_connections", "max_connections", "messages_per_second", "put_off_seconds")
    if not all(isinstance(values[name], int | float) and 0 <= values[name] <= LARGEST for name in numbers):
        return None
    return DrainStatus(**{**values, "phase": Phase(values["phase"])})
