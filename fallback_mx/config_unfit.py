"""How a value of the configuration is refused: what is wrong with it, and what to write instead."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import PydanticCustomError

OUR_ERROR = "fallback_mx"


def unfit(wrong: str, write: str) -> PydanticCustomError:
    """The error of one value: `wrong` completes "KEY …", `write` begins with "write"."""
    return PydanticCustomError(OUR_ERROR, "{wrong}; {write}", {"wrong": wrong, "write": write})


def quoted(value: object) -> str:
    """A value as it stands in the file, short enough for a line and with control characters escaped."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:59]}…"


def text_of(value: Any, example: str) -> str:
    if not isinstance(value, str):
        raise unfit(f"{quoted(value)} is not text", f'write text in double quotes, for example "{example}"')
    return value
