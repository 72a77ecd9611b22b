"""Debian's Chromium, driven by playwright: it fetches no browser of its own. One is started for a whole test file."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def missing() -> str | None:
    """Why there is no browser to test with, None where there is one."""
    if shutil.which("chromium") is None:
        return "chromium is not installed (Debian package: chromium)"
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed (make peers installs it: pip install --group browser)"
    return None


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser. Root has no use for its sandbox, which wants a user of its own."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        try:
            yield browser
        finally:
            browser.close()
