"""The kinds of value that stand in the configuration, each with what to say when one is not right.

A value that does not fit raises a pydantic error that carries two sentences: what is wrong with it and what to write
instead. `config_problems` makes them a line for the person who wrote the file. Nothing here opens a socket or a file.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, StrictInt
from pydantic_core import PydanticCustomError

from fallback_mx.config_unfit import quoted, text_of, unfit
from fallback_mx.config_urls import hide_password, ldap_url, storage_url, web_url, without_secrets
from fallback_mx.domains import normalised
from fallback_mx.durations import format_duration, format_size, parse_duration, parse_size

MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A local address to listen on. Port 0 lets the kernel choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


USUAL_SMTP = Endpoint("0.0.0.0", 25)  # noqa: S104 - a mail exchanger is for everyone
USUAL_HTTP = Endpoint("127.0.0.1", 8025)


def _duration(value: Any, shortest: timedelta, longest: timedelta = timedelta.max) -> timedelta:
    if isinstance(value, int) and not isinstance(value, bool):
        raise unfit(f"is a number without a unit: {value}", f'write a duration in quotes, for example "{value}s"')
    text = text_of(value, "10s")
    try:
        duration = parse_duration(text)
    except ValueError:
        wrong = f"{quoted(value)} is not a duration"
        raise unfit(wrong, 'write a number and one of ms, s, m, h, d, for example "10s"') from None
    if duration < shortest:
        raise unfit(f"{quoted(value)} is too short", f'write "{format_duration(shortest)}" or more')
    if duration > longest:
        raise unfit(f"{quoted(value)} is too long", f'write "{format_duration(longest)}" or less')
    return duration


def duration_or_off(value: Any, shortest: timedelta, longest: timedelta) -> timedelta | None:
    """A duration within these bounds, None for "off". Raises a pydantic error."""
    if value is False or value in ("", "never", "no", "none"):
        raise unfit(f"{quoted(value)} is not known here", 'write "off"')
    return None if value == "off" else _duration(value, shortest, longest)


def _size(value: Any, smallest: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        raise unfit(f"is a number without a unit: {value}", f'write a size in quotes, for example "{value}MB"')
    text = text_of(value, "50MB")
    try:
        size = parse_size(text)
    except ValueError:
        wrong = f"{quoted(value)} is not a size"
        raise unfit(wrong, 'write a number and one of B, kB, MB, GB, KiB, MiB, GiB, for example "50MB"') from None
    if size < smallest:
        raise unfit(f"{quoted(value)} is too small", f'write "{format_size(smallest)}" or more')
    return size


def _domain(value: Any) -> str:
    text = text_of(value, "example.org")
    if "@" in text:
        after = text.rpartition("@")[2] or "example.org"
        raise unfit(f"{quoted(text)} is a mail address", f"write the domain alone: {quoted(after)}")
    if "*" in text:
        raise unfit(f"{quoted(text)} is a pattern", "write every domain by its name; patterns are not known here")
    return _name(text, "a domain", "example.org")


def _name(text: str, kind: str, example: str) -> str:
    try:
        return normalised(text)
    except ValueError as error:
        wrong = f"{quoted(text)} is not {kind}: {error}"
        raise unfit(wrong, f'write a name such as "{example}"') from None


def _label(value: Any) -> str:
    text = text_of(value, "main")
    if not text.strip():
        raise unfit("is empty", 'write a short name, for example "main"')
    if text != text.strip() or not text.isprintable() or len(text) > 64:
        wrong = f"{quoted(text)} has spaces around it, control characters, or more than 64 characters"
        raise unfit(wrong, 'write a short name, for example "main"')
    return text


def _file_path(value: Any) -> Path:
    text = text_of(value, "/etc/ssl/fallback-mx.pem")
    if not text.strip():
        raise unfit("is empty", "write the path of a file, or take the key out")
    return Path(text)


def _host_name(value: Any) -> str:
    return _name(text_of(value, "mx2.example.org"), "a host name", "mx2.example.org")


def host_of(value: Any) -> str:
    """A name or an address to connect to. Raises a pydantic error."""
    text = text_of(value, "mail.example.org")
    if not text:
        raise unfit("is empty", 'write a name such as "mail.example.org", or leave the key out to go by MX records')
    bare = text.removeprefix("[").removesuffix("]")
    if (address := address_of(bare)) is not None:
        if bare != text:
            raise unfit(f"{quoted(text)} has brackets", f"write the address alone: {quoted(bare)}")
        if address.is_unspecified:
            raise unfit(f"{quoted(text)} is no address to connect to", "write the primary's own name or address")
        return str(address)
    host, colon, port = text.rpartition(":")
    if colon and port.isdigit():
        raise unfit(f"{quoted(text)} holds a port", f"write host = {quoted(host)} and port = {port}")
    return _name(text, "a host name or an address", "mail.example.org")


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that the text is, None where it is none."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


AnyNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(value: Any) -> AnyNetwork:
    text = text_of(value, "192.0.2.10")
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        write = 'write an address such as "192.0.2.10" or a network such as "10.1.0.0/16"'
        raise unfit(f"{quoted(text)} is not an address or a network", write) from None
    if network.prefixlen == 0:
        raise unfit(f"{quoted(text)} is everybody", "write the addresses of those that are to be believed")
    if "/" in text and address_of(text.partition("/")[0]) != network.network_address:
        raise unfit(f"{quoted(text)} is an address and a network at once", f'write "{network}"')
    return network


def _network_text(network: AnyNetwork) -> str:
    return str(network.network_address if network.num_addresses == 1 else network)


def _endpoint(value: Any, usual: Endpoint) -> Endpoint:
    """`usual` is what most people write here: advice follows it."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise unfit(f"{value} is a port alone", f'write an address and a port: "{usual.host}:{value}"')
    text = text_of(value, str(usual))
    if text.isascii() and text.isdigit():
        raise unfit(f"{quoted(text)} is a port alone", f'write an address and a port: "{usual.host}:{text}"')
    host, colon, port = text.rpartition(":")
    if ":" in host and not host.startswith("["):
        example = quoted(f"[::1]:{usual.port}")
        raise unfit(f"{quoted(text)} lacks brackets", f"write an IPv6 address in brackets, for example {example}")
    if not colon or not port.isascii() or not port.isdigit():
        example = quoted(_with_usual_port(text, usual))
        raise unfit(f"{quoted(text)} has no port", f"write an address and a port, for example {example}")
    if int(port) > 65535:
        raise unfit(f"{quoted(text)} has a port above 65535", "write a port from 1 to 65535")
    host = host.removeprefix("[").removesuffix("]")
    if host in ("", "*"):
        wrong = f"{quoted(text)} has no address"
        raise unfit(wrong, f'write "0.0.0.0:{port}" for every IPv4 address, "[::]:{port}" for IPv6')
    if (address := address_of(host)) is not None:
        return Endpoint(str(address), int(port))
    return Endpoint(_name(host, "an address", "127.0.0.1"), int(port))


def _with_usual_port(text: str, usual: Endpoint) -> str:
    """What somebody who left out the port, or wrote a word in its place, may have meant."""
    for host in (text, text.rpartition(":")[0]):
        try:
            return str(_endpoint(f"{host}:{usual.port}", usual))
        except PydanticCustomError:
            continue
    return str(usual)


def _endpoint_or_none(value: Any) -> Endpoint | None:
    return None if value == "" else _endpoint(value, USUAL_HTTP)


USUAL_SMARTHOST = Endpoint("smtp.example.org", 25)


def _server_or_none(value: Any) -> Endpoint | None:
    """Another server, and no address to listen on."""
    if value == "":
        return None
    endpoint = _endpoint(value, USUAL_SMARTHOST)
    address = address_of(endpoint.host)
    if endpoint.port == 0 or (address is not None and address.is_unspecified):
        raise unfit(f"{quoted(value)} is no server to connect to", f'write its name and port: "{USUAL_SMARTHOST}"')
    return endpoint


def _word(value: Any) -> str:
    text = text_of(value, "/usr/local/bin/list-recipients")
    if not text or "\0" in text:
        raise unfit("is empty or holds a NUL", "write a word of the command, or take it out")
    return text


def _command(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        example = json.dumps(value.split(), ensure_ascii=False)
        raise unfit(f"{quoted(value)} is one text", f"write the program and its arguments as a list: {example}")
    if not isinstance(value, list | tuple) or not value:
        raise unfit(f"{quoted(value)} is not a command", 'write ["/path/to/program", "argument"]')
    words = tuple(_word(word) for word in value)
    if not words[0].startswith("/"):
        raise unfit(f"{quoted(words[0])} is not a full path", "write the program's path from the root")
    return words


def _filled(value: Any) -> str:
    text = text_of(value, "mail")
    if not text.strip() or not text.isprintable():
        raise unfit("is empty or holds control characters", "write text, or take the key out")
    return text


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise unfit(f"{quoted(value)} is neither true nor false", "write true or false, without quotes")
    return value


_AS_DURATION = PlainSerializer(format_duration, return_type=str)
_AS_SIZE = PlainSerializer(format_size, return_type=str)

Duration = Annotated[timedelta, PlainValidator(partial(_duration, shortest=MILLISECOND)), _AS_DURATION]
DurationOrZero = Annotated[timedelta, PlainValidator(partial(_duration, shortest=timedelta(0))), _AS_DURATION]
Interval = Annotated[timedelta, PlainValidator(partial(_duration, shortest=100 * MILLISECOND)), _AS_DURATION]
# A name server has that long; who waits for us does too.
Patience = Annotated[
    timedelta,
    PlainValidator(partial(_duration, shortest=100 * MILLISECOND, longest=timedelta(seconds=10))),
    _AS_DURATION,
]
# Clients wait for a greeting for five minutes (RFC 5321, section 4.5.3.2.1); few have the patience.
GreetingDelay = Annotated[
    timedelta, PlainValidator(partial(_duration, shortest=timedelta(0), longest=timedelta(seconds=30))), _AS_DURATION
]
# A try is forgotten after a day: within half of that everybody comes again.
ReturnOrOff = Annotated[
    timedelta | None,
    PlainValidator(partial(duration_or_off, shortest=timedelta(seconds=1), longest=timedelta(hours=12))),
    PlainSerializer(lambda delay: "off" if delay is None else format_duration(delay), return_type=str),
]
Size = Annotated[int, PlainValidator(partial(_size, smallest=1)), _AS_SIZE]
SizeOrZero = Annotated[int, PlainValidator(partial(_size, smallest=0)), _AS_SIZE]
Count = Annotated[StrictInt, Field(ge=1, le=100_000)]
Workers = Annotated[StrictInt, Field(ge=0, le=64)]
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
Domain = Annotated[str, PlainValidator(_domain)]
HostName = Annotated[str, PlainValidator(_host_name)]
Name = Annotated[str, PlainValidator(_label)]
FilePath = Annotated[Path, PlainValidator(_file_path), PlainSerializer(str, return_type=str)]
Host = Annotated[str, PlainValidator(host_of)]
Listen = Annotated[
    Endpoint, PlainValidator(partial(_endpoint, usual=USUAL_SMTP)), PlainSerializer(str, return_type=str)
]
Network = Annotated[AnyNetwork, PlainValidator(_network), PlainSerializer(_network_text, return_type=str)]
ListenOrNone = Annotated[
    Endpoint | None,
    PlainValidator(_endpoint_or_none),
    PlainSerializer(lambda endpoint: str(endpoint or ""), return_type=str),
]
ServerOrNone = Annotated[
    Endpoint | None,
    PlainValidator(_server_or_none),
    PlainSerializer(lambda endpoint: str(endpoint or ""), return_type=str),
]
Switch = Annotated[bool, PlainValidator(_switch)]
CountOrZero = Annotated[StrictInt, Field(ge=0, le=100_000)]
Command = Annotated[tuple[str, ...], PlainValidator(_command), PlainSerializer(list, return_type=list[str])]
WebUrl = Annotated[str, PlainValidator(web_url), PlainSerializer(without_secrets, return_type=str)]
LdapUrl = Annotated[str, PlainValidator(ldap_url)]
Text = Annotated[str, PlainValidator(_filled)]
StorageUrl = Annotated[str, PlainValidator(storage_url), PlainSerializer(hide_password, return_type=str)]
