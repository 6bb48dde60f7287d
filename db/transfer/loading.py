"""Load a legacy file: one streamed pass, each chunk one transaction, then the counts, the gate and both proofs.

A run that was killed goes on where its last chunk ended; one that was done is only proven again. Memory: under 250 MB
and four times the largest value, whatever the size of the file.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from psycopg import sql

from db import ops
from db import tables as db_tables
from db.console.progress import Advance, Progress, Silent
from db.legacy import schema as schemas
from db.legacy.source import CHUNK_BYTES, Digest, Source, SourceRow, chunks, opened
from db.ops import fence
from db.schema import draws
from db.transfer import heads, independent, reconcile
from db.transfer import target as targets
from db.transfer.batches import JOURNALS, Batch, BatchBuilder, quarantine_record
from db.transfer.copying import copy
from db.transfer.independent import IndependentProof
from db.transfer.preconditions import (
    another_file,
    check_homes,
    findings,
    gate,
    require_empty_or_same,
    require_fenced,
    under_pass,
    writing,
)
from db.transfer.profiling import file_bytes
from db.transfer.reconcile import Reconciliation, UnitCount
from db.transfer.soundness import check_contents
from db.transfer.verify import prove_source, uncounted
from game import tables
from game.legacy import draws as legacy_draws
from game.legacy.codec.readers import storable
from game.rows import Record
from game.urls import PostgresUrl


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The counts of a load. source, loaded, quarantined: units (a cell, or each element of a document of elements).

    aside: findings that let the player play on; held: players whose commands are refused; bytes: of the file;
    left_out: tables of statistics that this SQLite can't create. independent: the proof that does without the codec.
    """

    run: str
    source: int
    loaded: int
    quarantined: int
    aside: int
    held: int
    players: int
    mismatches: int
    resumed: bool
    seconds: float
    bytes: int
    per_column: dict[tuple[str, str], UnitCount] = field(repr=False)
    independent: IndependentProof
    left_out: tuple[str, ...] = ()


def load(
    source: Path,
    target: PostgresUrl,
    *,
    run: str,
    pass_token: str,
    max_held: int | None = None,
    progress: Progress | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> LoadResult:
    """Move the whole file into the target and prove it; the caller holds `ops.lock`.

    Refusal: no legacy file; a target that is not empty, or holds another file, or is live; another load at work; more
    than `max_held` players held (everything is loaded then). Failure: counts that don't add up, a rebuilt row that is
    not the one that was read, or a player whose figures differ.
    """
    began = time.monotonic()
    shown = progress or Silent()
    check_homes()
    with opened(source) as legacy, writing(target) as conn:
        check_contents(legacy)
        if legacy.left_out:
            statistics = ", ".join(legacy.left_out)
            shown.say(f"left out: {statistics}, the statistics of another SQLite; ANALYZE makes new ones")
        loading = _Loading(legacy, conn, run, pass_token, chunk_bytes)
        loading.run(shown)
        loading.reconciliation.check()
        aside, held = findings(conn)
        gate(conn, held, max_held)
        proof = prove_source(legacy, target, shown)
        proof.check()
        with targets.opened(target) as snapshot:
            figures = independent.compare(legacy, snapshot.conn, shown)
        figures.check()
        total = loading.reconciliation.total()
        return LoadResult(
            run=run,
            source=total.source,
            loaded=total.loaded,
            quarantined=total.quarantined,
            aside=aside,
            held=held,
            players=proof.players,
            mismatches=proof.mismatches,
            resumed=loading.resumed,
            seconds=time.monotonic() - began,
            bytes=file_bytes(source),
            per_column=loading.reconciliation.per_column(),
            independent=figures,
            left_out=tuple(legacy.left_out),
        )


def clear(target: PostgresUrl, *, pass_token: str) -> None:
    """Empty a target that is not live: every table of the game's schema, checkpoints and quarantine included."""
    with writing(target) as conn, conn.transaction():
        require_fenced(conn)
        fence.bypass(conn, pass_token)
        conn.execute(sql.SQL("truncate {}").format(_all_tables()))
        ops.clear_proof(conn)


class _Loading:
    """One pass over the file. What is in the target already is read again and compared, never written twice."""

    def __init__(self, source: Source, conn: ops.Connection, run: str, pass_token: str, chunk_bytes: int) -> None:
        self.source = source
        self.conn = conn
        self.run_id = run
        self.pass_token = pass_token
        self.chunk_bytes = chunk_bytes
        self.reconciliation = Reconciliation()
        self.phase = require_fenced(conn)
        self.resumed = require_empty_or_same(conn, source)
        self.findings = _next_finding(conn)

    def run(self, progress: Progress) -> None:
        for table in self.source.tables:
            self.reconciliation.expect(table, self.source.units(table))
        if not self.resumed:
            with self._transaction():
                copy(self.conn, tables.legacy_schema, schemas.to_records(self.source.schema))
        with self._transaction():
            draws.give(self.conn, legacy_draws.read(self.source.connection))
        names = sorted(self.source.tables, key=lambda name: (name in JOURNALS, name != "users"))
        with progress.bar("loading", self.source.count("users"), "players") as advance:
            for name in names:
                self._table(name, advance if name == "users" else uncounted)
        with self._transaction():
            heads.give(self.conn, self.source)
        self.conn.execute(sql.SQL("analyze {}").format(_all_tables()))

    def _table(self, name: str, advance: Advance) -> None:
        builder = BatchBuilder(self.source.tables[name], self._known_players)
        rows = self.source.rows(name)
        digest = Digest()
        number = self._pass_over(name, rows, builder, digest, advance)
        for chunk in chunks(rows, self.chunk_bytes):
            number += 1
            many, size, position = len(chunk), sum(row.bytes for row in chunk), chunk[-1].position
            digest.add_all(chunk)
            batch = builder.pack(chunk)
            chunk.clear()
            if size > CHUNK_BYTES:
                gc.collect()  # A finding's error refers to the frames that it came through, and they to a large row.
            self.reconciliation.add(name, batch.taken, batch.quarantined)
            checkpoint: Record = {
                "run": self.run_id,
                "source_table": name,
                "n": number,
                "source": digest.hex(),
                "position": position,
                "rows": many,
                "bytes": size,
                "counts": reconcile.to_text(batch.taken, batch.quarantined),
            }
            self._write(batch, checkpoint)
            advance(many)

    def _pass_over(
        self, name: str, rows: Iterator[SourceRow], builder: BatchBuilder, digest: Digest, advance: Advance
    ) -> int:
        """Read again what earlier chunks loaded, and see that it is the same; gives the number of the last chunk."""
        checkpoints = self.conn.execute(
            "select n, rows, source, counts from transfer_checkpoints where source_table = %s order by n", (name,)
        ).fetchall()
        for _number, many, expected, counts in checkpoints:
            for row in islice(rows, many):
                digest.add(row)
                builder.pass_over(row)
            if digest.hex() != expected:
                raise another_file(self.source, f"other rows in {name}")
            self.reconciliation.add(name, *reconcile.from_text(counts))
            advance(many)
        return int(checkpoints[-1][0]) if checkpoints else 0

    def _write(self, batch: Batch, checkpoint: Record) -> None:
        with self._transaction():
            for table in tables.ALL:
                if records := batch.records.pop(table.name, None):
                    copy(self.conn, table, records)
            copy(self.conn, db_tables.quarantine, self._quarantine(batch))
            copy(self.conn, db_tables.transfer_checkpoints, [checkpoint])
        assert not batch.records, f"no table for {sorted(batch.records)}"

    def _quarantine(self, batch: Batch) -> Iterator[Record]:
        for finding in batch.findings:
            yield quarantine_record(self.run_id, self.findings, finding)
            self.findings += 1

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Open a transaction on the target that passes the fence of this run; it commits unless the block raises."""
        with under_pass(self.conn, self.pass_token, self.phase):
            yield

    def _known_players(self, ids: Iterable[str]) -> set[str]:
        wanted = [player for player in set(ids) if storable(player)]
        return {player for (player,) in self.conn.execute("select id from users where id = any(%s)", (wanted,))}


def _all_tables() -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(table.name) for table in (*tables.ALL, *db_tables.ALL))


def _next_finding(conn: ops.Connection) -> int:
    row = conn.execute("select coalesce(max(n), 0) + 1 from quarantine").fetchone()
    assert row is not None
    return int(row[0])
