"""Loads again what the quarantine holds: what this program can read by now, and values that an operator decided.

A player's row is rebuilt from the database as it is now, with all that the player did since, and is read again. So
nothing that play wrote is overwritten: the proof is that the row rebuilt afterwards is the same, or differs in the
decided value alone. Each player is one transaction under the lock that the player's commands take.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from psycopg import errors, sql

from db import ops
from db import tables as db_tables
from db.console.progress import Progress
from db.errors import Failure, Refusal
from db.ops import Phase, RunLock, emergency, fence
from db.quarantine import adjustment, decided_values, entries, second_reading, taken_names
from db.quarantine.adjustment import LoadedValues
from db.quarantine.entries import Value
from db.quarantine.kept_rows import KeptRow
from db.quarantine.results import Adjustment, Decided, Replay, Replayed
from db.quarantine.second_reading import SecondReading
from db.transfer.batches import as_text, quarantine_record
from db.transfer.copying import copy
from db.transfer.preconditions import explained
from db.transfer.target import LegacyRow, Target
from game import tables
from game.legacy import codec, sqlite_values
from game.legacy.codec import Finding
from game.rows import Record, Rows, compare

LOCK_TIMEOUT = "10s"

AS_IT_IS = "Nothing was changed. The game can read this value: leave --number and --value out."
REPLACED = "Nothing was changed. What the player has by now stands; the original stays in the quarantine."
CORRECT = "Nothing was changed. Correct what --value names, and run the same command again."


def require_replayable(conn: ops.Connection) -> Phase:
    """Return the phase. Raises Refusal unless players play on the database, or it holds the copy of a trial."""
    phase, state = ops.phase(conn), fence.recorded_state(conn)
    where, environment = ops.place(conn), ops.marker(conn)
    if phase is Phase.LOADING:
        raise Refusal(
            "a database that no cutover is filling",
            "the phase loading",
            where=where,
            do=f"Finish it: invoke cutover --env {environment}; or undo it, with --abort. Then run this again.",
        )
    if phase is Phase.RETURNED:
        raise Refusal(
            "players who play on Postgres, or the copy of a trial",
            "players who went back to SQLite",
            where=where,
            do="Mend the value in the legacy file: the next cutover reads it there.",
        )
    if (fenced := emergency.standing(conn)) is not None:
        raise Refusal(
            "a database that players can write to",
            f"an emergency fence {fenced}",
            where=where,
            do=f"Lift it first: invoke fence --env {environment} --off --reason WHY. Then run this again.",
        )
    if phase is Phase.LIVE and state != "open":
        raise Refusal(
            "a database that players can write to",
            f"one that is {state}: a rollback was begun",
            where=where,
            do=f"Finish it: invoke rollback --env {environment} --offline; or undo it, with --abort. Then run this"
            " again.",
        )
    return phase


def replay(
    held: RunLock,
    progress: Progress,
    *,
    player: str | None = None,
    decided: Decided | None = None,
    dry_run: bool = False,
) -> Replayed:
    """Load again what can be, of every player or of one; again is harmless. The caller holds the lock of runs.

    Raises Refusal if the decided value can't be used, and Failure if a row that was rebuilt is not the one that was
    read; the player at hand is then as before.
    """
    conn = held.conn
    with explained(ops.place(conn)):
        phase = require_replayable(conn)
        conn.execute(sql.SQL("set lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
        asked = _asked(conn, player, decided)
        run = _Run(conn, held.run, dry_run=dry_run, decided=decided)
        done: list[Replay] = []
        with progress.bar("reading again", len(asked), "values") as advance:
            for group in _groups(asked):
                done += run.group(group)
                advance(len(group))
    names = tuple(dict.fromkeys(one.player or f"number {one.n}" for one in done if one.outcome == "held"))
    return Replayed("inconclusive" if names else "pass", held.run, str(phase), dry_run, tuple(done), names)


def _asked(conn: ops.Connection, player: str | None, decided: Decided | None) -> list[Value]:
    """Return the values to replay that were not loaded since. Raises Refusal for an unknown number or player."""
    number = decided.n if decided else None
    unloaded = [one for one in entries.values(conn, n=number, player=player, most_bytes=0) if one.loaded_by is None]
    if decided and not unloaded:
        raise Refusal(
            "the number of a value that is kept",
            str(decided.n),
            where=ops.place(conn),
            do=f"invoke transfer.quarantine --env {ops.marker(conn)} lists them; one that was loaded since is done.",
        )
    if player is not None and not unloaded and not _exists(conn, player):
        raise Refusal(
            "the id of a player",
            repr(player),
            where=ops.place(conn),
            do=f"invoke transfer.quarantine --env {ops.marker(conn)} lists the players of whom values are kept.",
        )
    return unloaded


def _exists(conn: ops.Connection, player: str) -> bool:
    return "\0" not in player and bool(conn.execute("select from users where id = %s", (player,)).rowcount)


def _groups(values: list[Value]) -> Iterator[list[Value]]:
    """Yield the values of each player; then rows that were kept whole, players' rows before what belongs to them."""
    players: dict[str, list[Value]] = {}
    rows = []
    for value in values:
        if value.is_whole_row:
            rows.append(value)
        elif value.key is not None:
            players.setdefault(value.key, []).append(value)
    yield from players.values()
    for value in sorted(rows, key=lambda one: (one.table != "users", one.n)):
        yield [value]


class _Run:
    """Reads one player, or one row that was kept whole, after the other."""

    def __init__(self, conn: ops.Connection, run: str, *, dry_run: bool, decided: Decided | None) -> None:
        self.conn = conn
        self.run = run
        self.dry_run = dry_run
        self.decided = decided
        self.target = Target(conn)

    def group(self, values: Sequence[Value]) -> list[Replay]:
        with self._transaction():
            if values[0].is_whole_row:
                return self._whole_row(values[0])
            return self._player(str(values[0].key))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Open a transaction that the journals, and in a trial's copy the fence, let through."""
        try:
            with self.conn.transaction(force_rollback=self.dry_run), fence.own_pass(self.conn):
                yield
        except errors.LockNotAvailable:
            raise Failure(
                f"the player's row within {LOCK_TIMEOUT}",
                "one that another session holds",
                where=ops.place(self.conn),
                do="Nothing of this player was changed. Run the same command again.",
            ) from None

    def _player(self, player: str) -> list[Replay]:
        if not self.conn.execute("select from users where id = %s for update", (player,)).rowcount:
            raise Failure(
                "the players of whom values are kept",
                f"no player {player}",
                where=ops.place(self.conn),
                do="Nothing was changed. Somebody removed this player by SQL; an older snapshot has the player.",
            )
        # Read after the lock: a command that was under way has committed by then.
        values = [
            one
            for one in entries.values(self.conn, key=player)
            if one.table == "users" and one.loaded_by is None and not one.is_whole_row
        ]
        before = self.target.player(player)
        row = self.target.legacy_row(before)
        wanted = self._with_decided(values, row)
        ((_source, position),) = before["legacy_rows"]
        decoded = codec.decode_row(wanted, rowid=int(position), units=decided_values.units(wanted))
        taken_names.keep_aside(self.conn, decoded, wanted)
        reading = second_reading.judge(values, decoded.findings, before, wanted, mended=self._mended(values))
        self._check_decided(values, reading)
        adjusted, added = None, []
        if reading.changes:
            after = second_reading.merge(before, decoded.rows, reading)
            self._write(before, after)
            added = self._add(reading.parts)
            self._add(reading.flags)
        self._settle(values, reading)  # Before the proof: from here on the kept cells count as read.
        if reading.changes:
            self._prove(player, wanted)
            numbers = [value.n for value in (*reading.loaded, *reading.released)]
            adjusted = adjustment.journal(self.conn, LoadedValues(self.run, player, numbers, before, after))
        return [*(self._result(value, reading, adjusted) for value in values), *added]

    def _mended(self, values: Sequence[Value]) -> Value | None:
        return next((one for one in values if self.decided and one.n == self.decided.n), None)

    def _with_decided(self, values: Sequence[Value], row: LegacyRow) -> LegacyRow:
        """Return the row with the decided value in its place; the row itself if nothing was decided."""
        value = self._mended(values)
        if value is None or self.decided is None:
            return row
        if value.is_loaded_as_it_is:
            raise self._unusable(value, "a value that could not be read", "one that was loaded as it is", AS_IT_IS)
        if value.is_cell:
            cell = row.get(value.column)
            if (sqlite_values.original(cell), sqlite_values.storage(cell)) != (value.original, value.storage):
                raise self._unusable(value, "a value that play has not replaced", "another value by now", REPLACED)
            stored = decided_values.as_stored(self.target.schema, value.table, value.column, self.decided.text)
            return {**row, value.column: stored}
        document = decided_values.replaced(row.get(value.column), value.original, self.decided.text)
        if document is None:
            raise self._unusable(value, "a value that play has not replaced", "a document without it by now", REPLACED)
        return {**row, value.column: document}

    def _check_decided(self, values: Sequence[Value], reading: SecondReading) -> None:
        value = self._mended(values)
        if value is None or value in reading.loaded:
            return
        finding = reading.pairs.get(value.n) or reading.blocker(value)
        assert finding is not None, "a value that was decided is never overwritten"
        raise self._unusable(value, "a value that the game can read", f"{finding.rule}, {finding.reason}", CORRECT)

    def _unusable(self, value: Value, expected: str, found: str, do: str) -> Refusal:
        place = f"{value.player or value.key} {value.table}.{value.column} {value.path}"
        return Refusal(expected, found, where=f"number {value.n}, {place}", do=do)

    def _write(self, before: Rows, after: Rows) -> None:
        self.conn.execute("set constraints all deferred")  # An item and what names it as worn go one after the other.
        changes = compare(before, after)
        for name, change in changes.items():
            if name not in ("users", "legacy_rows"):
                for key in (*change.deletes, *change.updates):
                    self._delete(name, key)
        for name, change in changes.items():
            if name in ("users", "legacy_rows"):
                for key, columns in change.updates.items():
                    self._update(name, key, {column: new for column, (_old, new) in columns.items()})
            else:
                table = tables.BY_NAME[name]
                copy(self.conn, table, [after[name][key] for key in (*change.inserts, *change.updates)])
        self.conn.execute("set constraints all immediate")

    def _delete(self, name: str, key: tuple[str | int, ...]) -> None:
        query = sql.SQL("delete from {} where {}").format(sql.Identifier(name), _equal(tables.KEYS[name], " and "))
        self.conn.execute(query, key)

    def _update(self, name: str, key: tuple[str | int, ...], columns: Record) -> None:
        query = sql.SQL("update {} set {} where {}").format(
            sql.Identifier(name), _equal(columns, ", "), _equal(tables.KEYS[name], " and ")
        )
        self.conn.execute(query, (*columns.values(), *key))

    def _prove(self, player: str, wanted: LegacyRow) -> None:
        """Rebuild the row from the database, and compare it with the one that was read again."""
        rebuilt = self.target.legacy_row(self.target.player(player))
        differing = [
            column
            for column in dict.fromkeys((*wanted, *rebuilt))
            if not sqlite_values.same(wanted.get(column), rebuilt.get(column))
        ]
        if differing:
            raise Failure(
                "the row rebuilt to equal the one that was read",
                f"another {', '.join(differing)}",
                where=f"player {player}",
                do="This player is as before. Keep the quarantine; mend the program.",
            )

    def _settle(self, values: Sequence[Value], reading: SecondReading) -> None:
        """Note what was loaded, by which run and in whose place, and why the rest was not; original bytes stay."""
        replacement = self.decided.text.encode() if self.decided else None
        for value in reading.loaded:
            decided = replacement if self.decided and value.n == self.decided.n else None
            self.conn.execute(
                "update quarantine set loaded_by = %s, loaded_at = %s, replacement = %s where run = %s and n = %s",
                (self.run, time.time_ns() // 1_000_000, decided, value.run, value.n),
            )
        for value in values:
            now = reading.pairs.get(value.n)
            if now and (now.kind == value.kind or value in reading.released):
                self.conn.execute(
                    "update quarantine set kind = %s, rule = %s, reason = %s, path = %s, position = %s"
                    " where run = %s and n = %s",
                    (now.kind, as_text(now.rule), as_text(now.reason), now.path, now.position, value.run, value.n),
                )

    def _result(self, value: Value, reading: SecondReading, adjusted: Adjustment | None) -> Replay:
        done = Replay(value.n, "aside", value.kind, value.table, value.player, value.column, value.path, value.rule)
        if value in reading.loaded:
            return replace(done, outcome="loaded", adjustment=adjusted)
        if value in reading.released:
            return replace(done, outcome="released", why=reading.pairs[value.n].reason)
        if value in reading.overwritten:
            return replace(done, outcome="overwritten", why="play has replaced it since; its bytes stay here")
        why = value.reason
        if value.n in reading.pairs:
            why = reading.pairs[value.n].reason
        elif (other := reading.blocker(value)) and not value.is_loaded_as_it_is:
            why = f"this version can't read {other.column} {other.path}: {other.reason}"
        return replace(done, outcome="held" if value.kind == "held" else "aside", why=why)

    def _whole_row(self, value: Value) -> list[Replay]:
        done = Replay(value.n, "loaded", value.kind, value.table, value.player, value.column, value.path, value.rule)
        still = replace(done, outcome="held" if value.kind == "held" else "aside")
        unloaded = [one for one in entries.values(self.conn, n=value.n) if one.loaded_by is None]
        if not unloaded or unloaded[0].row is None:
            return [replace(still, why="its row is not kept any more")]
        whole = unloaded[0]
        text = self.decided.text if self.decided else None
        kept = KeptRow.read(self.conn, self.target.schema, whole, text)
        blocker = kept.blocker(self.conn)
        if blocker and self.decided:
            raise self._unusable(whole, "a value that lets the row be loaded", blocker, CORRECT)
        if blocker:
            return [replace(still, why=blocker)]
        added = self._add(kept.load(self.conn))
        self._settle([whole], SecondReading(loaded=[whole]))
        self._prove_kept(kept)
        return [replace(done, player=kept.player), *added]

    def _prove_kept(self, kept: KeptRow) -> None:
        if kept.table == "users":
            self._prove(str(kept.player), kept.cells)
        else:
            kept.prove(self.conn)

    def _add(self, findings: Sequence[Finding]) -> list[Replay]:
        """Add to the quarantine what could not be read of a row whose columns were never looked at before."""
        row = self.conn.execute("select coalesce(max(n), 0) + 1 from quarantine").fetchone()
        assert row is not None
        numbered = list(enumerate(findings, int(row[0])))
        records = [quarantine_record(self.run, number, one) for number, one in numbered]
        copy(self.conn, db_tables.quarantine, records)
        return [
            Replay(number, one.kind, one.kind, one.table, one.key, one.column, one.path, one.rule, one.reason)
            for number, one in numbered
        ]


def _equal(columns: Sequence[str] | Record, between: str) -> sql.Composed:
    return sql.SQL(between).join(sql.SQL("{} = %s").format(sql.Identifier(column)) for column in columns)
