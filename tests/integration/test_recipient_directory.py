"""A list from an LDAP directory behind a real socket."""

from __future__ import annotations

import io
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from fallback_mx.config import Config
from fallback_mx.recipients.directory import DirectorySource
from fallback_mx.recipients.sources import Copy, Limits, SourceFailed
from fallback_mx.service.lists import list_source
from tests.fakes.directory import NO_SUCH_OBJECT, FakeDirectory

BASE = "ou=people,dc=example,dc=org"


def source(directory: FakeDirectory, **more: Any) -> DirectorySource:
    values: dict[str, Any] = {
        "url": f"ldap://127.0.0.1:{directory.port}",
        "base": BASE,
        "filter": "(mail=*)",
        "attribute": "mail",
        **more,
    }
    return DirectorySource(**values)


def read(one: DirectorySource, limits: Limits | None = None) -> list[bytes]:
    spool = io.BytesIO()
    one.copy(Copy(spool, limits or Limits(seconds=30), lambda: False))
    return spool.getvalue().splitlines()


def failure(one: DirectorySource, limits: Limits | None = None) -> str:
    with pytest.raises(SourceFailed) as caught:
        read(one, limits)
    assert caught.value.advice
    return str(caught.value)


def test_every_value_of_the_attribute_is_an_address_and_large_directories_come_in_pages() -> None:
    people = [f"user{number}@example.org".encode() for number in range(2500)]
    with FakeDirectory(people) as directory:
        assert sorted(read(source(directory))) == sorted(people)
        assert [search["size"] for search in directory.searches] == [1000, 1000, 1000]
        assert directory.searches[0] == {"base": BASE, "attributes": ["mail"], "size": 1000}


def test_of_proxy_addresses_those_of_mail_are_taken_without_their_mark() -> None:
    values = [b"SMTP:bob@example.org", b"smtp:bobby@example.org", b"X500:/o=Example/cn=bob", b"sip:bob@example.org"]
    with FakeDirectory(values) as directory:
        found = sorted(read(source(directory, attribute="proxyAddresses")))
        assert found == [b"bob@example.org", b"bobby@example.org"]


def test_the_password_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim\n")
    user = "cn=reader,dc=example,dc=org"
    with FakeDirectory([b"bob@example.org"], password="geheim") as directory:
        assert read(source(directory, user=user, password_file=tmp_path / "password")) == [b"bob@example.org"]
        assert directory.binds == [user]


def test_a_wrong_password_is_told_without_it(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("falsch")
    with FakeDirectory([], password="geheim") as directory:
        said = failure(source(directory, user="cn=reader", password_file=tmp_path / "password"))
    assert "invalidCredentials" in said and "falsch" not in said


def test_a_password_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with FakeDirectory([]) as directory:
        said = failure(source(directory, user="cn=reader", password_file=tmp_path / "none"))
    assert said == f"{tmp_path}/none: No such file or directory"


def test_a_base_that_is_not_there_and_a_directory_that_is_not_there_are_told() -> None:
    with FakeDirectory([]) as directory:
        directory.result = NO_SUCH_OBJECT
        gone = source(directory)
        assert failure(gone).startswith(f"ldap://127.0.0.1:{directory.port}/{BASE}: ")
    assert failure(gone).startswith(f"ldap://127.0.0.1:{directory.port}/{BASE}: ")


def test_a_directory_that_is_too_large_is_left() -> None:
    with FakeDirectory([b"bob@example.org"] * 3000) as directory:
        assert failure(source(directory), Limits(octets=1000)) == "it is larger than 1kB"


def test_a_certificate_that_nobody_trusts_is_not_trusted() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with FakeDirectory([b"bob@example.org"], tls=context) as directory:
        assert "certificate" in failure(source(directory, url=f"ldaps://127.0.0.1:{directory.port}")).lower()
        assert directory.binds == []


def test_a_configured_directory_is_the_primarys_list() -> None:
    with FakeDirectory([b"bob@example.org"]) as directory:
        primary = {
            "name": "main",
            "domains": ["example.org"],
            "recipients_ldap": f"ldap://127.0.0.1:{directory.port}",
            "recipients_ldap_base": BASE,
        }
        (configured,) = Config.model_validate({"primary": [primary]}).primaries
        one = list_source(configured)
        assert isinstance(one, DirectorySource)
        assert read(one) == [b"bob@example.org"]


def test_without_the_library_the_service_starts_and_the_list_is_in_trouble() -> None:
    code = """
import sys
sys.modules["ldap3"] = None
from fallback_mx.config import Config
from fallback_mx.service.lists import list_source
keys = {"name": "main", "domains": ["example.org"], "recipients_ldap": "ldaps://l.test", "recipients_ldap_base": "dc=x"}
(primary,) = Config.model_validate({"primary": [keys]}).primaries
try:
    list_source(primary).copy(None)
except Exception as error:
    print(f"{error}. {error.advice}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ldap3 is not installed. Install it: pip install 'fallback-mx[ldap]'.\n"
