"""XCLIENT on one connection: whom the primary takes us for, and how that is changed (Postfix, XCLIENT_README).

The server greets anew, and is greeted in the client's own name. Whom we speak for stays until it is changed, so that
messages of one client need it once. A server that will not have a client's name or address is left, and the message
deferred: brought in our own name, or in that of the client before it, it would go round the rules for its client.
"""

from __future__ import annotations

from dataclasses import replace

from fallback_mx.rules.disposition import Reply
from fallback_mx.smtp import forwarded, offered
from fallback_mx.smtp.offered import Greeting
from fallback_mx.smtp.pipeline import Pipeline
from fallback_mx.smtp.steps import Step
from mxqueue.model import Message


class Introduction:
    """`greeting` is the server's own. Where it offers no XCLIENT nothing is said."""

    def __init__(self, pipeline: Pipeline, greeting: Greeting) -> None:
        self._pipeline = pipeline
        self._greeting = greeting
        self._attributes = greeting.offered.words("xclient")
        self._made = b""
        self._is_narrow = False

    def is_made_for(self, message: Message) -> bool:
        """Whether the server takes us for this message's client already."""
        return self._line(message) == self._made

    def _line(self, message: Message) -> bytes:
        return forwarded.xclient(message, self._attributes, is_narrow=self._is_narrow)

    async def make(self, message: Message) -> Greeting | None:
        """Have the server take us for this message's client. What it offers to that client; None where nothing changed.

        Where it refuses the connection is broken. It is over, too, where another client cannot be told any more:
        Postfix asks whether the client that it takes us for may say XCLIENT.
        """
        if self.is_made_for(message) or self._pipeline.broken is not None:
            return None
        if self._made and "xclient" not in self._greeting.extensions:
            await self._pipeline.leave()
            return None
        reply = await self._pipeline.converse(Step.XCLIENT, self._line(message))
        if reply is not None and reply.code == 501 and not self._is_narrow:
            self._is_narrow = True
            reply = await self._pipeline.converse(Step.XCLIENT, self._line(message))
        if not self._is_good("XCLIENT", reply):
            return None
        reply = await self._hello(message)
        if reply is None or not self._is_good("EHLO after XCLIENT", reply):
            return None
        self._made = self._line(message)
        offer = offered.read(reply)
        self._greeting = replace(self._greeting, extensions=offer.extensions, offered=offer, said=str(reply))
        return self._greeting

    async def _hello(self, message: Message) -> Reply | None:
        names = dict.fromkeys((forwarded.hello_name(message), self._greeting.hello_name))
        reply = None
        for name in filter(None, names):
            reply = await self._pipeline.converse(Step.EHLO, f"EHLO {name}\r\n".encode())
            if reply is None or reply.is_success:
                break
        return reply

    def _is_good(self, said: str, reply: Reply | None) -> bool:
        if self._pipeline.broken is not None or reply is None:
            return False
        if not reply.is_success:
            self._pipeline.abort(f"{said}: {reply}")
        return reply.is_success
