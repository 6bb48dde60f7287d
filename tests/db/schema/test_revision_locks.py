"""No revision stops the game: no lock that players wait for is held while rows are read or rewritten."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from db import ops
from db.ops import fence
from db.samples import builders
from db.schema import drift, migrate, revisions
from db.schema.revisions import History, Revision
from db.servers import Server
from game import tables
from game.postgres.store import PostgresStore
from game.urls import PostgresUrl
from harness.databases import Database
from harness.play import arena, invariants
from tests.fixtures.example_revisions import EXAMPLES, on_top
from tests.fixtures.lock_trace import Trace, trace
from tests.fixtures.squawk import squawk

PLAYERS = 300
MANY_PLAYERS = 50_000
GIVEN: dict[str, Any] = {
    "gold": 1000,
    "bag": {f"item{n}": "푸른 바람 부채" for n in range(6)},
    "mail": {"mail": {"gold": 50, "items": {"하급 강화석": 1}}},
}
APPLIED = revisions.read().revisions


def fill(owner: PostgresUrl, players: int) -> list[str]:
    """Make players all alike, whatever columns the schema has by now; return their ids."""
    with psycopg.connect(owner.conninfo) as conn, fence.own_pass(conn):
        made = builders.player("0", **GIVEN)
        columns = {table.name: _columns(conn, table.name) for table in tables.PLAYER_STATE}
        for name, records in made.items():
            for key, record in records.items():
                records[key] = {column: value for column, value in record.items() if column in columns[name]}
        arena.insert(conn, made)
        for table in tables.PLAYER_STATE:
            own = {"user_id"} if table is not tables.users else {"id", "username", "nickname"}
            names = columns[table.name]
            values = ", ".join("n::text" if name in own else f"t.{name}" for name in names)
            source = f"from {table.name} t, generate_series(1, {players - 1}) n"
            conn.execute(f"insert into {table.name} ({', '.join(names)}) select {values} {source}".encode())
    with ops.connect(owner) as conn:
        conn.execute("analyze")
    return [str(n) for n in range(players)]


def _columns(conn: psycopg.Connection, table: str) -> list[str]:
    query = "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
    return [str(name) for (name,) in conn.execute(query, (table,)).fetchall()]


@pytest.mark.plan(31)
@pytest.mark.parametrize("example", EXAMPLES)
def test_the_lock_trace_finds_the_harmful_form(database: Database, tmp_path: Path, example: str) -> None:
    players, forms = fill(database.owner, PLAYERS), EXAMPLES[example]
    harmful = trace(database.owner, database.service, on_top(tmp_path / "bad", forms.harmful), players)
    assert [one for one in harmful.findings if re.search(forms.traced, one)], harmful


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_lock_trace_passes_the_harmless_form(database: Database, tmp_path: Path, example: str) -> None:
    players = fill(database.owner, PLAYERS)
    harmless = trace(database.owner, database.service, on_top(tmp_path / "good", EXAMPLES[example].harmless), players)
    assert harmless.findings == [], harmless
    assert harmless.statements


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_linter_names_the_harmful_form_and_not_the_harmless_one(tmp_path: Path, example: str) -> None:
    forms = EXAMPLES[example]
    harmful = [squawk(one) for one in made(on_top(tmp_path / "bad", forms.harmful))]
    assert [one for one in harmful if forms.rule and forms.rule in one] or not forms.rule, harmful
    assert [squawk(one) for one in made(on_top(tmp_path / "good", forms.harmless))] == ["" for _ in forms.harmless]


def made(history: History) -> list[Revision]:
    return [one for one in history.revisions if one not in APPLIED]


@pytest.mark.core
@pytest.mark.plan(31)
@pytest.mark.parametrize("revision", APPLIED[1:], ids=lambda one: one.id)
def test_no_revision_of_ours_stops_the_game(
    blank: PostgresUrl, server: Server, revision: Revision, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one makes the tables, when nobody plays."""
    print(applied_while_players_play(blank, server, revision, PLAYERS, monkeypatch))


@pytest.mark.plan(31)
@pytest.mark.parametrize("revision", APPLIED[1:], ids=lambda one: one.id)
def test_no_revision_of_ours_stops_the_game_of_50_000_players(
    blank: PostgresUrl, server: Server, revision: Revision, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(applied_while_players_play(blank, server, revision, MANY_PLAYERS, monkeypatch))


@pytest.mark.plan(31)
def test_a_million_receipts_of_20_000_players_are_numbered_while_players_play(
    blank: PostgresUrl, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0003 has receipts of earlier versions, without a number. 0004 makes the columns that today's service needs."""
    monkeypatch.setattr(drift, "require_made", lambda *_: None)
    service, history = server.url(blank.dbname, "service"), revisions.read()
    at = {one.id: n for n, one in enumerate(history.revisions, 1)}
    ops.prepare(blank, "test")
    ids = reach(blank, service, History(history.revisions[: at["0003"]], history.folders), players=20_000)
    keep_receipts(blank, ids, each=50)
    reach(blank, service, History(history.revisions[: at["0004"]], history.folders))
    with ops.connect(blank) as conn:
        fence.lift(conn)
    traced = trace(blank, service, history, ids)
    print(traced)
    assert traced.findings == [], traced
    with ops.connect(blank) as conn:
        numbered = "select count(*), count(distinct user_id) from action_receipts where seq is not null"
        assert conn.execute(numbered).fetchone() == (1_000_000 + claimed(conn), 20_000)
    with closing(PostgresStore(service, pool_size=1)) as store:
        played = {player: store.read(player) for player in (*ids[:20], *ids[-20:])}
    assert not [breach for rows in played.values() if rows for breach in invariants.breaches(rows)]


def reach(owner: PostgresUrl, service: PostgresUrl, history: History, *, players: int = 0) -> list[str]:
    migrate.migrate(owner, environment="test", service_role=service.user, history=history)
    return fill(owner, players) if players else []


def keep_receipts(owner: PostgresUrl, players: list[str], *, each: int) -> None:
    """Give every player so many receipts without a number, each with a line of the ledger; and an opening."""
    with psycopg.connect(owner.conninfo) as conn, fence.own_pass(conn):
        values = {"players": players, "each": each}
        source = "from unnest(%(players)s::text[]) p, generate_series(1, %(each)s) n"
        conn.execute(
            "insert into player_openings (user_id, gold, diamonds, stock)"
            " select p, 900, 0, %(stock)s from unnest(%(players)s::text[]) p",
            values | {"stock": json.dumps(dict.fromkeys(GIVEN["bag"], 1))},
        )
        conn.execute(
            "insert into action_receipts (user_id, request_id, command, outcome, at) select p, 'earlier-' || n,"
            """ '{"action": "claim_quest", "period": "daily", "quest": "q' || n || '"}', '{"gold": 2}', 1000 * n """
            + source,
            values,
        )
        conn.execute(
            "insert into currency_ledger (user_id, request_id, n, currency, amount, reason, balance)"
            f" select p, 'earlier-' || n, 1, 'gold', 2, 'quest', 900 + 2 * n {source}",
            values,
        )


def claimed(conn: ops.Connection) -> int:
    row = conn.execute("select count(*) from action_receipts where request_id like 'trace-%'").fetchone()
    assert row is not None
    return int(row[0])


def applied_while_players_play(
    owner: PostgresUrl, server: Server, revision: Revision, players: int, monkeypatch: pytest.MonkeyPatch
) -> Trace:
    """Return the trace of the one revision, on the schema that those before it make."""
    # Else an older history is refused: it makes no column that a later revision adds.
    monkeypatch.setattr(drift, "require_made", lambda *_: None)
    service = server.url(owner.dbname, "service")
    ops.prepare(owner, "test")
    history = revisions.read()
    before = History(history.revisions[: history.revisions.index(revision)], history.folders)
    through = History((*before.revisions, revision), history.folders)
    migrate.migrate(owner, environment="test", service_role=service.user, history=before)
    ids = fill(owner, players)
    with ops.connect(owner) as conn:
        fence.lift(conn)
    traced = trace(owner, service, through, ids)
    assert traced.findings == [], traced
    assert traced.statements
    return traced
