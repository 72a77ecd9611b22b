"""The wheel: both packages in it, and nothing in it gets in the way of the standard library."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from fallback_mx.cli import manual

ROOT = Path(__file__).parents[2]
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "fallback_mx", "queue")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    # A copy, since a build leaves things beside what it builds.
    source = tmp_path_factory.mktemp("source")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    manual.write(source / "build" / "man")
    built = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(built), str(source)], check=True, capture_output=True)
    (path,) = built.glob("*.whl")
    return path


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        top = {name.partition("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith((".dist-info", ".data"))} == {"fallback_mx", "mxqueue"}


def test_the_wheel_brings_the_manual_pages_where_man_looks(wheel):
    with zipfile.ZipFile(wheel) as archive:
        data = {name.partition(".data/data/")[2] for name in archive.namelist() if ".data/" in name}
    assert {"share/man/man1/fallback-mx.1", "share/man/man1/fallback-mx-queue-list.1"} <= data
    assert all(name.startswith("share/man/man1/fallback-mx") for name in data)


def test_the_wheel_brings_what_is_not_python_too(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for root in (ROOT, ROOT / "queue"):
        for package in ("fallback_mx", "mxqueue"):
            for path in (root / package).rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    assert path.relative_to(root).as_posix() in names


def test_the_wheel_has_the_program(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (entry_points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "fallback-mx = fallback_mx.cli:main" in archive.read(entry_points).decode()


def test_the_installed_wheel_leaves_the_standard_librarys_queue_alone(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)  # what an installer does with a wheel of pure Python
    code = (
        "import queue, fallback_mx, mxqueue; print(queue.__file__, fallback_mx.__file__, mxqueue.__file__, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    queue, *ours = [Path(line) for line in done.stdout.splitlines()]
    assert queue.parent == Path(sysconfig.get_path("stdlib"))
    assert [path.parents[1] for path in ours] == [tmp_path, tmp_path]
