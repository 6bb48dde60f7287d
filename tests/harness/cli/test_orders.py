"""`invoke cutover --go`, `--hold`, `--pause` and `--resume`: what each goes with, what asks, what is printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from db import ops
from db.cutover import ordering
from db.cutover.context import RunConfig
from db.environments import Environment
from db.errors import Undone
from db.ops import Phase, orders
from db.servers import Server
from harness.cli.commands import cutovers
from harness.cli.framework import running
from tests.fixtures.own_roles import own_database
from tests.fixtures.project import Project, make, run

RUN = "20261128_010203_abcd"


@pytest.fixture(scope="module")
def production(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Production, prepared, with a live attempt of which Postgres alone knows."""
    with own_database(server) as own:
        project = make(tmp_path_factory.mktemp("production"), "production", own)
        ops.prepare(own.owner, "production", service=own.service)
        yield project


@pytest.fixture(autouse=True)
def _holds(production: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "TAKEN_SECONDS", 0.0)
    with ops.connect(production.own.owner) as conn:
        conn.execute("update ops.phase set phase = %s, run = %s", (Phase.LOADING, RUN))
        orders.begin(conn, RUN, hold=True)
        orders.order_resume(conn, RUN)
        orders.stand_ready(conn, RUN)


def go_of(project: Project) -> str:
    with ops.connect(project.own.owner) as conn:
        order = orders.read(conn, RUN)
    assert order is not None
    return f"{order.go}{', paused' if order.paused else ''}"


@pytest.mark.parametrize("option", ["go", "resume"])
def test_what_moves_production_on_asks_for_its_name(
    production: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    with ops.lock(production.own.owner, run=RUN, why="cutover"):
        assert run(production, monkeypatch, "cutover", **{option: True}) == 2
        assert "the name production typed as confirmation" in capsys.readouterr().err
        monkeypatch.setattr(running.CommandTerminal, "can_ask", True)
        monkeypatch.setattr("builtins.input", lambda *_: "staging")
        assert run(production, monkeypatch, "cutover", **{option: True}) == 2
        assert f"run {RUN}" in capsys.readouterr().err
        assert go_of(production) == "holding"
        assert run(production, monkeypatch, "cutover", **{option: True}, confirm="production") == 0
    assert go_of(production) == ("ordered" if option == "go" else "holding")


@pytest.mark.parametrize(("option", "then"), [("hold", "holding"), ("pause", "holding, paused")])
def test_what_only_keeps_the_window_from_coming_asks_nobody(
    production: Project, monkeypatch: pytest.MonkeyPatch, option: str, then: str
) -> None:
    with ops.lock(production.own.owner, run=RUN, why="cutover"):
        assert run(production, monkeypatch, "cutover", **{option: True}) == 0
        assert go_of(production) == then
        assert run(production, monkeypatch, "cutover", **{option: True}, confirm="staging") == 2


def test_a_hold_is_for_the_run_that_begins_where_no_tool_is_at_work(
    production: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def begin(_env: Environment, config: RunConfig, **_given: str) -> NoReturn:
        begun.append((config.hold, config.offline))
        raise Undone("a run", "the end of this test")

    monkeypatch.setattr(cutovers, "cutover", begin)
    assert run(production, monkeypatch, "cutover", hold=True, confirm="production") == 4
    assert begun == [(True, False)]


def test_an_order_is_printed_with_the_last_line_and_written_as_json(
    production: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ops.lock(production.own.owner, run=RUN, why="cutover"):
        assert run(production, monkeypatch, "cutover", go=True, confirm="production", json="-") == 0
    printed = capsys.readouterr()
    assert f"run {RUN} has not taken the go yet." in printed.err
    assert printed.err.rstrip().splitlines()[-1].startswith("ordered · ")
    document = json.loads(printed.out)
    assert (document["outcome"], document["run"], document["changed"]) == ("ordered", RUN, True)
    assert document["ending"]["outcome"] == "ordered"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"go": True, "plan": "plan.json"}, "expected --go alone; found --plan"),
        ({"hold": True, "certificate": "one.json"}, "expected --hold alone; found --certificate"),
    ],
    ids=str,
)
def test_options_that_contradict_an_order_are_refused(
    production: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, Any],
    found: str,
) -> None:
    with ops.lock(production.own.owner, run=RUN, why="cutover"):
        assert run(production, monkeypatch, "cutover", **options, confirm="production") == 2
    shown = capsys.readouterr().err
    assert found in shown
    assert "Nothing was begun." in shown
    assert go_of(production) == "holding"
