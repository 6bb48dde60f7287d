"""No revision stops the game: no lock that players wait for is held while rows are read or rewritten."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from db import ops
from db.ops import fence
from db.samples import builders
from db.schema import drift, migrate, revisions
from db.schema.revisions import History, Revision
from db.servers import Server
from game import tables
from game.urls import PostgresUrl
from harness.databases import Database
from harness.play import arena
from tests.fixtures.example_revisions import EXAMPLES, on_top
from tests.fixtures.lock_trace import Trace, trace
from tests.fixtures.squawk import squawk

PLAYERS = 300
MANY_PLAYERS = 50_000
GIVEN = {
    "gold": 1000,
    "bag": {f"item{n}": "푸른 바람 부채" for n in range(6)},
    "mail": {"mail": {"gold": 50, "items": {"하급 강화석": 1}}},
}
APPLIED = revisions.read().revisions


def fill(owner: PostgresUrl, players: int) -> list[str]:
    """Make players all alike, whatever columns the schema has by now; return their ids."""
    with psycopg.connect(owner.conninfo) as conn, fence.own_pass(conn):
        arena.insert(conn, builders.player("0", **GIVEN))
        for table in tables.PLAYER_STATE:
            own = {"user_id"} if table is not tables.users else {"id", "username", "nickname"}
            columns = (
                "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
            )
            names = [str(name) for (name,) in conn.execute(columns, (table.name,)).fetchall()]
            values = ", ".join("n::text" if name in own else f"t.{name}" for name in names)
            source = f"from {table.name} t, generate_series(1, {players - 1}) n"
            conn.execute(f"insert into {table.name} ({', '.join(names)}) select {values} {source}".encode())
    with ops.connect(owner) as conn:
        conn.execute("analyze")
    return [str(n) for n in range(players)]


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
