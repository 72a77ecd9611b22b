"""What the demo's end is judged by: every message answered with 250 arrived once, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fallback_mx.demo.mail import DemoMessage


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message as the primary took it."""

    reverse_path: str
    forward_paths: tuple[str, ...]
    content: bytes


def faults(sent: Iterable[DemoMessage], replies: Mapping[int, str], arrivals: Iterable[Arrival]) -> list[str]:
    """Everything that is not as it must be, a sentence each. Empty means that the promise was kept."""
    arrived: dict[bytes, list[Arrival]] = {}
    found: list[str] = []
    for arrival in arrivals:
        arrived.setdefault(_without_our_trace(arrival.content), []).append(arrival)
    for message in sent:
        copies = arrived.pop(message.content, [])
        if not replies.get(message.number, "").startswith("250"):
            found.append(f"letter {message.number} was answered {replies.get(message.number, 'not at all')}")
        if len(copies) != 1:
            found.append(f"letter {message.number} arrived {len(copies)} times")
            continue
        if sorted(copies[0].forward_paths) != sorted(message.forward_paths):
            found.append(f"letter {message.number} arrived for {copies[0].forward_paths}")
        if copies[0].reverse_path != message.reverse_path:
            found.append(f"letter {message.number} arrived from <{copies[0].reverse_path}>")
    found.extend(f"something arrived that was never sent: {content[:60]!r}" for content in arrived)
    return found


def _without_our_trace(content: bytes) -> bytes:
    """The content without the one Received line that we add; content without it is returned as it is."""
    if not content.startswith(b"Received: from "):
        return content
    end = content.index(b"\r\n") + 2
    while content[end : end + 1] in (b" ", b"\t"):
        end = content.index(b"\r\n", end) + 2
    return content[end:]
