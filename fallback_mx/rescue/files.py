"""Which files hold messages, and how each is read: pairs of our own, what `postcat` printed, and Postfix's own files.

Postfix's own files are read by its own program, `postcat`: their form is its business and no other's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fallback_mx.rescue import pairs, postcat
from fallback_mx.rescue.found import CannotImport, Found
from mxqueue import Spool

POSTCAT_SECONDS = 60.0
_SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"
# The first record of a queue file of Postfix gives sizes (rec_type.h).
_QUEUE_FILE = b"C"


def walk(paths: Iterable[Path]) -> Iterator[Path]:
    """The files that these paths mean, each once, directories with all that is below them; a pair goes by its .json."""
    files = (file for path in paths for file in (sorted(_below(path)) if path.is_dir() else (path,)))
    yield from dict.fromkeys(file.with_suffix(".json") if file.suffix == ".eml" else file for file in files)


def _below(directory: Path) -> Iterator[Path]:
    return (file for file in directory.rglob("*") if file.is_file() and not file.name.startswith("."))


def read(file: Path, new_spool: Callable[[], Spool]) -> Found:
    """The message in this file. Raises CannotImport, whatever stands in it."""
    try:
        return _read(file, new_spool)
    except (ValueError, OverflowError, RecursionError) as error:
        raise CannotImport(f"it is not as it was written: {type(error).__name__}") from error


def _read(file: Path, new_spool: Callable[[], Spool]) -> Found:
    if file.suffix == ".json":
        return pairs.read(file, new_spool)
    if file.exists() and not file.is_file():
        raise CannotImport("it is no file")
    try:
        with file.open("rb") as opened:
            head = opened.read(len(postcat.HEAD))
            if head == postcat.HEAD:
                return postcat.read(file, head + opened.read(), new_spool)
    except OSError as error:
        raise CannotImport(f"cannot be read: {error.strerror}") from None
    if not head.startswith(_QUEUE_FILE):
        raise CannotImport("it is neither of a pair (ID.json, ID.eml) nor of Postfix")
    return postcat.read(file, _printed(file), new_spool)


def _printed(file: Path) -> bytes:
    program = shutil.which("postcat", path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PROGRAMS}")
    if program is None:
        wrong = "it may be a queue file of Postfix, and there is no postcat here to read it"
        raise CannotImport(f"{wrong}; import what `postcat FILE` prints where Postfix is")
    try:
        done = subprocess.run(
            [program, str(file.absolute())], capture_output=True, check=False, timeout=POSTCAT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise CannotImport(f"postcat did not end within {POSTCAT_SECONDS:g} s") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["nothing"]
        raise CannotImport(f"postcat cannot read it and said: {said[-1][:200]}")
    return done.stdout
