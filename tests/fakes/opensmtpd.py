"""OpenSMTPD as a sending server, from Debian's unpacked package: as it would be installed, but on a port of its own."""

from __future__ import annotations

from typing import Self

from tests.fakes import unpacked
from tests.fakes.ports import free_port
from tests.fakes.unpacked import Unpacked

PACKAGE = "opensmtpd"
PROGRAM = "/usr/sbin/smtpd"

# Everything goes to the next hop, whoever it is from. What is not said here is OpenSMTPD's default.
CONFIGURATION = """\
smtp max-message-size 60M
listen on 127.0.0.1 port {port} hostname sender.example.net
action "next_hop" relay host smtp://127.0.0.1:{next_hop} helo sender.example.net
match from any for any action "next_hop"
"""


def missing() -> str | None:
    """What keeps OpenSMTPD from running here, or None."""
    return unpacked.missing(PACKAGE, PROGRAM)


class OpenSmtpd(Unpacked):
    """One instance that hands everything to `next_hop`, a port of 127.0.0.1."""

    def __init__(self, next_hop: int) -> None:
        places = {"lib": "/var/lib", "spool": "/var/spool", "run": "/run"}
        super().__init__(PACKAGE, users=["opensmtpd", "opensmtpq"], mounts=places)
        self.port = free_port()
        self.make("lib/opensmtpd/empty")
        self._configuration = self.directory / "smtpd.conf"
        self._configuration.write_text(CONFIGURATION.format(port=self.port, next_hop=next_hop))

    def __enter__(self) -> Self:
        try:
            self.start(self.port, PROGRAM, "-d", "-v", "-f", str(self._configuration))
        except BaseException:
            self.remove()
            raise
        return self
