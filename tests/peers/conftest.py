"""What the tests with real peers need: each test asks for its tools by fixture and is skipped by the package's name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.fakes import postfix, smtp_tools
from tests.fakes.postfix import Postfix
from tests.fakes.relay import DOMAIN
from tests.fakes.swaks import Swaks


@pytest.fixture
def swaks() -> Swaks:
    program = shutil.which("swaks")
    if program is None:
        pytest.skip("swaks is not installed (Debian package: swaks)")
    return Swaks(program)


@pytest.fixture
def postfix_primary() -> Iterator[Postfix]:
    """A running Postfix that is the primary for the domain and delivers into a Maildir."""
    lacking = postfix.missing()
    if lacking is not None:
        pytest.skip(lacking)
    with Postfix.primary(DOMAIN) as primary:
        yield primary


@pytest.fixture
def load_tools() -> None:
    lacking = smtp_tools.missing()
    if lacking is not None:
        pytest.skip(lacking)
