"""pytest's side of scenarios: a file is collected, each store it runs on is an item, a failure reads as a difference.

Items are `file::postgres`, `file::legacy`, `file::twins`, and those of the sweeps that are asked for.
A worker keeps one database and resets it in place.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from shlex import quote

import pytest

from db.counts import count
from db.samples import seed
from harness import scenarios
from harness.databases import Database, Databases
from harness.play import update
from harness.play.arena import LegacyStage, PostgresStage, Stage
from harness.play.differential import replay_twins
from harness.play.replay import Verdict, replay
from harness.pytest_plugin import fault_items, race_items
from harness.pytest_plugin.items import PlayFailed, PlayItem, raised_in
from harness.pytest_plugin.session import keeps, note_kept, note_kept_database
from harness.scenarios import BadScenario, ScenarioFile
from harness.scenarios.problems import Problem
from harness.sweeps.pairs import FILE as PAIRS

OPTION = "--update-scenarios"
WRITTEN = pytest.StashKey[list[tuple[ScenarioFile, tuple[Problem, ...]]]]()
"""What --update-scenarios wrote: the files as they were, and what was wrong in them."""

OF_EDITORS = ("*~", ".*.sw?", ".#*", "#*#", ".DS_Store")
"""What an editor or a file manager leaves beside a file while somebody works on it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that scenarios have."""
    parser.getgroup("harness").addoption(
        OPTION, action="store_true", help="write what was found into expect, outcomes and after (not under xdist)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Two workers would write into one file."""
    config.stash[WRITTEN] = []
    if config.getoption(OPTION) and (config.getoption("numprocesses", None) or hasattr(config, "workerinput")):
        raise pytest.UsageError(f"{OPTION} rewrites files: expected one process; found -n. Leave -n away.")


@pytest.hookimpl(tryfirst=True)
def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """No folder of scenarios is passed over for its name, as pytest does with `build` or a hidden one."""
    skipped = any(fnmatch(collection_path.name, pattern) for pattern in config.getini("norecursedirs"))
    return False if skipped and _is_of_scenarios(collection_path, config) and collection_path.is_dir() else None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Scenarios are tests: each YAML file under the project's `scenarios`; what else lies there is refused."""
    if not _is_of_scenarios(file_path, parent.config):
        return None
    return collect_file(file_path, parent)


def _is_of_scenarios(path: Path, config: pytest.Config) -> bool:
    return path.is_relative_to(config.rootpath / "scenarios")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what --update-scenarios wrote: each place, what stood there, and what stands there now."""
    if not config.getoption(OPTION):
        return
    for file, problems in config.stash[WRITTEN]:
        terminalreporter.write_line(f"written: {file.name}")
        for problem in problems:
            where = ".".join(str(part) for part in problem.path)
            terminalreporter.write_line(f"    {where}: {problem.expected} -> {problem.found}")
    files = len(config.stash[WRITTEN])
    what = count(files, "file") if files else "nothing: what was run on Postgres holds, or fails for another reason"
    terminalreporter.write_line(f"{OPTION} wrote {what}")


def collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """The collector of a file that lies among scenarios: it is one, or the table of pairs, or has no place there."""
    if file_path.suffix == ".yaml":
        return ScenarioCollector.from_parent(parent, path=file_path)
    if file_path == parent.config.rootpath / "scenarios" / PAIRS:
        return race_items.collect_file(file_path, parent)
    if file_path.name == "README.md" or any(fnmatch(file_path.name, pattern) for pattern in OF_EDITORS):
        return None
    return Stray.from_parent(parent, path=file_path)


class Stray(pytest.File):
    """A file that nothing would run, and nobody would miss: it is refused."""

    def collect(self) -> Iterable[pytest.Item]:
        """Refused by its name, whatever it holds."""
        raise self.CollectError(
            f"{_shown_name(self)}: expected a scenario, <behaviour>.yaml; found a file that would never be run."
            " Rename it, or keep it elsewhere."
        )


class ScenarioCollector(pytest.File):
    """One file; what is wrong with it is said at collection."""

    def collect(self) -> Iterable[pytest.Item]:
        """An item for each way to run it."""
        self.read()
        for name, call in (("postgres", self._postgres), ("legacy", self._legacy), ("twins", self._twins)):
            yield PlayItem.from_parent(self, name=name, callobj=call())
        for name, swept in (*fault_items.calls(self.config, self.read), *race_items.calls(self.config, self.read)):
            yield PlayItem.from_parent(self, name=name, callobj=swept)

    def read(self) -> ScenarioFile:
        """The file as it stands now."""
        try:
            return scenarios.read_file(self.path, _shown_name(self))
        except BadScenario as error:
            raise self.CollectError(str(error)) from None

    def _postgres(self) -> Callable[[PostgresStage], None]:
        def run(postgres_stage: PostgresStage) -> None:
            file, verdict = self._replay(postgres_stage)
            if self.config.getoption(OPTION) and verdict.unexpected and not verdict.standing:
                update.rewrite(self.path, file.scenario, verdict)
                self.config.stash[WRITTEN].append((file, verdict.unexpected))
                file, verdict = self._replay(postgres_stage)
            _fail(file, verdict.problems)

        return run

    def _legacy(self) -> Callable[[LegacyStage], None]:
        def run(legacy_stage: LegacyStage) -> None:
            file, verdict = self._replay(legacy_stage)
            _fail(file, verdict.problems)

        return run

    def _twins(self) -> Callable[[PostgresStage, LegacyStage], None]:
        def run(postgres_stage: PostgresStage, legacy_stage: LegacyStage) -> None:
            file = self.read()
            with raised_in(file, f"{self.nodeid}::twins"):
                problems = replay_twins(file.scenario, postgres_stage, legacy_stage)
            _fail(file, problems)

        return run

    def _replay(self, stage: Stage) -> tuple[ScenarioFile, Verdict]:
        file = self.read()
        with raised_in(file, f"{self.nodeid}::{stage.name}"):
            return file, replay(file.scenario, stage)


def _shown_name(of: pytest.File) -> str:
    root = of.config.invocation_params.dir
    return str(of.path.relative_to(root)) if of.path.is_relative_to(root) else str(of.path)


def _fail(file: ScenarioFile, problems: Iterable[Problem]) -> None:
    """Raises PlayFailed where there is a problem, the first in the file first."""
    ordered = sorted(problems, key=lambda problem: file.document.mark(problem.path))
    if ordered:
        raise PlayFailed("\n".join(_block(file, problem) for problem in ordered))


def _block(file: ScenarioFile, problem: Problem) -> str:
    mark = file.document.mark(problem.path)
    where = ".".join(str(part) for part in problem.path)
    order = f"\n    in order  {problem.order}" if problem.order else ""
    return f"{file.name}:{mark.line}: {where}\n    expected  {problem.expected}\n    found     {problem.found}{order}"


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
    """Made by the first scenario of this worker that runs on Postgres."""
    made = Shared(databases)
    yield made
    made.close()


@pytest.fixture
def postgres_stage(scenario_database: Shared, request: pytest.FixtureRequest) -> Iterator[PostgresStage]:
    """A database to play on, emptied by each play; with --keep, one on which a scenario failed is left as it is."""
    yield scenario_database.stage
    if keeps(request):
        left = scenario_database.leave()
        note_kept_database(request, left)


MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


@pytest.fixture
def legacy_stage(worker_legacy_stage: LegacyStage, request: pytest.FixtureRequest) -> Iterator[LegacyStage]:
    """A legacy file to play on, made anew by each play; with --keep, a copy of one that failed is left."""
    yield worker_legacy_stage
    if keeps(request) and worker_legacy_stage.path.exists():
        copy = Path(tempfile.mkdtemp(prefix="sudamr-kept-"), "game.sqlite")
        worker_legacy_stage.copy_to(copy)
        remove = f"rm -r {quote(str(copy.parent))}"
        note_kept(request, "a copy of its file", f"sqlite3 {quote(str(copy))} (remove it with: {remove})")


@pytest.fixture(scope="session")
def worker_legacy_stage() -> Iterator[LegacyStage]:
    """One legacy file for all scenarios of this worker, made anew for each; in memory, where syncing costs nothing."""
    with tempfile.TemporaryDirectory(prefix="sudamr-legacy-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        empty = Path(folder, "empty.sqlite")
        seed.empty_legacy(empty)
        stage = LegacyStage(empty, Path(folder, "game.sqlite"))
        yield stage
        stage.close()
