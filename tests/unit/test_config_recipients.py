"""The keys of what is known of recipients: what may be written, and what is said where it is not right."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from fallback_mx.config import Config, ConfigError, load

PRIMARY = '[[primary]]\nname = "main"\ndomains = ["example.org"]\nhost = "mail.example.org"\n'
LDAP = 'recipients_ldap = "ldaps://ldap.example.org"\nrecipients_ldap_base = "dc=example"\n'


def read(directory: Path, lines: str) -> Config:
    path = directory / "fallback-mx.toml"
    path.write_text(f"{PRIMARY}{lines}\n", encoding="utf-8")
    return load(path, environ={})


def problems_of(directory: Path, lines: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(directory, lines)
    return [str(problem) for problem in caught.value.problems]


def test_without_a_word_there_is_no_list_the_unknown_are_taken_and_nobody_is_asked(tmp_path: Path) -> None:
    primary = read(tmp_path, "").primaries[0]
    lists = (primary.recipients_file, primary.recipients_command, primary.recipients_url, primary.recipients_ldap)
    assert lists == (None, None, None, None)
    assert (primary.unknown_recipients, primary.call_ahead_per_minute) == ("accept", 0)
    assert primary.recipients_refresh == timedelta(minutes=15)
    assert primary.recipients_stale_after == timedelta(days=1)


def test_a_command_is_a_program_and_its_arguments(tmp_path: Path) -> None:
    config = read(tmp_path, 'recipients_command = ["/bin/list", "a b"]')
    assert config.primaries[0].recipients_command == ("/bin/list", "a b")
    assert config.shown()["primary"][0]["recipients_command"] == ["/bin/list", "a b"]


def test_a_urls_password_and_query_are_shown_nowhere(tmp_path: Path) -> None:
    config = read(tmp_path, 'recipients_url = "https://mx:geheim@example.org/list?key=s3cret"')
    assert config.primaries[0].recipients_url == "https://mx:geheim@example.org/list?key=s3cret"
    shown = json.dumps(config.shown()) + repr(config)
    assert "geheim" not in shown and "s3cret" not in shown
    assert config.shown()["primary"][0]["recipients_url"] == "https://mx:***@example.org/list?***"


def test_a_bad_url_is_not_repeated(tmp_path: Path) -> None:
    assert "geheim" not in "".join(problems_of(tmp_path, 'recipients_url = "ftp://mx:geheim@example.org/list"'))


WEB = 'is not a URL that begins with https:// or http://; write a URL such as "https://example.org/recipients.txt"'
DIRECTORY = 'is not a URL that begins with ldaps:// or ldap://; write a URL such as "ldaps://ldap.example.org"'

MISTAKES = [
    ('unknown_recipients = "reject"',
     'unknown_recipients: "reject" is not known here; write "accept", "defer" or "refuse"'),
    ('recipients_file = ""', "recipients_file: is empty; write the path of a file, or take the key out"),
    ('recipients_command = "/bin/list example.org"',
     'recipients_command: "/bin/list example.org" is one text; '
     'write the program and its arguments as a list: ["/bin/list", "example.org"]'),
    ("recipients_command = []",
     'recipients_command: [] is not a command; write ["/path/to/program", "argument"]'),
    ('recipients_command = ["list"]',
     'recipients_command: "list" is not a full path; write the program\'s path from the root'),
    ('recipients_command = ["/bin/list", ""]',
     "recipients_command: is empty or holds a NUL; write a word of the command, or take it out"),
    ('recipients_command = ["/bin/list", 5]',
     'recipients_command: 5 is not text; write text in double quotes, for example "/usr/local/bin/list-recipients"'),
    ('recipients_url = "file:///etc/passwd"', f"recipients_url: {WEB}"),
    ('recipients_url = "https://"', f"recipients_url: {WEB}"),
    ('recipients_url = "https://example.org:x/"', f"recipients_url: {WEB}"),
    ('recipients_url = "https://example.org/a b"', f"recipients_url: {WEB}"),
    ('recipients_ldap = "ldap.example.org"\nrecipients_ldap_base = "dc=example"', f"recipients_ldap: {DIRECTORY}"),
    ('recipients_ldap = "ldaps://ldap.example.org"',
     "recipients_ldap_base: is missing while recipients_ldap is set; "
     'write recipients_ldap_base = "ou=people,dc=example,dc=org"'),
    (LDAP + 'recipients_ldap_user = "cn=reader"',
     "recipients_ldap_password_file: is missing while recipients_ldap_user is set; write both, or neither"),
    (LDAP + 'recipients_ldap_password_file = "/etc/password"',
     "recipients_ldap_user: is missing while recipients_ldap_password_file is set; write both, or neither"),
    ('recipients_ldap_base = "dc=example"',
     'recipients_ldap_base: is set, and recipients_ldap is not; write recipients_ldap = "ldaps://…", too'),
    (LDAP + 'recipients_ldap_filter = " "',
     "recipients_ldap_filter: is empty or holds control characters; write text, or take the key out"),
    ('recipients_file = "/a"\nrecipients_url = "https://example.org/"',
     "recipients_url: recipients_file is set too; write one of them: a primary has one list"),
    ('recipients_refresh = "1d"',
     'recipients_stale_after: is no longer than recipients_refresh (1d); write "4d"'),
    ('recipients_stale_after = "10m"',
     'recipients_stale_after: is no longer than recipients_refresh (15m); write "1h"'),
    ('recipients_refresh = "5ms"', 'recipients_refresh: "5ms" is too short; write "100ms" or more'),
    ("call_ahead_per_minute = -1", "call_ahead_per_minute: -1 is too small; write 0 or more"),
    ('call_ahead_per_minute = "60"',
     'call_ahead_per_minute: "60" is not a whole number; write call_ahead_per_minute = 60'),
    ('recipient_file = "/a"', "recipient_file: is not a key of [[primary]]; did you mean recipients_file?"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "problem"), MISTAKES)
def test_a_mistake_is_named_with_its_remedy(tmp_path: Path, lines: str, problem: str) -> None:
    assert problems_of(tmp_path, lines) == [f"primary[0].{problem}"]
