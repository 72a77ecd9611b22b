"""Whom an edit means and who asks for it. Nothing said is nothing meant: all there is wants to be called so."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.filters import Selection, read_ids
from fallback_mx.cli.opening import PAGE
from fallback_mx.users import user_name

if TYPE_CHECKING:
    from mxqueue import Filter


def meant(given: Sequence[str], selection: Selection, everything: bool) -> list[str] | None:
    """The ids that were named, None where a filter alone says what is meant. Raises click.UsageError."""
    if everything and (given or selection != Selection()):
        raise click.UsageError("--all goes with neither ids nor filters.")
    if given:
        return read_ids(given)
    if not everything and selection == Selection():
        raise click.UsageError("Say which messages: ids, a filter such as --primary, or --all.")
    return None


def actor() -> str:
    """The OS user that runs this."""
    return user_name(os.getuid())


def pages(wanted: Filter, ids: list[str] | None) -> Iterator[Filter]:
    """The filter, or one for each page of ids: a statement takes only so many."""
    if ids is None:
        yield wanted
        return
    left = iter(ids)
    while page := tuple(islice(left, PAGE)):
        yield replace(wanted, ids=page)
