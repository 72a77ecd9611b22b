"""The outages and the maintenance to come as an Atom feed (RFC 4287), for readers that look from time to time.

An entry keeps its id for ever; when an outage ends its entry is changed, and readers show it again.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from xml.etree.ElementTree import Element, SubElement, tostring

from fallback_mx.published.facts import Facts, Maintenance, Outage, Primary
from fallback_mx.spoken import duration

MEDIA_TYPE = "application/atom+xml; charset=utf-8"
ENTRIES = 50
_ATOM = "http://www.w3.org/2005/Atom"
# Anything that is this program's own: it only keeps our ids from being anybody else's.
_OURS = uuid.UUID("6f1c6d5e-8d0b-5d7c-9a7e-2f6d1a0b9c3e")


def feed(facts: Facts, node: str, page: str) -> bytes:
    """An Atom document. `page` is where the status page is, as seen from the feed."""
    root = Element("feed", xmlns=_ATOM)
    outages = facts.outages[:ENTRIES]
    _text(root, "id", _id(f"feed {node} {facts.customer}"))
    _text(root, "title", f"Mail status: {facts.customer}" if facts.customer else "Mail status")
    _text(root, "subtitle", facts.sentence)
    changes = [outage.ended_at or outage.started_at for outage in outages]
    _text(root, "updated", _moment(max(changes, default=facts.as_of)))
    SubElement(SubElement(root, "author"), "name").text = "Fallback MX"
    SubElement(root, "link", rel="self", href="feed.atom")
    SubElement(root, "link", rel="alternate", type="text/html", href=page)
    for primary in facts.primaries:
        for window in primary.maintenance:
            _maintenance(root, primary, window, page)
    for outage in outages:
        _outage(root, outage, facts.as_of, page)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _outage(root: Element, outage: Outage, now: datetime, page: str) -> None:
    length, cause = duration(outage.length(now)), f" ({outage.cause})" if outage.cause else ""
    if outage.ended_at is None:
        title, text = f"{outage.primary} is down", f"Down since {_spoken(outage.started_at)}{cause}."
    else:
        title = f"{outage.primary} was down for {length}"
        text = f"Down from {_spoken(outage.started_at)} to {_spoken(outage.ended_at)}, {length}{cause}."
    _entry(root, f"outage {outage.key}", title, text, outage.started_at, outage.ended_at or outage.started_at, page)


def _maintenance(root: Element, primary: Primary, window: Maintenance, page: str) -> None:
    start, end = window.interval.start, window.interval.end
    text = f"From {_spoken(start)} to {_spoken(end)}: {window.why}."
    key = f"maintenance {primary.title} {_moment(start)} {_moment(end)}"
    _entry(root, key, f"Maintenance of {primary.title}", text, window.known_since, window.known_since, page)


def _entry(root: Element, key: str, title: str, text: str, at: datetime, changed_at: datetime, page: str) -> None:
    entry = SubElement(root, "entry")
    _text(entry, "id", _id(key))
    _text(entry, "title", title)
    _text(entry, "published", _moment(at))
    _text(entry, "updated", _moment(changed_at))
    SubElement(entry, "link", rel="alternate", type="text/html", href=page)
    _text(entry, "content", text)


def _text(parent: Element, tag: str, text: str) -> None:
    SubElement(parent, tag).text = text


def _id(key: str) -> str:
    return f"urn:uuid:{uuid.uuid5(_OURS, key)}"


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _spoken(moment: datetime) -> str:
    return f"{moment:%-d %B %Y, %H:%M} UTC"
