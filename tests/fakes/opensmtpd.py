"""OpenSMTPD as a sending server or as a primary, from Debian's unpacked package: as if installed, on its own port."""

from __future__ import annotations

import pwd
from typing import Self

from tests.fakes import unpacked
from tests.fakes.ports import free_port
from tests.fakes.unpacked import Unpacked

PACKAGE = "opensmtpd"
PROGRAM = "/usr/sbin/smtpd"

# Whoever it is from. What is not said here is OpenSMTPD's default.
CONFIGURATION = """\
smtp max-message-size 60M
listen on 127.0.0.1 port {port} hostname {hostname}
{action}
match from any for any action "out"
"""

TO_NEXT_HOP = 'action "out" relay host smtp://127.0.0.1:{next_hop} helo sender.example.net'
TO_A_MAILDIR = """\
table everyone {{ "@" = nobody }}
action "out" maildir "{box}" virtual <everyone>"""


def missing() -> str | None:
    """What keeps OpenSMTPD from running here, or None."""
    return unpacked.missing(PACKAGE, PROGRAM)


class OpenSmtpd(Unpacked):
    """One instance that hands everything to `next_hop`, a port of 127.0.0.1, or puts it into one Maildir."""

    def __init__(self, next_hop: int | None) -> None:
        places = {"lib": "/var/lib", "spool": "/var/spool", "run": "/run"}
        super().__init__(PACKAGE, users=["opensmtpd", "opensmtpq"], mounts=places)
        self.port = free_port()
        self.make("lib/opensmtpd/empty")
        self._configuration = self.directory / "smtpd.conf"
        self._box = self.directory / "box"
        self.make("box", pwd.getpwnam("nobody").pw_uid)
        hostname = "primary.example.net" if next_hop is None else "sender.example.net"
        action = (TO_A_MAILDIR if next_hop is None else TO_NEXT_HOP).format(box=self._box, next_hop=next_hop)
        self._configuration.write_text(CONFIGURATION.format(port=self.port, hostname=hostname, action=action))

    @classmethod
    def primary(cls) -> Self:
        """Takes everything."""
        return cls(None)

    def __enter__(self) -> Self:
        try:
            self.answer()
        except BaseException:
            self.remove()
            raise
        return self

    def answer(self) -> None:
        self.start(self.port, PROGRAM, "-d", "-v", "-f", str(self._configuration))

    def messages(self) -> list[bytes]:
        """The content of everything delivered into the Maildir so far."""
        return [path.read_bytes() for path in self._box.glob("new/*")]
