"""Asks the two stores where a move stands, for people: a part that does not answer says why, and raises nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from psycopg.errors import LockNotAvailable

from db import ops
from db.cutover import rollback_steps
from db.cutover.advice import Fence
from db.cutover.context import FAILURES
from db.environments import Environment
from db.errors import Failure, Refusal, ToolError
from db.legacy.opening import reading
from db.ops import Phase, change_log, emergency, fence, locks, orders
from db.ops.emergency import Emergency
from db.ops.locks import Holder
from db.ops.orders import Orders
from db.schema import migrate
from db.transfer.live import capture as live_capture
from game.legacy import capture_schema
from game.legacy.fence import mark as fence_mark
from game.legacy.fence_schema import FenceMark
from game.redaction import redact

LEGACY = "the legacy file"
TARGET = "Postgres"

LOCK_SECONDS = 5.0
"""The wait for a legacy file that another process keeps locked."""


@dataclass(frozen=True, slots=True)
class UnknownState:
    """The reason why a part can't be known. do: a sentence that says what to do about it, or ""."""

    why: str
    do: str


@dataclass(frozen=True, slots=True)
class Control:
    """The state of a move, from the schema `ops`. holder: of the lock. emergency: the emergency fence that stands."""

    phase: Phase
    run: str | None
    identity: str
    holder: Holder | None
    emergency: Emergency | None

    @property
    def trial(self) -> bool:
        """Return True if the phase is of a trial, which fills the tables as an attempt that was aborted does."""
        return ops.is_trial(self.run)


@dataclass(frozen=True, slots=True)
class CaptureState:
    """Change capture on the legacy file. log: the name of its log; run: the run that turned it on; players: their
    number in the file; waiting: the number of changes on the log.

    full: the log has as many changes as it may, and may lack newer ones.
    """

    run: str
    log: str
    players: int
    waiting: int
    full: bool = False


@dataclass(frozen=True, slots=True)
class CopyState:
    """A copy of the phase's run, by its checkpoints. log: of its capture; beyond: it is past the players."""

    log: str
    players: int
    beyond: bool


@dataclass(frozen=True, slots=True)
class LogState:
    """The change log of Postgres. waiting: lines that are not applied, None while it is off; leads_on: from what the
    legacy file has, so that rounds alone go on from it.
    """

    waiting: int | None
    leads_on: bool


@dataclass(frozen=True, slots=True)
class TargetState(Control):
    """The state of Postgres. schema: its revision. rows: whether a table of the game has any.

    inconsistent: tables whose trigger differs from the fence's state. proven: the run's copy was. orders: those for the
    live attempt that is under way. log: None unless it is a rollback. returned_live: a live rollback has returned, and
    its last steps are still to do.
    """

    fence: Fence
    inconsistent: tuple[str, ...]
    schema: str | None
    rows: bool
    proven: bool = False
    copies: tuple[CopyState, ...] = ()
    orders: Orders | None = None
    log: LogState | None = None
    returned_live: bool = False

    @property
    def going_back(self) -> bool:
        """Return True if a live rollback is under way."""
        return self.orders is not None and bool(self.orders.back_from)


class Depth(StrEnum):
    """The last question that Postgres answered."""

    NOTHING = "nothing"
    MARKER = "marker"
    CONTROL = "control"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class TargetAnswer:
    """The answers of Postgres, as far as it could be asked. target: None unless all of it could."""

    depth: Depth = Depth.NOTHING
    marker: str | None = None
    control: Control | None = None
    target: TargetState | None = None
    unprepared: bool = False


def unknown(error: Exception, do: str = "") -> UnknownState:
    """Make an Unknown of an error. The place is left out: who shows it shows the place too."""
    if isinstance(error, ToolError):
        return UnknownState(redact(f"expected {error.expected}; found {error.found}"), redact(error.do) or do)
    text = (error.strerror if isinstance(error, OSError) else str(error).strip()) or type(error).__name__
    return UnknownState(redact(text.splitlines()[0]), do)  # A server's error has its position and hints on more lines.


def legacy(path: Path) -> FenceMark:
    """Read the fence of the legacy file. Raises Refusal saying why it can't be read, or is no file of the game."""
    with reading(path, timeout_seconds=LOCK_SECONDS) as connection:
        mark = fence_mark(connection)
        known = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'users'").fetchone()
    if known == (0,):
        raise Refusal(
            "a legacy file of this game",
            "one without the table `users`",
            where=str(path),
            do="Correct `legacy` where it is set (invoke status --env NAME: settings).",
        )
    return mark


def capture(path: Path) -> CaptureState | None:
    """Read the change capture of the legacy file; None if none is on. Raises as `legacy` does."""
    with reading(path, timeout_seconds=LOCK_SECONDS) as connection:
        if (state := capture_schema.state(connection)) is None:
            return None
        players = connection.execute("SELECT count(*) FROM users").fetchone()
        full, waiting = capture_schema.is_full(connection), live_capture.size(connection)
        return CaptureState(state[1], state[0], int(players[0]), waiting, full=full)


def ask(env: Environment) -> tuple[TargetAnswer, UnknownState | None]:
    """Ask Postgres as far as it answers, and say why no further."""
    answer = TargetAnswer()
    advice = ""
    try:
        with _asking(env) as conn:
            answer = TargetAnswer(Depth.MARKER)
            answer = replace(answer, marker=ops.marker(conn))
            ops.require_marker(conn, env.name)
            control = Control(
                ops.phase(conn),
                ops.phase_run(conn),
                ops.identity(conn),
                locks.holder(conn),
                emergency.standing(conn),
            )
            answer = replace(answer, depth=Depth.CONTROL, control=control)
            advice = f"invoke migrate --env {env.name}, which says what is wrong with the schema"
            return replace(answer, depth=Depth.ALL, target=_target(conn, control)), None
    except (ToolError, *FAILURES) as error:
        unprepared = isinstance(error, Refusal) and "invoke prepare" in error.do
        why = unknown(error, advice)
        return replace(answer, unprepared=unprepared), replace(
            why, do=why.do.replace("--env NAME", f"--env {env.name}")
        )


@contextmanager
def _asking(env: Environment) -> Iterator[ops.Connection]:
    """Connect for questions, which wait for no lock for long: a migration that is stopped keeps its tables."""
    with ops.connect(env.target_direct) as conn:
        conn.execute(f"set lock_timeout = '{LOCK_SECONDS:.0f}s'".encode())
        try:
            yield conn
        except LockNotAvailable as error:
            raise Failure(
                f"the game's tables to be readable within {LOCK_SECONDS:.0f} s",
                f"locked by {locks.table_lockers(conn)}",
                where=env.target_direct.redacted,
                do="Let them end, or end each (SELECT pg_terminate_backend(PROCESS);), and ask again.",
            ) from error


def _target(conn: ops.Connection, control: Control) -> TargetState:
    schema = migrate.current(conn)
    state, rows = Fence.FENCED, False
    inconsistent: tuple[str, ...] = ()
    if schema:
        recorded = fence.recorded_state(conn)
        state, inconsistent, rows = (
            Fence(recorded),
            fence.inconsistent_tables(conn, recorded),
            rollback_steps.has_rows(conn),
        )
    standing = orders.standing(conn)
    return TargetState(
        control.phase,
        control.run,
        control.identity,
        control.holder,
        control.emergency,
        fence=state,
        inconsistent=inconsistent,
        schema=schema,
        rows=rows,
        proven=bool(schema) and control.run is not None and ops.is_proven(conn, control.run),
        copies=_copies(conn, control.run) if schema else (),
        orders=standing,
        log=_log(conn) if standing is not None and standing.back_from else None,
        returned_live=control.run is not None and orders.is_return(conn, control.run),
    )


def _log(conn: ops.Connection) -> LogState:
    log = change_log.capture(conn)
    if log is None or not log.on:
        return LogState(None, leads_on=False)
    # A log that began after the lift leads on once all was written back, and a round has followed.
    return LogState(change_log.waiting(conn, log.log)[0], leads_on=log.at_lift or log.rounds > 0)


def _copies(conn: ops.Connection, run: str | None) -> tuple[CopyState, ...]:
    query = (
        "select source, coalesce(sum(rows) filter (where source_table = 'users'), 0),"
        " bool_or(source_table <> 'users') from transfer_checkpoints where run = %s group by source"
    )
    rows = conn.execute(query, (run,)).fetchall()
    return tuple(CopyState(str(log), int(players), bool(beyond)) for log, players, beyond in rows)
