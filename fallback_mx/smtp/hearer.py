"""What the wire brings, as a session hears of it: one method for each thing that can happen to a connection."""

from __future__ import annotations

from abc import abstractmethod


class Hearer:
    """The session, as far as the wire knows it. Nothing here may block."""

    @abstractmethod
    def is_proxy(self, address: str) -> bool:
        """Whether connections from there say first whom they are for."""

    @abstractmethod
    def refuse_preface(self, address: str, why: str) -> None:
        """A proxy did not say whom its connection is for, and is cut off."""

    @abstractmethod
    def opened(self) -> None:
        """The connection stands: greet."""

    @abstractmethod
    def lost(self) -> None:
        """The connection is gone."""

    @abstractmethod
    def obey(self, line: bytes) -> None:
        """Carry out a command, given without its CRLF."""

    @abstractmethod
    def take(self, octets: int) -> None:
        """So many octets of content have come, and are about to be looked at."""

    @abstractmethod
    def content_ended(self) -> None:
        """The end of data has been read."""

    @abstractmethod
    def refuse_stream(self, error: Exception) -> None:
        """The content raised this: say so and leave."""

    @abstractmethod
    def timed_out(self) -> None:
        """The client kept us waiting for too long: say so. It is cut off next, and may not read it."""
