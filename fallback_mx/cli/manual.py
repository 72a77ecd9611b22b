"""Manual pages, made from the help of the commands: `python -m fallback_mx.cli.manual DIRECTORY`, or `make man`.

One page for the program, one for each noun, one for each verb: fallback-mx-queue-list(1). They say what --help says and
nothing else, so that they cannot be out of date. click-man, which does the like, writes the examples of our help as a
paragraph and knows no exit codes; what is left of the task is a page of code. The markup is man(7)'s.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from fallback_mx import __version__
from fallback_mx.cli import program

SECTION = "1"
_EXIT_CODES = (
    ("0", "done"),
    ("1", "failed"),
    ("2", "usage or configuration"),
    ("3", "nothing matched"),
    ("4", "database unreachable"),
    ("5", "partly done"),
)
_PLUGIN_CODES = (("0", "ok"), ("1", "warning"), ("2", "critical"), ("3", "unknown, or it could not be told"))


def pages(
    command: click.Command, words: Sequence[str], parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    """(name of the file, its text) of this command's page and those of all below it."""
    context = click.Context(command, info_name=words[-1], parent=parent)
    yield f"{'-'.join(words)}.{SECTION}", "\n".join(_page(command, words, context)) + "\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from pages(below, [*words, name], context)


def _page(command: click.Command, words: Sequence[str], context: click.Context) -> Iterator[str]:
    name = "-".join(words)
    yield f'.TH "{name.upper()}" "{SECTION}" "" "Fallback MX {__version__}" "Fallback MX"'
    yield ".SH NAME"
    yield f"{text(name)} \\- {text(command.get_short_help_str(200).rstrip('.'))}"
    yield ".SH SYNOPSIS"
    yield f".B {text(' '.join(words))}"
    yield text(" ".join(command.collect_usage_pieces(context)))
    paragraphs, examples = _paragraphs(command)
    yield ".SH DESCRIPTION"
    yield from _prose(paragraphs)
    if options := [each for each in command.get_params(context) if isinstance(each, click.Option) and not each.hidden]:
        yield ".SH OPTIONS"
        for option in options:
            yield from _option(option, context)
    if isinstance(command, click.Group):
        yield ".SH COMMANDS"
        for below_name in command.list_commands(context):
            below = command.get_command(context, below_name)
            if below is not None and not below.hidden:
                yield ".TP"
                yield f".BR {text(f'{name}-{below_name}')} ({SECTION})"
                yield text(below.get_short_help_str(200))
    if examples:
        yield ".SH EXAMPLES"
        yield from _as_it_stands(examples)
    yield from _closing(words)


def _paragraphs(command: click.Command) -> tuple[list[list[str]], list[str]]:
    """The help's paragraphs as lines, and the lines of its examples. What click is told not to fill keeps its mark."""
    found, examples = [], []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        lines = paragraph.splitlines()
        if lines[:2] == ["\b", "Examples:"]:
            examples = inspect.cleandoc("\n".join(lines[2:])).splitlines()
        else:
            found.append(lines)
    return found, examples


def _prose(paragraphs: Sequence[Sequence[str]]) -> Iterator[str]:
    for lines in paragraphs:
        yield ".PP"
        if lines[:1] == ["\b"]:
            yield from _as_it_stands(lines[1:])
        else:
            yield text(" ".join(lines))


def _as_it_stands(lines: Sequence[str]) -> Iterator[str]:
    yield from (".nf", *map(text, lines), ".fi")


def _option(option: click.Option, context: click.Context) -> Iterator[str]:
    found = option.get_help_record(context)
    if found is not None:
        yield ".TP"
        yield f".B {text(found[0])}"
        yield text(found[1])


def _closing(words: Sequence[str]) -> Iterator[str]:
    yield ".SH EXIT STATUS"
    for code, meaning in _PLUGIN_CODES if words[1:2] == ["check"] else _EXIT_CODES:
        yield from (".TP", f".B {code}", text(meaning))
    yield ".SH SEE ALSO"
    above = ["-".join(words[:length]) for length in range(1, len(words))]
    pointers = [f".BR {text(each)} ({SECTION})" for each in above]
    yield from (f"{each} ," for each in pointers)
    yield "docs/operations.md in the source, and deploy/fallback-mx.toml for every setting."


def text(words: str) -> str:
    """What man(7) prints as it stands here: no backslash, quote or leading dot of it is a command."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    escaped = escaped.replace("^", "\\(ha").replace("~", "\\(ti").replace('"', "\\(dq")
    return re.sub(r"^\.", r"\\&.", escaped, flags=re.MULTILINE)


def write(directory: Path) -> list[Path]:
    """Write every page; what was there of older ones goes."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob(f"fallback-mx*.{SECTION}"):
        old.unlink()
    written = []
    for name, page in pages(program, ["fallback-mx"]):
        (directory / name).write_text(page, encoding="utf-8")
        written.append(directory / name)
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m fallback_mx.cli.manual DIRECTORY")
    print(f"{len(write(Path(sys.argv[1])))} pages in {sys.argv[1]}")
