"""Parcels for a courier, made from octets in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from mxqueue.model import Message, Recipient, RecipientState

EPOCH = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TRACE = b"Received: from client.test by mx2.test; Sun, 1 Mar 2026 12:00:00 +0000\r\n"


class MemoryParcel:
    """A message whose content is `content`, handed out in pieces of `piece_octets`; `failure` is raised at its end."""

    def __init__(
        self,
        content: bytes,
        *,
        forward_paths: Sequence[str] = ("user@example.test",),
        reverse_path: str = "sender@client.test",
        trace: bytes = TRACE,
        body: str = "7BIT",
        smtputf8: bool = False,
        piece_octets: int = 1024 * 1024,
        failure: Exception | None = None,
    ) -> None:
        self._content = content
        self._piece_octets = piece_octets
        self._failure = failure
        self.message = Message(
            id="01ARZ3NDEKTSV4RRFFQ69G5FAV",
            arrived_at=EPOCH,
            reverse_path=reverse_path,
            route="main",
            size=len(content),
            client_address="192.0.2.1",
            helo="client.test",
            trace=trace,
            body=body,
            smtputf8=smtputf8,
            node="node",
            recipients=tuple(
                Recipient("01ARZ3NDEKTSV4RRFFQ69G5FAV", position, path, RecipientState.PENDING, 0, EPOCH, "")
                for position, path in enumerate(forward_paths)
            ),
        )

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), self._piece_octets):
            yield self._content[start : start + self._piece_octets]
        if self._failure is not None:
            raise self._failure
