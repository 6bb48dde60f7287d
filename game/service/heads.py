"""Refuses heads of requests that another server or proxy might read in another way, beyond what httptools refuses."""

from __future__ import annotations

import re

import httptools

_LINE = re.compile(rb"[A-Z-]+ /[!\"$-~]* HTTP/1\.[01]\r")
"""The parser also takes several blanks, RTSP/1.1 and a fragment (#)."""

_HOST = re.compile(rb"(?:[\w.~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")


def check_head(line: bytes, method: bytes, version: str, url: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Refuse what another server or proxy might read as another request. Raises ValueError.

    line: the first, up to its LF.
    """
    hosts = [value for name, value in headers if name == b"host"]
    if version not in ("1.0", "1.1"):
        raise ValueError("HTTP/1.0 or HTTP/1.1 is needed")
    if not url.startswith(b"/"):
        raise ValueError("the address has to begin with /")
    if not _LINE.fullmatch(line):
        raise ValueError("the first line has to be a method, an address without # and HTTP/1.1, each after one blank")
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        raise ValueError("one header Host is needed")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise ValueError("Host has to be a host, or a host and a port")
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and (version == "1.0" or codings != [b"chunked"]):
        raise ValueError("Transfer-Encoding has to be chunked, in HTTP/1.1")
    if method == b"CONNECT":
        raise ValueError("the method is none of ours")


def cause_of(error: httptools.HttpParserError) -> str:
    """Say what is wrong with a request, in words of ours or of the parser, never the client's."""
    cause = error.__context__
    if isinstance(cause, ValueError) and not isinstance(cause, UnicodeError):
        return str(cause)
    return "" if isinstance(error, httptools.HttpParserCallbackError) else str(error)[:200]
