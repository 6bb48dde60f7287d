"""The cost of a round, from end to end on a few players, and what its figures are worth: clocks, parts, the limit."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from db import ops
from db.console.progress import Silent
from db.errors import Refusal
from db.servers import Server
from harness.bench import round as rounds
from harness.bench.round import ACTIONS, JUDGED_SIZE, MOST_MS, PARTS, SIZES, RoundCost
from harness.bench.stopwatch import REST, Stopwatch
from tests.fixtures.given_server import given


class Clock:
    """A clock that stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_a_part_within_a_part_is_counted_once() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    with watch.part("write"):
        clock.at += 1
        with watch.part("compare"):
            clock.at += 10
        clock.at += 2
    clock.at += 100
    watch.stop()
    clock.at += 1_000  # Between two runs: of no part.
    watch.start()
    with watch.part("write"):
        clock.at += 4
    watch.stop()
    assert watch.seconds == {"write": 7, "compare": 10, REST: 100}


def test_functions_are_timed_while_the_block_runs_and_are_the_real_ones_after_it() -> None:
    clock, module = Clock(), ModuleType("module")
    watch = Stopwatch(clock)

    def counts(most: int) -> object:
        for n in range(most):
            clock.at += 1
            yield n

    def fails() -> None:
        clock.at += 5
        raise ZeroDivisionError

    module.__dict__.update(counts=counts, fails=fails)
    with watch.timing([(module, "counts", "read"), (module, "fails", "check")]):
        assert module.counts(3) == [0, 1, 2]
        with pytest.raises(ZeroDivisionError):
            module.fails()
    assert (module.counts, module.fails) == (counts, fails)
    assert (watch.seconds["read"], watch.seconds["check"]) == (3, 5)
    with pytest.raises(AttributeError), watch.timing([(module, "gone", "read")]):
        raise AssertionError("not reached")


def cost(action: str, all_ms: float | None, size: str = JUDGED_SIZE) -> RoundCost:
    ratio = None if all_ms is None else all_ms / MOST_MS
    return RoundCost(action, size, 40_000, 10, {}, all_ms or 0.0, None, all_ms, ratio, 1.0)


@pytest.mark.parametrize(
    ("costs", "verdict"),
    [
        ([cost("equip", 2.0), cost("enhance", 9.0, "four bags")], "pass"),
        ([cost("equip", 2.001)], "fail"),
        ([cost("equip", 1.0), cost("enhance", None)], "inconclusive"),
    ],
)
def test_players_as_they_are_made_are_judged_all_in(costs: list[RoundCost], verdict: str) -> None:
    assert rounds.judge(costs).verdict == verdict


def test_a_round_is_measured_by_parts_kinds_and_sizes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    report = rounds.run(2, 6, given(server.maintenance, monkeypatch), Silent())
    assert [(cost.size, cost.action) for cost in report.costs] == [(size, one) for size in SIZES for one in ACTIONS]
    for cost in report.costs:
        assert cost.players > 0
        assert set(cost.parts_ms) == set(PARTS)
        assert sum(cost.parts_ms.values()) == pytest.approx(cost.own_ms, abs=0.01)
        assert min(cost.parts_ms["decode"], cost.parts_ms["rebuild, verify"], cost.parts_ms["read file"]) > 0
    sizes = {cost.size: cost.row_bytes for cost in report.costs}
    assert sizes["four bags"] > 1.5 * sizes["as made"]


@pytest.mark.skipif(sys.platform != "linux", reason="another system does not tell a process's number in its container")
def test_the_process_of_postgres_is_found_also_in_a_container(server: Server) -> None:
    """It is of the machine that the tests run on: what it takes is counted once there is enough of it to be seen."""
    with ops.connect(server.maintenance) as conn:
        process = rounds._backend(conn)
        assert process is not None
        before = rounds._processor(process)
        while rounds._processor(process) == before:
            conn.execute("select count(*) from generate_series(1, 300000)")


@pytest.mark.parametrize("wish", [(0, 1), (1, 0)])
def test_a_round_of_nobody_is_refused_before_anything_is_started(wish: tuple[int, int]) -> None:
    with pytest.raises(Refusal, match="--players 50"):
        rounds.run(*wish, None, Silent())
