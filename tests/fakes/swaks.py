"""swaks, the SMTP test client that postmasters use, as a fixture: one message in, the transcript out."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass


@dataclass(frozen=True)
class Transcript:
    """What was said. `final_reply` is the server's last reply before our QUIT, a refusal included."""

    text: str
    exit_status: int

    @property
    def replies(self) -> list[str]:
        """Every line that came from the server, errors among them ("<** " instead of "<-  ")."""
        return re.findall(r"(?m)^(?:<-|<~|<\*\*) +(.*)$", self.text)

    @property
    def final_reply(self) -> str:
        return [reply for reply in self.replies if not reply.startswith("221")][-1]


@dataclass(frozen=True)
class Swaks:
    program: str

    def speaks_tls(self) -> bool:
        """Only where Perl has Net::SSLeay."""
        done = subprocess.run([self.program, "--support"], capture_output=True, text=True, timeout=20, check=True)
        return "=== TLS supported" in done.stdout

    def send(self, port: int, *options: str, recipient: str, sender: str = "a@sender.test") -> Transcript:
        """One message to this port of 127.0.0.1."""
        server = ["--server", f"127.0.0.1:{port}", "--helo", "client.sender.test"]
        envelope = ["--from", sender, "--to", recipient]
        done = subprocess.run(
            [self.program, *server, *envelope, *options], capture_output=True, timeout=120, check=False
        )
        return Transcript((done.stdout + done.stderr).decode(errors="replace"), done.returncode)

    def send_content(self, port: int, content: bytes, *options: str, recipient: str, sender: str) -> Transcript:
        """This content, whose dots swaks doubles; its last line end is swaks's own."""
        with tempfile.NamedTemporaryFile(prefix="swaks-") as file:
            file.write(content.removesuffix(b"\r\n"))
            file.flush()
            data = ["--data", f"@{file.name}", "--suppress-data"]
            return self.send(port, *data, *options, recipient=recipient, sender=sender)
