"""Status: where the schema stands, what is still to come, and its drift; a part that can't be known says so."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from db import environments, ops
from db.console.progress import Silent
from db.cutover import journal
from db.environments import Environment
from db.samples import seed
from db.schema import migrate
from game.urls import PostgresUrl
from harness.cli.commands import environment_status, transfers
from harness.databases import Database
from tests.fixtures.revisions import history, write

HEAD = migrate.head()
NOTHING = "no move is under way; Postgres holds no rows"
BEGUN_NONE = "empty: no move was begun; Postgres holds no rows"
NEXT = f"{int(HEAD) + 1:04}"


def environment(owner: PostgresUrl, service: PostgresUrl, folder: Path) -> Environment:
    legacy = folder / "game.db"
    seed.empty_legacy(legacy)
    (folder / "service.env").write_text(f"DATABASE_URL=file:{legacy}\n")
    return environments.throwaway(owner=owner, service=service, legacy=legacy, folder=folder)


@pytest.fixture
def env(fenced_database: Database, tmp_path: Path) -> Environment:
    return environment(fenced_database.owner, fenced_database.service, tmp_path)


def test_a_schema_as_it_was_made_has_no_drift(env: Environment) -> None:
    result = environment_status.status(env)
    assert (result.values["schema"], result.values["drift"], result.whole) == (HEAD, [], True)
    assert ("drift", "none") in result.rows


def test_drift_is_listed_line_by_line_and_is_no_failure(env: Environment) -> None:
    with ops.connect(env.target_direct) as conn:
        conn.execute("alter table users drop column league, add column luck bigint")
    result = environment_status.status(env)
    assert result.whole
    assert result.values["drift"] == ["missing: column users.league text", "unexpected: column users.luck bigint"]


def test_what_is_still_to_be_applied_is_no_drift(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "more"
    write(folder, NEXT, "alter table users add column luck bigint")
    made = history(folder)
    monkeypatch.setattr("db.schema.revisions.read", lambda: made)
    result = environment_status.status(env)
    assert (result.values["schema"], result.values["drift"]) == (f"{HEAD}, to be applied: {NEXT}", [])


def test_a_schema_of_a_newer_version_is_not_judged(env: Environment) -> None:
    with ops.connect(env.target_direct) as conn:
        conn.execute("update alembic_version set version_num = '9999'")
    result = environment_status.status(env)
    assert not result.whole
    assert result.values["schema"] == "9999, which this version does not know"


def test_a_role_that_may_not_look_says_so(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    with ops.connect(env.target_direct) as conn:
        conn.execute(f'alter database "{env.target_direct.dbname}" set default_transaction_read_only = on')
    result = environment_status.status(env)
    assert not result.whole
    assert "not known" in str(result.values["drift"])


@pytest.fixture
def trial(fenced_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment into which `transfer` may load a trial's copy."""
    env = replace(environment(fenced_database.owner, fenced_database.service, tmp_path), name="development")
    with ops.connect(env.target_direct) as conn:
        conn.execute("update ops.environment set name = 'development'")
    monkeypatch.setattr(environments, "load", lambda _name: env)
    seed.seed_legacy(tmp_path / "source.db", 3, anomalies=False)
    return env


def load(env: Environment) -> None:
    source = env.legacy.path.with_name("source.db")
    transfers.run(transfers.TransferOptions(env.name, source, None, back=False, max_held=None, postgres=None), Silent())


def test_a_trial_is_told_as_a_trial_and_no_move_was_aborted(trial: Environment) -> None:
    before = environment_status.status(trial)
    assert (before.values["phase"], before.values["next"]) == (BEGUN_NONE, ["invoke cutover --env development"])

    load(trial)
    loaded = environment_status.status(trial)
    transfers.cleanup(trial.name)
    cleaned = environment_status.status(trial)

    left = r"no move is under way; Postgres holds 3 players of the trial transfer-\w+, which a cutover empties"
    assert re.fullmatch(left, str(loaded.values["phase"]))
    assert cleaned.values["phase"] == NOTHING
    for result in (loaded, cleaned):
        assert result.whole
        assert "abort" not in str(result.rows)
        assert result.values["next"] == before.values["next"]


def test_players_that_were_seeded_are_told_and_a_cleanup_alone_is_no_trial(trial: Environment) -> None:
    seed.seed_postgres(trial.target_direct, "development", 4)
    assert environment_status.status(trial).values["phase"] == "empty: no move was begun; Postgres holds 4 players"
    transfers.cleanup(trial.name)
    assert environment_status.status(trial).values["phase"] == NOTHING


def test_a_service_that_is_down_after_a_trial_asks_for_no_abort(trial: Environment) -> None:
    load(trial)
    result = environment_status.status(replace(trial, services=("http://127.0.0.1:1",)))
    assert not result.whole
    assert "abort" not in str(result.rows)


def test_a_trial_after_a_move_that_was_aborted_leaves_it_told(trial: Environment) -> None:
    with ops.connect(trial.target_direct) as conn:
        conn.execute("update ops.phase set phase = 'aborted', run = '20261128_010203_abcd'")
    load(trial)
    assert environment_status.status(trial).values["phase"] == "aborted, by run 20261128_010203_abcd"


def test_no_run_of_a_move_is_taken_for_a_trial() -> None:
    assert not ops.is_trial(journal.new_run())
    assert not ops.is_trial(None)
