"""The file of tokens, by which customers see a page of their own: a token and a customer's name on each line.

Empty lines and those that begin with `#` say nothing. A customer may have several tokens, as when one is to
be replaced. What cannot be used is told, line by line, and the other lines hold.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from fallback_mx.published.terms import digest

# Longer than anybody guesses, and nothing that an address would have to escape.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{20,200}")
ADVICE = 'write a token of 20 to 200 letters and digits ("openssl rand -hex 20" makes one), a space and the customer'


def read_tokens(path: Path, customers: Collection[str]) -> tuple[dict[bytes, str], list[str]]:
    """The customers by the digests of their tokens, and what is wrong; no token stands in that."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return {}, [f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}"]
    found: dict[bytes, str] = {}
    flaws = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        token, _, customer = line.strip().partition(" ")
        customer = customer.strip()
        if (flaw := _flaw(token, customer, customers)) is not None:
            flaws.append(f"{path}, line {number}: {flaw}")
        elif found.setdefault(digest(token), customer) != customer:
            flaws.append(f"{path}, line {number}: the token is another customer's already")
    return found, flaws


def _flaw(token: str, customer: str, customers: Collection[str]) -> str | None:
    if not customer:
        return "no customer is named"
    if _TOKEN.fullmatch(token) is None:
        return "the token is too short, too long, or has other characters than letters, digits and . _ ~ -"
    if customer not in customers:
        return f"no primary has the customer {customer}"
    return None
