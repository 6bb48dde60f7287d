"""A move under way, either direction: what every step works with, and how a step is performed.

What is true is asked of the databases; this object holds only what one process needs while it lives.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa

from db import ops
from db.confirmation import unasked
from db.console.live_view import LiveView, Unseen
from db.console.progress import Progress, Silent
from db.cutover import hooks, switch_record
from db.cutover import journal as journals
from db.cutover import report as reports
from db.cutover.deadline import Deadline
from db.cutover.instant import Instant
from db.cutover.journal import Journal
from db.cutover.ports import Demand, Observer, Provenance, Smoke, unobserved
from db.cutover.report import RunReport, RunVerdict, StepReport, StepStatus
from db.environments import Environment
from db.errors import Failure, Refusal
from db.ops import fence
from db.processes import operator
from db.processes.interruption import Signals
from db.snapshots.tools import Tools
from db.transfer.live.leeway import Leeway, Paced, of_reader
from db.transfer.live.session import LiveTransfer
from db.transfer.live_back.session import LiveWriteBack
from game.errors import StoreFailure
from game.legacy import identity, sqlite_values
from game.legacy.fence import mark as fence_mark
from game.legacy.fence_schema import FenceMark, Owner
from game.redaction import redact

FAILURES = (psycopg.Error, sqlite3.Error, sa.exc.SQLAlchemyError, StoreFailure, OSError)
"""The errors of stores, files and processes that fail; anything else is a defect of ours and is raised."""

RUNS = Path("var")
"""Where each run has its folder."""

PREFLIGHT = "preflight"
"""The name of the step of the checks."""

READ_ONLY_BEGINS = "read-only begins"
READ_ONLY_ENDS = "read-only ends"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The configuration of a run: the options of the command, and what a higher layer does for it.

    smoke: plays the smoke scenarios. demands: checks of a higher layer. confirm: called after the checks and before any
    change; may raise Refusal. hold: a live move stays before its window until a go is ordered. dry_run: only make and
    list the checks. abort: undo an attempt instead. tools: pg_dump and its like; None: those that are installed.
    folder: where runs are logged. most_seconds: the longest freeze that was approved with a plan. operator_token: what
    the smoke sends, for a process that is started beside the service. view: shows a live move. provenance: asked when
    the run begins, for its report.
    """

    smoke: Smoke
    demands: tuple[Demand, ...] = ()
    confirm: Callable[[], None] = unasked
    offline: bool = True
    hold: bool = False
    dry_run: bool = False
    abort: bool = False
    tools: Tools | None = None
    progress: Progress = field(default_factory=Silent)
    observer: Observer = unobserved
    folder: Path = RUNS
    most_seconds: float | None = None
    signals: Signals = field(default_factory=Signals)
    operator_token: str = field(default="", repr=False)
    view: LiveView = field(default_factory=Unseen)
    provenance: Callable[[], Provenance] = Provenance

    def of_watch(self) -> RunConfig:
        """Return the configuration of the rollback after a breach of the watch: nobody is asked, nothing demanded."""
        return replace(self, demands=(), confirm=unasked, offline=True, hold=False)

    def new_context(self, verb: str, env: Environment, *, run: str | None) -> RunContext:
        """Make the context of a move of this verb that goes on with a run; None: a new one.

        A snapshot that was taken for an earlier attempt never counts for a new one, for it bears another run's id.
        """
        journal = Journal(self.folder / (run or journals.new_run()), self.progress.say)
        return RunContext(verb, env, self, journal, Deadline(env.policy.freeze_budget_seconds))


@dataclass
class RunContext:
    """One cutover or rollback by one process. `conn` holds the lock once `locked` was entered.

    lifting: this process has sent the transaction of the point of no return. live, back: the live copy or the live
    write-back of this process, once one was opened. instant: the session that holds the snapshot of Postgres taken in
    the window. proven_at: when this process proved the live copy last, monotonic seconds. leeway: how much of the time
    a live move works.
    """

    verb: str
    env: Environment
    config: RunConfig
    journal: Journal
    deadline: Deadline
    pass_token: str = field(default_factory=fence.new_pass, repr=False)
    performed: list[StepReport] = field(default_factory=list)
    predicted_seconds: float | None = None
    lifting: bool = False
    live: LiveTransfer | None = field(default=None, repr=False)
    back: LiveWriteBack | None = field(default=None, repr=False)
    instant: Instant | None = field(default=None, repr=False)
    proven_at: float | None = None
    leeway: Leeway = field(default_factory=Leeway, repr=False)
    _stack: ExitStack = field(default_factory=ExitStack, repr=False)
    _conn: ops.Connection | None = field(default=None, repr=False)
    _held: ops.RunLock | None = field(default=None, repr=False)
    _identity: str = ""
    _run_before: str | None = None
    _engine: str = ""
    _dump: Future[dict[str, Any]] | None = field(default=None, repr=False)

    @property
    def held(self) -> ops.RunLock:
        """Return the run lock, which is held."""
        assert self._held is not None, "the step runs under the lock"
        return self._held

    @property
    def paced(self) -> Progress:
        """Return the progress of a task that reads the whole file beside players, and pauses for them."""
        return Paced(self.config.progress, of_reader(self.env.legacy.path, self.leeway))

    @property
    def conn(self) -> ops.Connection:
        """Return the owner's connection: the one that holds the lock, or one that only looks."""
        assert self._conn is not None, "entered by `locked` or `looking`"
        return self._conn

    @property
    def owner(self) -> Owner:
        """Return the owner that this run's fence on the legacy file names: this database."""
        return Owner(self.journal.run, self._identity)

    @property
    def owner_on_target(self) -> Owner:
        """Return the owner that this run's fence on Postgres names: the legacy file. Failure if it can't be reached."""
        try:
            return Owner(self.journal.run, identity.of(self.env.legacy.path))
        except StoreFailure as error:
            raise Failure("a legacy file to name in the fence", str(error), where=self.env.legacy.redacted) from None

    @contextmanager
    def locked(self, recheck: Callable[[], None], *, undoing: bool = False) -> Iterator[None]:
        """Perform step 2: hold the lock of the environment, and begin the journal.

        recheck: called under the lock, before the journal begins, since what was read before may have changed.
        undoing: records that an undo is under way, and see `hooks.wait_for_orphan`; else records that none is.
        Raises Refusal naming the lock's holder, or that Postgres stopped answering; Inconclusive if a hook of a dead
        run is still at work.
        """
        with ExitStack() as self._stack:
            try:
                self._begin(recheck, undoing=undoing)
            except psycopg.OperationalError as error:  # In the middle of an answer: who can't connect is refused.
                raise Refusal(
                    "the run lock",
                    f"Postgres stopped answering: {redact(text_of(error).splitlines()[0])}",
                    where=self.env.target_direct.redacted,
                    do="Nothing was changed. Run the same command again.",
                ) from error
            try:
                yield
            finally:
                self._held = None

    def enter(self, manager: AbstractContextManager[T]) -> T:
        """Enter the manager, and return what it gives. It is left when the lock is given back."""
        return self._stack.enter_context(manager)

    def _begin(self, recheck: Callable[[], None], *, undoing: bool) -> None:
        """Take the lock, wait for a dead run's hooks, check anew, and write the run's begin into the journal."""
        self.lock_again()
        if undoing:
            recheck()
            self.begin_undo()
        hooks.wait_for_orphan(self.env, undoing=undoing)
        recheck()
        if not undoing:
            self.end_undo()
        self._run_before = ops.phase_run(self.conn)
        self.journal.write(
            journals.RUN,
            verb=self.verb,
            environment=self.env.name,
            settings=self.env.files_read.lines(),
            live=not self.config.offline,
            operator=operator.name(),
            engine=self._engine,
            **asdict(self.config.provenance()),
        )

    @property
    def is_ours(self) -> bool:
        """Return True if the phase is as this move left it. False: the lock was lost, and another move went on."""
        return ops.phase_run(self.conn) in (self._run_before, self.journal.run)

    def require_lock(self) -> None:
        """Raise Failure if the lock was held and is lost. Call it before a change of files or services."""
        if self._held is not None:
            self._held.require()

    def require_phase(self, *phases: ops.Phase) -> None:
        """Raise Failure unless the lock is held and the move is in one of the phases. Asks the lock's connection."""
        self.held.require_phase(*phases, runs=(self._run_before, self.journal.run))

    def check_deadline(self) -> None:
        """Raise Failure if the lock is lost, or DeadlinePassed past the freeze budget."""
        self.config.signals.check()
        self.require_lock()  # Before the budget: a run that was paused has lost its lock, and that is what ended it.
        self.deadline.check()

    def note(self, write: Callable[[], None], *, must: bool = False) -> None:
        """Write one of this tool's records. must: raise the OSError of a full disk, say; else it is only printed."""
        try:
            write()
        except OSError as error:
            if must:
                raise
            self.config.progress.say(f"     a record of this run can't be written: {text_of(error)}")

    def begin_undo(self) -> None:
        """Record that an undo is under way, so that `status` and later runs name the command that finishes it."""
        self.note(lambda: switch_record.begin_undo(self.env, self.verb))

    def end_undo(self) -> None:
        """Record that no undo is under way."""
        self.note(lambda: switch_record.end_undo(self.env))

    def lock_again(self) -> None:
        """Take the lock on a new connection: the old one is gone, and with it the old lock."""
        self._held = self._stack.enter_context(ops.lock(self.env.target_direct, run=self.journal.run, why=self.verb))
        self._meet(self._held.conn)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Give a connection that changes nothing, for a plan."""
        with ops.connect(self.env.target_direct) as conn:
            self._meet(conn)
            yield

    def phase(self) -> ops.Phase:
        """Read the phase of the move from Postgres."""
        return ops.phase(self.conn)

    def legacy_fence(self) -> FenceMark:
        """Read what the legacy file's fence says of itself. Raises an error of SQLite's, which fails the step."""
        with closing(sqlite_values.connect(self.env.legacy.path, readonly=True)) as connection:
            return fence_mark(connection)

    def check(self, name: str, checks: Callable[[], None]) -> None:
        """Perform what comes before the lock, and so before the journal."""
        self.config.observer("before", name)
        began = time.monotonic()
        checks()
        self.performed.append(StepReport(name, StepStatus.DONE, round(time.monotonic() - began, 3)))
        self.config.observer("after", name)

    def dump_beside(self, dump: Callable[[], dict[str, Any]]) -> None:
        """Begin the final dump on a thread of its own: it reads the fenced file while the steps go on."""
        executor = ThreadPoolExecutor(1)
        self._dump = executor.submit(dump)
        executor.shutdown(wait=False)

    def dumped(self) -> dict[str, Any] | None:
        """Wait for the dump on its thread and return its result; None if this process began none."""
        dump, self._dump = self._dump, None
        return None if dump is None else dump.result()

    @property
    def dumping(self) -> bool:
        """Return True if a dump was begun beside and was not waited for yet."""
        return self._dump is not None

    def let_dump_end(self) -> None:
        """Wait for the dump on its thread, however it ends."""
        # A file that is opened to writes meanwhile would not be what the dump says that it keeps.
        if self._dump is not None:
            wait([self._dump])

    def finished(self, verdict: RunVerdict) -> RunReport:
        """Write the report beside the journal, which ends here, and return it."""
        made = RunReport(
            run=self.journal.run,
            verb=self.verb,
            environment=self.env.name,
            verdict=verdict,
            engine=self._engine,
            steps=tuple(self.performed),
            read_only_seconds=read_only_seconds(self.journal),
            counts=self._counts(),
            live=self._live_figures(),
            journal=str(self.journal.folder),
            settings=self.env.files_read,
            predicted_seconds=self.predicted_seconds,
        )
        if verdict is not RunVerdict.PLANNED and self.journal.last(journals.END) is None:
            try:
                reports.save(made, self.journal)
            except OSError as error:  # A missing report must not fail a finished move.
                self.config.progress.say(f"     the report can't be written: {error.strerror}")
            self.journal.write(journals.END, verdict=str(verdict))
        return made

    def note_step(self, name: str, status: StepStatus, seconds: float, facts: dict[str, Any]) -> None:
        """Record how a step ended, in the report and in the journal."""
        self.performed.append(StepReport(name, status, round(seconds, 3)))
        self.journal.write(str(status), name, seconds=round(seconds, 3), **facts)

    def _meet(self, conn: ops.Connection) -> None:
        """Take the connection as the run's, and note its server. Raises Refusal if it is another environment's."""
        ops.require_marker(conn, self.env.name)
        self._conn = conn
        self._identity = ops.identity(conn)
        version = conn.info.server_version
        self._engine = f"PostgreSQL {version // 10_000}.{version % 10_000}"

    def _live_figures(self) -> reports.LiveFigures | None:
        passed, instant = self.journal.last("window passed"), self.journal.last("instant")
        if passed is None:
            return None
        return reports.LiveFigures(**passed.facts, instant=dict(instant.facts) if instant else {})

    def _counts(self) -> dict[str, int]:
        counted = self.journal.last("counts")
        return dict(counted.facts) if counted else {}


def text_of(error: Exception) -> str:
    """Return the text of an error on one line or more; of one of the system what it is about, and the file."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: {error.filename}"
    return str(error).strip() or type(error).__name__


def read_only_seconds(journal: Journal) -> float | None:
    """Return how long players could not write, over all processes of the run; None if it never began or never ended.

    Each end is paired with the first begin since the end before.
    """
    total: float | None = None
    since: float | None = None
    for entry in journal.entries():
        if entry.event == READ_ONLY_BEGINS and since is None:
            since = entry.at
        elif entry.event == READ_ONLY_ENDS and since is not None:
            total, since = (total or 0.0) + entry.at - since, None
    return None if total is None else round(total, 3)
