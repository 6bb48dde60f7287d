"""Brings the target's players up to the file: decodes the parts of their rows that changed, and writes what differs.

Every row is rebuilt from what is about to be written, and compared with the one that was read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice

from db import ops
from db import tables as db_tables
from db.counts import few
from db.errors import Failure
from db.legacy.source import Source, units_sql
from db.transfer.batches import quarantine_record
from db.transfer.cursors import fetch
from db.transfer.live import writing
from db.transfer.live.capture import PARTS, PLAYERS
from db.transfer.target import key_of
from game import tables
from game.legacy import codec, sqlite_values
from game.legacy.codec import arrays, readers
from game.legacy.codec.decoded import keep_whole
from game.legacy.codec.mapping import USERS
from game.legacy.sqlite_values import Cell, quote
from game.rows import Key, Record, Rows

AT_ONCE = 50
"""Players read and written in one transaction: some 2 MB. After each, a round beside players pauses for them."""

_TABLES = ((), *(tuple(sorted(group.tables)) for group in USERS.groups))
"""The tables of each part, beside `users`."""

_PART_OF = {column: number for number, part in enumerate(PARTS) for column in part}
_STATE = tuple(table.name for table in tables.PLAYER_STATE)
_KEPT = tables.legacy_rows.name
_FINDING = ("kind", "source_table", "key", "column_name", "path", "position", "storage", "original", "rule", "reason")


@dataclass(slots=True)
class _Row:
    """A player's row as the file has it now, as far as it was read; parts: None for all of it."""

    position: int
    cells: dict[str, Cell]
    units: dict[str, int]
    parts: set[int] | None

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column for column in self.cells if column != "id" or self.parts is None)


@dataclass(slots=True)
class _Player:
    """One player before and after: rows by table, and the findings of the quarantine."""

    before: Rows = field(default_factory=Rows)
    after: Rows = field(default_factory=Rows)
    old: list[Record] = field(default_factory=list)
    new: list[Record] = field(default_factory=list)


@dataclass(slots=True)
class PlayersApplied:
    """players: rows looked at; rows: written; gone, added: players whom the target has no more, and
    those whom it had not."""

    players: int = 0
    rows: int = 0
    gone: set[str] = field(default_factory=set)
    added: set[str] = field(default_factory=set)


def apply(
    source: Source,
    conn: ops.Connection,
    dirty: Mapping[int, set[int] | None],
    *,
    run: str,
    transaction: Callable[[], AbstractContextManager[None]],
) -> PlayersApplied:
    """Bring these rows of `users` up to the file's, some at a time, each time in a `transaction()`.

    Raises Failure, with nothing of that transaction written, where a row can't be rebuilt as it was read.
    """
    applied = PlayersApplied()
    positions = iter(sorted(dirty))
    while some := {position: dirty[position] for position in islice(positions, AT_ONCE)}:
        with transaction():
            _apply_some(source, conn, some, run, applied)
    return applied


def _apply_some(
    source: Source, conn: ops.Connection, dirty: Mapping[int, set[int] | None], run: str, applied: PlayersApplied
) -> None:
    at_positions = _at_positions(conn, list(dirty))
    stand = {at: None if one["key"] is None else str(one["key"]) for at, one in at_positions.items()}
    rows = {row.position: row for row in _read(source, dirty)}
    for position, row in list(rows.items()):
        if row.parts is not None and row.cells["id"] != stand.get(position):
            (rows[position],) = _read(source, {position: None})
    # One file can't have an id twice (`live` is refused for one that can), so a key stands at one position.
    wanted = {str(row.cells["id"]): row for row in rows.values() if _has_key(row)}
    keys = {key for position, key in stand.items() if key is not None and _is_whole(rows, position)} | wanted.keys()
    players = _fetch(conn, {key: wanted[key].parts if key in wanted else None for key in keys})
    nameless = _Player()
    for position, record in at_positions.items():
        if record["key"] is None:
            nameless.before.table(_KEPT)[PLAYERS, position] = record
    for row in rows.values():
        _decode(row, players, nameless)
    before, after = Rows(), Rows()
    for player in (*players.values(), nameless):
        _add(before, player.before)
        _add(after, player.after)
    gone = {str(key[0]) for key in before.get(PLAYERS, {}) if key not in after.get(PLAYERS, {})}
    _take_out_lines(conn, gone)
    _free_names(conn, after, before)
    applied.rows += writing.write(conn, before, after)
    _write_findings(conn, players.values(), run)
    if nameless.before or nameless.after:
        _write_nameless_findings(conn, run)
    applied.players += len(dirty)
    added = {str(key[0]) for key in after.get(PLAYERS, {}) if key not in before.get(PLAYERS, {})}
    applied.gone = (applied.gone | gone) - added
    applied.added = (applied.added | added) - gone


def _has_key(row: _Row) -> bool:
    key = row.cells["id"]
    return isinstance(key, str) and key != "" and readers.indexable(key)


def _is_whole(rows: Mapping[int, _Row], position: int) -> bool:
    return position not in rows or rows[position].parts is None


def _at_positions(conn: ops.Connection, positions: list[int]) -> dict[int, Record]:
    """Return what the target keeps of the rows at these positions, by position."""
    records = fetch(conn, tables.legacy_rows, "position", positions, source=PLAYERS)
    return {int(str(record["position"])): record for record in records}


def _read(source: Source, dirty: Mapping[int, set[int] | None]) -> Iterator[_Row]:
    """Read the parts that changed of these rows, those that are there."""
    alike: dict[frozenset[int] | None, list[int]] = defaultdict(list)
    for position, parts in dirty.items():
        alike[None if parts is None else frozenset(parts)].append(position)
    shape = source.tables[PLAYERS]
    for some, positions in alike.items():
        columns = [column for column in shape.columns if some is None or column == "id" or _PART_OF.get(column) in some]
        counted = [column for column in columns if column in codec.TAKEN_APART]
        listed = ", ".join([str(shape.rowid), *map(quote, columns), *map(units_sql, counted)])
        holders = ", ".join("?" * len(positions))
        query = f"SELECT {listed} FROM {PLAYERS} WHERE {shape.rowid} IN ({holders})"
        for cells in source.connection.execute(query, positions):
            width = 1 + len(columns)
            row = dict(zip(columns, cells[1:width], strict=True))
            units = dict(zip(counted, cells[width:], strict=True))
            yield _Row(cells[0], row, units, None if some is None else set(some))


def _fetch(conn: ops.Connection, wanted: Mapping[str, set[int] | None]) -> dict[str, _Player]:
    """Return what the target has of these players, of the tables of their parts; in one round trip."""
    players = {key: _Player() for key in wanted}
    of_table: dict[str, list[str]] = defaultdict(list)
    for key, parts in wanted.items():
        names = _STATE if parts is None else dict.fromkeys(name for part in parts for name in _TABLES[part])
        for name in names:
            players[key].before.table(name)
            if name != PLAYERS:
                of_table[name].append(key)
    ids = list(wanted)
    query = (
        f"select run, n, {', '.join(_FINDING)} from quarantine where source_table = 'users' and loaded_by is null"
        " and key = any(%s)"
    )
    with conn.pipeline():
        users = fetch(conn, tables.users, "id", ids)
        state = {name: fetch(conn, tables.BY_NAME[name], "user_id", some) for name, some in of_table.items()}
        kept = fetch(conn, tables.legacy_rows, "key", ids, source=PLAYERS)
        findings = conn.execute(query, (ids,))
    for record in users:
        players[str(record["id"])].before.table(PLAYERS)[(str(record["id"]),)] = record
    for name, records in state.items():
        for record in records:
            players[str(record["user_id"])].before[name][key_of(tables.BY_NAME[name], record)] = record
    for record in kept:
        players[str(record["key"])].before.table(_KEPT)[PLAYERS, int(str(record["position"]))] = record
    for run, n, *values in findings:
        finding: Record = {"run": run, "n": n, **dict(zip(_FINDING, values, strict=True))}
        players[str(finding["key"])].old.append(finding)
    return players


def _decode(row: _Row, players: dict[str, _Player], nameless: _Player) -> None:
    stands = players.get(str(row.cells["id"])) or nameless
    # Most elements of a document that changed are as the target has them: to read these again costs most of a round.
    known = codec.known_elements(stands.before, row.cells.keys())
    decoded = codec.decode_row(row.cells, rowid=row.position, units=row.units, known=known)
    findings = [quarantine_record("", 0, finding) for finding in decoded.findings]
    if not decoded.rows.get(PLAYERS):
        _add(nameless.after, decoded.rows)
        _check(row, codec.encode_row(decoded.rows))
        return
    player = players[str(row.cells["id"])]
    if row.parts is None:
        for name in _STATE:
            player.after.table(name)
        _add(player.after, decoded.rows)
        player.new = findings
    else:
        _merge(player, row, decoded.rows, findings)
    unread: dict[Key, Record] = {
        (str(one["key"]), str(one["column_name"])): {} for one in player.new if one["path"] == "$"
    }
    _check(row, codec.encode_row(Rows({**player.after, codec.UNREAD: unread}), row.columns, known=decoded.known))
    _keep_known(player, decoded.known)


def _keep_known(player: _Player, known: Collection[tuple[str, Key]]) -> None:
    """Have both states share the records that are equal: to compare a record with itself costs nothing."""
    for name, key in known:
        before, after = player.before.get(name, {}).get(key), player.after[name][key]
        # All values of such a record were taken from what stands there, but for its place and its flag.
        if before == after:
            player.after[name][key] = before


def _merge(player: _Player, row: _Row, decoded: Rows, findings: list[Record]) -> None:
    """Put the parts that were decoded into what the target has of the player."""
    assert row.parts is not None
    columns = set(row.columns)
    kept = [one for one in player.old if one["column_name"] not in columns]
    player.new = [*kept, *findings]
    held = any(one["kind"] == "held" for one in player.new)
    (key,) = decoded[PLAYERS]
    user = dict(player.before[PLAYERS][key])
    if 0 in row.parts:
        user |= _of_columns(decoded[PLAYERS][key], columns)
    player.after[PLAYERS] = {key: user | {"held": held}}
    for part in row.parts:
        for name in _TABLES[part]:
            player.after[name] = decoded.get(name, {})
    ((place, record),) = player.before[_KEPT].items()
    cells = _merged(str(record["cells"]), str(decoded[_KEPT][place]["cells"]), row.parts)
    player.after[_KEPT] = {place: record | {"cells": cells}}


def _of_columns(user: Record, columns: Collection[str]) -> Record:
    """Return the values of a player that these legacy columns hold: one that the file lacks is no value of now."""
    names = {scalar.column for column, scalar in USERS.scalars.items() if column in columns}
    for document in USERS.objects:
        if document.column in columns:
            names |= document.columns.keys()
    return {name: value for name, value in user.items() if name in names}


def _merged(kept: str, decoded: str, parts: Collection[int]) -> str:
    """Return a player's cells with those of these parts exchanged, in the order in which a whole row is decoded."""
    by_part: dict[int, dict[str, Cell]] = defaultdict(dict)
    for name, cell in sqlite_values.decode(kept).items():
        if (part := _part(name)) not in parts:
            by_part[part][name] = cell
    for name, cell in sqlite_values.decode(decoded).items():
        if (part := _part(name)) in parts:
            by_part[part][name] = cell
    return sqlite_values.encode({name: cell for part in sorted(by_part) for name, cell in by_part[part].items()})


def _part(name: str) -> int:
    """Return the part of a cell's column, or of a private cell's."""
    return _PART_OF.get(name.removeprefix(arrays.PRIVATE).partition(".")[0], len(PARTS))


def _check(row: _Row, rebuilt: Mapping[str, Cell]) -> None:
    """Raise Failure unless the rebuilt row is the one that was read."""
    wrong = [name for name in row.columns if not sqlite_values.same(row.cells[name], rebuilt.get(name))]
    if wrong:
        raise Failure(
            "every row rebuilt from the target to equal the one in the file",
            f"users row {row.position} differs in {few(wrong, 5)}",
            do="Nothing of it was written. It is a defect of this program: report it. To move with the game stopped,"
            " add --offline to the same command.",
        )


def _take_out_lines(conn: ops.Connection, gone: Iterable[str]) -> None:
    """Delete the journals' lines of players who go; where the file has them still, they are kept whole afterwards."""
    if ids := list(gone):
        for journal in tables.JOURNALS:
            conn.execute(f"delete from {journal.name} where user_id = any(%s)".encode(), (ids,))


def _free_names(conn: ops.Connection, after: Rows, before: Rows) -> None:
    """Take names from players outside of this transaction: the file gave them to others, so theirs changed too."""
    users, old = after.get(PLAYERS, {}), before.get(PLAYERS, {})
    ids = [str(key[0]) for key in users.keys() | old.keys()]
    for column in ("username", "nickname"):
        taken = [
            record[column]
            for key, record in users.items()
            if record[column] is not None and record[column] != old.get(key, {}).get(column)
        ]
        if taken:
            conn.execute(
                f"update users set {column} = null where {column} = any(%s) and id <> all(%s)".encode(), (taken, ids)
            )


def _write_findings(conn: ops.Connection, players: Iterable[_Player], run: str) -> None:
    """Exchange the findings that are no more for those that are new."""
    gone: list[Key] = []
    new: list[Record] = []
    for player in players:
        old = {_finding(one): one for one in player.old}
        wanted = {_finding(one): one for one in player.new}
        gone += [(str(one["run"]), int(str(one["n"]))) for key, one in old.items() if key not in wanted]
        new += [one for key, one in wanted.items() if key not in old]
    writing.delete(conn, db_tables.quarantine, gone)
    writing.number(conn, new, run)


def _write_nameless_findings(conn: ops.Connection, run: str) -> None:
    """Write the findings of the rows without a key anew, all of them: a finding does not say which row it is of."""
    conn.execute("delete from quarantine where source_table = 'users' and key is null")
    kept = conn.execute("select position, cells from legacy_rows where source = 'users' and key is null").fetchall()
    findings = [
        finding for position, cells in kept for finding in keep_whole(sqlite_values.decode(cells), position).findings
    ]
    writing.number(conn, [quarantine_record("", 0, finding) for finding in findings], run)


def _finding(record: Record) -> tuple[object, ...]:
    return tuple(record[name] for name in _FINDING)


def _add(rows: Rows, more: Mapping[str, Mapping[Key, Record]]) -> None:
    for name, records in more.items():
        rows.table(name).update(records)
