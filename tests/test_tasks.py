"""The tasks as people run them: what bad input gets, what `--list` costs, and the way there and back."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import tasks
from db.console.progress import Silent
from db.samples import seed
from harness.cli import texts

ROOT = Path(__file__).parents[1]
INVOKE = Path(sys.executable).parent / "invoke"

HEAVY = (
    "sqlalchemy",
    "psycopg",
    "pydantic",
    "alembic",
    "fastapi",
    "rich",
    "game",
    "db.console.output",
    "harness.cli.commands",
)


def invoke(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [INVOKE, *arguments],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", **variables},
        stdin=subprocess.DEVNULL,
    )


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    printed = done.stdout + done.stderr
    assert done.returncode == 2, printed
    assert "Traceback" not in printed
    assert len(printed.strip().splitlines()) <= 3, printed
    for word in words:
        assert word in printed


def assert_refused_at_work(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """A refusal after something was shown."""
    printed = done.stdout + done.stderr
    assert done.returncode == 2, printed
    assert "Traceback" not in printed
    for word in words:
        assert word in printed, printed


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    path = tmp_path / "game.db"
    seed.seed_legacy(path, 12, 5, anomalies=True, progress=Silent())
    return path


def test_listing_the_tasks_imports_nothing_heavy() -> None:
    code = f"import tasks, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.core
def test_every_task_and_every_option_has_help() -> None:
    listed = json.loads(invoke("--list", "--list-format", "json").stdout)
    tasks = [*listed["tasks"], *(task for sub in listed["collections"] for task in sub["tasks"])]
    assert len(tasks) > 15
    assert [task["name"] for task in tasks if not task["help"]] == []
    for name in (
        "test",
        "seed",
        "transfer",
        "transfer.convert",
        "cutover",
        "rollback",
        "rehearse",
        "gate",
        "report",
        "audit",
        "snapshot.take",
    ):
        options = [line for line in invoke("--help", name).stdout.splitlines() if line.strip().startswith("-")]
        assert [line for line in options if len(line.split("  ")) < 2] == [], name


def test_a_file_that_is_no_legacy_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    empty, text, other = tmp_path / "empty.db", tmp_path / "text.db", tmp_path / "other.db"
    empty.touch()
    text.write_text("hello\n" * 200)
    with sqlite3.connect(other) as made:
        made.execute("create table guests (name)")
    made.close()
    before = {path: digest(path) for path in (empty, text, other)}
    assert_refused(invoke("transfer", "--env", "test", "--source", str(tmp_path / "no.db")), "no.db", "no such file")
    assert_refused(invoke("transfer", "--env", "test", "--source", str(empty)), "empty")
    assert_refused(invoke("transfer", "--env", "test", "--source", str(text)), "another kind")
    assert_refused(invoke("transfer", "--env", "test", "--source", str(other)), "users", "guests")
    assert {path: digest(path) for path in before} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.db", "other.db", "text.db"]


@pytest.mark.parametrize(
    "task", ["migrate", "revision", "prepare", "transfer", "cutover", "rollback", "status", "gate", "reset"]
)
def test_an_unknown_environment_is_refused_with_the_choices(task: str) -> None:
    with_a_server = "development | test | staging | production"
    offered = {"transfer": with_a_server, "gate": with_a_server, "reset": "expected --env development;"}
    choices = offered.get(task, "development | staging | production")
    assert_refused(invoke(task, "--env", "stagin"), choices, "stagin")
    assert_refused(invoke(task), choices, "no --env")


@pytest.mark.parametrize(
    "arguments",
    [
        ("rehearse", "--players", "abc"),
        ("rehearse", "--players", "0"),
        ("seed", "--legacy", "made.db", "--players", "1.5"),
        ("transfer", "--env", "test", "--source", "game.db", "--into", "copy.db"),
        ("transfer", "--env", "test", "--source", "game.db", "--back", "--into", "no-folder/copy.db"),
        ("rehearse", "--players", "5", "--json", "/no-such-folder/out.json"),
    ],
    ids=" ".join,
)
def test_what_can_not_be_done_is_refused_before_anything_is_begun(arguments: tuple[str, ...]) -> None:
    assert_refused(invoke(*arguments), "expected", "found")
    assert not (ROOT / "made.db").exists()


NOTHING_LEFT_OUT = {
    ("seed",): "invoke seed --legacy game.db",
    ("token", "--env", "development"): "`invoke seed --legacy FILE` prints one",
    ("serve", "--env", "development"): "invoke seed --legacy FILE",
    ("transfer", "--env", "test"): "invoke seed --legacy game.db",
    ("transfer", "--env", "test", "--back", "--into", "copy.db"): "Add --source FILE",
    ("transfer.profile",): "Name it: a legacy SQLite file",
    ("snapshot.verify", "--env", "development"): "Name it: the snapshot's folder",
    ("snapshot.take", "--env", "development", "--of", "both"): "--of legacy, the SQLite file",
    ("gate", "--env", "test", "--verify", "README.md"): "invoke gate --env test --json FILE",
    ("report", "--from", "README.md"): "invoke gate --env NAME --json FILE",
    ("prepare", "--env", "development"): "Start it: invoke up",
}
"""By what was typed, what the refusal tells to do."""


@pytest.mark.parametrize("arguments", NOTHING_LEFT_OUT, ids=" ".join)
def test_what_was_left_out_is_asked_for_with_what_to_do(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A page\n")
    url = "postgresql://sudamr:sudamr@127.0.0.1:1/sudamr?schema=game"  # Nothing listens at port 1.
    (tmp_path / "environments.toml").write_text(
        f'[development]\nlegacy = "file:game.db"\ntarget = "{url}"\ntarget_direct = "{url}"\n'
        'pointer = { path = "service.env" }\nsnapshots = { folder = "snapshots" }\n'
    )
    before = sorted(path.name for path in tmp_path.iterdir())

    done = subprocess.run(
        [INVOKE, "--search-root", ROOT, *arguments],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )

    assert_refused(done, "expected", "found", NOTHING_LEFT_OUT[arguments])
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    done = invoke("status", "--env", "production", HOME=str(tmp_path))
    assert_refused_at_work(done, "PRODUCTION_HOST", "PRODUCTION_LEGACY_FILE")
    assert done.stderr.count("Export it") == 1, "one remedy for all of them"


def test_a_copy_is_never_written_over_a_file(legacy: Path) -> None:
    before = digest(legacy)
    done = invoke("transfer", "--env", "test", "--source", str(legacy), "--back", "--into", str(legacy))
    assert_refused(done, "a name that is free")
    assert digest(legacy) == before


def test_more_held_players_than_allowed_can_all_be_listed_in_a_file(
    legacy: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    with sqlite3.connect(legacy) as file:
        file.execute("UPDATE users SET gold = 'many'")
    file.close()
    given = (
        "transfer",
        "--env",
        "test",
        "--source",
        str(legacy),
        "--postgres",
        pytestconfig.getoption("--postgres") or "local",
    )
    done = invoke(*given, "--max-held", "0")
    assert_refused_at_work(done, "(", " and 7 more)", "--max-held 12 --json NEW")
    out = tmp_path / "new.json"
    assert invoke(*given, "--max-held", "12", "--json", str(out)).returncode == 0
    assert len({one["player"] for one in json.loads(out.read_text())["quarantine"] if one["kind"] == "held"}) == 12


def test_a_folder_that_is_made_is_told_and_so_is_a_player(tmp_path: Path) -> None:
    done = subprocess.run(
        [INVOKE, "--search-root", ROOT, "seed", "--legacy", "a/b/game.db", "--players", "3", "--clean"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert "made the folder a/b." in done.stderr.splitlines()
    player = done.stdout.splitlines()[-1].removeprefix("a player to begin with: ")
    with sqlite3.connect(tmp_path / "a/b/game.db") as file:
        assert (player,) in file.execute("SELECT id FROM users").fetchall()
    file.close()


@pytest.mark.plan(20)
def test_a_file_goes_there_and_comes_back_equal(legacy: Path, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    copy, out = tmp_path / "copy.db", tmp_path / "out.json"
    done = invoke(
        "transfer",
        "--env",
        "test",
        "--source",
        str(legacy),
        "--back",
        "--into",
        str(copy),
        "--json",
        str(out),
        "--postgres",
        pytestconfig.getoption("--postgres") or "local",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text())
    assert result["verdict"] == "pass"
    assert result["equal"] is True
    loaded = result["loaded"]
    assert loaded["source"] == loaded["loaded"] + loaded["quarantined"]
    assert (loaded["players"], loaded["mismatches"]) == (12, 0)
    figures = loaded["independent"]
    assert (figures["players"], figures["mismatches"]) == (12, 0)
    assert figures["left_out"] == sum(figures["per_column"].values())
    with sqlite3.connect(copy) as rebuilt:
        assert rebuilt.execute("select count(*) from users").fetchone() == (12,)
    rebuilt.close()


def test_the_help_of_each_task_offers_the_environments_that_it_takes() -> None:
    offered = {name: task.help["env"] for name, task in tasks.namespace.tasks.items() if "env" in task.help}
    assert offered["gate"].startswith("test, ")
    assert offered["reset"].removesuffix("; required") == offered["seed"] == texts.DEVELOPMENT
    assert offered["serve"].startswith("development, staging or production; without it development")
    assert {offered[name] for name in ("prepare", "migrate", "cutover", "rollback", "status")} == {texts.ENV}
    assert "test" not in texts.ENV
