"""Brings rows of `users` of the legacy file up to Postgres: writes the columns that differ, and reads them again.

A row whose unique columns change is taken out first, together with those that go, so that two may swap theirs. Every
other row is updated in place, and every byte that is not written stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from db.counts import few
from db.errors import Failure
from db.legacy.row_writer import delete, insert, update
from db.legacy.source import SourceRow
from db.transfer import missing_players
from db.transfer.live_back.dirty import PLAYERS, Dirty
from db.transfer.live_back.file import FileTransactions
from db.transfer.target import LegacyRow, Target
from db.transfer.verify import differing
from db.transfer.write_back import WriteBackCounts
from game.legacy.sqlite_values import quote
from game.runs import runs

AT_ONCE = 100
"""Players read and written in one transaction of the file: some 4 MB."""

IDS_AT_ONCE = 500
"""Ids of one statement; SQLite binds 999 values at least."""

_PLACES = """
select position, key from legacy_rows
where source = 'users' and (key = any(%(ids)s) or position = any(%(positions)s))
"""
_WITHOUT_A_PLACE = """
select u.id, (select coalesce(max(l.position), 0) from legacy_rows l where l.source = 'users')
    + row_number() over (order by u.id collate "C")
from users u where not exists (select from legacy_rows l where l.source = 'users' and l.key = u.id)
"""
"""Lists the players made on Postgres in the order in which a whole write-back puts them at the end of the file."""

GIVE_PLACES = f"""
insert into legacy_rows (source, position, key, cells)
select 'users', p.position, p.id, '{{}}' from ({_WITHOUT_A_PLACE}) p (id, position)
"""
"""Has Postgres note the place of each of them, so that it stays when others come."""


@dataclass(slots=True)
class _Places:
    """The places of dirty rows. expected: by position, the player whose row stands there by Postgres; None: kept whole.

    gone: positions of rows of the file that stand nowhere by Postgres.
    """

    expected: dict[int, str | None] = field(default_factory=dict)
    gone: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Replaced:
    """The positions whose rows are written anew: those that the file has, and those that it lacks."""

    rows: list[int] = field(default_factory=list)
    new: list[int] = field(default_factory=list)


class PlayerRows:
    """Writes rows of `users`, some at a time. target: the open snapshot; counts: of what is written.

    newcomers: True once a player was met of whom Postgres has not noted the place, also one whom the file has already.
    """

    def __init__(self, file: FileTransactions, target: Target, counts: WriteBackCounts) -> None:
        self.file = file
        self.target = target
        self.counts = counts
        self.newcomers = False

    def apply(self, dirty: Dirty) -> None:
        """Bring the rows of these players, and those at these positions, up to the snapshot.

        Raises Refusal if Postgres lacks a player of the file, and Failure if a row that is read again is not as it was
        written; nothing of the open transaction is written then.
        """
        places = self._places(dirty)
        replaced = _Replaced()
        for positions in runs(sorted(places.expected), _one, AT_ONCE):
            self._update(places, positions, replaced)
            if len(positions) == AT_ONCE:
                self.file.turn()
        if places.gone:
            missing_players.require_none(self.file.source(), self.target.conn)
        self._replace(places, replaced)

    def _places(self, dirty: Dirty) -> _Places:
        conn = self.target.conn
        ids, positions = set(dirty.players), set(dirty.positions)
        places = _Places()
        for position, key in conn.execute(_PLACES, {"ids": list(ids), "positions": list(positions)}):
            places.expected[position] = key
        ids.update(key for key in places.expected.values() if key is not None)
        known = {one for (one,) in conn.execute("select id from users where id = any(%s)", (list(ids),))}
        with_a_place = {key for key in places.expected.values() if key is not None}
        if known - with_a_place:
            self.newcomers = True
            # All of them, for one who comes first by his id moves the others, whether they changed or not.
            without = {position: player for player, position in conn.execute(_WITHOUT_A_PLACE)}
            places.expected |= without
            known.update(without.values())
            ids.update(without.values())
        for position, key in list(places.expected.items()):
            if key is not None and key not in known:
                del places.expected[position]
        in_file = self._positions_in_file(ids, positions | places.expected.keys())
        places.gone = sorted(in_file - places.expected.keys())
        return places

    def _positions_in_file(self, ids: Collection[str], positions: Collection[int]) -> set[int]:
        rowid, found = self.file.tables[PLAYERS].rowid, set(positions)
        connection = self.file.connection
        existing: set[int] = set()
        for column, wanted in (("id", ids), (rowid, found)):
            for some in runs(wanted, _one, IDS_AT_ONCE):
                query = f"SELECT {rowid} FROM {PLAYERS} WHERE {column} IN ({', '.join('?' * len(some))})"
                existing.update(position for (position,) in connection.execute(query, some))
        return existing

    def _update(self, places: _Places, positions: Collection[int], replaced: _Replaced) -> None:
        lines = self._lines(places, positions)
        rows = self._rows(positions)
        written: dict[int, LegacyRow] = {}
        for position, line in lines.items():
            table, row = self.file.tables[PLAYERS], rows.get(position)
            if row is None:
                replaced.new.append(position)
                continue
            changed = differing(table.columns, row, line)
            if not changed:
                continue
            self.counts.cells += len(changed)
            self.counts.players += 1
            if table.indexed.isdisjoint(changed):
                update(self.file.connection, table, position, line, changed)
                written[position] = line
            else:
                replaced.rows.append(position)
        self._verify(written)

    def _replace(self, places: _Places, replaced: _Replaced) -> None:
        """Take out what goes and what is replaced, then put in: in one transaction, for names are unique at once."""
        table, connection = self.file.tables[PLAYERS], self.file.connection
        for position in (*places.gone, *replaced.rows):
            delete(connection, table, position)
        self.counts.deleted += len(places.gone)
        self.counts.inserted += len(replaced.new)
        # Nobody has the names of these players any more, so further transactions may put in the new ones.
        for positions in (replaced.rows, replaced.new):
            for some in runs(positions, _one, AT_ONCE):
                lines = self._lines(places, some)
                for position, line in lines.items():
                    insert(connection, self.file.tables[PLAYERS], position, line)
                self._verify(lines)
                if positions is replaced.new and len(some) == AT_ONCE:
                    self.file.turn()

    def _lines(self, places: _Places, positions: Collection[int]) -> dict[int, LegacyRow]:
        """Return the rows by Postgres at these positions. Give the file the columns that it lacks for them."""
        keys = {position: places.expected[position] for position in positions}
        players = self.target.players_of([key for key in keys.values() if key is not None])
        kept = self.target.kept_whole([position for position, key in keys.items() if key is None])
        rows = {position: kept[position] if key is None else players[key] for position, key in keys.items()}
        lines = {position: self.target.legacy_row(one) for position, one in rows.items()}
        for column in self.target.absent_columns:
            if column not in self.file.tables[PLAYERS].columns and any(column in line for line in lines.values()):
                self.file.add_column(column)
        return lines

    def _rows(self, positions: Collection[int]) -> Mapping[int, SourceRow]:
        table = self.file.tables[PLAYERS]
        columns = ", ".join(map(quote, table.columns))
        holders = ", ".join("?" * len(positions))
        query = f"SELECT {table.rowid}, {columns} FROM {PLAYERS} WHERE {table.rowid} IN ({holders})"
        rows = self.file.connection.execute(query, tuple(positions))
        return {position: SourceRow(position, cells, {}, 0) for position, *cells in rows}

    def _verify(self, lines: Mapping[int, LegacyRow]) -> None:
        if lines:
            require_equal(self._differences(lines), self.file.where)

    def _differences(self, lines: Mapping[int, LegacyRow]) -> Iterator[str]:
        columns, rows = self.file.tables[PLAYERS].columns, self._rows(lines.keys())
        for position, line in lines.items():
            if position not in rows:
                yield f"users row {position}: not in the file"
            else:
                yield from (f"users row {position}, {column}" for column in differing(columns, rows[position], line))


def require_equal(differences: Iterable[str], where: str) -> None:
    """Raise Failure naming the places where the file, read again, is not what was written."""
    if places := list(differences):
        raise Failure(
            "the file, read again, to be what Postgres says",
            f"{len(places):,} differences: {few(places, 4)}",
            where=where,
            do="Nothing of this transaction was written. Mend what this names, and run the same command again.",
        )


def _one(_each: object) -> int:
    """Count each as one."""
    return 1
