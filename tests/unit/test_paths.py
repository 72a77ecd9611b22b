"""MAIL and RCPT paths: the grammar of RFC 5321 and 6531, and nothing a server behind us might follow elsewhere."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.domains import normalised
from fallback_mx.smtp.paths import MAX_PATH, BadPath, Path, forward_path, reverse_path

LONG_DOMAIN = ".".join(["x" * 60] * 5)


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        ("TO:<u@example.test>", "u@example.test"),
        ("to:<u@example.test>", "u@example.test"),
        ("TO: <u@example.test>", "u@example.test"),
        ("TO:<U@EXAMPLE.Test.>", "U@example.test"),
        ("TO:<a.b+c@x-1.example.test>", "a.b+c@x-1.example.test"),
        ("TO:<a#b$c&d'e*f/g=h?i^j_k`l{m}n~o-p@example.test>", "a#b$c&d'e*f/g=h?i^j_k`l{m}n~o-p@example.test"),
        ("TO:<u@xn--mller-kva.test>", "u@xn--mller-kva.test"),
        ('TO:<"a b"@example.test>', '"a b"@example.test'),
        (r'TO:<"a\"b\\c"@example.test>', r'"a\"b\\c"@example.test'),
        ('TO:<""@example.test>', '""@example.test'),
        ('TO:<"a>b <c"@example.test>', '"a>b <c"@example.test'),
        ("TO:<postmaster>", "postmaster"),
        ("TO:<PostMaster>", "PostMaster"),
        ("TO:<u@[127.0.0.1]>", "u@[127.0.0.1]"),
        ("TO:<u@[ipv6:2001:DB8::0:1]>", "u@[IPv6:2001:db8::1]"),
        ("TO:<grüße@example.test>", "grüße@example.test"),
        ("TO:<u@MÜLLER.test.>", "u@xn--mller-kva.test"),
        ("TO:<u@müller。test>", "u@xn--mller-kva.test"),
        ('TO:<"grüße an alle"@example.test>', '"grüße an alle"@example.test'),
        ("TO:<नमस्ते@example.test>", "नमस्ते@example.test"),
        ("TO:<می\u200cم@example.test>", "می\u200cم@example.test"),
        ("TO:<" + "x" * 100 + "@example.test>", "x" * 100 + "@example.test"),
    ],
)
def test_a_path_of_the_grammar_is_read(argument: str, address: str) -> None:
    path, rest = forward_path(argument)
    assert path.address == address
    assert rest == ""


@pytest.mark.parametrize(
    "route", ["@relay.test:", "@relay.test,@other.test:", "@relay.test.,@OTHER.test:", "@müller.test:"]
)
def test_a_source_route_is_dropped(route: str) -> None:
    assert forward_path(f"TO:<{route}u@example.test>")[0].address == "u@example.test"
    path = reverse_path(f"FROM:<{route}u@example.test>")[0]
    assert path is not None
    assert path.address == "u@example.test"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "u@example.test",
        "<u@example.test",
        "<u@example.test>>",
        "<<u@example.test>>",
        "<u@example.test>x",
        "<u@example.test>SIZE=1",
        "<u@example.test>\tSIZE=1",
        "< u@example.test>",
        "<u@example.test >",
        "<@>",
        "<u@>",
        "<@example.test>",
        "<u@.>",
        "<u@.example.test>",
        "<u@example..test>",
        "<u@example.test..>",
        "<u@-example.test>",
        "<u@example-.test>",
        "<u@exa_mple.test>",
        "<u@" + "x" * 64 + ".test>",
        "<u@" + LONG_DOMAIN + ">",
        "<" + "x" * 250 + "@example.test>",
        "<" + "ü" * 125 + "@example.test>",
        "<u.@example.test>",
        "<.u@example.test>",
        "<u..v@example.test>",
        "<u v@example.test>",
        "<u(v)@example.test>",
        "<u,v@example.test>",
        "<u@a@example.test>",
        '<"a@example.test>',
        '<"a"b@example.test>',
        '<a."b"@example.test>',
        '<"a\\"@example.test>',
        "<somebody>",
        "<@relay.test,other.test:u@example.test>",
        "<@relay.test u@example.test>",
        "<@:u@example.test>",
        "<@[127.0.0.1]:u@example.test>",
        "<u@[127.0.0.256]>",
        "<u@[127.1]>",
        "<u@[::1]>",
        "<u@[IPv6:::g]>",
        "<u@[IPv6:fe80::1%eth0]>",
        "<u@[x400:example]>",
        "<u@[127.0.0.1>",
        "<u\0@example.test>",
        "<u\x7f@example.test>",
        '<"u\r\n"@example.test>',
        '<"u\\\n"@example.test>',
        "<u\x85@example.test>",
        "<u\u2028@example.test>",
        "<u\u202e@example.test>",
        "<u\ud800@example.test>",
        "<u@☃.test>",
        "<u@ü\u202e.test>",
        "<u@-ü.test>",
        "<u@ü.127>",
    ],
)
def test_what_is_not_in_the_grammar_is_refused(path: str) -> None:
    for read, keyword in ((forward_path, "TO"), (reverse_path, "FROM")):
        with pytest.raises(BadPath):
            read(f"{keyword}:{path}")


def test_a_domain_is_measured_as_the_next_hop_is_told_it() -> None:
    domain = ".".join(["ü"] * 20) + ".test"
    local = "u" * (MAX_PATH - len(domain.encode()) - len("<@>"))
    with pytest.raises(BadPath, match="Address too long"):
        forward_path(f"TO:<{local}@{domain}>")


@pytest.mark.parametrize("argument", ["", "TO", "<u@example.test>", "FROM:<u@example.test>", "TO<u@x.test>", "TO:<>"])
def test_a_recipient_wants_its_keyword_and_a_path(argument: str) -> None:
    with pytest.raises(BadPath):
        forward_path(argument)


@pytest.mark.parametrize("argument", ["", "FROM", "TO:<u@example.test>", "FROM <u@x.test>", "FROM:<postmaster>"])
def test_a_sender_wants_its_keyword_and_a_whole_path(argument: str) -> None:
    with pytest.raises(BadPath):
        reverse_path(argument)


def test_the_null_reverse_path_is_no_path_and_keeps_its_parameters() -> None:
    assert reverse_path("FROM:<> SIZE=100 BODY=8BITMIME") == (None, " SIZE=100 BODY=8BITMIME")


def test_parameters_are_handed_over_unread() -> None:
    assert forward_path("TO:<u@example.test> NOTIFY=NEVER x") == (Path("u", "example.test"), " NOTIFY=NEVER x")
    assert forward_path('TO:<"u v"@example.test> A=<b>')[1] == " A=<b>"


@pytest.mark.parametrize(
    ("argument", "is_wide"),
    [
        ("TO:<u@example.test>", False),
        ('TO:<"u"@example.test> ORCPT=utf-8;ü', False),
        ("TO:<ü@example.test>", True),
        ("TO:<u@müller.test>", True),
        ("TO:<@müller.test:u@example.test>", True),
    ],
)
def test_a_path_that_wants_smtputf8_is_known(argument: str, is_wide: bool) -> None:
    assert forward_path(argument)[0].is_wide is is_wide


FOLLOWED = [
    "a%b",
    "a!b",
    '"a@b"',
    '"a\\@b"',
    "/etc/passwd",
    "|prog",
    '"|prog x"',
    '" |prog"',
    r'"\|prog"',
    r'"\"|prog\""',
    '".x"',
    '"/dev/null"',
    "a%b%c",
    "a\uff05b",
    "a\uff20b",
    "a\uff01b",
    "\uff0fetc",
    "\uff5cprog",
    "\u2026x",
    "\u200c/etc",
    "\u200d|prog",
    '"\u200c |prog"',
    "\u034f/etc",
    "\u3164/etc",
    "a\u066ab",
    "\u2215etc",
    '"<file"',
    "-oQ",
    "root+${run{x}}",
    "\uffe8prog",
    "\u00a6prog",
    '"-oQ"',
    '":include:/etc/passwd"',
    '":Include:x"',
]


@pytest.mark.parametrize("local", FOLLOWED)
def test_local_parts_that_a_server_might_follow_are_noticed(local: str) -> None:
    assert forward_path(f"TO:<{local}@example.test>")[0].could_be_followed


@pytest.mark.parametrize(
    "local", ["a.b+c/d", "a|b", '"a b."', "grüße", "a\u2026b", '"a/b|c.d"', '"a<b"', "a-", "\u0646\u200c\u0645"]
)
def test_an_ordinary_local_part_is_not_followed(local: str) -> None:
    assert not forward_path(f"TO:<{local}@example.test>")[0].could_be_followed


# Whatever comes ----------------------------------------------------------------------------------------------------

SPICE = st.text(alphabet=st.sampled_from("""ab.Z0-_@%!/|<>,:"\\[] \tüß\uff05。\u200d\u202e\0\r\nIPv61"""), max_size=40)
NEAR_PATHS = st.one_of(
    st.text(max_size=300),
    SPICE,
    st.builds("<{}@{}>{}".format, SPICE, st.sampled_from(["example.test", "MÜLLER.test", "[127.0.0.1]"]), SPICE),
    st.builds('<"{}"@{}>'.format, SPICE, SPICE),
    st.builds("<{}:{}@example.test> {}".format, SPICE, SPICE, SPICE),
)


def read_to(text: str) -> tuple[Path, str] | None:
    try:
        return forward_path("TO:" + text)
    except BadPath:
        return None


@given(NEAR_PATHS)
def test_any_text_is_read_or_refused_and_never_breaks_the_parser(text: str) -> None:
    read_to(text)
    try:
        reverse_path("FROM:" + text)
        reverse_path(text)
    except BadPath:
        pass


@given(NEAR_PATHS)
def test_what_is_accepted_means_the_same_when_it_is_said_again(text: str) -> None:
    found = read_to(text)
    if found is not None:
        path, _ = found
        again, rest = forward_path(f"TO:<{path.address}>")
        assert (again.local, again.domain, again.could_be_followed) == path[:2] + path[3:]
        assert rest == ""


@given(NEAR_PATHS)
def test_what_is_accepted_can_neither_end_the_command_nor_move_a_screen(text: str) -> None:
    found = read_to(text)
    if found is not None:
        assert found[0].address.translate({0x200C: None, 0x200D: None}).isprintable()
        assert found[1][:1] in {"", " "}


@given(NEAR_PATHS)
def test_a_recipient_that_is_not_said_to_be_followed_has_no_routing_characters(text: str) -> None:
    found = read_to(text)
    if found is not None and not found[0].could_be_followed:
        local = unicodedata.normalize("NFKC", found[0].local)
        assert not re.search("[%!@]", local)
        assert local.lstrip('" \\')[:1] not in {"/", "|", "."}


@given(NEAR_PATHS)
def test_sender_and_recipient_are_read_alike(text: str) -> None:
    try:
        sender = reverse_path("FROM:" + text)
    except BadPath:
        sender = None
    recipient = read_to(text)
    if sender is not None and sender[0] is not None:
        assert sender == recipient
    elif recipient is not None:
        assert recipient[0].local.lower() == "postmaster"


LABELS = st.sampled_from(["example", "müller", "straße", "bücher-shop", "почта", "例え", "xn--mller-kva", "a1", "x-1"])
NAMES = st.lists(LABELS, min_size=1, max_size=3).map(lambda labels: ".".join([*labels, "test"]))


@given(NAMES, st.randoms(use_true_random=False), st.sampled_from(["", "."]), st.booleans(), st.booleans())
def test_every_way_to_write_a_domain_comes_to_the_same(name: str, random, end: str, is_upper: bool, is_a: bool) -> None:
    written = normalised(name) if is_a else name
    # The capital of the sharp s is two letters: another name.
    mixed = "".join(each.upper() if each != "ß" and (is_upper or random.random() < 0.5) else each for each in written)
    path, _ = forward_path(f"TO:<u@{mixed}{end}>")
    assert path.domain == normalised(name)
