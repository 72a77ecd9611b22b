"""MAIL and RCPT arguments: the grammar of RFC 5321, and nothing a server behind us might follow elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.smtp.paths import BadPath, Path, parse


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        ("TO:<u@example.test>", "u@example.test"),
        ("to:<u@example.test>", "u@example.test"),
        ("TO: <u@example.test>", "u@example.test"),
        ("TO:<U@EXAMPLE.Test.>", "U@example.test"),
        ("TO:<a.b+c@x-1.example.test>", "a.b+c@x-1.example.test"),
        ("TO:<@relay.test,@other.test:u@example.test>", "u@example.test"),
        ('TO:<"a b"@example.test>', '"a b"@example.test'),
        ("TO:<postmaster>", "postmaster"),
        ("TO:<u@[127.0.0.1]>", "u@[127.0.0.1]"),
    ],
)
def test_a_path_of_the_grammar_is_read(argument: str, address: str) -> None:
    path = parse(argument, "TO").path
    assert path is not None
    assert path.address == address


@pytest.mark.parametrize(
    "argument",
    [
        "",
        "u@example.test",
        "FROM:<u@example.test>",
        "TO:u@example.test",
        "TO:<u@example.test",
        "TO:<>",
        "TO:<@>",
        "TO:<u@>",
        "TO:<@example.test>",
        "TO:<u@example..test>",
        "TO:<u@-example.test>",
        "TO:<u.@example.test>",
        "TO:<.u@example.test>",
        "TO:<u..v@example.test>",
        "TO:<u v@example.test>",
        "TO:<u@example.test>x",
        "TO:<u@exa_mple.test>",
        "TO:<u@a@example.test>",
        "TO:<somebody>",
        "TO:<" + "x" * 65 + "@example.test>",
        "TO:<u@" + ("x" * 60 + ".") * 5 + "test>",
        "TO:<<u@example.test>>",
        "TO:<u@example.test> SIZE=1 SIZE=2",
        "TO:<u@example.test> =",
    ],
)
def test_what_is_not_in_the_grammar_is_refused(argument: str) -> None:
    with pytest.raises(BadPath):
        parse(argument, "TO")


@pytest.mark.parametrize(
    "local",
    ["a%b", "a!b", '"a@b"', '"a\\@b"', "/etc/passwd", "|prog", '"|prog x"', '".x"', '"/dev/null"', "a%b%c"],
)
def test_local_parts_that_a_server_might_follow_are_noticed(local: str) -> None:
    path = parse(f"TO:<{local}@example.test>", "TO").path
    assert path is not None
    assert path.could_be_followed


def test_an_ordinary_local_part_is_not_followed() -> None:
    assert not Path("a.b+c/d", "example.test").could_be_followed


def test_the_null_reverse_path_is_no_path_and_keeps_its_parameters() -> None:
    parsed = parse("FROM:<> SIZE=100 BODY=8BITMIME", "FROM")
    assert parsed.path is None
    assert parsed.parameters == {"SIZE": "100", "BODY": "8BITMIME"}


@given(st.text(max_size=300))
def test_any_text_is_parsed_or_refused_and_never_breaks_the_parser(text: str) -> None:
    try:
        parsed = parse("TO:" + text, "TO")
    except BadPath:
        return
    assert parsed.path is not None
    assert "\r" not in parsed.path.address
    assert "\n" not in parsed.path.address
