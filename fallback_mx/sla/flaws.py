"""What is wrong with an agreement's file: data, in the form in which the configuration's problems are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing to put right. `key` is "target", "step[1].from", "line 3", or "" for the whole."""

    key: str
    wrong: str
    write: str

    def __str__(self) -> str:
        return f"{self.key}: {self.wrong}; {self.write}" if self.key else f"{self.wrong}; {self.write}"


class AgreementError(Exception):
    """An agreement that cannot be used, with everything that is wrong with it. Its text has a line a flaw."""

    def __init__(self, source: str, flaws: Sequence[Flaw]) -> None:
        super().__init__(source, flaws)
        self.source = source
        self.flaws = tuple(flaws)

    def __str__(self) -> str:
        return "\n".join(f"{self.source}: {flaw}" for flaw in self.flaws)
