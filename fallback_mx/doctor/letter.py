"""The message that `fallback-mx test-mail` sends: it says what it is, and wants no answer (RFC 3834, section 5)."""

from __future__ import annotations

from datetime import datetime
from email.utils import format_datetime

_TEXT = """\
From: Fallback MX <postmaster@{hostname}>
To: <{forward_path}>
Subject: Test of the backup mail exchanger {hostname}
Date: {date}
Message-ID: <{tag}@{hostname}>
Auto-Submitted: auto-generated
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii
Content-Transfer-Encoding: 7bit

This is a test, and nobody needs to do anything about it.

{actor} asked {hostname}, the backup mail exchanger of
{domain}, to take a message and to bring it here:
fallback-mx test-mail {domain}

That you can read this shows that it was taken, kept and delivered.
It may be deleted.
"""


def letter(*, hostname: str, forward_path: str, actor: str, at: datetime, tag: str) -> bytes:
    """Its octets. `tag` makes its Message-ID one of its own, `actor` is who asked for it."""
    named = actor if actor.isascii() and actor.isprintable() and len(actor) <= 60 else "Somebody"
    domain = forward_path.rpartition("@")[2]
    text = _TEXT.format(
        hostname=hostname, forward_path=forward_path, date=format_datetime(at), tag=tag, actor=named, domain=domain
    )
    return text.replace("\n", "\r\n").encode("ascii")
