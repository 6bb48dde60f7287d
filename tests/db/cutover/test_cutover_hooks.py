"""The operator's hooks: bounded, logged without secrets, and told what they are run for."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from db import environments
from db.cutover import hooks
from db.cutover.journal import Journal
from db.environments import Environment, Hooks
from db.errors import Failure, Inconclusive
from game.urls import PostgresUrl
from tests.db.cutover.cutover_world import wait_until
from tests.fixtures.interrupts import answering_interrupts
from tests.fixtures.spawning import SPAWN

FOR_POSTGRES: dict[str, Any] = {"engine": "postgres", "timeout_seconds": 20}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run")


def test_a_hook_is_told_the_environment_the_store_and_the_pointer(tmp_path: Path, journal: Journal) -> None:
    env = _env(tmp_path, restart='echo "$ENVIRONMENT $ENGINE $ENV_FILE"')

    assert hooks.run(env, "restart", journal, engine="postgres", timeout_seconds=10)

    line = next(journal.entries())
    assert line.facts["output"] == f"test postgres {env.pointer.path}"
    assert (line.facts["code"], line.facts["command"]) == (0, env.hooks.restart)


def test_there_is_nothing_to_run_where_no_hook_is_named(tmp_path: Path, journal: Journal) -> None:
    assert not hooks.run(_env(tmp_path), "drain", journal, engine="legacy", timeout_seconds=10)
    assert list(journal.entries()) == []


def test_a_hook_that_fails_says_so_in_its_own_last_words_and_without_secrets(tmp_path: Path, journal: Journal) -> None:
    env = _env(tmp_path, deploy="echo begun; echo password=hunter2 is wrong >&2; exit 7")

    with pytest.raises(Failure, match=r"code 7: password=\*\*\* is wrong") as caught:
        hooks.run(env, "deploy", journal, engine="postgres", timeout_seconds=10)

    assert "hunter2" not in str(caught.value) + (journal.folder / "journal.jsonl").read_text()
    assert "begun" in (journal.folder / "journal.jsonl").read_text()


def test_a_secret_of_the_env_files_stands_in_no_command_line_and_in_no_log(tmp_path: Path, journal: Journal) -> None:
    hook = 'echo "curl -u deploy:$DEPLOY_KEY ${SHORT}"; tr "\\0" " " < /proc/$$/cmdline; exit 3'
    (tmp_path / "environments.toml").write_text(
        f"""[staging]
        legacy = "file:game.db"
        target = "postgresql://nobody@127.0.0.1:1/nothing"
        target_direct = "postgresql://nobody@127.0.0.1:1/nothing"
        pointer = {{ path = "service.env" }}
        snapshots = {{ folder = "snapshots" }}
        hooks = {{ deploy = '''{hook}''' }}"""
    )
    (tmp_path / ".env").write_text("DEPLOY_KEY=quite-a-secret\nSHORT=on\n")
    env = environments.load("staging", tmp_path / "environments.toml")

    with pytest.raises(Failure) as caught:
        hooks.run(env, "deploy", journal, engine="postgres", timeout_seconds=10)

    (line,) = journal.entries()
    output = str(line.facts["output"])
    assert output.startswith("curl -u deploy:*** on")
    assert "$DEPLOY_KEY" in output.splitlines()[1]
    assert "quite-a-secret" not in str(caught.value) + (journal.folder / "journal.jsonl").read_text() + repr(env)


def test_a_hook_that_does_not_end_is_killed_with_its_children(tmp_path: Path, journal: Journal) -> None:
    env = _env(tmp_path, drain=f"sleep 600 & echo $! > {tmp_path}/child; wait")

    with pytest.raises(Failure, match="killed after 1 s"):
        hooks.run(env, "drain", journal, engine="legacy", timeout_seconds=1)

    wait_until(lambda: not _is_running(int((tmp_path / "child").read_text())))


def test_a_hook_that_leaves_a_server_behind_ends_all_the_same(tmp_path: Path, journal: Journal) -> None:
    env = _env(tmp_path, restart=f"sleep 600 & echo $! > {tmp_path}/child")

    hooks.run(env, "restart", journal, engine="legacy", timeout_seconds=10)

    left = int((tmp_path / "child").read_text())
    assert _is_running(left)
    hooks.wait_for_orphan(env)  # What a hook leaves behind is no hook at work.
    os.kill(left, signal.SIGKILL)


def test_a_hook_that_outlives_its_run_is_waited_for_and_named(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = _env(tmp_path, deploy=f"touch {tmp_path}/begun; until [ -e {tmp_path}/go ]; do sleep 0.02; done")
    run = SPAWN.Process(target=hooks.run, args=(env, "deploy", journal), kwargs=FOR_POSTGRES)
    run.start()
    wait_until((tmp_path / "begun").exists)
    run.kill()
    run.join()
    monkeypatch.setattr(hooks, "ORPHAN_SECONDS", 0.2)

    for attempt in (
        lambda: hooks.wait_for_orphan(env),
        lambda: hooks.run(env, "deploy", Journal(tmp_path / "next"), **FOR_POSTGRES),
    ):
        with pytest.raises(Inconclusive, match=r"process group \d+, the deploy hook of run run: touch") as caught:
            attempt()
        assert caught.value.exit_code == 3
    (tmp_path / "go").touch()
    monkeypatch.setattr(hooks, "ORPHAN_SECONDS", 20)
    hooks.wait_for_orphan(env)


def test_a_run_that_is_interrupted_ends_its_hook_first(tmp_path: Path, journal: Journal) -> None:
    env = _env(
        tmp_path,
        drain=(
            f"echo $$ > {tmp_path}/child; until grep -q $PPID {tmp_path}/service.env.hook; do sleep 0.02; done;"
            f" kill -INT {os.getpid()}; sleep 600"
        ),
    )

    with answering_interrupts(), pytest.raises(KeyboardInterrupt):
        hooks.run(env, "drain", journal, engine="legacy", timeout_seconds=20)

    wait_until(lambda: not _is_running(int((tmp_path / "child").read_text())))


def _env(folder: Path, **commands: str) -> Environment:
    nowhere = PostgresUrl("127.0.0.1", 1, "nobody", "", "nothing")
    more = {"hooks": Hooks(**commands)}
    return environments.throwaway(owner=nowhere, service=nowhere, legacy=folder / "game.db", folder=folder, **more)


def _is_running(pid: int) -> bool:
    """A zombie that its new parent has not yet buried runs no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_hook_has_no_secret_but_those_that_its_command_names(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CHANCE_SECRET", "PGPASSWORD", "GITHUB_TOKEN", "DB_PASS", "DEPLOY_KEY", "OTHER_TOKEN"):
        monkeypatch.setenv(name, f"value-of-{name}")
    monkeypatch.setenv("WORD", "the-targets-own")
    monkeypatch.setenv("ELSEWHERE", "postgresql://u:value-of-url@h/d")
    monkeypatch.setenv("SERVICE_HOSTS", "app1 app2")
    seen = tmp_path / "seen"
    env = _env(tmp_path, deploy=f": $DEPLOY_KEY ${{OTHER_TOKEN:-}}; env > {seen}; env")
    env = replace(env, target=env.target.with_(password="the-targets-own"))

    hooks.run(env, "deploy", journal, **FOR_POSTGRES)

    has = dict(line.split("=", 1) for line in seen.read_text().splitlines() if "=" in line)
    assert {name for name in has if has[name].startswith(("value-of", "the-targets", "postgresql"))} == {
        "DEPLOY_KEY",
        "OTHER_TOKEN",
    }
    assert (has["SERVICE_HOSTS"], has["ENGINE"]) == ("app1 app2", "postgres")
    assert "value-of" not in (journal.folder / "journal.jsonl").read_text()
