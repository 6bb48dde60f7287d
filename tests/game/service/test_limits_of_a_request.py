"""The limits of a request hold to the byte, however the network cuts it."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from game.service import connections
from game.service.connections import Connection, Door
from game.service.limits import Limits
from game.service.metrics import Metrics

PORT = 80
LIMITS = Limits(request_seconds=3600)
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
SIZES = [200, 4096, 4097, 32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 40_000, 100_000]
LARGE = [255_000, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 300_000, 1_000_000]
SEGMENTS = [1000, 4096, 32 * 1024, 256 * 1024]


class Recorder(asyncio.Transport):
    """A transport of the test's own. written: what the client would read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closing = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"sockname": ("127.0.0.1", PORT), "peername": ("127.0.0.1", 1)}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def can_write_eof(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the number of bytes of the body; /early before the body comes."""
    request = Request(scope, receive)
    body = b"" if request.url.path == "/early" else await request.body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


def connected() -> tuple[Connection, Recorder]:
    """A connection that has just been made."""
    config = uvicorn.Config(application, lifespan="off", log_config=None)
    config.load()
    door = Door(10, private=False, metrics=Metrics(), limits=LIMITS)
    connection = Connection(config, ServerState(), {}, doors={PORT: door})
    transport = Recorder()
    connection.connection_made(transport)
    return connection, transport


async def feed(connection: Connection, transport: Recorder, *segments: bytes) -> None:
    """Send the segments, and wait until they are answered or more is waited for."""
    for segment in segments:
        if not transport.is_closing():
            connection.data_received(segment)
        await asyncio.sleep(0)
    while (tasks := asyncio.all_tasks() - {asyncio.current_task()}) and not connection._deaf:
        await asyncio.wait(tasks, timeout=0.01)
        if connection._request_timer is not None:  # It waits for more of the request.
            break


async def answers(*segments: bytes) -> bytes:
    """Send the segments over a connection. Returns the answers."""
    connection, transport = connected()
    await feed(connection, transport, *segments)
    connection.connection_lost(None)
    return transport.written


def status(request: bytes, segment: int) -> int:
    cuts = [*range(0, len(request), segment), len(request)]
    answer = asyncio.run(answers(*(request[begin:end] for begin, end in pairwise(cuts))))
    return int(answer[9:12])


def head_of(size: int) -> bytes:
    lines = HEAD + b"X-Filler: "
    return lines + b"a" * (size - len(lines) - 4) + b"\r\n\r\n"


def request_of(size: int) -> bytes:
    """Return a request of that many bytes and with a body of few: its chunks have extensions."""
    chunk = b"1;" + b"a" * 996 + b"\r\n \r\n"
    chunks, remainder = divmod(size - len(CHUNKED) - len(END), len(chunk))
    return CHUNKED + chunk * (chunks - 1) + b"1;" + b"a" * (996 + remainder) + b"\r\n \r\n" + END


@pytest.mark.parametrize("segment", SEGMENTS)
@pytest.mark.parametrize("size", [*SIZES, *LARGE])
def test_a_head_is_answered_up_to_the_limit_and_refused_beyond_it(size: int, segment: int) -> None:
    request = head_of(size)
    assert len(request) == size
    assert status(request, segment) == (200 if size <= LIMITS.head_bytes else 431)


@pytest.mark.parametrize("segment", SEGMENTS)
@pytest.mark.parametrize("size", [*SIZES[1:], *LARGE])
def test_a_whole_request_too(size: int, segment: int) -> None:
    request = request_of(size)
    assert len(request) == size
    assert status(request, segment) == (200 if size <= LIMITS.request_bytes else 413)


@pytest.mark.parametrize("segment", [1, *SEGMENTS])
@pytest.mark.parametrize("more", [0, 1, 10_000])
def test_headers_and_chunks_are_counted(more: int, segment: int) -> None:
    headers = HEAD + b"a:\r\n" * (LIMITS.parts - 1 + more) + b"\r\n"
    chunks = CHUNKED + b"1\r\n \r\n" * (LIMITS.parts - 3 + more) + END
    assert status(headers, segment) == (431 if more else 200)
    assert status(chunks, segment) == (413 if more else 200)


@pytest.mark.parametrize("filler", [0, 40_000])
def test_a_request_that_comes_with_the_end_of_the_last_one_is_not_answered(filler: int) -> None:
    early = HEAD.replace(b" / ", b" /early ") + b"Content-Length: 5000\r\n\r\n"
    written = asyncio.run(answers(early, b"", b"", b"a" * 5000 + HEAD + b"X: " + b"a" * filler + b"\r\n\r\n"))
    assert re.findall(rb"HTTP/1.1 (\d+)", written) == [b"200", b"400"]


@pytest.mark.parametrize("before", [0, 1])
def test_a_request_that_meets_the_end_of_its_process_is_answered_as_the_last(before: int) -> None:
    async def end() -> tuple[bytes, bytes]:
        connection, transport = connected()
        request = head_of(200)
        for _ in range(before):
            await feed(connection, transport, request)
        earlier = transport.written
        connection.shutdown()
        assert not transport.is_closing()
        await feed(connection, transport, request, request)
        connection.connection_lost(None)
        return earlier, transport.written[len(earlier) :]

    earlier, last = asyncio.run(end())
    assert earlier.count(b"HTTP/1.1 200") == before
    assert last.count(b"HTTP/1.1 200") == last.count(b"HTTP/1.1") == 1


def test_a_connection_without_a_request_is_closed_soon_after_the_end_of_its_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def end(*segments: bytes) -> bool:
        connection, transport = connected()
        await feed(connection, transport, *segments)
        connection.shutdown()
        for _ in range(3):
            await asyncio.sleep(0)
        closed = transport.is_closing()
        connection.connection_lost(None)
        return closed

    monkeypatch.setattr(connections, "LAST_REQUEST_SECONDS", 0.0)
    assert asyncio.run(end())
    assert asyncio.run(end(head_of(200)))
    assert not asyncio.run(end(HEAD[:10])), "the rest of a request is on its way, and has its own time"
