"""The metrics of one process for Prometheus; docs/service.md explains each name."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from game.rules.actions import ACTIONS
from game.service.problems import PROBLEMS, end_of
from game.unit_of_work import UnitStatement

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

TRIED_AGAIN = ("db_unreachable", "tx_rolled_back")
"""The codes of failures after which an attempt is made again: see `game.errors.TryAgain`."""

READ = "show"
"""The action of a GET."""


class Closed(StrEnum):
    """The reasons for which the service closes a connection, as docs/service.md lists them. A code was sent too."""

    IDLE = "idle"
    REQUEST_TIMEOUT = "request_timeout"
    UNREAD = "unread"
    DISPLACED = "displaced"
    TURNED_AWAY = "turned_away"
    BAD_REQUEST = "bad_request"
    HEAD_TOO_LARGE = "head_too_large"
    BODY_TOO_LARGE = "body_too_large"
    ENDLESS = "endless"


class Held(StrEnum):
    """The ends of a hold, as docs/service.md lists them."""

    RELEASED = "released"
    TIMED_OUT = "timed_out"
    TOO_MANY = "too_many"
    REFUSED = "refused"
    LEFT = "left"


class Metrics:
    """The counters of one process; its store's `Watch`."""

    def __init__(self) -> None:
        self.registry = new = CollectorRegistry()
        self.requests = Counter(
            "sudamr_requests", "Actions and reads asked for, by how they ended.", ["action", "end"], registry=new
        )
        self.refusals = Counter("sudamr_refusals", "Requests answered with a problem, by code.", ["code"], registry=new)
        self.retries = Counter("sudamr_retries", "Attempts that failed for now, by code.", ["code"], registry=new)
        self.rollbacks = Counter("sudamr_rollbacks", "Transactions that ended with an error.", registry=new)
        self.seconds = Histogram(
            "sudamr_request_seconds", "Until the answer began.", ["action"], buckets=SECONDS, registry=new
        )
        self.in_use = Gauge("sudamr_pool_in_use", "Connections of the pool that work for a request.", registry=new)
        self.pool_waiting = Gauge("sudamr_pool_waiting", "Requests that wait for a connection.", registry=new)
        self.slot_waiting = Gauge("sudamr_slot_waiting", "Commands that wait for a slot.", registry=new)
        self.closed = Counter(
            "sudamr_connections_closed", "Connections that the service closed, by why.", ["reason"], registry=new
        )
        self.serves = Gauge(
            "sudamr_serves",
            "1 for the store that the process serves, of those that it has open.",
            ["engine"],
            registry=new,
        )
        self.next_ready = Gauge("sudamr_next_ready", "1 if the process could serve its other store.", registry=new)
        self.held = Gauge("sudamr_held_requests", "Requests that are held over a window.", registry=new)
        self.holds = Counter("sudamr_holds", "Requests that were held, by how that ended.", ["hold"], registry=new)
        self.hold_seconds = Histogram(
            "sudamr_hold_seconds", "How long a request was held.", buckets=SECONDS, registry=new
        )
        self.query_seconds = Histogram(
            "sudamr_query_seconds", "How long the database took.", ["statement"], buckets=SECONDS, registry=new
        )

        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Show every counter that an alarm asks about before it has counted anything.

        Prometheus takes the first value that it sees for the beginning: of a counter that appears with 1, increase() is
        0, and an alarm on the first failure could not fire.
        """
        for code in PROBLEMS:
            self.refusals.labels(code)
        for code in TRIED_AGAIN:
            self.retries.labels(code)
        for hold in Held:
            self.holds.labels(hold)
        ends = {"granted", "replayed", *map(end_of, PROBLEMS)}
        for action in (*(command.action for command in ACTIONS), READ):
            self.seconds.labels(action)
            for end in ends:
                self.requests.labels(action, end)

    def waiting(self) -> AbstractContextManager[object]:
        """Count a request that waits for a connection. See `Watch`."""
        return self.pool_waiting.track_inprogress()

    def holding(self) -> AbstractContextManager[object]:
        """Count a connection in use. See `Watch`."""
        return self.in_use.track_inprogress()

    def asking(self, statement: UnitStatement) -> AbstractContextManager[object]:
        """Time a statement of the store. See `Watch`."""
        return self.query_seconds.labels(statement).time()

    def rolled_back(self) -> None:
        """Count a unit of work that was rolled back. See `Watch`."""
        self.rollbacks.inc()

    def text(self, names: Collection[str] = ()) -> bytes:
        """Write the metrics of these names, without names all, in Prometheus' text format."""
        return generate_latest(self.registry.restricted_registry(names) if names else self.registry)
