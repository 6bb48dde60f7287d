"""Requests that proxies and servers read in different ways, and how to send them and read what answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from tests.game.service.running import BEARER, PATIENCE_SECONDS, Running

HEAD = b"POST /players/hana/actions/claim_mail HTTP/1.1\r\n"
TOKEN = f"Authorization: {BEARER['Authorization']}\r\n".encode()
GOOD = TOKEN + b"Content-Type: application/json\r\nIdempotency-Key: k\r\n"
BODY = b'{"mail": "m0"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
AMBIGUOUS = {
    "length and chunks": HEAD + b"Host: a\r\n" + GOOD + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "chunks and length": HEAD + b"Host: a\r\n" + GOOD + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n" + CHUNKS,
    "chunks in HTTP/1.0": HEAD.replace(b"1.1", b"1.0") + GOOD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "two codings": HEAD + b"Host: a\r\n" + GOOD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "a coding twice": HEAD + b"Host: a\r\n" + GOOD + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n" + CHUNKS,
    "an unknown coding": HEAD + b"Host: a\r\n" + GOOD + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS,
    "two lengths": HEAD + b"Host: a\r\n" + GOOD + LENGTH * 2 + b"\r\n" + BODY,
    "a list of lengths": HEAD + b"Host: a\r\n" + GOOD + b"Content-Length: 14, 14\r\n\r\n" + BODY,
    "a signed length": HEAD + b"Host: a\r\n" + GOOD + b"Content-Length: +14\r\n\r\n" + BODY,
    "a folded header": HEAD + b"Host: a\r\nX-A: b\r\n c\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "a header folded by a tab": HEAD + b"Host: a\r\nX-A: b\r\n\tc\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "bare LF": (HEAD + b"Host: a\r\n" + GOOD + LENGTH + b"\r\n").replace(b"\r\n", b"\n") + BODY,
    "one bare LF": HEAD + b"Host: a\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "bare CR": HEAD + b"Host: a\rX-A: b\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "a space before the colon": HEAD + b"Host: a\r\nX-A : b\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "NUL in a header": HEAD + b"Host: a\r\nX-A: b\0c\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "another protocol": HEAD.replace(b"HTTP", b"RTSP") + b"Host: a\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "a protocol for the method": HEAD.replace(b"HTTP", b"ICE") + b"Host: a\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "two blanks after the method": HEAD.replace(b" /", b"  /") + b"Host: a\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "two blanks after the address": HEAD.replace(b" H", b"  H") + b"Host: a\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "a tab after the method": HEAD.replace(b" /", b"\t/") + b"Host: a\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "a blank after the version": HEAD.replace(b"\r", b" \r") + b"Host: a\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "a fragment": HEAD.replace(b" H", b"#/../x H") + b"Host: a\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "a list of hosts": HEAD + b"Host: a, b\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "a host with a path": HEAD + b"Host: a/b?c\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "a host with a user": HEAD + b"Host: b@a\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "a host with two ports": HEAD + b"Host: a:1:2\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "an empty host": HEAD + b"Host:\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "two hosts": HEAD + b"Host: a\r\nHost: b\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "no host": HEAD + GOOD + LENGTH + b"\r\n" + BODY,
    "HTTP/0.9": b"GET /players/hana\r\n\r\n",
    "HTTP/2.0": HEAD.replace(b"1.1", b"2.0") + b"Host: a\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "another host in the address": HEAD.replace(b" /", b" http://b/") + b"Host: a\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "CONNECT": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a header after the body": HEAD
    + b"Host: a\r\n"
    + GOOD
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + CHUNKS.replace(b"0\r\n\r\n", b"0\r\nX-Fence-Pass: p\r\n\r\n"),
    "a hexadecimal chunk": HEAD + b"Host: a\r\n" + GOOD + b"Transfer-Encoding: chunked\r\n\r\n0x" + CHUNKS,
    "a chunk with bare LF": HEAD
    + b"Host: a\r\n"
    + GOOD
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + CHUNKS.replace(b"\r\n", b"\n", 1),
    "two tokens": HEAD + b"Host: a\r\nAuthorization: Bearer a\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "two keys": HEAD + b"Host: a\r\nIdempotency-Key: j\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "two types": HEAD + b"Host: a\r\nContent-Type: application/json\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
    "two passes": HEAD + b"Host: a\r\nX-Fence-Pass: a\r\nX-Fence-Pass: b\r\n" + GOOD + LENGTH + b"\r\n" + BODY,
}
"""Requests that a proxy and a server may read as different ones. Those with a head bear hana's token."""


_READ = b"GET /players/hana HTTP/1.1\r\nHost: a\r\n" + TOKEN
_UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nUpgrade: "
_CHUNKED = HEAD + b"Host: a\r\n" + GOOD + b"Transfer-Encoding: chunked\r\n\r\n"
UNUSUAL = {
    "100-continue": HEAD + b"Host: a\r\n" + GOOD + b"Expect: 100-continue\r\n" + LENGTH + b"\r\n",
    "another expectation": HEAD + b"Host: a\r\n" + GOOD + b"Expect: x\r\n" + LENGTH + b"\r\n" + BODY,
    "HTTP/1.0 kept alive": _READ.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n\r\n",
    "large cookies": _READ + b"Cookie: " + b"a=b; " * 6000 + b"\r\n\r\n",
    "many headers": _READ + b"".join(b"h%d: x\r\n" % n for n in range(990)) + b"\r\n",
    "a websocket": _READ + _UPGRADE + b"websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "HTTP/2 in the clear": _READ + _UPGRADE + b"h2c\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xa5" * 500,
    **{f"the method {name}": _READ.replace(b"GET", name.encode()) + b"\r\n" for name in ("TRACE", "HEAD", "PURGE")},
    "all addresses": _READ.replace(b"GET /players/hana", b"OPTIONS *") + b"\r\n",
    "an encoded path": _READ.replace(b"/players", b"/%70layers/%2e%2e/%00/%2f") + b"\r\n",
    "a long path": _READ.replace(b"/players", b"/%41" * 8000) + b"\r\n",
    "a long query": _READ.replace(b"/hana", b"/hana?" + b"a=1&" * 7500) + b"\r\n",
    "deep JSON": HEAD + b"Host: a\r\n" + GOOD + b"Content-Length: 60000\r\n\r\n" + b"[" * 60_000,
    "a long number": HEAD + b"Host: a\r\n" + GOOD + b"Content-Length: 60000\r\n\r\n[" + b"9" * 59_999,
    "chunks with long extensions": _CHUNKED + b"1;" + b"a=b;" * 50_000 + b"\r\n \r\n0\r\n\r\n",
    "a chunk's size with zeros": _CHUNKED + b"0" * 250_000 + b"1\r\n \r\n0\r\n\r\n",
    "empty lines alone": b"\r\n" * 4000,
}
"""Requests that servers meet seldom: each is answered, or closed in time."""


@contextmanager
def connections(running: Running, number: int, *, receive_bytes: int = 0) -> Iterator[list[socket.socket]]:
    """So many connections to the public port."""
    with ExitStack() as opened:
        made = []
        for _ in range(number):
            client = opened.enter_context(socket.socket())
            if receive_bytes:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            client.settimeout(PATIENCE_SECONDS)
            client.connect(("127.0.0.1", running.port + running.processes))
            made.append(client)
        yield made


def send(client: socket.socket, request: bytes) -> None:
    """Send it, even if the service has closed the connection meanwhile."""
    with suppress(BrokenPipeError, ConnectionResetError):
        client.sendall(request)


def all_closed(clients: list[socket.socket]) -> None:
    """Raise AssertionError unless the service has closed each connection."""
    for client in clients:
        client.setblocking(False)
        try:
            while client.recv(65536):
                pass
        except BlockingIOError:
            raise AssertionError("a connection is open") from None
        except OSError:
            pass


def status(client: socket.socket) -> int:
    answer = everything(client)
    if answer.startswith(b"{"):  # HTTP/0.9 has no status line.
        return int(json.loads(answer)["status"])
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer[9:12])


def everything(client: socket.socket) -> bytes:
    """Read what the service sends until it closes, or one whole answer of JSON."""
    answer = b""
    try:
        while part := client.recv(65536):
            answer += part
            if answer.endswith(b"}") and b"connection: close" not in answer.lower():
                break
    except ConnectionResetError:
        pass
    return answer
