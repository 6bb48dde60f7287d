"""Canaries play over HTTP on the live service, through its fence too, and nothing of them is left, whatever fails."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

import psycopg
import pytest
import uvicorn

from db import ops
from db.errors import Refusal
from db.ops import fence
from db.samples import builders, seed
from game import tables
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values
from game.legacy.store import LegacyStore
from game.postgres.store import PostgresStore
from game.rows import Rows
from game.service.app import create_app
from game.tables import CANARY_PREFIX
from game.unit_of_work import Store
from game.urls import LegacyUrl, PostgresUrl
from harness.databases import Database
from harness.play.arena import StartingPlayer, insert, insert_legacy
from harness.smoke import canaries, smoke

OPERATOR = "the-operators-own-token"
PASS = "the-pass-of-this-run"
NEIGHBOUR = builders.player("hana", gold=7)


@cache
def smoke_count() -> int:
    """Return how many scenarios are played; to read them takes two seconds, which no collection has to wait for."""
    return len(smoke.smoke_files())


WRONG = """\
about: It expects too much.
smoke: true
given: {hana: {mail: {m1: {gold: 50}}}}
steps:
  - {by: hana, do: claim_mail, with: {mail: m1}, expect: {gold: 51, diamonds: 0, action_points: 0, items: {}}}
  - {by: hana, do: claim_mail, with: {mail: m1}, refused: mail_expired}
"""


@contextmanager
def serving(store: Store) -> Iterator[str]:
    """The base URL of the service on the store, under a real server."""
    app = create_app(store, chance_secret="a-secret-of-the-tests", token_secret=OPERATOR, operator_token=OPERATOR)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server did not start in time"
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def legacy(tmp_path: Path) -> LegacyUrl:
    """A legacy file in which one player lives."""
    seed.empty_legacy(tmp_path / "game.sqlite")
    with closing(sqlite_values.connect(tmp_path / "game.sqlite")) as connection:
        insert_legacy(connection, builders.legacy_row(NEIGHBOUR))
    return LegacyUrl(tmp_path / "game.sqlite")


@pytest.fixture
def postgres(database: Database) -> PostgresUrl:
    """The owner's URL of a database in which one player lives."""
    with psycopg.connect(database.owner.conninfo) as connection:
        insert(connection, NEIGHBOUR)
    return database.owner


def ids_in(place: LegacyUrl | PostgresUrl) -> set[str]:
    """Every player's id, wherever one is named."""
    owners = [("users", "id"), *((table.name, "user_id") for table in (*tables.PLAYER_STATE[1:], *tables.JOURNALS))]
    if isinstance(place, PostgresUrl):
        with psycopg.connect(place.conninfo) as connection:
            return {row[0] for table, column in owners for row in connection.execute(f"SELECT {column} FROM {table}")}
    journals = {f"sudamr_{table.name}" for table in tables.JOURNALS}
    with closing(sqlite_values.connect(place.path)) as file:
        existing = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        named = [("users", "id"), *((name, "user_id") for name in sorted(journals & existing))]
        return {str(row[0]) for table, column in named for row in file.execute(f"SELECT {column} FROM {table}")}


def state_of_the_fence(place: LegacyUrl) -> str:
    with closing(sqlite_values.connect(place.path)) as connection:
        return legacy_fence.state(connection)


def shut(place: LegacyUrl) -> None:
    with closing(sqlite_values.connect(place.path)) as connection:
        legacy_fence.raise_fence(connection, pass_token=PASS)


def test_there_are_smoke_scenarios() -> None:
    assert smoke_count() >= 2


@pytest.mark.parametrize("fenced", [False, True])
def test_on_the_legacy_file_they_pass_and_leave_nothing(fenced: bool, legacy: LegacyUrl) -> None:
    if fenced:
        shut(legacy)
    with serving(LegacyStore(legacy.path)) as url:
        result = smoke.run([url], legacy, pass_token=PASS, operator_token=OPERATOR)
    assert (result.passed, result.failed) == (smoke_count(), ())
    assert ids_in(legacy) == {"hana"}
    assert state_of_the_fence(legacy) == ("fenced" if fenced else "open")


@pytest.mark.plan(12)
@pytest.mark.parametrize("fenced", [False, True])
def test_on_postgres_they_pass_and_leave_nothing(fenced: bool, postgres: PostgresUrl, database: Database) -> None:
    with ops.connect(postgres) as connection:
        if fenced:
            fence.raise_fence(connection, pass_token=PASS)
    with serving(PostgresStore(database.service)) as url:
        result = smoke.run([url, url], postgres, pass_token=PASS, operator_token=OPERATOR)
    assert (result.passed, result.failed) == (2 * smoke_count(), ())
    assert ids_in(postgres) == {"hana"}
    with ops.connect(postgres) as connection:
        assert fence.state(connection) == ("fenced" if fenced else "open")


def test_what_fails_is_reported_with_its_place_and_leaves_nothing(legacy: LegacyUrl, tmp_path: Path) -> None:
    folder = tmp_path / "scenarios"
    folder.mkdir()
    (folder / "wrong.yaml").write_text(WRONG, "utf-8")
    with serving(LegacyStore(legacy.path)) as url:
        result = smoke.run([url], legacy, pass_token=PASS, operator_token=OPERATOR, folder=folder)
    assert result.passed == 0
    assert result.failed == (
        f"scenarios/wrong.yaml:5:59: expected 51; found 50. On {url}.",
        f"scenarios/wrong.yaml:6:50: expected refused mail_expired; found refused already_claimed. On {url}.",
    )
    assert ids_in(legacy) == {"hana"}


def test_without_the_operators_token_nobody_acts_and_nothing_is_left(legacy: LegacyUrl) -> None:
    shut(legacy)
    with serving(LegacyStore(legacy.path)) as url:
        result = smoke.run([url], legacy, pass_token=PASS, operator_token="somebody-elses-token")
    assert result.passed == 0
    assert all("found refused token_needed" in line for line in result.failed)
    assert ids_in(legacy) == {"hana"}


def test_a_wrong_pass_makes_no_canary(legacy: LegacyUrl) -> None:
    shut(legacy)
    result = smoke.run(["http://127.0.0.1:1"], legacy, pass_token="another", operator_token=OPERATOR)
    assert result.passed == 0
    (line,) = result.failed
    assert line.startswith("expected canaries to be made and removed; found ")
    assert ids_in(legacy) == {"hana"}


def test_a_service_that_does_not_answer_is_reported_for_each_scenario(legacy: LegacyUrl) -> None:
    result = smoke.run(["http://127.0.0.1:1"], legacy, pass_token="", operator_token=OPERATOR)
    assert result.passed == 0
    assert len(result.failed) == smoke_count()
    assert all("expected an answer; found ConnectError" in line for line in result.failed)
    assert ids_in(legacy) == {"hana"}


def test_no_secret_is_reported(legacy: LegacyUrl) -> None:
    shut(legacy)
    with serving(LegacyStore(legacy.path)) as url:
        wrong = smoke.run([url], legacy, pass_token=PASS, operator_token="somebody-elses-token")
        another = smoke.run([url], legacy, pass_token="not-the-pass-at-all", operator_token=OPERATOR)
    failures = "\n".join((*wrong.failed, *another.failed))
    assert not [secret for secret in (PASS, OPERATOR, "somebody-elses", "not-the-pass") if secret in failures]


def test_nothing_to_play_is_no_pass(legacy: LegacyUrl, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    opens = {"pass_token": "", "operator_token": OPERATOR}
    assert smoke.run(["http://127.0.0.1:1"], legacy, **opens, folder=tmp_path / "none").failed
    assert smoke.run([], legacy, **opens).failed


def test_a_broken_file_is_reported(legacy: LegacyUrl, tmp_path: Path) -> None:
    folder = tmp_path / "scenarios"
    folder.mkdir()
    (folder / "broken.yaml").write_text("abuot: x.\n", "utf-8")
    result = smoke.run(["http://127.0.0.1:1"], legacy, pass_token="", operator_token=OPERATOR, folder=folder)
    assert (result.passed, len(result.failed)) == (0, 1)
    assert "scenarios/broken.yaml:1:1: expected one of" in result.failed[0]


@pytest.mark.parametrize("store", ["legacy", "postgres"])
def test_canaries_that_were_left_behind_are_removed_first(store: str, request: pytest.FixtureRequest) -> None:
    place: LegacyUrl | PostgresUrl = request.getfixturevalue(store)
    left, mine = (StartingPlayer(rows, builders.legacy_row(rows)) for rows in (canary("left"), canary("mine")))
    with canaries.canaries(place, [left], pass_token=""):
        assert ids_in(place) == {"hana", f"{CANARY_PREFIX}left"}
        with canaries.canaries(place, [mine], pass_token=""):
            assert ids_in(place) == {"hana", f"{CANARY_PREFIX}mine"}
    assert ids_in(place) == {"hana"}


def test_canaries_are_removed_where_the_test_dies(legacy: LegacyUrl) -> None:
    with pytest.raises(RuntimeError, match="dies"):
        _die_among_canaries(legacy)
    assert ids_in(legacy) == {"hana"}


def _die_among_canaries(place: LegacyUrl) -> None:
    rows = canary("mine")
    with canaries.canaries(place, [StartingPlayer(rows, builders.legacy_row(rows))], pass_token=""):
        raise RuntimeError("dies")


def canary(name: str) -> Rows:
    return builders.player(f"{CANARY_PREFIX}{name}", gold=5, bag={"fan": "푸른 바람 부채"}, worn=["fan"])


def test_the_neighbours_row_is_not_touched(legacy: LegacyUrl) -> None:
    def row() -> list[object]:
        with closing(sqlite3.connect(legacy.path)) as connection:
            return list(connection.execute("SELECT * FROM users WHERE id = 'hana'").fetchone())

    before = row()
    with serving(LegacyStore(legacy.path)) as url:
        smoke.run([url], legacy, pass_token="", operator_token=OPERATOR)
    assert row() == before


def test_every_bad_scenario_file_is_named_at_once(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"bad{number}.yaml").write_text("about: 7\nsteps: [\n")
    (tmp_path / "unreadable.yaml").mkdir()
    with pytest.raises(Refusal) as refused:
        smoke.check([], "token", tmp_path)
    assert all(f"bad{number}.yaml:" in refused.value.found for number in range(3))
    assert "unreadable.yaml:" in refused.value.found
    for number in range(40):
        (tmp_path / f"more{number}.yaml").write_text("[")
    with pytest.raises(Refusal, match=r"and \d+ more"):
        smoke.check([], "token", tmp_path)
