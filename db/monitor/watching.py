"""Looks at an environment: once, or again and again. A look judges every check, and is exit code 0, 1 or 3."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from db import ops
from db.environments import Environment
from db.errors import Refusal
from db.monitor import samples, sampling
from db.monitor.check import Check, CheckOutcome, Judgement
from db.monitor.checks import CHECKS
from db.monitor.judging import judge, shown
from db.monitor.look import Look
from db.monitor.samples import Sample

FOLDER = Path("var") / "watch"
STATEMENT_MS = 5_000
LOCK_MS = 200
"""A look waits for nobody: the tables that it reads may be locked by what it is to find."""

LEAST_WINDOW = timedelta(seconds=4)
MOST_WINDOW = timedelta(minutes=15)
DAY_SECONDS = 86_400.0

sleep = time.sleep
"""Tests replace it."""


@dataclass(frozen=True, slots=True)
class Looked:
    """The result of one look. error: why the server could not be asked; then no check was judged."""

    environment: str
    at: datetime
    judgements: tuple[Judgement, ...]
    error: str = ""

    @property
    def breaches(self) -> tuple[Judgement, ...]:
        """Return the checks that are beyond their limit."""
        return self.of(CheckOutcome.BREACH)

    def of(self, outcome: CheckOutcome) -> tuple[Judgement, ...]:
        """Return the checks with this outcome."""
        return tuple(each for each in self.judgements if each.outcome is outcome)

    @property
    def verdict(self) -> str:
        """pass, fail for a breach, or inconclusive where a check could not be judged."""
        if self.breaches:
            return "fail"
        return "inconclusive" if self.error or self.of(CheckOutcome.NOT_JUDGED) else "pass"


def once(
    env: Environment,
    *,
    window_seconds: float,
    expected_settings: Mapping[str, str] | None = None,
    checks: Sequence[Check] = CHECKS,
    folder: Path = FOLDER,
) -> Looked:
    """Look once; where no earlier look is kept, first wait for `window_seconds`. A server that is away is a result."""
    with samples.opened(path_of(env, folder)) as kept:
        at = _now()
        if samples.before(kept, at, least=LEAST_WINDOW, most=MOST_WINDOW) is None:
            try:
                with _connected(env) as conn:
                    samples.add(kept, sampling.read(env, conn, at))
            except (Refusal, psycopg.Error) as error:
                return away(env, at, error, checks)
            sleep(window_seconds)
        return look(env, kept, expected_settings=expected_settings, checks=checks, least=timedelta(0))


def look(
    env: Environment,
    kept: sqlite3.Connection,
    *,
    expected_settings: Mapping[str, str] | None = None,
    checks: Sequence[Check] = CHECKS,
    least: timedelta = LEAST_WINDOW,
) -> Looked:
    """Judge every check now, against the newest look that is kept, and keep this one."""
    at = _now()
    try:
        with _connected(env) as conn:
            sample = sampling.read(env, conn, at)
            seen = Look(
                env=env,
                at=at,
                conn=conn,
                sample=sample,
                earlier=samples.before(kept, at, least=least, most=MOST_WINDOW),
                sample_at=lambda days: _days_ago(kept, at, days),
                expected_settings=expected_settings,
            )
            judged = tuple(_for(env, judge(check, seen, env.watch.limits)) for check in checks)
            sampling.note_own(conn, sample)
    except (Refusal, psycopg.Error) as error:
        return away(env, at, error, checks)
    samples.add(kept, sample)
    return Looked(env.name, at, judged)


def away(env: Environment, at: datetime, error: Exception, checks: Sequence[Check] = CHECKS) -> Looked:
    """Return the look at a server that does not answer: no check is judged."""
    text = shown(" ".join(str(error).split()))
    why = shown(error.found) if isinstance(error, Refusal) else text
    judged = (
        Judgement(
            c.name,
            CheckOutcome.NOT_JUDGED,
            None,
            c.limit.unit,
            c.limit.value,
            c.limit.least,
            c.limit.source,
            None,
            "",
            why,
            "",
        )
        for c in checks
    )
    return Looked(env.name, at, tuple(judged), text)


def path_of(env: Environment, folder: Path = FOLDER) -> Path:
    """Return the file of an environment's looks and alarms on this machine."""
    return folder / f"{env.name}.sqlite"


@contextmanager
def _connected(env: Environment) -> Iterator[ops.Connection]:
    with ops.connect(env.watch.monitor or env.target_direct, application="sudamr watch") as conn:
        conn.execute(f"set statement_timeout = {STATEMENT_MS}")
        conn.execute(f"set lock_timeout = {LOCK_MS}")
        conn.execute("set default_transaction_read_only = on")
        # The monitor's URL may name no schema: the checks read the game's tables by their names alone.
        conn.execute(sql.SQL("set search_path = {}").format(sql.Identifier(env.target_direct.schema)))
        yield conn


def _for(env: Environment, judgement: Judgement) -> Judgement:
    return replace(judgement, do=judgement.do.replace("{env}", env.name))


def _days_ago(kept: sqlite3.Connection, at: datetime, days: float) -> Sample | None:
    age = timedelta(days=days)
    return samples.before(kept, at, least=age, most=age + timedelta(days=7))


def _now() -> datetime:
    return datetime.now(UTC)
