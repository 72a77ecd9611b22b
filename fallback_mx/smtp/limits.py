"""What one session may do before it is told to come back later, and the words in which it is told.

Messages, errors and commands that bring no mail nearer are counted here; connections are in `crowd`, time in
`deadlines`, sizes in `transaction`. A `Tally` is kept for each session. It costs nothing where mail is sent as it
should be: only what is unusual counts.
"""

from __future__ import annotations

from dataclasses import dataclass

# By the names that `Crowd.enter` gives the limits.
CROWDED = {
    "connections": "421 4.7.0 Too many connections at the moment, please try again later",
    "client_connections": "421 4.7.0 Too many connections from your address, please use those that are open",
    "network_connections": "421 4.7.0 Too many connections from your network, please try again later",
}
# By the names that the limits have in the log and in the metrics.
TOO_SLOW = {
    "data_rate": "421 4.4.2 The message comes too slowly, please try again over a better line",
    "timeout": "421 4.4.2 No command came for too long, please connect again",
}
FAULTS = {
    "size": "552 5.3.4 Message too large, at most {0.message_octets} octets are taken",
    "header_size": "552 5.3.4 Message header too large, at most {0.header_octets} octets are taken",
    "long_lines": "554 5.6.0 A line is too long, at most {0.line_octets} octets are taken: please encode the message",
}
# A sender may go on naming recipients for this long after the first that was put off (RFC 5321, section 4.5.3.1.10).
OVERSHOOT_RECIPIENTS = 1000


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Messages, errors, and commands without mail, of one session."""

    messages: int = 1000
    errors: int = 20
    idle_commands: int = 50


class Tally:
    """What a session has done so far. `over` names the limit that it has come to, "" while there is none."""

    __slots__ = ("_deferred", "_errors", "_idle", "_limits", "_messages", "over")

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        self._messages = 0
        self._errors = 0
        self._idle = 0
        self._deferred = 0
        self.over = ""

    def error(self) -> None:
        """A command or a recipient was refused for good."""
        self._errors += 1
        if self._errors >= self._limits.errors:
            self.over = "errors"

    def idle(self) -> None:
        """A command came that brings no mail nearer: RSET, NOOP, EHLO and their like."""
        self._idle += 1
        if self._idle > self._limits.idle_commands:
            self.over = "idle_commands"

    def deferred(self) -> None:
        """A recipient was refused for now."""
        self._deferred += 1
        if self._deferred > OVERSHOOT_RECIPIENTS:
            self.over = "recipients"

    def message(self) -> None:
        """A message was taken."""
        self._messages += 1
        self._idle = self._deferred = 0

    @property
    def is_full(self) -> bool:
        """Whether there have been as many messages as there may be: one more is for the next session."""
        return self._messages >= self._limits.messages

    @property
    def farewell(self) -> str:
        """What the client is told when it is `over`, or brings a message too many."""
        limits = self._limits
        match self.over:
            case "errors":
                return "421 4.7.0 Too many errors, please look at what you send and come back later"
            case "idle_commands":
                return f"421 4.7.0 {limits.idle_commands} commands without mail, please come back when there is some"
            case "recipients":
                return "421 4.7.0 Too many recipients that are not taken, please send to them later"
            case _:
                return f"421 4.7.0 {limits.messages} messages in one session, please connect again for more"
