"""swaks, the SMTP test client that postmasters use, as a fixture: one message in, the transcript out."""

from __future__ import annotations

import re
import subprocess
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

    def send(self, port: int, *, recipient: str, subject: str, sender: str = "a@sender.test") -> Transcript:
        server = ["--server", f"127.0.0.1:{port}", "--helo", "client.sender.test"]
        envelope = ["--from", sender, "--to", recipient, "--h-Subject", subject]
        done = subprocess.run(
            [self.program, *server, *envelope],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Transcript(done.stdout + done.stderr, done.returncode)
