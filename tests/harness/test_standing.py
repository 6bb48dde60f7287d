"""Status: where the schema stands, what is still to come, and its drift; a part that can't be known says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from db import environments, migrate, ops, seed
from db.environments import Environment
from game.urls import PostgresUrl
from harness.databases import Database
from harness.moves import standing
from tests.fixtures.revisions import history, write

HEAD = migrate.head()
NEXT = f"{int(HEAD) + 1:04}"


def environment(owner: PostgresUrl, service: PostgresUrl, folder: Path) -> Environment:
    legacy = folder / "game.db"
    seed.empty_legacy(legacy)
    return environments.throwaway(owner=owner, service=service, legacy=legacy, folder=folder)


@pytest.fixture
def env(fenced_database: Database, tmp_path: Path) -> Environment:
    return environment(fenced_database.owner, fenced_database.service, tmp_path)


def test_a_schema_as_it_was_made_has_no_drift(env: Environment) -> None:
    found = standing.status(env)
    assert (found.found["schema"], found.found["drift"], found.whole) == (HEAD, [], True)
    assert ("drift", "none") in found.rows


def test_drift_is_listed_line_by_line_and_is_no_failure(env: Environment) -> None:
    with ops.connect(env.target_direct) as conn:
        conn.execute("alter table users drop column league, add column luck bigint")
    found = standing.status(env)
    assert found.whole
    assert found.found["drift"] == ["missing: column users.league text", "unexpected: column users.luck bigint"]


def test_what_is_still_to_be_applied_is_no_drift(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "more"
    write(folder, NEXT, "alter table users add column luck bigint")
    made = history(folder)
    monkeypatch.setattr("db.revisions.read", lambda: made)
    found = standing.status(env)
    assert (found.found["schema"], found.found["drift"]) == (f"{HEAD}, to be applied: {NEXT}", [])


def test_a_schema_of_a_newer_version_is_not_judged(env: Environment) -> None:
    with ops.connect(env.target_direct) as conn:
        conn.execute("update alembic_version set version_num = '9999'")
    found = standing.status(env)
    assert not found.whole
    assert found.found["schema"] == "9999, which this version does not know"


def test_a_role_that_may_not_look_says_so(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    with ops.connect(env.target_direct) as conn:
        conn.execute(f'alter database "{env.target_direct.dbname}" set default_transaction_read_only = on')
    found = standing.status(env)
    assert not found.whole
    assert "not known" in str(found.found["drift"])
