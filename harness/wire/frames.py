"""PostgreSQL's wire protocol as frames: bytes in, whole messages out, whatever pieces they came in.

Only what a proxy must know is read: where a message ends, the SQL of a Query or Parse, the names in a Bind.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104
CANCEL_REQUEST = 80877102

QUERY, PARSE, BIND, EXECUTE, SYNC, FLUSH, TERMINATE = b"Q", b"P", b"B", b"E", b"S", b"H", b"X"
COPY_DATA, COPY_DONE, COPY_FAIL = b"d", b"c", b"f"
READY, KEY_DATA, COPY_IN, COPY_BOTH, ERROR = b"Z", b"K", b"G", b"W", b"E"

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Frame:
    """A message: its kind (b"" for what a client says before it is let in) and its body, without the length."""

    kind: bytes
    body: bytes

    @property
    def data(self) -> bytes:
        """Return the frame's bytes as they travel."""
        return b"".join((self.kind, _LENGTH.pack(len(self.body) + _LENGTH.size), self.body))

    @property
    def code(self) -> int:
        """Return, of a message without a kind, the protocol's version, or the code of what is requested instead."""
        return int(_LENGTH.unpack_from(self.body)[0])


def query(sql: str) -> Frame:
    """Make the frame of a simple Query."""
    return Frame(QUERY, sql.encode() + b"\0")


class Frames:
    """Takes bytes as they come and gives the frames that are whole. A client's first frame has no kind."""

    def __init__(self, *, opening: bool = False) -> None:
        self._held = bytearray()
        self._opening = opening

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Return the frames that these bytes complete; the rest is kept for the next call."""
        self._held += data
        start = 0
        while (end := self._end(start)) is not None:
            kind = 0 if self._opening else 1
            frame = Frame(bytes(self._held[start : start + kind]), bytes(self._held[start + kind + 4 : end]))
            start = end
            if self._opening and frame.code not in (SSL_REQUEST, GSSENC_REQUEST):
                self._opening = False
            yield frame
        del self._held[:start]

    def _end(self, start: int) -> int | None:
        """Return where the frame that begins at `start` ends; None if it is not complete."""
        kind = 0 if self._opening else 1
        if len(self._held) < start + kind + _LENGTH.size:
            return None
        end = start + kind + int(_LENGTH.unpack_from(self._held, start + kind)[0])
        return end if len(self._held) >= end else None


class Statements:
    """The SQL of what a client sends: a statement that was prepared is remembered by its name."""

    def __init__(self) -> None:
        self._prepared: dict[bytes, str] = {}

    def of(self, sent: Iterable[Frame]) -> str:
        """Return the statements of a round trip in order; or those that it prepares, if it runs none."""
        run: list[str] = []
        prepared: list[str] = []
        for frame in sent:
            if frame.kind == QUERY:
                run.append(_text(frame.body[:-1]))
            elif frame.kind == PARSE:
                name, sql, _types = frame.body.split(b"\0", 2)
                self._prepared[name] = _text(sql)
                prepared.append(f"PREPARE {_text(sql)}")
            elif frame.kind == BIND:
                _portal, name, _rest = frame.body.split(b"\0", 2)
                run.append(self._prepared.get(name, f"(a statement {_text(name)!r} that was never prepared)"))
        return "; ".join(run or prepared)


def backend(frame: Frame) -> int:
    """Return the id of the server process that a BackendKeyData names."""
    return int(_LENGTH.unpack_from(frame.body)[0])


def sqlstate(frame: Frame) -> str:
    """Return the SQLSTATE of an error message; its fields are a letter and a text each, ended by a zero byte."""
    return next((_text(field[1:]) for field in frame.body.split(b"\0") if field[:1] == b"C"), "")


def parameters(frame: Frame) -> dict[str, str]:
    """Return what a client says when it begins: user, database, application_name …; of a StartupMessage."""
    words = [_text(word) for word in frame.body[4:].split(b"\0")]
    return dict(zip(words[::2], words[1::2], strict=False))


def _text(sql: bytes) -> str:
    return sql.decode("utf-8", "replace")
