"""The jobs of `invoke upkeep`. Each is due or not, and one that fails keeps none of the others from running."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import psycopg
from psycopg import sql

from db import ops, snapshots
from db.console.progress import Progress, Silent
from db.cutover.ports import SmokeResult
from db.environments import Environment
from db.errors import Failure, Refusal, ToolError
from db.legacy.opening import is_absent, reading
from db.monitor.checks import indexes
from db.ops import fence, locks
from db.snapshots import Label, Side, manifest, postgres
from db.snapshots.tools import Tools
from db.upkeep import advice, restored
from game.legacy import fence as legacy_fence
from game.redaction import redact
from game.urls import PostgresUrl

NAMES = (
    "what dead runs left",
    "backup of Postgres",
    "backup of the legacy file",
    "invalid indexes",
    "statistics",
    "index advice",
)
"""The jobs, in the order in which they are done."""

WEEK, DAY = timedelta(days=6, hours=12), timedelta(hours=22)
"""A timer that starts some minutes earlier than a week or a day ago must not skip a turn."""

TABLES = """
select relname from pg_class c where relnamespace = to_regnamespace(quote_ident(%s)) and relkind = 'r'
    and pg_has_role(relowner, 'usage') order by relname
"""
INVALID = """
select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid
where c.relnamespace = to_regnamespace(quote_ident(%s)) and not (i.indisvalid and i.indisready)
    and pg_has_role(c.relowner, 'usage') order by 1
"""
LEFT_BY_REINDEX = "_ccnew"
"""PostgreSQL documentation, REINDEX: a copy that a cancelled one left is named so, and is dropped, not rebuilt."""


@dataclass(frozen=True, slots=True)
class UpkeepConfig:
    """The options of an upkeep. dump: back up although none is due. play: plays on a restored copy."""

    play: Callable[[PostgresUrl], SmokeResult]
    dump: bool = False
    tools: Tools | None = None
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True, slots=True)
class JobReport:
    """One job: done, not due, or failed, with what was done or why."""

    name: str
    status: str
    seconds: float
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """All jobs of one upkeep."""

    environment: str
    jobs: tuple[JobReport, ...]

    @property
    def verdict(self) -> str:
        """pass, or fail if a job failed."""
        return "fail" if any(job.status == FAILED for job in self.jobs) else "pass"


DONE, NOT_DUE, FAILED = "done", "not due", "failed"


class NotDue(Exception):
    """The job has nothing to do now; the text says why, in a clause."""


def run(env: Environment, config: UpkeepConfig) -> Report:
    """Do every job that is due. Raises Refusal if another upkeep or a move of this environment is at work."""
    with _alone(env):
        jobs: tuple[Callable[[], str], ...] = (
            partial(_clear, env),
            partial(_back_up, env, config),
            partial(_back_up_legacy, env, config),
            partial(_reindex, env),
            partial(_analyze, env),
            partial(_advise, env),
        )
        return Report(env.name, tuple(_done(name, job, config.progress) for name, job in zip(NAMES, jobs, strict=True)))


def _done(name: str, job: Callable[[], str], progress: Progress) -> JobReport:
    progress.say(name)
    began = time.monotonic()
    try:
        status, detail = DONE, job()
    except NotDue as error:
        status, detail = NOT_DUE, str(error)
    except (ToolError, psycopg.Error, OSError) as error:
        status, detail = FAILED, redact(" ".join(str(error).split()))
    return JobReport(name, status, round(time.monotonic() - began, 3), detail)


@contextmanager
def _alone(env: Environment) -> Iterator[None]:
    """Hold the lock of upkeep, and see that no move is at work: a move takes its own snapshots, and waits for none."""
    with ops.connect(env.target_direct, application="sudamr upkeep") as conn:
        ops.require_marker(conn, env.name)
        if owner := locks.holder(conn):
            raise Refusal(
                "no move at work",
                str(owner),
                where=env.target_direct.redacted,
                do=f"Run it again when the move has ended: invoke status --env {env.name} says where it stands.",
            )
        row = conn.execute("select pg_try_advisory_lock(%s, %s)", (locks.LOCK_CLASS, locks.UPKEEP_LOCK)).fetchone()
        if not (row and row[0]):
            raise Refusal(
                "no other upkeep at work",
                locks.owners(conn, locks.UPKEEP_LOCK),
                where=env.target_direct.redacted,
                do=locks.how_to_end(conn, locks.UPKEEP_LOCK),
            )
        try:
            yield
        finally:
            locks.release(conn, locks.UPKEEP_LOCK)


def _clear(env: Environment) -> str:
    dropped = postgres.clear_abandoned(env.target_direct)
    folders = manifest.clear_abandoned(env.snapshots.folder, env.name) if env.snapshots.folder.is_dir() else 0
    if not dropped and not folders:
        raise NotDue("nothing was left")
    return f"{dropped} scratch databases and {folders} folders removed"


def _back_up(env: Environment, config: UpkeepConfig) -> str:
    """Dump Postgres, restore the dump, count it, check every player, and play on it; weekly."""
    with ops.connect(env.target_direct) as conn:
        if ops.phase(conn) is not ops.Phase.LIVE and fence.recorded_state(conn) != "open":
            raise NotDue("players do not play on Postgres")
    if not config.dump and (newest := _newest(env, Side.TARGET)) and manifest.now() - newest < WEEK:
        raise NotDue(f"the newest verified one is of {newest:%Y-%m-%d %H:%M} UTC")
    checked: list[str] = []
    taken = snapshots.take_verified(
        env,
        Side.TARGET,
        label=Label.SCHEDULED,
        tools=config.tools,
        inspect=lambda url: checked.append(restored.inspect(url, config.play)),
    )
    return f"{taken.folder.name}, {taken.manifest.size / 1e6:,.1f} MB, {taken.players:,} players; {checked[0]}"


def _back_up_legacy(env: Environment, config: UpkeepConfig) -> str:
    """Copy the legacy file and verify the copy; daily, while players play on it."""
    if is_absent(env.legacy.path):
        raise NotDue("there is no legacy file")
    with reading(env.legacy.path) as file:
        state = legacy_fence.mark(file).state
    if state != "open":
        raise NotDue(f"players do not play on it: it is {state}")
    if not config.dump and (newest := _newest(env, Side.LEGACY)) and manifest.now() - newest < DAY:
        raise NotDue(f"the newest verified one is of {newest:%Y-%m-%d %H:%M} UTC")
    taken = snapshots.take_verified(env, Side.LEGACY, label=Label.SCHEDULED)
    return f"{taken.folder.name}, {taken.manifest.size / 1e6:,.1f} MB, {taken.players:,} players"


def _newest(env: Environment, side: Side) -> datetime | None:
    """Return when the newest verified snapshot was taken; None if there is none."""
    folder = env.snapshots.folder
    existing = snapshots.find(folder, env.name, side=side) if folder.is_dir() else []
    verified = [each for each in existing if snapshots.is_admitted(each) and snapshots.is_verified(each)]
    return datetime.fromisoformat(verified[-1].manifest.taken_at) if verified else None


def _reindex(env: Environment) -> str:
    """Build each invalid index anew, while players play; drop the copies that a cancelled rebuild left."""
    with ops.connect(env.target_direct, application="sudamr upkeep") as conn:
        names = [name for (name,) in conn.execute(INVALID, [env.target_direct.schema]).fetchall()]
        if not names:
            raise NotDue("every index is valid")
        for name in names:
            verb = "drop index concurrently" if LEFT_BY_REINDEX in name else "reindex index concurrently"
            statement = sql.SQL("{} {}").format(sql.SQL(verb), sql.Identifier(env.target_direct.schema, name))
            conn.execute(statement)
        still = [str(subject) for _, subject in conn.execute(indexes.INVALID, [env.target_direct.schema]).fetchall()]
    if still:
        raise Failure("every index valid", ", ".join(still), where=env.target_direct.redacted, do="Run it again.")
    return ", ".join(names)


def _analyze(env: Environment) -> str:
    with ops.connect(env.target_direct, application="sudamr upkeep") as conn:
        names = [name for (name,) in conn.execute(TABLES, [env.target_direct.schema]).fetchall()]
        if not names:
            raise NotDue("there are no tables")
        tables = sql.SQL(", ").join(sql.Identifier(env.target_direct.schema, name) for name in names)
        conn.execute(sql.SQL("analyze {}").format(tables))
    return f"{len(names)} tables analyzed"


def _advise(env: Environment) -> str:
    """Write the indexes that costly statements lack as revisions to review. Nothing in the database is changed."""
    try:
        advices = advice.advise(env)
    except advice.Unavailable as error:
        raise NotDue(str(error)) from error
    if not advices:
        raise NotDue("no costly statement would be twice as cheap with another index")
    paths = advice.write(env, advices)
    return "; ".join(f"{each}, to review: {path}" for each, path in zip(advices, paths, strict=True))
