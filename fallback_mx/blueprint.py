"""What `fallback-mx init` writes: a configuration, a drop-in for systemd, and the DNS records, as text.

Nothing is read or written here. The configuration has only what was decided: deploy/fallback-mx.toml is the manual.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fallback_mx.doctor import zone
from fallback_mx.smtp.ourselves import SMTP_PORT

_STATE = "/var/lib/fallback-mx"
DEFAULT_STORAGE = f"sqlite:///{_STATE}/queue.db"
STEP = 10
_HEAD = """\
# Made by `fallback-mx init`. Every other key has its default: `fallback-mx config show` prints them all, and
# deploy/fallback-mx.toml says what each means. `fallback-mx config check` after every change.
"""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """Everything that was decided. `exchangers` are the MX records that there are, by domain; `addresses` are ours."""

    domains: tuple[str, ...]
    host: str
    hostname: str
    name: str = "main"
    port: int = SMTP_PORT
    when_up: str = "guard"
    listen: tuple[str, ...] = ()
    storage: str = DEFAULT_STORAGE
    certificate: str = ""
    key: str = ""
    addresses: tuple[str, ...] = ()
    exchangers: Mapping[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)

    def config(self) -> str:
        server: dict[str, object] = {"hostname": self.hostname}
        if self.listen:
            server["listen"] = list(self.listen)
        if self.certificate:
            server["tls_certificate"] = self.certificate
        if self.key:
            server["tls_key"] = self.key
        primary: dict[str, object] = {"name": self.name, "domains": list(self.domains), "host": self.host}
        if self.port != SMTP_PORT:
            primary["port"] = self.port
        primary["when_up"] = self.when_up
        tables: list[tuple[str, Mapping[str, object]]] = [
            ("[server]", server),
            ("[storage]", {"url": self.storage}),
            ("[[primary]]", primary),
        ]
        return _HEAD + "".join(f"\n{heading}\n{_toml(values)}" for heading, values in tables)

    def drop_in(self, program: str, config: Path) -> str:
        """What the shipped unit needs to know of this machine."""
        lines = [
            "# Made by `fallback-mx init`: what fallback-mx.service is to know of this machine.",
            "[Service]",
            "ExecStart=",
            f"ExecStart={_quoted(program)} serve --config {_quoted(str(config))}",
        ]
        directory = self._queue_directory()
        if directory is not None and not directory.is_relative_to(_STATE):
            lines += [f"ReadWritePaths={_quoted(str(directory))}", f"WorkingDirectory={directory}"]
        return "\n".join(lines) + "\n"

    def _queue_directory(self) -> Path | None:
        prefix = "sqlite:///"
        return Path(self.storage.removeprefix(prefix)).parent if self.storage.startswith(prefix) else None

    def records(self) -> tuple[str, ...]:
        """Lines of a zone file. Those that are there already are among them where the order depends on them."""
        found: list[str] = []
        for domain in self.domains:
            found += self._exchangers_of(domain)
        found += zone.addresses(self.hostname, self.addresses)
        # For our own reports, whose null reverse-path has no other domain than this (RFC 7208, section 2.4).
        found.append(zone.txt(self.hostname, "v=spf1 a -all"))
        found += [zone.ptr(address, self.hostname) for address in self.addresses]
        return tuple(found)

    def _exchangers_of(self, domain: str) -> list[str]:
        others = [(number, host) for number, host in self.exchangers.get(domain, ()) if host not in ("", self.hostname)]
        ours = zone.mx(domain, min(max((number for number, _ in others), default=STEP) + STEP, 65535), self.hostname)
        if others:
            return [*(zone.mx(domain, number, host) for number, host in others), ours]
        if zone.is_name(self.host):
            return [zone.mx(domain, STEP, self.host), ours]
        return [f"{zone.mx(domain, STEP, f'mail.{domain}')} ; the primary's name here", ours]


def _toml(values: Mapping[str, object]) -> str:
    # A JSON string, number or list of these is a TOML value of the same meaning.
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())


def _quoted(text: str) -> str:
    """As systemd wants it (systemd.syntax(7)): a percent sign is doubled, blanks want quotes."""
    doubled = text.replace("%", "%%")
    return json.dumps(doubled) if any(each in doubled for each in " \t\"'\\") else doubled
