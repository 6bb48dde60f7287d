"""The items of a scenario without faults: on Postgres, on the legacy file, on both in step; and --update-scenarios."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote

import pytest

from db.counts import count
from db.samples import seed
from harness.databases import Database, Databases
from harness.play import update
from harness.play.arena import LegacyStage, PlayedStore, PostgresStage
from harness.play.differential import replay_twins
from harness.play.replay import PlayResult, replay
from harness.pytest_plugin.items import PlayFailed, ScenarioItem, pair
from harness.pytest_plugin.session import UPDATE, keeps, leave_after_failure, note_kept
from harness.scenarios import ScenarioFile
from harness.scenarios.problems import ScenarioProblem

WRITTEN = pytest.StashKey[list[tuple[ScenarioFile, tuple[ScenarioProblem, ...]]]]()
"""The files that --update-scenarios wrote: the files as they were, and what was wrong in them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that rewrites scenarios."""
    parser.getgroup("harness").addoption(
        UPDATE, action="store_true", help="write what was found into expect, outcomes and after (not under xdist)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to rewrite files with more than one process: two workers would write into one file."""
    config.stash[WRITTEN] = []
    if config.getoption(UPDATE) and (config.getoption("numprocesses", None) or hasattr(config, "workerinput")):
        raise pytest.UsageError(f"{UPDATE} rewrites files: expected one process; found -n. Leave -n away.")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what --update-scenarios wrote: each place, what stood there, and what stands there now."""
    if not config.getoption(UPDATE):
        return
    for file, problems in config.stash[WRITTEN]:
        terminalreporter.write_line(f"written: {file.name}")
        for problem in problems:
            where = ".".join(str(part) for part in problem.path)
            terminalreporter.write_line(f"    {where}: {problem.expected} -> {problem.found}")
    files = len(config.stash[WRITTEN])
    what = count(files, "file") if files else "nothing: what was run on Postgres holds, or fails for another reason"
    terminalreporter.write_line(f"{UPDATE} wrote {what}")


class PostgresItem(ScenarioItem):
    """A scenario on Postgres; the one item that --update-scenarios lets write into the file."""

    def play(self, postgres_stage: PostgresStage) -> None:
        """Replay the scenario, once more if the file was rewritten. Raises PlayFailed."""
        verdict = _replay(self, postgres_stage)
        if self.config.getoption(UPDATE) and verdict.unexpected and not verdict.standing:
            update.rewrite(self.path, self.file.scenario, verdict)
            self.config.stash[WRITTEN].append((self.file, verdict.unexpected))
            self.read_again()
            verdict = _replay(self, postgres_stage)
        _fail(self.file, verdict.problems)


class LegacyItem(ScenarioItem):
    """A scenario on the legacy file; it needs no server."""

    def play(self, legacy_stage: LegacyStage) -> None:
        """Replay the scenario. Raises PlayFailed."""
        _fail(self.file, _replay(self, legacy_stage).problems)


class TwinsItem(ScenarioItem):
    """A scenario on both stores in step, which must never differ."""

    def play(self, postgres_stage: PostgresStage, legacy_stage: LegacyStage) -> None:
        """Replay the scenario on both. Raises PlayFailed at the first command after which they differ."""
        with self.failing_by_a_block():
            problems = replay_twins(self.file.scenario, postgres_stage, legacy_stage)
        _fail(self.file, problems)


ITEMS: dict[str, type[ScenarioItem]] = {"postgres": PostgresItem, "legacy": LegacyItem, "twins": TwinsItem}
"""The ways to run every scenario, by the last part of an item's id."""


def _replay(item: ScenarioItem, stage: PlayedStore) -> PlayResult:
    with item.failing_by_a_block():
        return replay(item.file.scenario, stage)


def _fail(file: ScenarioFile, problems: Iterable[ScenarioProblem]) -> None:
    """Raise PlayFailed where there is a problem, the first in the file first."""
    ordered = sorted(problems, key=lambda problem: file.document.mark(problem.path))
    if ordered:
        raise PlayFailed("\n".join(_block(file, problem) for problem in ordered))


def _block(file: ScenarioFile, problem: ScenarioProblem) -> str:
    order = f"\n    in order  {problem.order}" if problem.order else ""
    return f"{file.place(problem.path)}\n{pair(problem.expected, problem.found)}{order}"


class Shared:
    """The one database on which a worker plays its scenarios, as the service alone; another after one that is kept."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._open()

    def _open(self) -> None:
        self._database = self._databases.clone(restricted=True)
        self.stage = PostgresStage(self._database.service, lambda: self._databases.reset(self._database))

    def leave(self) -> Database:
        """Leave the database as it is and take another. Returns the one that was left."""
        left = self._database
        self.stage.close()
        self._databases.lift_restriction(left)
        self._open()
        return left

    def close(self) -> None:
        """Drop the worker's database of scenarios."""
        self.stage.close()
        self._databases.drop(self._database)


@pytest.fixture(scope="session")
def scenario_database(databases: Databases) -> Iterator[Shared]:
    """Provide the worker's database; the first scenario that runs on Postgres makes it."""
    made = Shared(databases)
    yield made
    made.close()


@pytest.fixture
def postgres_stage(scenario_database: Shared, request: pytest.FixtureRequest) -> Iterator[PostgresStage]:
    """Provide a database, emptied by each play; with --keep, one on which a scenario failed is left as it is."""
    yield scenario_database.stage
    leave_after_failure(request, scenario_database)


MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


@pytest.fixture
def legacy_stage(worker_legacy_stage: LegacyStage, request: pytest.FixtureRequest) -> Iterator[LegacyStage]:
    """Provide a legacy file, made anew by each play; with --keep, a copy of one that failed is left."""
    yield worker_legacy_stage
    if keeps(request) and worker_legacy_stage.path.exists():
        copy = Path(tempfile.mkdtemp(prefix="sudamr-kept-"), "game.sqlite")
        worker_legacy_stage.copy_to(copy)
        remove = f"rm -r {quote(str(copy.parent))}"
        note_kept(request, "a copy of its file", f"sqlite3 {quote(str(copy))} (remove it with: {remove})")


@pytest.fixture(scope="session")
def worker_legacy_stage() -> Iterator[LegacyStage]:
    """Provide one legacy file for all scenarios of this worker, in memory, where syncing costs nothing."""
    with tempfile.TemporaryDirectory(prefix="sudamr-legacy-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        empty = Path(folder, "empty.sqlite")
        seed.empty_legacy(empty)
        stage = LegacyStage(empty, Path(folder, "game.sqlite"))
        yield stage
        stage.close()
