"""Brings the target's journals up to the file: the lines that the log names, and the heads of their players."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

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
from game.rows import Key, Record, Rows

_RECEIPTS = tables.action_receipts.name
_KEPT = "select source, position, cells from legacy_rows where source = any(%s)"
_HEADS = """
update users u set seq = r.seq, chain = r.chain
from (
    select distinct on (user_id) user_id, seq, chain from action_receipts
    where seq is not null and (%(all)s or user_id = any(%(ids)s)) order by user_id, seq desc
) r
where u.id = r.user_id and (u.seq, u.chain) is distinct from (r.seq, r.chain)
"""


def apply(source: Source, conn: ops.Connection, dirty: Mapping[str, Collection[JournalKey]], *, run: str) -> int:
    """Bring the lines of these keys, by journal, up to the file's, in the open transaction; how many rows were written.

    A line of a player whom the target has not, or that its constraints would refuse, is kept whole, with a finding.
    """
    lines = {name: _Lines(name, keys, _of_file(source, name, keys)) for name, keys in dirty.items() if keys}
    if not lines:
        return 0
    players = known(conn, {str(key[0]) for one in lines.values() for key in one.present if isinstance(key[0], str)})
    with conn.pipeline():
        of_target = {name: _of_target(conn, one) for name, one in lines.items()}
        kept = conn.execute(_KEPT, (list(lines),))
    positions = _positions(lines, kept)
    before, after = Rows(), Rows()
    for name, one in lines.items():
        journal = JOURNALS[name]
        before[journal.name] = {key_of(journal, record): record for record in of_target[name]}
        after[journal.name] = one.taken(players)
    written = writing.write(conn, before, after)
    for name, one in lines.items():
        _keep_whole(source, conn, one, positions[name], run)
    receipts = after.get(_RECEIPTS, {})
    if written and receipts:
        give_heads(conn, {str(key[0]) for key in receipts})
    return written


@dataclass
class _Lines:
    """Lines of one journal. name: the file's; present: those that the file has, by key.

    kept: those that `taken` found no place for.
    """

    name: str
    keys: Collection[JournalKey]
    present: Mapping[JournalKey, dict[str, Cell]]
    kept: list[dict[str, Cell]] = field(default_factory=list)

    def taken(self, players: Collection[object]) -> dict[Key, Record]:
        """Return the lines that the target takes, of these players."""
        journal, taken = JOURNALS[self.name], {}
        for key, cells in self.present.items():
            if cells["user_id"] in players and unfit(journal, cells) is None:
                taken[key] = plain_line(cells)
            else:
                self.kept.append(cells)
        return taken


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


def _of_target(conn: ops.Connection, lines: _Lines) -> Iterator[Record]:
    """Return the target's lines of the journal with these keys. The query is sent by this call."""
    journal = JOURNALS[lines.name]
    wanted = [key for key in lines.keys if all(isinstance(part, int) or _is_text(part) for part in key)]
    if not wanted:
        return iter(())
    columns = [column.name for column in tables.record_columns(journal)]
    query, parameters = writing.selecting(journal, columns, wanted)
    cursor = conn.execute(query, parameters)
    return (dict(zip(columns, row, strict=True)) for row in cursor)


def _positions(lines: Mapping[str, _Lines], kept: Iterable[tuple[str, int, str]]) -> dict[str, list[int]]:
    """Return where lines of these keys are kept whole, by journal; nearly always there is none."""
    positions: dict[str, list[int]] = {name: [] for name in lines}
    for name, position, cells in kept:
        decoded = sqlite_values.decode(cells)
        if tuple(decoded[column] for column in tables.KEYS[JOURNALS[name].name]) in lines[name].keys:
            positions[name].append(position)
    return positions


def _is_text(part: object) -> bool:
    return isinstance(part, str) and storable(part)


def known(conn: ops.Connection, ids: Collection[str]) -> set[object]:
    """Return which of these ids are players of the target."""
    wanted = [player for player in ids if _is_text(player)]
    return {player for (player,) in conn.execute("select id from users where id = any(%s)", (wanted,))}


def _keep_whole(source: Source, conn: ops.Connection, lines: _Lines, gone: list[int], run: str) -> None:
    """Exchange what is kept of these lines. gone: the positions of what was kept of them."""
    name, kept = lines.name, lines.kept
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
