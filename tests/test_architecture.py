"""The house rules that no linter knows: what stands where, and which way imports point."""

from __future__ import annotations

import ast
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {
    ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
    for root, package in ((ROOT, "fallback_mx"), (ROOT / "queue", "mxqueue"))
    for path in sorted((root / package).rglob("*.py"))
}

TOP_LEVEL_DIRECTORIES = {"deploy", "docs", "fallback_mx", "queue", "tests"}
GENERATED_DIRECTORIES = {"build", "dist", "var", "__pycache__"}

# Modules of one concern each that know no other part of the house.
LEAVES = {"domains", "durations", "entrance", "garbage", "loglines", "maillog", "paper", "space", "spoken", "systemd",
          "users", "visible"}  # fmt: skip
# What each part may import besides itself and the leaves. A name stands for everything below it.
MAY_IMPORT = {
    "mxqueue": set(),
    "rules": {"mxqueue.model"},
    "sla": {"mxqueue.model"},
    "smtp": {"mxqueue", "rules"},
    "redelivery": {"mxqueue", "rules"},
    "outages": {"mxqueue", "rules", "sla"},
    "settlement": {"mxqueue", "outages", "rules", "sla"},
    "recipients": {"mxqueue", "rules"},
    "orders": {"mxqueue", "rules"},
    "maintenance": {"mxqueue", "sla"},
    "billing": {"sla"},
    "monitor": {"mxqueue", "outages", "rules"},
    "status": {"maintenance", "mxqueue", "orders", "outages", "rules", "sla"},
    "sentence": {"maintenance", "rules", "sla", "status"},
    "published": {"mxqueue", "orders", "outages", "rules", "sentence", "settlement", "sla", "status"},
    "web": {"mxqueue", "published", "rules", "sla"},
    "workers": set(),
    "accepting": {"mxqueue", "rules", "smtp", "workers"},
    "delivering": {"mxqueue", "redelivery", "rules", "smtp", "workers"},
    "rescue": {"mxqueue", "smtp"},
    "bounces": {"mxqueue", "rules"},
    "config": set(),
    "blueprint": {"doctor", "smtp"},
    "doctor": {"bounces", "mxqueue", "recipients", "rules", "smtp"},
    "service": {"accepting", "bounces", "config", "delivering", "maintenance", "monitor", "mxqueue", "orders",
                "outages", "published", "recipients", "redelivery", "rules", "sentence", "settlement", "sla", "smtp",
                "status", "web", "workers"},
    "demo": {"mxqueue", "outages", "rules", "sentence", "service", "sla", "smtp", "status"},
    "cli": {"billing", "blueprint", "bounces", "config", "demo", "doctor", "maintenance", "mxqueue", "orders",
            "outages", "published", "recipients", "rescue", "rules", "sentence", "service", "settlement", "sla", "smtp",
            "status"},
    "__main__": {"cli"},
}  # fmt: skip
PURE = ("rules", "sla")
SELF_CONTAINED = (*PURE, "mxqueue")  # no leaves either


def part_of(module: str) -> str:
    """The part of the house that a module belongs to: the name below fallback_mx, or mxqueue."""
    package, _, rest = module.partition(".")
    if package == "mxqueue":
        return package
    part = rest.partition(".")[0]
    return "config" if part.startswith("config_") else part


@cache
def imports_of(module: str) -> frozenset[str]:
    """Every module that is imported anywhere in this one, under TYPE_CHECKING too."""
    return frozenset(_imports_of(module))


def _imports_of(module: str) -> Iterator[str]:
    path = SOURCES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                below = f"{source}.{alias.name}"
                yield below if below in SOURCES else source


def first_party(module: str) -> Iterator[str]:
    for imported in imports_of(module):
        if imported.partition(".")[0] in ("fallback_mx", "mxqueue"):
            yield imported


def importers_of(library: str) -> set[str]:
    return {module for module in SOURCES if any(name.partition(".")[0] == library for name in imports_of(module))}


# --- the standard library's queue ------------------------------------------------------------------------------------


def test_the_queue_directory_holds_one_package_and_nothing_loose():
    found = {path.name for path in (ROOT / "queue").iterdir()} - {"__pycache__"}
    assert found == {"README.md", "mxqueue"}


def test_nothing_in_the_repository_shadows_the_standard_library():
    assert [path for path in (ROOT / "queue.py", ROOT / "queue" / "__init__.py") if path.exists()] == []


@pytest.mark.parametrize("directory", [ROOT, ROOT / "queue", ROOT / "fallback_mx"])
def test_import_queue_is_the_standard_librarys_wherever_python_is_started(directory):
    code = "import queue, concurrent.futures; print(queue.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=directory, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).parent == Path(sysconfig.get_path("stdlib"))


# --- which way imports point -----------------------------------------------------------------------------------------


def test_every_part_of_the_house_has_its_rule():
    parts = {part_of(module) for module in SOURCES} - {""}
    assert parts - set(MAY_IMPORT) - LEAVES == set()


@pytest.mark.parametrize("module", SOURCES)
def test_imports_point_the_permitted_way(module):
    part = part_of(module)
    permitted = MAY_IMPORT.get(part, set())
    free = set() if part in SELF_CONTAINED else {*LEAVES, ""}
    wrong = [
        name
        for name in first_party(module)
        if part_of(name) not in {part, *permitted, *free}
        and not any(name == whole or name.startswith(f"{whole}.") for whole in permitted)
    ]
    assert wrong == []


@pytest.mark.parametrize("part", PURE)
def test_a_pure_part_imports_the_standard_library_and_no_clock_chance_or_socket(part):
    forbidden = {"asyncio", "logging", "os", "random", "secrets", "socket", "subprocess", "threading", "time"}
    outside = {
        (module, name)
        for module in SOURCES
        if part_of(module) == part
        for name in imports_of(module)
        if (top := name.partition(".")[0]) not in ("fallback_mx", "mxqueue")
        and (top not in sys.stdlib_module_names or top in forbidden)
    }
    assert outside == set()


def test_aiosmtpd_is_known_to_the_inbound_wire_alone():
    assert importers_of("aiosmtpd") == {"fallback_mx.smtp.wire"}


def test_aiosmtplib_is_known_to_the_smtp_part_alone():
    assert {part_of(module) for module in importers_of("aiosmtplib")} <= {"smtp"}


def test_sql_is_known_to_the_queue_and_the_records_beside_it_and_the_check_of_its_url():
    records = {"maintenance", "orders", "outages", "published", "recipients", "settlement"}
    parts = {part_of(module) for module in importers_of("sqlalchemy")}
    assert parts <= {"mxqueue", *records, "config", "cli"}


@pytest.mark.parametrize("library", ["dateutil", "icalendar"])
def test_recurrence_and_calendars_are_known_to_the_part_of_maintenance_alone(library):
    assert {part_of(module) for module in importers_of(library)} == {"maintenance"}


def test_ldap_is_known_to_the_one_source_that_needs_it():
    assert importers_of("ldap3") == {"fallback_mx.recipients.directory"}


@pytest.mark.parametrize("library", ["dkim", "spf"])
def test_who_vouches_for_a_sender_is_known_to_the_part_of_bounces_alone(library):
    assert {part_of(module) for module in importers_of(library)} == {"bounces"}


# --- files -----------------------------------------------------------------------------------------------------------


def test_every_top_level_directory_is_one_that_was_planned():
    found = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert found - GENERATED_DIRECTORIES == TOP_LEVEL_DIRECTORIES


def test_no_python_file_lies_about_at_the_top():
    assert list(ROOT.glob("*.py")) == []


def test_no_module_is_a_drawer_for_odds_and_ends():
    drawers = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}
    assert [module for module in SOURCES if module.rpartition(".")[2] in drawers] == []


# The four lines by which alembic is handed to mxqueue.migrate are exempt.
@pytest.mark.parametrize("module", [module for module in SOURCES if not module.endswith(".migrations.env")])
def test_a_module_opens_with_what_it_is_for(module):
    text = SOURCES[module].read_text(encoding="utf-8")
    assert not text.strip() or ast.get_docstring(ast.parse(text)), f"{SOURCES[module]} has no docstring"
