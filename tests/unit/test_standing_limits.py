"""From the configuration to the listener: each limit of [server] arrives, and defaults are the same on both sides."""

from __future__ import annotations

from dataclasses import fields, replace

from fallback_mx.config import Server
from fallback_mx.service.limits import with_limits
from fallback_mx.smtp.deadlines import Patience
from fallback_mx.smtp.limits import SessionLimits
from fallback_mx.smtp.terms import ListenerSettings

PLAIN = ListenerSettings(hostname="mx2.example.net", routes={})
WRITTEN = Server.model_validate(
    {
        "max_message_size": "1MB",
        "max_header_size": "2kB",
        "long_lines": "refuse",
        "max_content_memory": "3MB",
        "max_connections": 4,
        "max_connections_per_client": 5,
        "max_connections_per_network": 6,
        "max_messages_per_session": 7,
        "max_recipients": 8,
        "max_errors": 9,
        "max_idle_commands": 10,
        "command_timeout": "11s",
        "data_timeout": "12s",
        "min_data_rate": "13B",
        "stress_timeout": "14s",
        "proxy_protocol_from": ["192.0.2.15"],
        "xclient_from": ["192.0.2.16"],
    }
)


def test_every_limit_of_the_file_reaches_the_listener() -> None:
    settings = with_limits(PLAIN, WRITTEN)
    assert replace(settings, proxy_protocol_from=PLAIN.proxy_protocol_from, xclient_from=PLAIN.xclient_from) == replace(
        PLAIN,
        max_message_size=1_000_000,
        max_header_size=2000,
        max_line_length=998,
        max_content_memory=3_000_000,
        max_connections=4,
        max_connections_per_client=5,
        max_connections_per_network=6,
        session_limits=SessionLimits(messages=7, errors=9, idle_commands=10),
        max_recipients=8,
        patience=Patience(command_seconds=11, block_seconds=12, min_data_rate=13, stressed_seconds=14),
    )
    assert "192.0.2.15" in settings.proxy_protocol_from
    assert "192.0.2.16" in settings.xclient_from


def test_the_defaults_of_the_file_are_those_of_the_listener() -> None:
    settings = with_limits(PLAIN, Server(hostname="mx2.example.net"))
    differing = {each.name for each in fields(settings) if getattr(settings, each.name) != getattr(PLAIN, each.name)}
    assert differing <= {"proxy_protocol_from", "xclient_from"}, "these have no equality, and are empty"
    assert "127.0.0.1" not in settings.proxy_protocol_from
    assert "127.0.0.1" not in settings.xclient_from
