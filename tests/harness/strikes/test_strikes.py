"""Any runbook, struck inside its steps as a real process: nothing is lost, nothing granted twice, and no dead end.

Its connection is cut before a statement, or in place of the answer; it is killed; it is stopped until its sessions are
lost and another run has gone on. Then the same command is run again, or it is undone, while players play.
`--exhaustive` strikes every step of every runbook in every way, and writes the count into out/strikes.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from db.cutover import cutover
from db.cutover.runbook import Runbook
from db.servers import Server
from harness.strikes import world as worlds
from harness.strikes.director import BETWEEN, How
from harness.strikes.events import Location, positions
from harness.strikes.runbooks import runbooks, start_of
from harness.strikes.strike import Case, Then
from harness.strikes.sweep import Strikes, moves, steps

Item = tuple[str, str, How]

EVERY: list[Item] = [(name, step, how) for name in moves() for step in steps(name) for how in How]
SAMPLE: list[Item] = [
    ("cutover", BETWEEN, How.CUT),
    ("cutover", "live", How.KILL),
    ("cutover", "live", How.LOSE),
    ("cutover", "fence", How.STOP),
    ("cutover", "switch", How.KILL),
    ("cutover --abort", "unfence", How.KILL),
    ("live_cutover", "copy", How.KILL),
    ("live_cutover", "window", How.KILL),
    ("live_cutover", "window", How.LOSE),
    ("live_cutover", "window", How.STOP),
    ("live_cutover --abort", "unfence", How.KILL),
    ("rollback", "carry back", How.KILL),
    ("rollback", "return", How.KILL),
    ("rollback", "return", How.CUT),
    ("rollback --abort", "lift", How.STOP),
    ("live_rollback", "write back", How.KILL),
    ("live_rollback", "window", How.KILL),
    ("live_rollback", "window", How.LOSE),
    ("live_rollback", "window", How.STOP),
    ("live_rollback --abort", "lift", How.KILL),
]
"""Steps in which players' writes change their place."""

QUICK: Item = ("cutover", "live", How.LOSE)
"""The one that a quick run has time for: the answer to the COMMIT of phase and lift."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The items: minutes each, so by default a sample of them, struck only where something is kept."""
    if "item" in metafunc.fixturenames:
        items = EVERY if metafunc.config.getoption("exhaustive") else SAMPLE
        marked = [pytest.param(item, marks=pytest.mark.core) if item == QUICK else item for item in items]
        metafunc.parametrize("item", marked, ids=["-".join(item).replace(" ", "_") for item in items])


@pytest.fixture(scope="module")
def strikes(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strikes]:
    with worlds.prepared(server, tmp_path_factory.mktemp("strikes")) as world:
        yield Strikes(world)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.core) if name == "cutover" else name for name in moves()]
)
def test_at_no_statement_of_a_move_does_anybody_see_a_state_that_no_run_may_leave(
    name: str, strikes: Strikes, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    seen = strikes.watch(name, at_all=pytestconfig.getoption("exhaustive"))

    counted = {"statements": len(seen.events), "looked": seen.looked, "breaches": len(seen.breaches)}
    record_property("watched", json.dumps(counted))
    assert seen.looked >= 10
    assert seen.breaches == []


def test_a_move_that_is_struck_inside_a_step_loses_nothing_and_ends(
    item: Item, strikes: Strikes, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    name, step, how = item
    counts = strikes.sweep(name, step, how, kept=not pytestconfig.getoption("exhaustive"))

    record_property("strikes", json.dumps({"step": f"{name}: {step}", **counts.figures}))
    assert not counts.problems, "\n".join(counts.problems)
    assert (counts.lost, counts.doubled, counts.dead_ends) == (0, 0, 0)


@pytest.mark.parametrize("name", ["cutover", "rollback --abort"])
def test_a_connection_that_drops_while_a_run_reads_how_the_move_stands_is_no_defect(
    name: str, strikes: Strikes
) -> None:
    reads = [
        p
        for p in positions(strikes.events(name))
        if (p.step, p.store, p.changes) == (BETWEEN, Location.POSTGRES, False)
    ]

    counts = strikes.try_cases(name, [Case(reads[n], How.CUT, Then.AGAIN) for n in (1, 6)])

    assert (counts.strikes, counts.problems) == (2, [])


def test_a_strike_that_never_comes_is_a_problem_and_none_that_passed(strikes: Strikes) -> None:
    (case, *_) = strikes.cases("cutover --abort", "unfence")
    never = replace(case, at=replace(case.at, n=10_000))

    counts = strikes.try_cases("cutover --abort", [never])

    assert counts.strikes == 0
    assert "the run never came there" in counts.problems[0]


def test_each_runbook_of_the_project_is_struck_with_its_undo() -> None:
    struck = {name: runbooks()[name.partition(" ")[0]] for name in moves()}

    assert {"cutover", "cutover --abort", "rollback", "rollback --abort"} <= set(struck)
    assert {"live_cutover", "live_cutover --abort", "live_rollback", "live_rollback --abort"} <= set(struck)
    for name, runbook in struck.items():
        assert isinstance(runbook, Runbook)
        performed = runbook.undo if name.endswith("--abort") else runbook.plan
        assert {step.name for step in performed} <= set(steps(name))


def test_a_runbook_that_is_new_is_found_also_if_it_shares_its_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutover, "BRISK", replace(cutover.CUTOVER), raising=False)
    runbooks.cache_clear()
    try:
        assert {"cutover", "brisk", "brisk --abort"} <= set(moves())
        assert steps("brisk") == steps("cutover")
        assert start_of("brisk") is None
    finally:
        monkeypatch.undo()
        runbooks.cache_clear()
