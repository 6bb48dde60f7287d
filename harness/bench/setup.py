"""The set-up in which commands are measured: a durable throwaway server, players all alike, and the SQL of each action.

The SQL is what the store really sent, recorded from one dispatch of each action, with the player's id and the request's
to be put in. Players' ids and requests' are numbers written as text, so that pgbench can draw them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import sqlalchemy as sa

from db import ops, servers
from db.samples import builders
from db.servers import Server
from game import tables
from game.dispatch import Request, dispatch
from game.postgres.store import PostgresStore
from game.rows import Value
from game.rules import commands
from game.rules.chance import Chance
from game.rules.commands import Command
from game.urls import PostgresUrl
from harness.databases import Databases
from harness.play import arena

DURABLE: Mapping[str, str] = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "deadlock_timeout": "1s",
    "autovacuum": "off",
}
"""As production has it; but autovacuum comes between rounds, by us, and never within one."""

SECRET = "the dice of a benchmark"  # noqa: S105  # of made players alone
PASS = "the pass of a benchmark"  # noqa: S105  # of a throwaway database
COMMANDS: Mapping[str, Command] = {
    "claim_mail": commands.ClaimMail("mail"),
    "equip": commands.Equip("fan"),
    "enhance": commands.Enhance("board"),
}
PATTERN, RECORDED, FIRST = 0, 1, 2
"""Player 0 never plays: the others are put back to what it is. Player 1 is the one whose SQL is recorded."""

RECORDED_HEAD = 7_007_199_254_740
"""The number of the recorded player's receipt before the first that is recorded: no other value is like it."""

PATTERN_GIVEN = {
    "gold": 1_000_000,
    "level": 60,
    "forge": 5,
    "bag": {
        "fan": "푸른 바람 부채",
        "worn": "은결 바람 부채",
        "board": "은결 바람 부채",
        "stone": {"name": "하급 강화석", "quantity": 50},
        **{f"other{n}": "푸른 바람 부채" for n in range(6)},
    },
    "worn": ["worn"],
    "mail": {"mail": {"gold": 50, "diamonds": 1, "items": {"하급 강화석": 1}}},
}
REFILLED = (tables.users, tables.user_inventory, tables.user_equipment, tables.user_mail)
OWN = frozenset(
    {"id", "user_id", "username", "nickname"} | {c.name for c in tables.users.columns if c.info.get("head")}
)
"""Columns of a player's own, in `users`: the head of the receipts too, for the journals are not put back."""


@dataclass(frozen=True, slots=True)
class RecordedStatement:
    """SQL as psycopg takes it, bound by name: the values, and which names bear the player's id, the request's, and the
    receipt's number, for which the request's is taken: a player has no two receipts of one number.
    """

    sql: str
    values: Mapping[str, Value]
    player: tuple[str, ...]
    request: tuple[str, ...]
    number: tuple[str, ...] = ()

    def bound(self, player: str, request_id: str) -> dict[str, Value]:
        """Return the statement's values for one player's request."""
        own = {**dict.fromkeys(self.player, player), **dict.fromkeys(self.request, request_id)}
        return {**self.values, **own, **dict.fromkeys(self.number, int(request_id))}


Recorded = Mapping[str, tuple[RecordedStatement, ...]]
"""The statements of each action between BEGIN and COMMIT, in order."""


@dataclass(frozen=True)
class Setup:
    """Players FIRST to FIRST + players - 1, who have opened their journals and wait to play."""

    server: Server
    owner: PostgresUrl
    service: PostgresUrl
    players: int
    recorded: Recorded

    def settings(self) -> dict[str, str]:
        """Read the settings with which the server really runs: one behind a URL has its own."""
        query = "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY (%s)"
        with ops.connect(self.owner, application="sudamr bench") as conn:
            return dict(conn.execute(query, [list(DURABLE)]).fetchall())

    def refill(self) -> None:
        """Put every player back as at first, but for the journals, and vacuum the dead rows of what was played."""
        with ops.connect(self.owner, application="sudamr bench") as conn:
            for table in REFILLED:
                conn.execute(_refill(table).encode())
            conn.execute(f"VACUUM ANALYZE {', '.join(table.name for table in tables.ALL)}".encode())


@contextmanager
def proxied(kind: str | None, players: int) -> Iterator[Setup]:
    """Start a server, make the players, record the SQL; nothing of it is left afterwards."""
    with servers.start(kind, settings=DURABLE) as server, Databases(server) as databases:
        clone = databases.clone()
        with psycopg.connect(clone.service.conninfo) as conn:
            for player in (PATTERN, RECORDED):
                arena.insert(conn, builders.player(str(player), **PATTERN_GIVEN))
        recorded = record(clone.service)
        with psycopg.connect(clone.service.conninfo) as conn:
            _multiply(conn, players)
        made = Setup(server, clone.owner, clone.service, players, recorded)
        made.refill()
        yield made


def ask(store: PostgresStore, player: str, request_id: str, command: Command) -> None:
    """Dispatch one request as the service does."""
    dispatch(
        store,
        Request(player, request_id, command),
        clock=lambda: time.time_ns() // 1_000_000,
        chance=lambda request: Chance(SECRET, request),
    )


def record(service: PostgresUrl) -> Recorded:
    """Record the statements that the store sends for each action, by a player who has played before."""
    store = PostgresStore(service, pool_size=1)
    player, recorded = str(RECORDED), {}
    try:
        _open_journals(store, player)
        with psycopg.connect(service.conninfo) as conn:
            conn.execute("UPDATE users SET seq = %s WHERE id = %s", (RECORDED_HEAD, player))
        for number, (action, command) in enumerate(COMMANDS.items(), 1):
            request_id = f"90071992547409{number}"
            with listening() as heard:
                ask(store, player, request_id, command)
            recorded[action] = tuple(
                _statement(sql, values, player, request_id, RECORDED_HEAD + number) for sql, values in heard
            )
    finally:
        store.close()
    return recorded


def _open_journals(store: PostgresStore, player: str) -> None:
    """Have each player's openings written: a first granted request writes them too, later ones don't."""
    ask(store, player, "first", commands.Unequip("fan"))
    ask(store, player, "second", commands.Equip("worn"))


@contextmanager
def listening() -> Iterator[list[tuple[str, dict[str, Value]]]]:
    """Record the statements that this process sends by SQLAlchemy within the block, with values; no BEGIN or COMMIT."""
    heard: list[tuple[str, dict[str, Value]]] = []

    def note(_connection: object, _cursor: object, statement: str, values: dict[str, Value], *_rest: object) -> None:
        heard.append((statement, dict(values)))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield heard
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def _statement(sql: str, values: Mapping[str, Value], player: str, request_id: str, seq: int) -> RecordedStatement:
    players = tuple(name for name, value in values.items() if value == player and isinstance(value, str))
    requests = tuple(name for name, value in values.items() if value == request_id)
    numbers = tuple(name for name, value in values.items() if value == seq)
    others = {name: value for name, value in values.items() if name not in (*players, *requests, *numbers)}
    return RecordedStatement(sql, others, players, requests, numbers)


def _multiply(conn: psycopg.Connection, players: int) -> None:
    """Insert the pattern's rows once more for every player, and the openings of the one that has some."""
    made = f"FROM {{table}} t, generate_series({FIRST}, {FIRST + players - 1}) n WHERE t.{{owner}} = '{{of}}'"
    for table, of in (*((table, PATTERN) for table in REFILLED), (tables.player_openings, RECORDED)):
        names = [column.name for column in table.columns]
        owner = "id" if table is tables.users else "user_id"
        own = {"user_id", owner} | ({"username", "nickname"} if table is tables.users else set())
        values = ", ".join("n::text" if name in own else f"t.{name}" for name in names)
        source = made.format(table=table.name, owner=owner, of=of)
        conn.execute(f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {values} {source}".encode())


def _refill(table: sa.Table) -> str:
    """Write the UPDATE that gives each row that differs from the pattern's row of the same key the pattern's values."""
    owner = "id" if table is tables.users else "user_id"
    keys = [name for name in tables.KEYS[table.name] if name != owner]
    others = [column.name for column in table.columns if column.name not in {*keys, *OWN}]
    target_columns, other_columns = (", ".join(f"{alias}.{name}" for name in others) for alias in ("t", "o"))
    same = "".join(f" AND t.{name} = o.{name}" for name in keys)
    return (
        f"UPDATE {table.name} t SET ({', '.join(others)}) = ROW ({other_columns}) FROM {table.name} o"
        f" WHERE o.{owner} = '{PATTERN}' AND t.{owner} <> '{PATTERN}'{same}"
        f" AND ({target_columns}) IS DISTINCT FROM ({other_columns})"
    )
