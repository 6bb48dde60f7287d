"""The last line of every run is true: how the run ended, who serves the players, which fences stand, what to run next.

Each run is a process of its own. One to three signals, a defect or a failure end it at the boundary of a step. The test
then checks the line against the stores, by other code than that which wrote the line.
`pytest tests/db/cutover/test_endings.py --exhaustive -rP` prints the whole table.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from db import ops
from db.console.output import outcome
from db.cutover import ending
from db.cutover import report as reports
from db.cutover.advice import Ends, EnvironmentState, Fence, FenceOwner, PointerTo
from db.cutover.journal import Journal
from db.cutover.ports import SmokeResult
from db.environments import Environment
from db.errors import Failure
from db.ops import Phase
from db.processes.interruption import SIGNALS, Signals
from db.servers import Server
from tests.db.cutover.cutover_world import World, quiet_smoke, quiet_world, run_cutover, run_rollback
from tests.db.cutover.standing import run, set_up
from tests.fixtures.spawning import SPAWN

STARTS = {
    "cutover": EnvironmentState(Phase.ABORTED, Fence.OPEN, FenceOwner.NOBODY, Fence.FENCED, PointerTo.LEGACY),
    "rollback": EnvironmentState(Phase.LIVE, Fence.MOVED, FenceOwner.THIS_RUN, Fence.OPEN, PointerTo.TARGET),
}
MOMENTS = {
    "cutover": (
        "before preflight",
        "before snapshot",
        "after migrate",
        "before fence",
        "after fence",
        "before copy",
        "after copy",
        "after switch",
        "after smoke",
        "before live",
        "after live",
        "before first snapshot",
        "after first snapshot",
        "watch",
    ),
    "rollback": (
        "before preflight",
        "before fence Postgres",
        "after fence Postgres",
        "after carry back",
        "after switch",
        "before return",
        "after return",
        "after put away",
    ),
}
HOW = (
    "SIGINT",
    "SIGTERM",
    "SIGHUP",
    "SIGINT SIGINT",
    "SIGINT SIGINT SIGINT",
    "SIGTERM SIGINT SIGHUP",
    "defect",
    "failure",
)
EVERY = [(verb, at, how) for verb, moments in MOMENTS.items() for at in moments for how in HOW]
SAMPLE = [
    (verb, at, HOW[(index * 3 + index // 3) % len(HOW)])
    for verb, moments in MOMENTS.items()
    for index, at in enumerate(moments)
]
"""Each moment once, in one of the ways; `--exhaustive` plays every pair."""

LINE = re.compile(
    r"(?P<outcome>\w+) · (?P<serves>.+) · SQLite (?P<sqlite>.+), Postgres (?P<target>.+) · next: (?P<next>.+)"
)
ONE = {"SIGINT", "SIGTERM", "SIGHUP"}


@dataclass(frozen=True)
class End:
    """The output of a run, and its exit code."""

    code: int
    text: str

    @property
    def line(self) -> dict[str, str]:
        """The parts of the last line."""
        match = LINE.fullmatch(self.text.strip().splitlines()[-1])
        assert match is not None, self.text[-2000:]
        return match.groupdict()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The ends: some seconds each, so by default a sample."""
    if "end" in metafunc.fixturenames:
        ends = EVERY if metafunc.config.getoption("exhaustive") else SAMPLE
        metafunc.parametrize("end", ends, ids=lambda end: "-".join(end).replace(" ", "_"))


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with quiet_world(server, tmp_path_factory.mktemp("endings")) as world:
        world.cutover()
        world.rollback()
        yield world


def test_the_last_line_of_every_end_is_true(world: World, end: tuple[str, str, str]) -> None:
    verb, at, how = end
    set_up(world, STARTS[verb])

    ended = _ended(world, verb, at, how)

    line = ended.line
    print(f"{verb} | {at} | {how} | exit {ended.code} | {' · '.join(line.values())}")
    assert line["sqlite"].split()[0] == _legacy_state(world)
    assert line["target"] == _target_state(world)
    takes = {"SQLite": not world.legacy_refuses(), "Postgres": not world.postgres_refuses()}
    plays = [store for store in takes if line["serves"] == f"players play on {store}"]
    assert plays == [store for store, open_ in takes.items() if open_], "and an undo left nobody waiting"
    assert world.engine() == {"SQLite": "legacy", "Postgres": "postgres"}[plays[0]]
    assert ended.code == _code(world, verb, at, how), ended.text[-2000:]
    assert line["outcome"] == {0: ending_word(verb), 1: "failed", 4: "undone", 130: "interrupted"}[ended.code]
    _assert_answered(ended, how)
    seen = ending.look(world.env)
    if isinstance(seen.advice, Ends):
        assert line["next"].startswith(seen.advice.command.replace("cutover", "cutover --env test")[:16])
        run(world, seen.advice.command)


def test_a_breach_of_the_watch_and_a_full_disk_end_with_a_line_that_is_true(world: World) -> None:
    set_up(world, STARTS["cutover"])

    ended = _ended(world, "cutover", "watch", "breach")
    assert (ended.code, ended.line["outcome"], ended.line["serves"]) == (1, "failed", "players play on Postgres")

    for verb, serves in (("rollback", "SQLite"), ("cutover", "Postgres")):
        set_up(world, STARTS[verb])
        ended = _ended(world, verb, "before snapshot" if verb == "cutover" else "before carry back", "full disk")
        assert (ended.code, ended.line["serves"]) == (0, f"players play on {serves}"), ended.text
        assert "the log can't be written (No space left on device)" in ended.text

    set_up(world, STARTS["cutover"])
    ended = _ended(world, "cutover", "after fence", "full disk and failure")
    assert (ended.code, ended.line["serves"]) == (4, "players play on SQLite"), ended.text


def ending_word(verb: str) -> str:
    """Return the word with which the verb says that all of it was done."""
    return "live" if verb == "cutover" else "returned"


def _code(world: World, verb: str, at: str, how: str) -> int:
    """Return the exit code that the state of the databases asks for."""
    begun = at not in ("before preflight",)
    with ops.connect(world.owner) as conn:
        beyond = ops.phase(conn) is (Phase.LIVE if verb == "cutover" else Phase.RETURNED)
    interrupted = how.split(maxsplit=1)[0] in ONE
    if at in ("after live", "after return") and how == "failure":
        return 0  # The last commit's answer was lost; the phase says that it was made, and the run goes on to its end.
    if (verb == "cutover" and at in ("before snapshot", "before preflight", "after migrate")) or not begun:
        begun = at == "after migrate"
    if begun and not beyond:
        return 4
    return 130 if interrupted else 1


def _assert_answered(ended: End, how: str) -> None:
    """A second and a third signal are answered by what is under way, or came when all had ended."""
    if how.count("SIG") > 1 and ended.code == 4:
        assert "The undo is under way, and no signal stops it: it takes seconds" in ended.text
        assert "minutes at most." in ended.text
    if how.count("SIG") > 2 and ended.code == 4:
        assert re.search(r"kill -9 of process \d+ is safe; afterwards run: invoke \w+ --env test --abort", ended.text)


def _ended(world: World, verb: str, at: str, how: str) -> End:
    output = world.folder / "output"
    policy = replace(world.env.policy, watch_seconds=0.1 if at == "watch" else 0)
    env = replace(world.env, policy=policy)
    process = SPAWN.Process(target=_run, args=(env, world.folder, world.server.handle(), verb, at, how, output))
    process.start()
    process.join(180)
    assert process.exitcode is not None
    return End(process.exitcode, output.read_text())


def _run(env: Environment, folder: Path, handle: str, verb: str, at: str, how: str, output: Path) -> None:
    """Run as the task does, with both standard streams in a file."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    for number in SIGNALS:  # A job in the background of a shell ignores SIGINT, and so would this process.
        signal.signal(number, signal.SIG_DFL)
    act = Act(how)

    def observer(when: str, step: str) -> None:
        act.next(f"{when} {step}" == at)

    given: dict[str, Any] = {
        "tools": Server.attach(handle).tool,
        "folder": folder / "runs",
        "observer": observer,
        "smoke": partial(_watched_smoke, act) if at == "watch" else quiet_smoke,
    }
    with Signals() as signals, outcome(None) as out:
        out.at_end, out.signals = partial(ending.ended, env), signals
        given |= {"signals": signals, "progress": out.progress}
        report = run_cutover(env, **given) if verb == "cutover" else run_rollback(env, **given)
        out.end(str(report.verdict))


class Act:
    """A disturbance of a run: the first thing at its moment, each further signal at a later boundary."""

    def __init__(self, how: str) -> None:
        self._left = how.split() if how.split(maxsplit=1)[0] in ONE else [how]
        self._begun = False

    def next(self, now: bool) -> None:
        """Do the next thing, if its time has come."""
        self._begun = self._begun or now
        if not self._begun or not self._left:
            return
        what = self._left.pop(0)
        if what in ONE:
            os.kill(os.getpid(), getattr(signal, what))
        elif what == "defect":
            raise RuntimeError("a defect of ours")
        elif what in ("failure", "breach"):
            raise Failure("that it works", "that it does not")
        elif what.startswith("full disk"):
            _fill()
            self._left = ["failure"] if "failure" in what else []


def _fill() -> None:
    """Have every write to the run's log and report fail for want of room."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    Journal._append = full  # type: ignore[method-assign]
    reports.save = full


def _watched_smoke(act: Act, *args: Any, **named: Any) -> SmokeResult:
    """A smoke that passes before the lift, and in which it happens during the watch."""
    del args, named
    if getattr(act, "played", False):
        act.next(now=True)
    act.played = True  # type: ignore[attr-defined]
    return SmokeResult(1)


def _legacy_state(world: World) -> str:
    with closing(sqlite3.connect(world.env.legacy.path)) as connection:
        table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sudamr_fence'").fetchone()
        return str(connection.execute("SELECT state FROM sudamr_fence").fetchone()[0]) if table else "open"


def _target_state(world: World) -> str:
    with ops.connect(world.owner) as conn:
        row = conn.execute("select state from ops.fence where schema = %s", [world.owner.schema]).fetchone()
        assert row is not None
        return str(row[0])
