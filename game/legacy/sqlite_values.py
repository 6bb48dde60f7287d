"""Cells: what one column of one legacy row holds, exactly, with its storage class.

A TEXT that is no UTF-8 is a value like any other to SQLite; here it is `BadText`, so that nothing is decoded by guess.
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from game.legacy.guarding import guard, names_another_file
from game.legacy.sidecars import no_file


@dataclass(frozen=True, slots=True)
class BadText:
    """The bytes of a TEXT value that are not UTF-8."""

    data: bytes


Cell: TypeAlias = int | float | str | bytes | BadText | None

_STORAGE = {type(None): "null", int: "integer", float: "real", str: "text", BadText: "text", bytes: "blob"}


def quote(name: str) -> str:
    """Return the name as an identifier of SQLite's."""
    return '"' + name.replace('"', '""') + '"'


def insert_into(table: str, values: Iterable[str], columns: Iterable[str] = ()) -> str:
    """Return an INSERT of these expressions. Names are SQL: the caller quotes them. Without columns: all of them."""
    names = ", ".join(columns)
    return f"INSERT INTO {table}{f' ({names})' if names else ''} VALUES ({', '.join(values)})"


def connect(path: Path, *, readonly: bool = False, timeout_seconds: float = 5.0) -> sqlite3.Connection:
    """Return a guarded connection whose rows are Cells and whose transactions are begun by hand.

    Raises OperationalError for what is no file, there or in the place of a log: SQLite would wait for ever on a pipe.
    Read-only connections see what is in the write-ahead log and write nothing but, where it is in WAL mode, the
    shared-memory file that SQLite itself keeps beside it.
    """
    mode = "ro" if readonly else "rw"
    # Path.resolve raises RuntimeError for a link to itself.
    real = Path(os.path.realpath(path))
    if (other := no_file(real)) is not None:
        raise _not_opened(f"{other.name} is no file")
    if not readonly and names_another_file(path):
        raise _not_opened("the rollback journal beside the file names another file")
    connection = sqlite3.connect(
        f"{real.as_uri()}?mode={mode}",
        uri=True,
        timeout=timeout_seconds,
        isolation_level=None,
        check_same_thread=False,
        factory=_Connection,
    )
    connection.text_factory = _text
    return guard(connection)


class _Connection(sqlite3.Connection):
    """Raises DatabaseError also where SQLite's message quotes bytes of the file that are not UTF-8."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        try:
            return super().execute(sql, parameters)
        except UnicodeDecodeError as error:  # The module sqlite3 could not decode the message.
            raise _undecoded(error.object) from None


def _undecoded(message: bytes) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(message.decode(errors="backslashreplace"))
    damaged = message.startswith(b"malformed database schema")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT if damaged else sqlite3.SQLITE_ERROR
    error.sqlite_errorname = "SQLITE_CORRUPT" if damaged else "SQLITE_ERROR"
    return error


def _not_opened(why: str) -> sqlite3.OperationalError:
    # As SQLite's own errors have it: they are explained by their code.
    error = sqlite3.OperationalError(why)
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_CANTOPEN, "SQLITE_CANTOPEN"
    return error


def _text(data: bytes) -> str | BadText:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return BadText(data)


def storage(cell: Cell) -> str:
    """Return SQLite's name of the cell's storage class, as typeof() gives it."""
    return _STORAGE[type(cell)]


def same(left: Cell, right: Cell) -> bool:
    """Compare storage class and bytes: 1 and 1.0 differ, and so do 0.0 and -0.0."""
    return type(left) is type(right) and (repr(left) == repr(right) if isinstance(left, float) else left == right)


def placeholder(cell: Cell) -> str:
    """Return the SQL that stands for the cell in a statement; its parameter is `bind(cell)`."""
    return "CAST(? AS TEXT)" if isinstance(cell, BadText) else "?"


def bind(cell: Cell) -> int | float | str | bytes | None:
    """Return the cell as a parameter of sqlite3."""
    return cell.data if isinstance(cell, BadText) else cell


def original(cell: Cell) -> bytes:
    """Return the cell's bytes as a quarantine keeps them; numbers in their shortest decimal form."""
    match cell:
        case None:
            return b""
        case str():
            return cell.encode()
        case bytes():
            return cell
        case BadText():
            return cell.data
        case _:
            return repr(cell).encode()


def encode(cells: Mapping[str, Cell]) -> str:
    """Write cells by name as JSON text that Postgres can hold: every storage class, NUL and bad bytes included."""
    return json.dumps({name: _plain(cell) for name, cell in cells.items()}, ensure_ascii=False, separators=(",", ":"))


def decode(text: str) -> dict[str, Cell]:
    """Return the cells that `encode` wrote."""
    return {name: _cell(value) for name, value in json.loads(text).items()}


def _plain(cell: Cell) -> object:
    match cell:
        case bytes():
            return {"blob": base64.b64encode(cell).decode()}
        case BadText():
            return {"text": base64.b64encode(cell.data).decode()}
        case _:
            return cell


def _cell(value: int | float | str | dict[str, str] | None) -> Cell:
    if not isinstance(value, dict):
        return value
    if "blob" in value:
        return base64.b64decode(value["blob"])
    return BadText(base64.b64decode(value["text"]))
