"""Has the disk room, and is SQLite one that keeps what it has committed (mxqueue.engine)?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fallback_mx.doctor.finding import Finding, error, ok, warning
from fallback_mx.space import Space
from fallback_mx.spoken import octets
from mxqueue.errors import UnsafeSQLite
from mxqueue.sqlite import sqlite_module

DISK, SQLITE = "disk", "sqlite"
LITTLE = 4
"""Less than so many times what is kept free is little."""


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """`directory` is "" where the queue is on a database server; `is_there` whether there is such a directory."""

    directory: str = ""
    is_there: bool = True
    free_octets: int = 0
    floor_octets: int = 0
    takes_files: bool = True


@dataclass(frozen=True, slots=True)
class SqliteFacts:
    """`version` is that of the SQLite that is used; `trouble` is why none can be."""

    version: str = ""
    trouble: str = ""
    advice: str = ""


def gather_disk(directory: Path | None, floor_octets: int) -> DiskFacts:
    if directory is None:
        return DiskFacts()
    space = Space(directory, floor_octets)
    return DiskFacts(str(directory), directory.is_dir(), space.free_octets, floor_octets, space.takes_files)


def gather_sqlite() -> SqliteFacts:
    try:
        return SqliteFacts(sqlite_module().sqlite_version)
    except UnsafeSQLite as unsafe:
        return SqliteFacts(trouble=str(unsafe), advice=unsafe.advice)


def judge_disk(facts: DiskFacts) -> Finding:
    where = facts.directory
    if not where:
        return ok(DISK, "the queue", "the queue is on a database server, whose disk is not looked at")
    if not facts.is_there:
        return error(DISK, where, f"{where} is not there", f"mkdir {where}, or start the service: systemd makes it.")
    if not facts.takes_files:
        return error(DISK, where, f"no inode is free under {where}: large mail is refused", "Remove files there.")
    free, floor = octets(facts.free_octets), octets(facts.floor_octets)
    if facts.free_octets < facts.floor_octets:
        reason = f"{free} are free under {where}, less than the {floor} that are kept free: mail is refused (452)"
        return error(DISK, where, reason, "Make room, or give the queue a disk of its own.")
    if facts.free_octets < LITTLE * facts.floor_octets:
        reason = f"{free} are free under {where}, of which {floor} are kept free: little for a long outage"
        return warning(DISK, where, reason, "Make room: an outage's mail is kept here until the primary is back.")
    return ok(DISK, where, f"{free} are free under {where}")


def judge_sqlite(facts: SqliteFacts) -> Finding:
    if facts.trouble:
        return error(SQLITE, "this machine", facts.trouble, facts.advice)
    return ok(SQLITE, "this machine", f"SQLite {facts.version} keeps what it has committed")
