"""What a right configuration names on this machine and is not there: files, programs, the directory of the queue.

Nothing of this keeps a service from starting but what it cannot do without (a certificate, its queue's directory): a
list of recipients may be written later. `config check` says it all at once. Looked at with this user's permissions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from fallback_mx.config import Config
from fallback_mx.config_problems import Problem

_CERTIFICATE = ("tls_certificate", "tls_key")
_SQLITE = "sqlite:///"
# Made by systemd when it starts the unit (StateDirectory).
_OF_THE_UNIT = Path("/var/lib/fallback-mx")


def of_files(config: Config) -> list[Problem]:
    """A problem for each; the certificate and its key are whoever's who tries them together."""
    problems = [
        *_of_table("server", config.server),
        *_of_table("http", config.http),
        *_of_directory(config.storage.url),
    ]
    for index, primary in enumerate(config.primaries):
        problems += _of_table(f"primary[{index}]", primary)
    return problems


def _of_table(heading: str, table: BaseModel) -> Iterator[Problem]:
    for key, value in table:
        if isinstance(value, Path) and key not in _CERTIFICATE:
            yield from _of_file(f"{heading}.{key}", value)
        elif key.endswith("_command") and value:
            yield from _of_program(f"{heading}.{key}", value[0])


def _of_file(key: str, path: Path) -> Iterator[Problem]:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        yield Problem(key, f"{path}: {error.strerror}", "write the path of a file that the service's user may read")


def _of_program(key: str, path: str) -> Iterator[Problem]:
    if not Path(path).is_file():
        yield Problem(key, f"{path} is no file", "write the program's full path")
    elif not os.access(path, os.X_OK):
        yield Problem(key, f"{path} may not be executed by this user", f"chmod +x {path}, or name another program")


def _of_directory(url: str) -> Iterator[Problem]:
    if not url.startswith(_SQLITE):
        return
    directory = Path(url.removeprefix(_SQLITE).partition("?")[0]).parent
    if directory == _OF_THE_UNIT:
        return
    if not directory.is_dir():
        yield Problem("storage.url", f"{directory} is no directory", f"mkdir {directory}, or write another path")
    elif not os.access(directory, os.W_OK | os.X_OK):
        advice = f"make {directory} a directory that the service's user can write, or run this as that user"
        yield Problem("storage.url", f"this user may not write in {directory}", advice)
