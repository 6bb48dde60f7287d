"""Deterministic players, in a legacy file of any size or in a development database.

A legacy file takes a few milliseconds and 36 KB a player. The same seed gives the same players in both.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import TypeVar

import sqlalchemy as sa
from psycopg import sql

from db import ops
from db import tables as db_tables
from db.confirmation import unasked
from db.console.progress import Progress, Silent
from db.environments import DESTRUCTIBLE
from db.errors import Refusal
from db.files import paths, private
from db.files.part_file import part_of
from db.legacy import declared_tables
from db.ops import fence
from db.samples import builders, legacy_tables
from db.samples.anomalies import assign
from db.samples.anomaly import Anomaly
from db.samples.empty_values import Dealer
from db.samples.random_players import random_players
from db.schema import draws, in_use, migrate
from db.target import requirements
from game import tables
from game.legacy.sqlite_values import BadText, Cell, bind, insert_into, placeholder
from game.rows import Record
from game.urls import PostgresUrl

T = TypeVar("T")

WHERE = "To make a file to play with: invoke seed --legacy game.db. To fill a database: --env development."

BATCH_PLAYERS = 100
LEGACY_SCHEMA_VERSION = 12
_TABLES_SIZE = """
select sum(pg_table_size(c.oid)) from pg_class c where c.relnamespace = to_regnamespace(quote_ident(current_schema()))
"""
_COPY_TYPES = {sa.Text: "text", sa.BigInteger: "int8", sa.Boolean: "bool"}


@dataclass(frozen=True, slots=True)
class Seeded:
    """The result of a seed. by_anomaly: ids of the players with each anomaly; held: ids of those who can't play.

    emptied: by id, the columns of a player that hold nothing, or a key of which does, instead of what was drawn.
    """

    players: int
    bytes: int
    seconds: float
    ids: tuple[str, ...]
    by_anomaly: Mapping[str, tuple[str, ...]]
    held: frozenset[str]
    emptied: Mapping[str, tuple[str, ...]]

    @property
    def playable(self) -> str | None:
        """Return the id of a player to try the service with, of whom everything can be read; None if there is none."""
        anomalous = {player for players in self.by_anomaly.values() for player in players}.union(self.emptied)
        return next((player for player in self.ids if player not in anomalous), None)


def empty_legacy(path: Path, *, user_columns: int | None = None) -> None:
    """Make a legacy file with all tables and no rows. Raises Refusal if a file exists already."""
    with _new_file(path) as connection:
        declared_tables.create(connection, user_columns=user_columns)


def seed_legacy(
    path: Path,
    players: int,
    seed: int = 1,
    *,
    anomalies: bool = True,
    user_columns: int | None = None,
    progress: Progress | None = None,
) -> Seeded:
    """Make a legacy file as the service of today writes it, in WAL mode. Raises Refusal if a file exists already.

    user_columns: 73 for an old file up to 80 and more for a newer one, whose further columns nobody knows.
    """
    _require_players(players, str(path))
    began = time.monotonic()
    draw = Random(f"{seed}/file")  # noqa: S311 - variety, not secrecy
    anomalies_of = assign(players, draw) if anomalies else {}
    with _new_file(path) as connection:
        declared_tables.create(connection, user_columns=user_columns)
        dealt: dict[str, tuple[str, ...]] = {}
        ids = _users(
            connection,
            players,
            seed,
            anomalies_of=anomalies_of,
            dealt=dealt,
            user_columns=user_columns,
            progress=progress or Silent(),
        )
        _other_tables(connection, ids, draw, unusual_values=anomalies)
    return Seeded(
        players=players,
        bytes=path.stat().st_size,
        seconds=time.monotonic() - began,
        ids=tuple(ids),
        by_anomaly=_by_name(ids, anomalies_of),
        held=frozenset(ids[n] for n, assigned in anomalies_of.items() if any(anomaly.holds for anomaly in assigned)),
        emptied=dealt,
    )


def seed_postgres(
    owner: PostgresUrl,
    environment: str,
    players: int,
    seed: int = 1,
    *,
    progress: Progress | None = None,
    confirm: Callable[[], None] = unasked,
) -> Seeded:
    """Write players into an empty, migrated database, fenced or not, in one transaction; bytes: of the tables then.

    confirm: called after the checks and before any change; may raise Refusal.
    Refusal: an environment other than development and test, a marker that disagrees, players that are there already,
    players who play there, a move under way.
    """
    _require_made_up(environment)
    _require_players(players, owner.redacted)
    began = time.monotonic()
    with ops.connect(owner, application="sudamr seed") as conn:
        ops.require_marker(conn, environment)
        requirements.require(conn)
        migrate.require_current(conn)
        in_use.require_unused(conn)
        _require_empty(conn, owner)
    confirm()
    with _locked(owner, "seed") as conn:
        with fence.own_pass(conn):
            _require_empty(conn, owner)
            ids = _copy_players(conn, players, seed, progress or Silent())
        row = conn.execute(_TABLES_SIZE).fetchone()
    seconds = time.monotonic() - began
    return Seeded(players, int(row[0]) if row else 0, seconds, tuple(ids), by_anomaly={}, held=frozenset(), emptied={})


def empty_postgres(owner: PostgresUrl, environment: str, *, confirm: Callable[[], None] = unasked) -> None:
    """Empty every table of the game and of the transfer; in `ops` only the draw epoch changes.

    confirm, Refusal: as for seeding.
    """
    _require_made_up(environment)
    with ops.connect(owner, application="sudamr reset") as conn:
        ops.require_marker(conn, environment)
        ops.require_prepared(conn)
        requirements.require(conn)
        migrate.require_current(conn)
        in_use.require_unused(conn)
    confirm()
    with _locked(owner, "reset") as conn, fence.own_pass(conn):
        names = [sql.Identifier(table.name) for table in (*tables.ALL, *db_tables.ALL)]
        conn.execute(sql.SQL("truncate {}").format(sql.SQL(", ").join(names)))
        draws.renew(conn, owner.schema)


@contextmanager
def _locked(owner: PostgresUrl, why: str) -> Iterator[ops.Connection]:
    """Hold the lock of runs, so that no move begins meanwhile. Raises Refusal if one has begun."""
    with ops.lock(owner, run=f"{why}-{secrets.token_hex(4)}", why=why) as held:
        in_use.require_unused(held.conn)
        yield held.conn


def _require_made_up(environment: str) -> None:
    if environment not in DESTRUCTIBLE:
        raise Refusal(
            " or ".join(DESTRUCTIBLE),
            environment,
            do="Name it with --env development: players own what is in the others.",
        )


def _require_players(players: int, where: str) -> None:
    if players < 1:
        raise Refusal("at least one player", str(players), where=where, do="Say how many: --players 100")


def _require_empty(conn: ops.Connection, owner: PostgresUrl) -> None:
    row = conn.execute("select count(*) from users").fetchone()
    if row and row[0]:
        raise Refusal(
            "a database without players",
            f"{row[0]}",
            where=owner.redacted,
            do=f"If nobody needs them, empty it: invoke reset --env {ops.named(conn)}",
        )


def _copy_players(conn: ops.Connection, players: int, seed: int, progress: Progress) -> list[str]:
    ids: list[str] = []
    with progress.bar("making players", players, "players") as advance:
        for batch in _batches(random_players(players, seed), BATCH_PLAYERS):
            made = [player.rows() for player in batch]
            for table in tables.PLAYER_STATE:
                _copy(conn, table, [record for rows in made for record in rows[table.name].values()])
            ids += [player.id for player in batch]
            advance(len(batch))
    return ids


def _copy(conn: ops.Connection, table: sa.Table, records: Sequence[Record]) -> None:
    columns = tables.game_columns(table)
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table.name), names)
    with conn.cursor().copy(statement) as copy:
        copy.set_types([_COPY_TYPES[type(column.type)] for column in columns])
        for record in records:
            copy.write_row([record[column.name] for column in columns])


def _by_name(ids: Sequence[str], anomalies_of: Mapping[int, Sequence[Anomaly]]) -> dict[str, tuple[str, ...]]:
    named: dict[str, tuple[str, ...]] = {}
    for n in sorted(anomalies_of):
        for anomaly in anomalies_of[n]:
            named[anomaly.name] = (*named.get(anomaly.name, ()), ids[n])
    return named


def _users(
    connection: sqlite3.Connection,
    players: int,
    seed: int,
    *,
    anomalies_of: Mapping[int, Sequence[Anomaly]],
    dealt: dict[str, tuple[str, ...]],
    user_columns: int | None,
    progress: Progress,
) -> list[str]:
    """Write the rows of `users`, a batch at a time; gives the ids in order. dealt: gets the emptied columns."""
    ids: list[str] = []
    columns = declared_tables.names("users", user_columns)
    with progress.bar("making players", players, "players") as advance:
        for batch in _batches(_user_rows(players, seed, anomalies_of, dealt), BATCH_PLAYERS):
            ids += [str(row["id"]) for row in batch]
            _insert(connection, "users", [tuple(row.get(column) for column in columns) for row in batch])
            advance(len(batch))
    return ids


def _user_rows(
    players: int, seed: int, anomalies_of: Mapping[int, Sequence[Anomaly]], dealt: dict[str, tuple[str, ...]]
) -> Iterator[dict[str, Cell]]:
    dealer = Dealer() if anomalies_of else None
    for n, player in enumerate(random_players(players, seed)):
        row = builders.legacy_row(player.rows())
        draw = Random(f"{seed}/odd/{n}")  # noqa: S311 - variety, not secrecy
        for anomaly in anomalies_of.get(n, ()):
            anomaly.change(row, draw)
        if dealer is not None:
            taken = {column for anomaly in anomalies_of.get(n, ()) for column in anomaly.columns}
            if emptied := dealer.deal(n, row, taken):
                dealt[player.id] = tuple(empty.column for empty in emptied)
        yield row


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while batch := list(islice(items, size)):
        yield batch


def _other_tables(connection: sqlite3.Connection, ids: list[str], draw: Random, *, unusual_values: bool) -> None:
    players: list[Cell] = list(ids)
    usernames = [row[0] for row in connection.execute("SELECT username FROM users ORDER BY rowid")]
    secrets = [legacy_tables.credentials(name, player, draw) for name, player in zip(usernames, players, strict=True)]
    _insert(connection, "user_credentials", secrets)
    games = [legacy_tables.live_game(n, players, draw) for n in range(2 + len(players) // 20)]
    _insert(connection, "live_games", [tuple(game.values()) for game in games])
    _insert(connection, "kv", list(legacy_tables.key_values(players, draw)))
    if unusual_values:
        _insert(connection, "kv", list(legacy_tables.unusual_key_values()))
    _insert(connection, "schema_version", [(LEGACY_SCHEMA_VERSION,)])


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[Cell, ...]]) -> None:
    """Insert in order; a row that holds bad text takes a statement of its own, for only a CAST writes such a value."""
    plain: list[tuple[Cell, ...]] = []
    for row in rows:
        if any(isinstance(cell, BadText) for cell in row):
            _insert_alike(connection, table, plain)
            _insert_alike(connection, table, [row])
            plain = []
        else:
            plain.append(row)
    _insert_alike(connection, table, plain)


def _insert_alike(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[Cell, ...]]) -> None:
    if rows:
        statement = insert_into(table, map(placeholder, rows[0]))
        connection.executemany(statement, ([bind(cell) for cell in row] for row in rows))


@contextmanager
def _new_file(path: Path) -> Iterator[sqlite3.Connection]:
    """Make a file beside the path for the block to fill. Name it `path`, in WAL mode, after a block that succeeds.

    After one that fails nothing is left. Raises Refusal if something is at the path.
    """
    paths.require_new(path)
    private.make_parent(path)
    with part_of(path) as made:
        with closing(sqlite3.connect(made, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")
        private.put(made, path, check=lambda: paths.require_new(path))
