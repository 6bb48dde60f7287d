"""Brings the target's journals up to the file: the lines that the log names, and the heads of their players."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from db import ops
from db.legacy.source import Source, SourceRow
from db.transfer.batches import JOURNALS, Batch, BatchBuilder, plain_line, quarantine_record, unfit
from db.transfer.live import writing
from db.transfer.live.capture import JournalKey
from db.transfer.target import key_of
from game import tables
from game.legacy import sqlite_values
from game.legacy.codec.readers import storable
from game.legacy.sqlite_values import Cell, quote
from game.rows import Record, Rows

_RECEIPTS = tables.action_receipts.name
_HEADS = """
update users u set seq = r.seq, chain = r.chain
from (
    select distinct on (user_id) user_id, seq, chain from action_receipts
    where seq is not null and (%(all)s or user_id = any(%(ids)s)) order by user_id, seq desc
) r
where u.id = r.user_id and (u.seq, u.chain) is distinct from (r.seq, r.chain)
"""


def apply(source: Source, conn: ops.Connection, name: str, keys: Collection[JournalKey], *, run: str) -> int:
    """Bring the lines of these keys up to the file's, in the open transaction; how many rows were written.

    A line of a player whom the target has not, or that its constraints would refuse, is kept whole, with a finding.
    """
    journal = JOURNALS[name]
    wanted = [key for key in keys if all(isinstance(part, int) or _is_text(part) for part in key)]
    present = _of_file(source, name, keys)
    players = known(conn, {str(key[0]) for key in present if isinstance(key[0], str)})
    before, after, kept = Rows({journal.name: {}}), Rows({journal.name: {}}), []
    for record in _of_target(conn, journal, wanted):
        before[journal.name][key_of(journal, record)] = record
    for key, cells in present.items():
        if cells["user_id"] in players and unfit(journal, cells) is None:
            after[journal.name][key] = plain_line(cells)
        else:
            kept.append(cells)
    written = writing.write(conn, before, after)
    _keep_whole(source, conn, name, keys, kept, run)
    if journal.name == _RECEIPTS and written:
        give_heads(conn, {str(key[0]) for key in after[journal.name]})
    return written


def give_heads(conn: ops.Connection, players: Collection[str]) -> None:
    """Give these players the number and the chain of their newest receipt, in the open transaction."""
    conn.execute(_HEADS, {"all": False, "ids": list(players)})


def give_all_heads(conn: ops.Connection) -> None:
    """Give every player the number and the chain of the newest receipt, in the open transaction."""
    conn.execute(_HEADS, {"all": True, "ids": []})


def all_keys(source: Source, conn: ops.Connection, name: str) -> set[JournalKey]:
    """Return the keys of every line of a journal, in the file or in the target."""
    journal = JOURNALS[name]
    columns = ", ".join(tables.KEYS[journal.name])
    of_target = conn.execute(f"select {columns} from {journal.name}".encode()).fetchall()
    of_file = source.connection.execute(f"SELECT {columns} FROM {name}").fetchall() if name in source.tables else []
    return {*of_target, *of_file}


def keys_of(source: Source, name: str, players: Collection[str]) -> set[JournalKey]:
    """Return the keys of these players' lines in the file."""
    columns = ", ".join(tables.KEYS[JOURNALS[name].name])
    return {
        key
        for player in players
        for key in source.connection.execute(f"SELECT {columns} FROM {name} WHERE user_id = ?", (player,))
    }


def _of_file(source: Source, name: str, keys: Collection[JournalKey]) -> dict[JournalKey, dict[str, Cell]]:
    """Return the file's lines of the journal by key, of those keys that it has."""
    if name not in source.tables:
        return {}
    columns = source.tables[name].columns
    where = " AND ".join(f"{column} IS ?" for column in tables.KEYS[JOURNALS[name].name])
    query = f"SELECT {', '.join(map(quote, columns))} FROM {name} WHERE {where}"
    found = {}
    for key in keys:
        if (cells := source.connection.execute(query, key).fetchone()) is not None:
            found[key] = dict(zip(columns, cells, strict=True))
    return found


def _of_target(conn: ops.Connection, journal: Any, keys: Collection[JournalKey]) -> list[Record]:
    """Return the target's lines of the journal with these keys."""
    if not keys:
        return []
    columns = [column.name for column in tables.record_columns(journal)]
    query, parameters = writing.selecting(journal, columns, list(keys))
    return [dict(zip(columns, row, strict=True)) for row in conn.execute(query, parameters)]


def _is_text(part: object) -> bool:
    return isinstance(part, str) and storable(part)


def known(conn: ops.Connection, ids: Collection[str]) -> set[object]:
    """Return which of these ids are players of the target."""
    wanted = [player for player in ids if _is_text(player)]
    return {player for (player,) in conn.execute("select id from users where id = any(%s)", (wanted,))}


def _keep_whole(
    source: Source,
    conn: ops.Connection,
    name: str,
    keys: Collection[JournalKey],
    kept: list[dict[str, Cell]],
    run: str,
) -> None:
    """Exchange what is kept of these lines; nearly always there is nothing of it."""
    columns = tables.KEYS[JOURNALS[name].name]
    gone = [
        position
        for position, cells in conn.execute("select position, cells from legacy_rows where source = %s", (name,))
        if tuple(sqlite_values.decode(cells)[column] for column in columns) in keys
    ]
    if gone:
        conn.execute("delete from legacy_rows where source = %s and position = any(%s)", (name, gone))
        conn.execute(
            "delete from quarantine where source_table = %s and key = any(%s)",
            (name, [f"row {position}" for position in gone]),
        )
    if kept:
        row = conn.execute("select coalesce(max(position), 0) from legacy_rows where source = %s", (name,)).fetchone()
        assert row is not None
        columns = source.tables[name].columns
        rows = [SourceRow(n, tuple(map(cells.get, columns)), {}, 0) for n, cells in enumerate(kept, int(row[0]) + 1)]
        write_batch(conn, builder(source, conn, name).pack(rows), run)


def builder(source: Source, conn: ops.Connection, name: str) -> BatchBuilder:
    """Return the builder of a table's batches, which knows what to keep whole and why."""
    return BatchBuilder(source.tables[name], lambda ids: {str(one) for one in known(conn, set(ids))})


def write_batch(conn: ops.Connection, batch: Batch, run: str) -> None:
    """Write a batch and its findings, in the open transaction."""
    for table in tables.ALL:
        writing.insert(conn, table, batch.records.get(table.name, ()))
    if batch.findings:
        writing.number(conn, [quarantine_record(run, 0, finding) for finding in batch.findings], run)
