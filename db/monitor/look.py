"""One look at an environment: its connection, its counters now and before, and what a check needs to judge them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import psycopg

from db import ops
from db.cutover import services
from db.cutover.services import Ready
from db.environments import Environment
from db.errors import Refusal
from db.monitor.check import Check, Measured, NotApplicable, NotJudged
from db.monitor.samples import Sample
from db.ops import fence
from db.providers import metrics
from db.providers.aws import Unanswered
from db.providers.metrics import MetricsReading

PREPARED = "select from pg_namespace where nspname = 'ops'"
UNUSABLE = "select from pg_namespace where nspname = %s and not has_schema_privilege(oid, 'usage')"
MOST_AT_ONCE = 16
"""Processes of the service that are asked at the same time."""


@dataclass
class Look:
    """Everything that the checks of one look share. conn: read-only, in autocommit, with short timeouts.

    sample: the counters now. earlier: those of an earlier look; None: there was none within the window. sample_at:
    returns the look that is this many days old; None: there is none. expected_settings: those that the certificate was
    given for; None: no certificate is known.
    """

    env: Environment
    at: datetime
    conn: ops.Connection
    sample: Sample
    earlier: Sample | None
    sample_at: Callable[[float], Sample | None] = field(default=lambda _days: None)
    expected_settings: Mapping[str, str] | None = None

    def measure(self, check: Check) -> Measured:
        """Measure one check. Raises NotJudged or NotApplicable; every other error becomes NotJudged, with its text."""
        if check.statistics and not self.sees_statistics:
            raise NotJudged(f"the role {self.conn.info.user} lacks pg_monitor, so it sees its own sessions alone")
        try:
            return check.measure(self)
        except psycopg.errors.InsufficientPrivilege as error:
            raise NotJudged(f"the role {self.conn.info.user} may not read it: {_line(error)}") from error
        except psycopg.errors.UndefinedTable as error:
            raise NotJudged(f"the server lacks a view or extension: {_line(error)}") from error
        except psycopg.Error as error:
            raise NotJudged(f"the server did not answer it: {_line(error)}") from error
        except Refusal as error:
            raise NotJudged(f"{error.found}, where {error.expected} is needed") from error
        except (NotJudged, NotApplicable):
            raise
        except Exception as error:  # A defect of one check must not hide what the others find.
            raise NotJudged(f"the check itself failed: {type(error).__name__}: {_line(error)}") from error

    @cached_property
    def sees_statistics(self) -> bool:
        """Return True if the role may see the sessions and statements of other roles."""
        return bool(self.value("select pg_has_role('pg_read_all_stats', 'usage')"))

    @cached_property
    def ready(self) -> dict[str, Ready | str]:
        """Return the answer of each process at /readyz, or why there is none, by its URL. Asked once a look."""
        # At once: a process that hangs is waited for two seconds, and several may hang.
        with ThreadPoolExecutor(max_workers=MOST_AT_ONCE) as pool:
            return dict(zip(self.env.services, pool.map(services.asked, self.env.services), strict=True))

    @cached_property
    def rds(self) -> MetricsReading | str:
        """Return AWS's answers about the instance and its metrics, or why there is none. Asked once a look."""
        try:
            return metrics.read(self.env, self.at)
        except Refusal as error:
            return f"{error.expected}: {error.found}"
        except Unanswered as error:
            return str(error)

    @cached_property
    def phase(self) -> ops.Phase | None:
        """Return the phase of the move; None: never prepared. Raises NotJudged, or Refusal if it may not be read."""
        if not self.rows(PREPARED):
            return None
        self.require_usage("ops")
        return ops.phase(self.conn)

    @cached_property
    def fence(self) -> str:
        """Return the fence's recorded state; "" without one, or where the role may not read it."""
        try:
            return fence.recorded_state(self.conn)
        except (psycopg.Error, Refusal):
            return ""

    def require_usage(self, schema: str) -> None:
        """Raise NotJudged if the role may not use a schema that there is: what is in it seems not to exist then."""
        if self.rows(UNUSABLE, [schema]):
            raise NotJudged(f"the role {self.conn.info.user} may not use the schema {schema}")

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""
        return self.conn.execute(query, parameters or None).fetchall()

    def row(self, query: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
        """Run a query that gives one row and return it."""
        (row,) = self.rows(query, parameters)
        return row

    def value(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        """Run a query that gives one value and return it."""
        return self.row(query, parameters)[0]

    def worst(self, query: str, parameters: Sequence[Any] = (), *, none: str = "none") -> Measured:
        """Measure the greatest value of rows (value, subject), the greatest first; 0 where there are none.

        The evidence names up to three subjects.
        """
        return greatest(self.rows(query, parameters), none=none)

    def increase(self, name: str) -> tuple[float, float]:
        """Return how much a counter grew since the earlier look, and the seconds between the looks.

        Raises NotJudged where there is no earlier look, or the server began to count anew since.
        """
        earlier = self.earlier_sample
        if name not in self.sample.counters:
            raise NotJudged(f"the server does not count it ({name})")
        if name not in earlier.counters:
            raise NotJudged("the look before did not count it")
        grown = self.sample.counters[name] - earlier.counters[name]
        if grown < 0:
            raise NotJudged("the counter was reset since the look before")
        return grown, self.window_seconds

    @property
    def earlier_sample(self) -> Sample:
        """Return the look before. Raises NotJudged where it can't be compared with this one."""
        if self.earlier is None:
            raise NotJudged("there was no look before this one within the window")
        if self.earlier.began != self.sample.began:
            seconds = max(0.0, self.sample.at.timestamp() - self.sample.began)
            raise NotJudged(f"the server's counters were reset {seconds:,.0f} s ago")
        return self.earlier

    @property
    def window_seconds(self) -> float:
        """Return the seconds between this look and the one before."""
        return (self.sample.at - self.earlier_sample.at).total_seconds()

    def require_live(self) -> None:
        """Raise NotApplicable unless players play on this Postgres: after a move, or on seeded tables."""
        if self.phase is not ops.Phase.LIVE and self.fence != "open":
            raise NotApplicable(f"the phase is {self.phase or 'unknown'}: players do not play on Postgres")


def greatest(rows: Sequence[tuple[Any, ...]], *, none: str = "none", window_seconds: float | None = None) -> Measured:
    """Return the first value of rows (value, subject, ...), with up to three subjects as evidence; 0 without rows."""
    if not rows:
        return Measured(0.0, none, window_seconds)
    more = f", and {len(rows) - 3:,} more" if len(rows) > 3 else ""
    return Measured(float(rows[0][0]), "; ".join(str(row[1]) for row in rows[:3]) + more, window_seconds)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
