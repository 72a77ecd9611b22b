"""docs/doctor.md: every check has its section, and every command in it is one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
FINDINGS = {"ok", "warning", "error", "finding"}


def checks_of(path: Path) -> set[str]:
    """The names of checks in one module: what its findings begin with, as the module's constants say."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names = [n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            values = [v.value for v in ast.walk(node.value) if isinstance(v, ast.Constant) and isinstance(v.value, str)]
            constants.update(zip(names, values, strict=False))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    firsts = [call.args[0] for call in calls if call.func.id in FINDINGS and call.args]
    return {constants[each.id] for each in firsts if isinstance(each, ast.Name) and each.id in constants}


def test_every_check_has_a_section_and_every_section_a_check() -> None:
    named = set(re.findall(r"^## (.+)$", PAGE, flags=re.MULTILINE))
    there = set().union(*(checks_of(path) for path in (ROOT / "fallback_mx" / "doctor").glob("*.py")))
    assert named == there


def test_every_option_that_it_names_is_one() -> None:
    from fallback_mx.cli.doctor import doctor
    from fallback_mx.cli.test_mail import test_mail as trial

    options = {opt for command in (doctor, trial) for parameter in command.params for opt in parameter.opts}
    assert set(re.findall(r"`?(--[a-z]+)", PAGE)) - options == {"--lists"}
