"""Who may use the queue's files. A command run by the wrong user is told whose they are, before SQLite says less.

Whoever only reads must be able to write, too: SQLite makes files beside its database even then.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from mxqueue.errors import NotPermitted


def demand(path: Path) -> None:
    """Raise NotPermitted unless this user may read and write the file, and make others beside it.

    A file that is missing, and a file system that is read-only for everybody, are not this function's affair.
    """
    for directory in reversed(path.parents):
        if not os.access(directory, os.X_OK):
            _refuse("enter", directory)
    if not path.exists() or os.statvfs(path).f_flag & os.ST_RDONLY:
        return
    if not os.access(path, os.R_OK | os.W_OK):
        _refuse("read and write", path)
    if not os.access(path.parent, os.W_OK):
        _refuse("make files in", path.parent)


def _refuse(what: str, path: Path) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    user, owner = user_name(os.geteuid()), user_name(status.st_uid)
    advice = f"It belongs to {owner}: run this as {owner} (runuser -u {owner} -- …)."
    if user == owner:
        advice = f"Its mode is {status.st_mode & 0o7777:04o}: chmod u+rwX {path}."
    raise NotPermitted(f"{user} may not {what} {path}", advice)


def user_name(user_id: int) -> str:
    """By the user database; a number where it does not know."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"uid {user_id}"
