"""A victim for the supervisor: it accepts mail under load and writes down each promise the moment it may be made."""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
import threading

from mxqueue import BytesContent, Envelope, Queue

SENDERS = 8
SIZES = (200, 3_000, 40_000, 200_000, 1_200_000)


def content(token: str) -> bytes:
    """Distinct for each token, of some size between a line and more than a chunk."""
    seed = hashlib.sha256(token.encode()).digest()
    size = SIZES[min(seed[0] // 40, 4) if seed[1] < 16 else seed[0] % 3]
    return f"Token: {token}\r\n\r\n".encode() + seed * (size // 32)


def accept_for_ever() -> None:
    """Arguments: a queue's URL, and a file for lines of a queue id and a token, a message answered with 250."""
    url, promises = sys.argv[1:]
    queue = Queue.open(url, node="mx2", exclusive=True)
    out = os.open(promises, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    threads = [threading.Thread(target=_send, args=(queue, out, sender)) for sender in range(SENDERS)]
    for thread in threads:
        thread.start()
    threads[0].join()


def _send(queue: Queue, out: int, sender: int) -> None:
    for number in itertools.count():
        token = f"{os.getpid()}.{sender}.{number}"
        envelope = Envelope("a@sender.test", (f"{token}@example.test", "u@example.test"), "main")
        (queue_id,) = queue.accept([envelope], BytesContent(content(token))).result()
        os.write(out, f"{queue_id} {token}\n".encode())
