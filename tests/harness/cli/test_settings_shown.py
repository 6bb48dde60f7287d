"""A run shows which files its settings come from, and a weakened limit in red; the report and `status` say it too."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from db.console.output import Output, plain
from db.cutover.context import RunConfig
from db.cutover.report import RunReport, RunVerdict
from db.environment_files import FileRead, FilesRead, Override
from db.environments import Environment, throwaway
from game.urls import PostgresUrl
from harness.cli.commands import cutovers, environment_status
from harness.smoke import smoke

RED = "\x1b[1;31m"
READ = FilesRead(
    (
        FileRead("/srv/environments.toml", "0123456789abcdef"),
        FileRead("/srv/environments.local.toml", "fedcba9876543210"),
    ),
    (
        Override("policy.max_held", "0", "50", "RAISED: more players may be refused their commands after the move"),
        Override("policy.watch_seconds", "600", "900"),
    ),
)
SHOWN = [
    "/srv/environments.toml (sha256 0123456789ab)",
    "/srv/environments.local.toml (sha256 fedcba987654); its keys win over environments.toml",
    "policy.max_held: 0 → 50; RAISED: more players may be refused their commands after the move",
    "policy.watch_seconds: 600 → 900",
]


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    url = PostgresUrl("127.0.0.1", 5432, "owner", "p", "x")
    made = throwaway(owner=url, service=url, legacy=tmp_path / "game.db", folder=tmp_path)
    return dataclasses.replace(made, files_read=READ)


def planned(env: Environment, folder: Path) -> RunReport:
    return RunConfig(smoke.run, folder=folder).new_context("cutover", env, run=None).finished(RunVerdict.PLANNED)


@pytest.mark.parametrize("terminal", [True, False])
def test_the_plan_says_which_files_were_read_and_a_raised_limit_in_red_on_a_terminal(
    env: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    else:
        monkeypatch.delenv("FORCE_COLOR", raising=False)
    cutovers.show_settings(env, Output(None))
    lines = capsys.readouterr().out.splitlines()
    assert [line.replace(RED, "").replace("\x1b[0m", "").strip() for line in lines[1:]] == SHOWN
    assert [number for number, line in enumerate(lines[1:]) if RED in line] == ([2] if terminal else [])


def test_the_report_says_it_for_people_and_machines(
    env: Environment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = planned(env, tmp_path)
    cutovers.show(report, Output(None))
    shown = capsys.readouterr().out
    assert SHOWN[2] in shown
    assert "900" not in shown
    settings = json.loads(json.dumps(plain(report)))["settings"]
    assert settings["files"][1] == {"path": "/srv/environments.local.toml", "sha256": "fedcba9876543210"}
    assert settings["overrides"][0]["raised"].startswith("RAISED")


def test_status_says_it(env: Environment) -> None:
    away = env.target.with_(port=1)
    result = environment_status.status(dataclasses.replace(env, target=away, target_direct=away)).values["settings"]
    assert [line.strip() for line in result] == SHOWN


@pytest.mark.parametrize("edited", [True, False])
def test_the_projects_file_that_is_not_as_in_the_commit_is_an_alarm(
    env: Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], edited: bool
) -> None:
    monkeypatch.setattr("harness.gate.checkout.edited_settings", lambda _root: edited)
    read = FilesRead((FileRead(str(cutovers.ROOT / "environments.toml"), "0123456789abcdef"),))
    cutovers.show_settings(dataclasses.replace(env, files_read=read), Output(None))
    assert ("not as in the commit; see: git diff" in capsys.readouterr().out) is edited
