"""Where a primary's recipients are listed, by its configuration, and what is said of its list in the log."""

from __future__ import annotations

from fallback_mx import maillog
from fallback_mx.config import Primary
from fallback_mx.recipients.importing import Imported
from fallback_mx.recipients.refresh import RefreshSettings
from fallback_mx.recipients.sources import CommandSource, Copy, FileSource, Source, SourceFailed, UrlSource
from mxqueue import QueueError


def has_list(primary: Primary) -> bool:
    keys = ("recipients_file", "recipients_command", "recipients_url", "recipients_ldap")
    return any(getattr(primary, key) is not None for key in keys)


def list_source(primary: Primary) -> Source | None:
    """The configured list, None where there is none."""
    if primary.recipients_file is not None:
        return FileSource(primary.recipients_file)
    if primary.recipients_command is not None:
        return CommandSource(primary.recipients_command)
    if primary.recipients_url is not None:
        return UrlSource(primary.recipients_url)
    if primary.recipients_ldap is not None:
        return _directory(primary)
    return None


def _directory(primary: Primary) -> Source:
    try:
        from fallback_mx.recipients.directory import DirectorySource
    except SourceFailed as missing:
        return _Missing(str(primary.recipients_ldap), missing)
    assert primary.recipients_ldap is not None and primary.recipients_ldap_base is not None
    return DirectorySource(
        url=primary.recipients_ldap,
        base=primary.recipients_ldap_base,
        filter=primary.recipients_ldap_filter,
        attribute=primary.recipients_ldap_attribute,
        user=primary.recipients_ldap_user or "",
        password_file=primary.recipients_ldap_password_file,
    )


class _Missing:
    """A source that cannot be read for want of a library: a trouble like any other, and no reason not to start."""

    def __init__(self, origin: str, failure: SourceFailed) -> None:
        self.origin = origin
        self._failure = failure

    def copy(self, into: Copy) -> None:
        raise SourceFailed(str(self._failure), self._failure.advice)


def refresh_settings(primary: Primary) -> RefreshSettings:
    return RefreshSettings(
        primary.name, frozenset(primary.domains), primary.recipients_refresh, primary.recipients_stale_after
    )


class LoggedLists:
    """What refreshers tell, in the log."""

    def imported(self, primary: str, imported: Imported) -> None:
        maillog.recipients_imported(
            primary,
            addresses=imported.addresses,
            added=imported.added,
            removed=imported.removed,
            passed_over=imported.foreign_count,
        )

    def trouble(self, primary: str, part: str, error: SourceFailed | QueueError) -> None:
        maillog.trouble(_part(primary, part), str(error), error.advice)

    def recovered(self, primary: str, part: str) -> None:
        maillog.recovered(_part(primary, part))


def _part(primary: str, part: str) -> str:
    return f"{part} of {primary}'s recipient list"
