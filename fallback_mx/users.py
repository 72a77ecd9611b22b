"""The name of a user of this machine, by the user database: the environment can say anything. It cannot fail."""

from __future__ import annotations

import pwd


def user_name(user_id: int) -> str:
    """A number where the database does not know the user."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"uid {user_id}"
