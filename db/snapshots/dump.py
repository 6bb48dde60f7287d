"""Reads a dump without running any of it: pg_restore writes it as text, and only rows of tables that we know are taken.

An archive holds SQL of whoever made it, also beside its rows (what COPY runs, the search path); a restore by pg_restore
would run all of it as the owner, and so could change `ops`. Here each line that is no row must be one of a few kinds.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, BinaryIO

import psycopg
from psycopg import sql

from db import ops
from db.counts import few
from db.errors import Failure
from db.files.json_files import shown
from db.processes import children
from db.servers.tools import Tool
from db.snapshots.manifest import NAME_ANOTHER, Snapshot, Unsound
from game.redaction import redact

LONGEST_LINE = 1 << 16
"""In bytes, of a line that is no row."""

MOST_ENTRIES = 10_000
PIECE = 1 << 18
"""Bytes of rows that are sent at once; a row may be longer, and is sent in pieces."""

NAMED = 3
MEND = "Nothing was changed. Mend what the server names, and run the same command again."
UNCHANGED = (
    f"{NAME_ANOTHER} If it was taken of this database: take the manual changes"
    " back (every line of them: invoke status --env {env}) and take another."
)

_IDENTIFIER = r'(?:[a-z_][a-z0-9_$]*|"(?:[^"]|"")+")'
_COPY = re.compile(rf"COPY ({_IDENTIFIER})\.({_IDENTIFIER}) \(({_IDENTIFIER}(?:, {_IDENTIFIER})*)\) FROM stdin;\n")
_QUIET = re.compile(
    r"\n|--.*\n|SET (?!client_encoding)[a-z_]+ = (?:[a-z0-9]+|'[A-Za-z0-9]*');\n|SET client_encoding = 'UTF8';\n"
    r"|SELECT pg_catalog\.set_config\('search_path', '', false\);\n|\\(?:un)?restrict [A-Za-z0-9]+\n"
)
"""Lines that change nothing that is kept: comments and settings of the session. None of them is run here either."""

_ENTRY = re.compile(r"\d+; \d+ \d+ (.+)")
_END = b"\\.\n"


class Foreign(Unsound):
    """A dump that holds something else than rows of tables that we know."""


def require_known(snapshot: Snapshot, file: BinaryIO, tool: Tool, known: Collection[str]) -> None:
    """Check that the dump's table of contents has no entries but known ones. Raises Foreign naming some of the others.

    known: entries as `KIND SCHEMA NAME`, without the owner. Raises Foreign also for more than MOST_ENTRIES entries, or
    one that can't be parsed; Unsound for a dump that pg_restore can't list.
    """
    unknown = [entry for entry in _entries(snapshot, file, tool) if not _is_known(entry, known)]
    if unknown:
        raise _foreign(snapshot, few([shown(one) for one in unknown], NAMED, between="; "))


def copy_rows(
    snapshot: Snapshot,
    file: BinaryIO,
    tool: Tool,
    conn: ops.Connection,
    *,
    schema: str,
    into: str,
    tables: Mapping[str, frozenset[str]],
) -> None:
    """Copy the rows of the dumped `schema` into the schema `into`, in the transaction that is open.

    tables: the columns of each table that may be filled. Raises Unsound for anything but such rows, for more rows than
    the manifest counts, for rows that break a constraint, and for a dump that is cut off.
    """
    expected = dict(tables)
    with _written(snapshot, file, tool, "--data-only", "--file=-") as script:
        for line in _lines(snapshot, script):
            if (header := _COPY.fullmatch(line)) is None:
                if not _QUIET.fullmatch(line):
                    raise _foreign(snapshot, f"the line {shown(line.rstrip())}")
                continue
            of, table = _unquoted(header[1]), _unquoted(header[2])
            columns = [_unquoted(name) for name in re.findall(_IDENTIFIER, header[3])]
            fillable = expected.pop(table, frozenset()) if of == schema else frozenset()
            if differing := fillable ^ frozenset(columns):
                raise _foreign(snapshot, f"rows of {shown(of)}.{shown(table)} with or without {shown(min(differing))}")
            _copy(snapshot, script, conn, sql.Identifier(into, table), columns, table)


def _copy(
    snapshot: Snapshot, script: IO[bytes], conn: ops.Connection, target: sql.Identifier, columns: list[str], table: str
) -> None:
    statement = sql.SQL("copy {} ({}) from stdin").format(target, sql.SQL(", ").join(map(sql.Identifier, columns)))
    try:
        with conn.cursor().copy(statement) as copy:
            for piece in _rows(snapshot, script, table):
                copy.write(piece)
    except psycopg.DatabaseError as error:
        if conn.closed:
            raise
        message = shown(redact(str(error).partition("\n")[0]), 200)
        if not is_of_the_rows(error):
            raise Failure(f"rows of {table} to be copied", message, where=ops.place(conn), do=MEND) from error
        raise Unsound(f"rows of {table} that fit", message, where=str(snapshot.path), do=NAME_ANOTHER) from error


def _rows(snapshot: Snapshot, script: IO[bytes], table: str) -> Iterator[bytes]:
    """Yield the rows up to the mark of their end, in pieces. Holds no whole row, for one may have a gigabyte."""
    rows_left, at_line_start, piece = snapshot.manifest.counts.get(table, 0), True, bytearray()
    while line := script.readline(PIECE):
        if at_line_start and line == _END:
            yield bytes(piece)
            return
        at_line_start = line.endswith(b"\n")
        rows_left -= at_line_start
        if rows_left < 0:
            raise Unsound(
                f"{snapshot.manifest.counts.get(table, 0)} rows in {table}",
                "more",
                where=str(snapshot.path),
                do=NAME_ANOTHER,
            )
        piece += line
        if len(piece) >= PIECE:
            yield bytes(piece)
            piece.clear()
    raise _cut_off(snapshot)


def _entries(snapshot: Snapshot, file: BinaryIO, tool: Tool) -> Iterator[str]:
    """Yield what the table of contents says of each entry: kind, schema, name, owner."""
    with _written(snapshot, file, tool, "--list") as listing:
        for number, line in enumerate(_lines(snapshot, listing)):
            if number > MOST_ENTRIES:
                raise _foreign(snapshot, f"more than {MOST_ENTRIES:,} entries")
            if line.startswith(";") or line == "\n":
                continue
            entry = _ENTRY.fullmatch(line.rstrip("\n"))
            if entry is None:
                raise _foreign(snapshot, f"the entry {shown(line.rstrip())}")
            yield entry[1]


def _is_known(entry: str, known: Collection[str]) -> bool:
    # Kind, name and owner may all have blanks. To take one for another does no harm: none of it is ever run.
    return any(entry.startswith(f"{one} ") for one in known)


def _lines(snapshot: Snapshot, script: IO[bytes]) -> Iterator[str]:
    while line := script.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise _foreign(snapshot, f"a line of more than {LONGEST_LINE:,} bytes")
        yield line.decode(errors="backslashreplace")


@contextmanager
def _written(snapshot: Snapshot, file: BinaryIO, tool: Tool, *options: str) -> Iterator[IO[bytes]]:
    """Run pg_restore on the dump without a database. Gives what it writes; raises Unsound if it can't read the dump."""
    file.seek(0)
    command, environment = tool.alone(options)
    with tempfile.TemporaryFile() as errors:
        with children.started(command, stdin=file, stdout=subprocess.PIPE, stderr=errors, env=environment) as process:
            assert process.stdout is not None
            yield process.stdout
            while process.stdout.read(PIECE):
                pass
            code = process.wait()
        if code != 0:
            errors.seek(0)
            message = shown(redact(errors.read(2000).decode(errors="replace").strip()), 200)
            if code < 0:  # A signal: that says nothing against the dump.
                raise Failure("pg_restore to end by itself", f"signal {-code}", where=str(snapshot.path))
            raise Unsound(
                "a dump that pg_restore can read",
                f"{code}: {message or 'it said nothing'}",
                where=str(snapshot.path),
                do=NAME_ANOTHER,
            )


def is_of_the_rows(error: psycopg.DatabaseError) -> bool:
    """Return True if the rows are the error's cause: its class is data, a constraint, a limit or a trigger's own.

    Any other, such as a full disk or a lost session, says nothing against the dump.
    """
    return (error.sqlstate or "")[:2] in ("22", "23", "54", "P0")


def _unquoted(identifier: str) -> str:
    return identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier


def _foreign(snapshot: Snapshot, item: str) -> Foreign:
    return Foreign(
        f"a dump of what revision {snapshot.manifest.schema} makes, and nothing else",
        item,
        where=str(snapshot.path),
        do=UNCHANGED.format(env=snapshot.manifest.environment),
    )


def _cut_off(snapshot: Snapshot) -> Unsound:
    return Unsound(
        "a whole dump",
        "one that is cut off",
        where=str(snapshot.path),
        do=NAME_ANOTHER,
    )
