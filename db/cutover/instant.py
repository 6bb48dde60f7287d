"""The proof of the instant: the legacy file, frozen by the window, against Postgres as it was when the window ended.

A session of its own takes a snapshot of Postgres in the window, after the last round and before the lift, and keeps it
while players play on. If that session is gone, a player without a newer receipt is compared as he is now. For a player
with newer receipts, Postgres must have the file's newest receipt under its number and with its chain.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from db import ops
from db.console.progress import Progress
from db.counts import few
from db.errors import Failure
from db.legacy.source import Source
from db.ops import Connection
from db.transfer import target as targets
from db.transfer.heads import of_file
from db.transfer.live.session import FrozenProof, prove_frozen
from db.transfer.target import Target
from db.transfer.verify import differing, pairs
from game.legacy.sqlite_values import Cell
from game.urls import PostgresUrl

KEEP_ALIVE_SECONDS = 10.0
"""Seconds between two statements that keep the session alive: a pooler or a firewall cuts an idle connection."""

NAMED = 5


@dataclass(frozen=True, slots=True)
class InstantProof:
    """snapshot: players compared in the snapshot of the instant; as_they_are: players without a newer receipt, compared
    as they are now; by_chain: players whose newest receipt of the file is in Postgres. independent: figures that the
    independent proof compared.
    """

    snapshot: int = 0
    as_they_are: int = 0
    by_chain: int = 0
    units: int = 0
    independent: int = 0


class Instant:
    """A session that keeps a snapshot of Postgres, once `take` was called."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._taken = False
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep_alive, daemon=True)

    def take(self) -> None:
        """Take the snapshot: two statements, no wait. A later window replaces the snapshot of the one before."""
        with self._lock:
            if self._taken:
                self._conn.execute("rollback")
            self._conn.execute("begin isolation level repeatable read read only")
            self._conn.execute("select 1 from ops.phase")
        if not self._taken:
            self._thread.start()
        self._taken = True

    @property
    def target(self) -> Target | None:
        """Return the snapshot; None if it was not taken, or its session is gone."""
        if not self._taken:
            return None
        self._ended.set()
        with self._lock:
            try:
                self._conn.execute("select 1")
            except psycopg.Error:
                return None
        return Target(self._conn)

    def end(self) -> None:
        """Stop keeping the session alive. Returns at once; the transaction ends with the connection."""
        self._ended.set()

    def _keep_alive(self) -> None:
        while not self._ended.wait(KEEP_ALIVE_SECONDS):
            with self._lock:
                try:
                    self._conn.execute("select 1")
                except psycopg.Error:
                    return


@contextmanager
def standing_by(url: PostgresUrl) -> Iterator[Instant]:
    """Open the session. Its transaction may idle for as long as the proof takes."""
    with ops.connect(url, application="sudamr instant") as conn:
        conn.execute("set idle_in_transaction_session_timeout = 0")
        conn.execute("select 1 from ops.phase")  # `take` reads it in the window; a first reading is slow.
        instant = Instant(conn)
        try:
            yield instant
        finally:
            instant.end()


def prove(path: str, file: Source, instant: Target | None, target: PostgresUrl, progress: Progress) -> InstantProof:
    """Prove the frozen file. Raises Failure naming players whose rows or receipts differ."""
    if instant is not None:
        frozen: FrozenProof = prove_frozen(file, instant, progress)
        return InstantProof(
            snapshot=frozen.proof.players, units=frozen.proof.units, independent=frozen.independent.compared
        )
    with targets.opened(target) as now:
        return _by_chains(path, file, now, progress)


def _by_chains(path: str, file: Source, now: Target, progress: Progress) -> InstantProof:
    """Compare the rows of players without a newer receipt; of the others, only the file's newest receipt."""
    heads = {player: (seq, chain) for player, seq, chain in of_file(file)}
    changed = {
        str(player)
        for player, seq in now.conn.execute("select id, seq from users").fetchall()
        if seq != heads.get(str(player), (0, ""))[0]
    }
    table = file.tables["users"]
    wrong: list[str] = []
    as_they_are = by_chain = 0
    with progress.bar("proving", file.count("users"), "players") as advance:
        for pair in pairs(file.rows("users"), now.rows("users")):
            row = pair.row
            if row is None:  # A player who came since.
                continue
            cells: dict[str, Cell] = dict(zip(table.columns, row.cells, strict=True))
            player = cells["id"]
            if isinstance(player, str) and player in changed:
                by_chain += 1
                if not _has_receipt(now, player, heads.get(player)):
                    wrong.append(f"users row {row.position}: the newest receipt")
            else:
                as_they_are += 1
                columns = differing(table.columns, row, pair.line) if pair.line is not None else ["not in Postgres"]
                wrong += [f"users row {row.position}, {column}" for column in columns]
            advance(1)
    if wrong:
        raise Failure(
            "every player of the frozen file to be in Postgres as he was",
            f"{len(wrong):,} that differ: {few(wrong, NAMED)}",
            where=path,
            do="Players play on Postgres. If these differences matter, go back, which keeps what they did since:"
            f" invoke rollback --env {ops.named(now.conn)}",
        )
    return InstantProof(as_they_are=as_they_are, by_chain=by_chain)


def _has_receipt(now: Target, player: str, head: tuple[int, str] | None) -> bool:
    if head is None:
        return True
    query = "select chain from action_receipts where user_id = %s and seq = %s"
    return now.conn.execute(query, (player, head[0])).fetchone() == (head[1],)
