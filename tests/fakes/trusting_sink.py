"""A sink that lets people log in, and takes its clients' word for whom they speak for."""

from __future__ import annotations

import base64
import hmac

from fallback_mx.smtp.sink import EXTENSIONS, Sink
from fallback_mx.smtp.sink_session import SinkSession

USERNAME, PASSWORD = "backup", "s3cret wörd"
XFORWARD = "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT"
XCLIENT = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN"
CHALLENGE = b"<1896.697170952@sink.test>"


def extensions(*more: str) -> tuple[str, ...]:
    return (*EXTENSIONS, *more)


class TrustingSession(SinkSession):
    """AUTH takes USERNAME and PASSWORD alone. XCLIENT begins anew; both, and XFORWARD, answer by script too."""

    def _on_auth(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        offered = next((line.split()[1:] for line in self.sink.extensions if line.startswith("AUTH ")), [])
        if self._scripted("auth", mechanism) is not None:
            self._answer("auth", mechanism, "")
        elif mechanism not in offered:
            self._say("504 5.5.4 Not this one")
        elif mechanism == "PLAIN":
            said = base64.b64decode(initial).decode()
            self._judge(said == f"\0{USERNAME}\0{PASSWORD}")
        elif mechanism == "LOGIN":
            self._ask(["VXNlcm5hbWU6", "UGFzc3dvcmQ6"], lambda said: said == [USERNAME.encode(), PASSWORD.encode()])
        else:
            digest = hmac.new(PASSWORD.encode(), CHALLENGE, "md5").hexdigest()
            expected = f"{USERNAME} {digest}".encode()
            self._ask([base64.b64encode(CHALLENGE).decode()], lambda said: said == [expected])

    def _judge(self, is_right: bool) -> None:
        self._say("235 2.7.0 Come in" if is_right else "535 5.7.8 Not you")

    def _ask(self, prompts, is_right) -> None:
        self._prompts, self._said, self._is_right = prompts, [], is_right
        self._say(f"334 {self._prompts.pop(0)}")

    def _next_command(self) -> bool:
        if getattr(self, "_is_right", None) is None:
            return super()._next_command()
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        self._said.append(base64.b64decode(bytes(self._buffer[:end])))
        del self._buffer[: end + 2]
        if self._prompts:
            self._say(f"334 {self._prompts.pop(0)}")
        else:
            is_right, self._is_right = self._is_right, None
            self._judge(is_right(self._said))
        return True

    def _on_xforward(self, argument: str) -> None:
        self._answer("xforward", argument, "250 2.0.0 Ok")

    def _on_xclient(self, argument: str) -> None:
        if self._answer("xclient", argument, "220 sink.test ESMTP"):
            self._forget()


class TrustingSink(Sink):
    def __init__(self, *more: str, **options) -> None:
        super().__init__(extensions=extensions(*more), session=TrustingSession, **options)
