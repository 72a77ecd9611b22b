"""A primary's state as a small picture for other pages. Its text is in it; nothing is fetched for it.

The widths are those of Verdana at 11 pixels as others draw their badges, near enough: the text is fitted to them.
"""

from __future__ import annotations

from html import escape

from fallback_mx.rules.health import State

WORDS = {
    State.UP: "up",
    State.FALLING: "failing",
    State.DOWN: "down",
    State.RISING: "coming back",
    State.UNKNOWN: "unknown",
}
# White on each of them can be read (4.5 to 1).
COLOURS = {
    State.UP: "#1a7f37",
    State.FALLING: "#9a6700",
    State.DOWN: "#c62828",
    State.RISING: "#9a6700",
    State.UNKNOWN: "#5f6b76",
}
_LONGEST = 40


def badge(title: str, state: State) -> str:
    """An SVG document."""
    name = title if len(title) <= _LONGEST else f"{title[: _LONGEST - 1]}…"
    left, right = _width(name), _width(WORDS[state])
    whole = escape(f"{title}: {WORDS[state]}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{whole}">'
        f"<title>{whole}</title>"
        f'<rect width="{left + right}" height="20" rx="3" fill="#3b434b"/>'
        f'<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right - 3}z" fill="{COLOURS[state]}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{left / 2:g}" y="14" textLength="{left - 10}">{escape(name)}</text>'
        f'<text x="{left + right / 2:g}" y="14" textLength="{right - 10}">{WORDS[state]}</text>'
        "</g></svg>\n"
    )


def _width(text: str) -> int:
    return 10 + max(7, round(6.6 * len(text)))
