"""`fallback-mx init`: a few questions, and then a configuration, a drop-in for systemd and the DNS records."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.exits import DONE, FAILED, complain
from fallback_mx.cli.options import config_option, config_path, json_option
from fallback_mx.cli.places import Place
from fallback_mx.cli.printing import print_json, say
from fallback_mx.visible import visible

if TYPE_CHECKING:
    import dns.asyncresolver

    from fallback_mx.blueprint import Blueprint

# As the shipped unit has it.
USER = "fallback-mx"
UNITS = "/etc/systemd/system"
DROP_IN = Path("fallback-mx.service.d") / "init.conf"
RECORDS = "dns-records.txt"
# Where certbot puts what it has got for a name.
CERTBOT = "/etc/letsencrypt/live"
# What of the configuration is decided by which option.
OPTIONS = {
    "primary[0].domains": "--domain",
    "primary[0].host": "--host",
    "primary[0].name": "--name",
    "server.hostname": "--hostname",
    "server.listen": "--listen",
    "storage.url": "--storage",
    "server.tls_certificate": "--certificate",
    "server.tls_key": "--key",
}


@click.command(short_help="Write a configuration, from a few questions.")
@config_option
@json_option
@click.option("--domain", "domains", multiple=True, metavar="DOMAIN", help="A domain to stand in for; repeatable.")
@click.option("--host", metavar="HOST", help="The primary. [default: what the MX records say]")
@click.option("--host-port", type=click.IntRange(1, 65535), default=25, show_default=True, help="Its port.")
@click.option("--name", default="main", show_default=True, help="What to call the primary.")
@click.option("--hostname", metavar="NAME", help="Our own name. [default: this machine's, or mx2.DOMAIN]")
@click.option("--when-up", type=click.Choice(["guard", "proxy", "accept"]), help="Mail while the primary is up.")
@click.option("--listen", multiple=True, metavar="ADDRESS:PORT", help="Where to listen; repeatable. [default: port 25]")
@click.option("--storage", metavar="URL", help="The queue's database. [default: SQLite in /var/lib/fallback-mx]")
@click.option("--certificate", metavar="FILE", help="For STARTTLS. [default: certbot's for our name, if it is there]")
@click.option("--key", metavar="FILE", help="The key of --certificate.")
@click.option("--units", metavar="DIRECTORY", default=UNITS, show_default=True, help="Where systemd's units are.")
@click.option("--resolver", type=Place(53), metavar="ADDRESS[:PORT]", help="Ask this name server, not the system's.")
@click.option("--yes", is_flag=True, help="Ask nothing: take the options, and defaults for the rest.")
@click.option("--force", is_flag=True, help="Write over files that are there.")
def init(
    domains: tuple[str, ...],
    host: str | None,
    host_port: int,
    name: str,
    hostname: str | None,
    when_up: str | None,
    listen: tuple[str, ...],
    storage: str | None,
    certificate: str | None,
    key: str | None,
    units: str,
    resolver: tuple[str, int] | None,
    yes: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Ask a few questions, look at DNS and the primary, and write what a service needs.

    That is the configuration (--config), a drop-in for the shipped systemd unit, and beside the configuration a file
    with the DNS records. Files that are there are left alone, all of them, without --force. Without a terminal say
    --yes and at least --domain.

    \b
    Examples:
      fallback-mx init
      fallback-mx init --yes --domain example.org --host mail.example.org --hostname mx2.example.org
    """
    ask = _Questions(is_asking=not yes)
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on: say --yes, and what is to be written.")
    files = _files(units)
    there = [str(path) for path in files.values() if path.exists()]
    if there and not force:
        complain(f"{', '.join(there)}: there already, and left alone; --force writes over it")
        return FAILED
    given = {
        "host": host,
        "hostname": hostname,
        "when_up": when_up,
        "storage": storage,
        "certificate": certificate,
        "key": key,
    }
    plan = _plan(_domains(ask, domains), host_port, name, listen, given, ask, _resolver(resolver))
    _check(plan)
    answers, said = asyncio.run(_look_at(plan))
    _write(plan, files)
    return _tell(plan, files, f"{plan.host} {'answers' if answers else 'does not answer'}: {said}", as_json)


class _Questions:
    """Asks, or takes the default."""

    def __init__(self, *, is_asking: bool) -> None:
        self._is_asking = is_asking

    def ask(self, question: str, default: str, why_needed: str) -> str:
        """Raises click.UsageError where nobody can be asked and there is no default."""
        if self._is_asking:
            return str(click.prompt(question, default=default or None, err=True)).strip()
        if not default:
            raise click.UsageError(why_needed)
        return default


def _files(units: str) -> Mapping[str, Path]:
    config = Path(config_path()).absolute()
    return {"config": config, "records": config.parent / RECORDS, "drop_in": Path(units).absolute() / DROP_IN}


def _domains(ask: _Questions, given: tuple[str, ...]) -> tuple[str, ...]:
    from fallback_mx.domains import normalised

    text = " ".join(given) or ask.ask("Domains to stand in for", "", "Say which domains with --domain.")
    found = []
    for word in text.replace(",", " ").split():
        try:
            found.append(normalised(word))
        except ValueError as reason:
            raise click.UsageError(f"{visible(word)[:80]} is not a domain: {reason}.") from None
    return tuple(dict.fromkeys(found))


def _resolver(chosen: tuple[str, int] | None) -> Callable[[], dns.asyncresolver.Resolver]:
    def make() -> dns.asyncresolver.Resolver:
        from fallback_mx.doctor.asking import resolver

        return resolver(chosen)

    return make


def _plan(
    domains: tuple[str, ...],
    port: int,
    name: str,
    listen: tuple[str, ...],
    given: Mapping[str, str | None],
    ask: _Questions,
    resolver: Callable[[], dns.asyncresolver.Resolver],
) -> Blueprint:
    from fallback_mx.blueprint import DEFAULT_STORAGE, Blueprint
    from fallback_mx.doctor.addresses import public_addresses

    exchangers = asyncio.run(_exchangers(domains, resolver))
    machine = socket.getfqdn()
    usual = machine if "." in machine and not machine.startswith("localhost") else f"mx2.{domains[0]}"
    hostname = given["hostname"] or ask.ask("Our own name", usual, "Say our own name with --hostname.")
    hostname = hostname.rstrip(".").lower()
    first = next((host for _, host in exchangers[domains[0]] if host not in ("", hostname)), "")
    host = given["host"] or ask.ask("The primary's host", first, f"{domains[0]} has no MX records: name its --host.")
    when_up = given["when_up"] or ask.ask('Mail while it is up ("guard", "proxy", "accept")', "guard", "")
    found = Path(CERTBOT) / hostname
    has_found = not given["certificate"] and (found / "fullchain.pem").is_file()
    return Blueprint(
        domains,
        host,
        hostname,
        name,
        port,
        when_up,
        listen,
        given["storage"] or DEFAULT_STORAGE,
        str(found / "fullchain.pem") if has_found else given["certificate"] or "",
        str(found / "privkey.pem") if has_found else given["key"] or "",
        public_addresses(),
        exchangers,
    )


async def _exchangers(
    domains: tuple[str, ...], resolver: Callable[[], dns.asyncresolver.Resolver]
) -> dict[str, tuple[tuple[int, str], ...]]:
    from fallback_mx.doctor.scouting import exchangers

    asked = resolver()
    found = await asyncio.gather(*(exchangers(domain, asked) for domain in domains))
    for _, trouble in found:
        if trouble:
            complain(f"{trouble}: what stands there is not known")
    return dict(zip(domains, (records for records, _ in found), strict=True))


async def _look_at(plan: Blueprint) -> tuple[bool, str]:
    from fallback_mx.doctor.scouting import look_at

    return await look_at(plan.host, plan.port, plan.hostname)


def _check(plan: Blueprint) -> None:
    """Read it as the service would. Raises ConfigError, which names the options that are to blame."""
    from fallback_mx.config import ConfigError, load

    with tempfile.TemporaryDirectory() as directory:
        trial = Path(directory) / "fallback-mx.toml"
        trial.write_text(plan.config(), encoding="utf-8")
        try:
            load(trial, environ={})
        except ConfigError as error:
            raise error.naming(OPTIONS) from None


def _write(plan: Blueprint, files: Mapping[str, Path]) -> None:
    program = str(Path(sys.executable).parent / "fallback-mx")
    texts = {
        "config": plan.config(),
        "records": "".join(f"{line}\n" for line in plan.records()),
        "drop_in": plan.drop_in(program, files["config"]),
    }
    for what, path in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A password may come to stand in the configuration.
            path.touch(mode=0o640 if what == "config" else 0o644)
            path.write_text(texts[what], encoding="utf-8")
        except OSError as error:
            raise click.ClickException(f"{path} cannot be written: {error.strerror}. Run this as root.") from None
    with contextlib.suppress(LookupError, OSError):
        # Where it cannot be, `_tell` says so.
        shutil.chown(files["config"], group=USER)


def _is_readable(path: Path) -> bool:
    """Whether the service's group is the file's, or there is no such group and it is another's service."""
    try:
        return path.stat().st_gid == grp.getgrnam(USER).gr_gid
    except KeyError:
        return os.geteuid() != 0


def _tell(plan: Blueprint, files: Mapping[str, Path], primary: str, as_json: bool) -> int:
    from fallback_mx.cli.config import on_this_machine
    from fallback_mx.config import load

    problems = [str(each) for each in on_this_machine(load(files["config"], environ={}))]
    if not _is_readable(files["config"]):
        problems.append(f"{files['config']} is not readable for the service's user; chgrp {USER} {files['config']}")
    if as_json:
        written = {what: str(path) for what, path in files.items()}
        print_json({"written": written, "primary": primary, "records": plan.records(), "problems": problems})
        return DONE
    for path in files.values():
        say(f"Written: {path}")
    say(f"The primary: {primary}")
    for problem in problems:
        say(f"To do: {problem}")
    say("For the name servers:")
    for line in plan.records():
        say(f"  {line}")
    say("Then: fallback-mx config check; systemctl enable --now fallback-mx; fallback-mx doctor")
    return DONE
