"""A letter on its way into a relay, by smtplib."""

from __future__ import annotations

import smtplib

from tests.fakes.letters import Letter


def send(port: int, letter: Letter) -> None:
    """Returns when it has been answered with 250; anything else is raised."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=60) as client:
        client.ehlo()
        options = letter.mail_parameters
        assert client.sendmail(letter.reverse_path, [letter.forward_path], letter.content, options) == {}
