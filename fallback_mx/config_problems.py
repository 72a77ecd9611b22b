"""What is wrong with a configuration file, in the words of the person who has to put it right.

Every problem names its key, says what is wrong and what to write. None repeats a database URL, which may hold a
password.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fallback_mx.config_unfit import OUR_ERROR, quoted

_PLACE = re.compile(r"at line (\d+), column (\d+)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right. `key` is "server.listen[0]", "primary[1].interval", "line 3", or "" for the file.

    `option` is what stands on the command line in the key's place, "" where the value is not from there.
    """

    key: str
    wrong: str
    write: str
    option: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.wrong}; {self.write}" if self.key else f"{self.wrong}; {self.write}"


class ConfigError(Exception):
    """A configuration that cannot be used, with everything that is wrong with it. Its text has a line a problem."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        super().__init__(path, problems)
        self.path = path
        self.problems = list(problems)

    def __str__(self) -> str:
        return "\n".join(self._line(problem) for problem in self.problems)

    def _line(self, problem: Problem) -> str:
        if problem.option:
            return f"{problem.option}: {problem.wrong}; {problem.write}"
        return f"{self.path}: {problem}"

    def naming(self, options: Mapping[str, str]) -> ConfigError:
        """The same, with what came from the command line under its option: {"server.listen": "--listen"}."""
        named = [replace(one, option=options.get(one.key.partition("[")[0], "")) for one in self.problems]
        return ConfigError(self.path, named)


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the file: how it is headed and which keys it knows."""

    heading: str
    model: type[BaseModel]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.model.model_fields)

    def example(self, key: str) -> str:
        """A line as it could stand in the file."""
        field = self.model.model_fields.get(key)
        return f"{key} = {json.dumps(field.examples[0])}" if field and field.examples else f"{key} = …"


def of_section(error: ValidationError, key: str, section: Section, all_sections: Iterable[Section]) -> list[Problem]:
    """The problems of one table; `key` is the table's own: "server", "primary[0]"."""
    others = [other for other in all_sections if other is not section]
    return [
        _of_value(details, key, section, others)
        for details in error.errors(include_url=False)
        # A list whose entries were all refused is reported as too short as well.
        if not (details["type"] == "too_short" and details["input"])
    ]


def _of_value(details: ErrorDetails, key: str, section: Section, others: list[Section]) -> Problem:
    kind, location, context = details["type"], details["loc"], details.get("ctx", {})
    full_key = key + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    name = str(location[0]) if location else ""
    if kind == OUR_ERROR:
        return Problem(full_key, context["wrong"], context["write"])
    if kind == "extra_forbidden":
        return Problem(full_key, f"is not a key of {section.heading}", _what_was_meant(name, section, others))
    wrong, write = _sentences(kind, details["input"], context, section.example(name))
    return Problem(full_key, wrong, write)


def _what_was_meant(name: str, section: Section, others: list[Section]) -> str:
    for other in others:
        if name in other.keys:
            return f"write it under {other.heading}"
    if close := get_close_matches(name, section.keys, n=1, cutoff=0.7):
        return f"did you mean {close[0]}?"
    return f"write one of {', '.join(section.keys)}, or take it out"


def _sentences(kind: str, value: object, context: Mapping[str, Any], example: str) -> tuple[str, str]:
    write = f"write {example}"
    match kind:
        case "missing":
            return "is missing", write
        case "int_type":
            return f"{quoted(value)} is not a whole number", write
        case "tuple_type":
            return f"{quoted(value)} is not a list", write
        case "too_short":
            return "is an empty list", write
        case "literal_error":
            choices = context["expected"].replace("'", '"')
            return f"{quoted(value)} is not known here", f"write {choices}"
        case "greater_than_equal":
            return f"{quoted(value)} is too small", f"write {context['ge']} or more"
        case "less_than_equal":
            return f"{quoted(value)} is too large", f"write {context['le']} or less"
        case _:
            return f"{quoted(value)} cannot be used here ({kind})", write


def of_top_level(key: str, sections: Iterable[Section]) -> Problem:
    """A name outside every table, or a table that is none of ours."""
    known = list(sections)
    names = [section.heading.strip("[]") for section in known]
    for section in known:
        if key in section.keys:
            return Problem(key, "stands outside every table", f"write it under {section.heading}")
    if close := get_close_matches(key, names, n=1):
        return Problem(key, "is not a table of this file", f"did you mean {known[names.index(close[0])].heading}?")
    headings = ", ".join(section.heading for section in known)
    return Problem(key, "is not a table of this file", f"write one of {headings}, or take it out")


def of_syntax(error: TOMLDecodeError) -> Problem:
    """A file that is not TOML. The parser's words stand first, the mistake that is usually behind them after."""
    text = str(error)
    place = _PLACE.search(text)
    key = f"line {place[1]}, column {place[2]}" if place else "the end of the file"
    wrong = text.partition(" (at ")[0].replace("\\n", "line end")
    wrong = wrong[:1].lower() + wrong[1:]
    if "twice" in wrong or "overwrite" in wrong or "declare" in wrong.lower():
        return Problem(key, wrong, "write every key once, and every table but [[primary]] once")
    return Problem(key, wrong, 'write text in double quotes on one line, for example interval = "10s"')
