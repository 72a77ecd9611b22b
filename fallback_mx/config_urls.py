"""The URLs in the configuration: of the database, of lists of recipients. Any of them may hold a password: no message
repeats one, and as they are shown they have none."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from fallback_mx.config_unfit import quoted, text_of, unfit

SECRET_QUERY_KEYS = ("password", "sslpassword")


def storage_url(value: Any) -> str:
    text = text_of(value, "sqlite:////var/lib/fallback-mx/queue.db")
    if text.startswith(("/", "./", "~")) or (text.endswith(".db") and "://" not in text):
        slashes = "sqlite:///" + text
        raise unfit("is a path, not a URL", f"write {quoted(slashes)}")
    if text.startswith(("postgres://", "postgresql://")):
        wrong = f"begins with {quoted(text.partition(':')[0] + '://')}"
        raise unfit(wrong, "write postgresql+psycopg:// in its place and leave the rest as it is")
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise unfit("is not a database URL", f"write {_STORAGE_URLS}") from None
    if url.drivername == "sqlite":
        _check_sqlite(url)
    elif url.drivername != "postgresql+psycopg":
        raise unfit(f"names {quoted(url.drivername)}, which is not supported", f"write {_STORAGE_URLS}")
    return text


_STORAGE_URLS = 'a URL such as "sqlite:////var/lib/fallback-mx/queue.db" or "postgresql+psycopg://user@host/database"'


def _check_sqlite(url: URL) -> None:
    if url.host:
        path = f"{url.host}/{url.database or ''}"
        raise unfit("has two slashes", f'write "sqlite:///{path}" or, from the root, "sqlite:////{path}"')
    if url.database in (None, "", ":memory:") or "mode=memory" in str(url):
        raise unfit("would keep the mail in memory only", 'write a file, for example "sqlite:///var/queue.db"')


def hide_password(url: str) -> str:
    """The database URL as it may be shown."""
    parsed = make_url(url)
    secret = {key: "hidden" for key in SECRET_QUERY_KEYS if key in parsed.query}
    return parsed.update_query_dict(secret).render_as_string(hide_password=True)


def web_url(value: Any) -> str:
    return _url(value, ("https", "http"), "https://example.org/recipients.txt")


def ldap_url(value: Any) -> str:
    return _url(value, ("ldaps", "ldap"), "ldaps://ldap.example.org")


def _url(value: Any, schemes: tuple[str, ...], example: str) -> str:
    text = text_of(value, example)
    try:
        parts = urlsplit(text)
        is_fit = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_fit = False
    if not is_fit or not text.isascii() or not text.isprintable() or " " in text:
        beginnings = " or ".join(f"{scheme}://" for scheme in schemes)
        raise unfit(f"is not a URL that begins with {beginnings}", f'write a URL such as "{example}"')
    return text


def without_secrets(url: str) -> str:
    """The URL as it may be shown: a query can be as secret as a password."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}:***@{host}" if at else host
    return urlunsplit(parts._replace(netloc=netloc, query="***" if parts.query else ""))
