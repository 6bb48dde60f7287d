"""Splits the text of a Postgres URL into its parts. A text that could be read in two ways is refused.

An error shows no text of the URL except a parameter's name: a password with an unescaped character may have ended up in
any other part. Each error tells how to write what was meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import unquote

from game.errors import BadUrl

DEFAULT_PORT = 5432
LONGEST_LABEL = 63
"""Characters between two dots of a host's name (RFC 1035)."""

SHAPE = "postgresql://user:password@host:port/database"
HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
PORT = re.compile(r"[0-9]{1,5}")
PARAMETER = re.compile(r"[a-z][a-z0-9_]{0,30}")
BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
MAX_NAME_BYTES = 63
"""Postgres cuts a longer name of a database or role, and connects to whichever has the shortened name."""


@dataclass(frozen=True)
class Parts:
    """The parts of a URL, decoded, except the query. The host is empty if a parameter names a socket."""

    user: str
    password: str = field(repr=False)
    host: str
    port: int
    dbname: str
    query: str = field(repr=False)


def split(url: str) -> Parts:
    """Split a postgresql:// URL. Raises BadUrl."""
    if "#" in url:
        raise BadUrl("a URL without # (in a password it is written %23)", "a # in it")
    # Logs, shells and redaction take a quote for the end of the URL.
    if "'" in url or '"' in url:
        raise BadUrl("a URL without ' and \" (in a password they are written %27 and %22)", "a ' or \" in it")
    authority, path, query = _parts(url)
    account, _, address = authority.rpartition("@")
    host, port = _address(address)
    user, password = _account(account)
    return Parts(user, password, host, port, _database(path), query)


def host(host: str, socket: str | None) -> str:
    """Return the one host, or the folder of the socket. Raises BadUrl."""
    # libpq would read a comma as the beginning of another host, and a leading @ as an abstract socket.
    if socket is not None and host not in {"", "localhost"}:
        raise BadUrl(
            "one host, before the port (or localhost there and the socket's folder in host=)", "a second host in host="
        )
    host = host if socket is None else socket
    if host.startswith("/") or socket is not None:
        return _folder(host)
    if not host:
        raise BadUrl(f"a host: {SHAPE}", "none")
    if ":" not in host and not HOST.fullmatch(host):
        raise BadUrl("one host of letters, digits, . _ - (a name of other letters as xn--...)", "another text")
    # Looking up such a name raises UnicodeError, which no caller expects of a connection.
    if not all(1 <= len(label) <= LONGEST_LABEL for label in host.removesuffix(".").split(".")):
        raise BadUrl(f"a host whose parts between the dots have 1 to {LONGEST_LABEL} characters", "another text")
    return host if ":" in host else host.lower()


def pairs(query: str) -> Iterator[tuple[str, str]]:
    """Yield the decoded names and values. Raises BadUrl."""
    # A + is a blank for browsers and a + for libpq, so it is refused.
    for written in filter(None, query.split("&")):
        name, equals, value = written.partition("=")
        if "+" in written:
            raise BadUrl("parameters without + (a blank is written %20, the sign %2B)", f"a + in {named(name)}")
        if not equals:
            raise BadUrl("parameters as name=value (in a value & is written %26)", "a parameter without =")
        yield decoded(name, "the parameters' names"), decoded(value, named(name))


def decoded(text: str, part: str) -> str:
    """Replace each %XX. Raises BadUrl if a % begins no escape, or the bytes are no text."""
    if BROKEN_ESCAPE.search(text):
        raise BadUrl(f"%XX of two hexadecimal digits in {part} (the sign % is written %25)", "a % without two")
    if "%00" in text:
        raise BadUrl(f"{part} without %00", "%00, at which Postgres would cut it")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise BadUrl(f"UTF-8 in {part} (é is written %C3%A9)", "%XX that are not UTF-8") from None


def named(name: str) -> str:
    """Name the parameter in an error. Another text than a possible name is not shown: it may be a secret."""
    return f"the parameter {name}" if PARAMETER.fullmatch(name) else "a parameter"


def _parts(url: str) -> tuple[str, str, str]:
    """Cut the URL, still encoded, into account and address; path; and query."""
    _, slashes, after_scheme = url.partition("://")
    begins = re.search(r"[/?]", after_scheme)
    if not slashes or begins is None or begins[0] != "/":
        raise BadUrl(f"a host and a database: {SHAPE} (in a password, / ? @ are written %2F %3F %40)", "another form")
    path, _, query = after_scheme[begins.end() :].partition("?")
    if "@" in path + query:
        raise BadUrl(
            f"one @, before the host: {SHAPE} (elsewhere @ is written %40, / is %2F, ? is %3F)", "an @ after it"
        )
    return after_scheme[: begins.start()], path, query


def _account(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if re.search(r"[][]", text):
        raise BadUrl(f"{SHAPE} (in a password, [ ] are written %5B %5D)", "a stray [ or ]")
    if not user:
        raise BadUrl(f"a user before the host: {SHAPE}", "none")
    if colon and not password:
        raise BadUrl("a password after the colon, or postgresql://user@host:port/database without one", "an empty one")
    return _name(user, "the user"), decoded(password, "the password")


def _database(path: str) -> str:
    if "/" in path:
        raise BadUrl(f"one database after the host: {SHAPE} (in its name / is written %2F)", "a path of several parts")
    if not path:
        raise BadUrl(f"one database after the host: {SHAPE}", "none")
    return _name(path, "the database")


def _name(text: str, part: str) -> str:
    name = decoded(text, part)
    if len(name.encode()) > MAX_NAME_BYTES:
        raise BadUrl(f"{part} in {MAX_NAME_BYTES} bytes or fewer", "a longer name, which Postgres would cut")
    return name


def _address(text: str) -> tuple[str, int]:
    """Read host and port. The host is empty if a parameter names the socket."""
    if text.startswith("["):
        inside, bracket, after_host = text[1:].partition("]")
        host = _ipv6(decoded(inside, "the host")) if bracket else ""
        if not bracket or after_host[:1] not in {"", ":"}:
            raise BadUrl("an IPv6 address as in postgresql://user:password@[::1]:5432/database", "a stray [ or ]")
        return host, _port(after_host)
    written, colon, port = text.partition(":")
    host = decoded(written, "the host")
    if ":" in host and not host.startswith("/"):
        raise BadUrl("an IPv6 address in [ ]", "one without [ ]")
    return host, _port(colon + port)


def _port(text: str) -> int:
    """Read the port of `:5432`, or the default of an empty text."""
    if not text:
        return DEFAULT_PORT
    if not PORT.fullmatch(text[1:]) or not 0 < int(text[1:]) <= 65535:
        raise BadUrl(
            "a port from 1 to 65535 after the host's colon, an IPv6 host in [ ]"
            " (in a password, : / ? @ are written %3A %2F %3F %40)",
            "another text",
        )
    return int(text[1:])


def _ipv6(text: str) -> str:
    address, percent, zone = text.partition("%")
    try:
        IPv6Address(address)
    except ValueError:
        raise BadUrl("an IPv6 address in [ ]", "another text") from None
    if percent and not HOST.fullmatch(zone):
        raise BadUrl("a zone of letters and digits, as in [fe80::1%25eth0]", "another text")
    return address.lower() + percent + zone


def _folder(path: str) -> str:
    if not path.startswith("/") or "," in path:
        raise BadUrl(
            "host=/folder of a socket, without a comma; another host stands before the port", "another value of host"
        )
    return path
