"""The standing limits of [server], in the listener's own terms."""

from __future__ import annotations

from dataclasses import replace

from fallback_mx.config import Server
from fallback_mx.smtp.deadlines import Patience
from fallback_mx.smtp.limits import SessionLimits
from fallback_mx.smtp.networks import Networks
from fallback_mx.smtp.terms import ListenerSettings

# Octets of a line without its CRLF, by what `long_lines` says.
LINE_OCTETS = {"accept": 65_536, "refuse": 998}


def with_limits(settings: ListenerSettings, server: Server) -> ListenerSettings:
    """The settings with everything in them that bounds a client, a session or a message."""
    return replace(
        settings,
        max_message_size=server.max_message_size,
        max_recipients=server.max_recipients,
        max_connections=server.max_connections,
        max_connections_per_client=server.max_connections_per_client,
        max_connections_per_network=server.max_connections_per_network,
        max_header_size=server.max_header_size,
        max_line_length=LINE_OCTETS[server.long_lines],
        max_content_memory=server.max_content_memory,
        session_limits=SessionLimits(server.max_messages_per_session, server.max_errors, server.max_idle_commands),
        patience=Patience(
            command_seconds=server.command_timeout.total_seconds(),
            block_seconds=server.data_timeout.total_seconds(),
            stressed_seconds=server.stress_timeout.total_seconds(),
            min_data_rate=server.min_data_rate,
        ),
        greeting_delay_seconds=server.greeting_delay.total_seconds(),
        dnsbl=server.dnsbl,
        dnsbl_timeout_seconds=server.dnsbl_timeout.total_seconds(),
        proxy_protocol_from=Networks(server.proxy_protocol_from),
        xclient_from=Networks(server.xclient_from),
    )
