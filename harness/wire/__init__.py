"""PostgreSQL's wire: a proxy before a server that sees every round trip, and an interceptor that may break it."""

from __future__ import annotations

from harness.wire.proxy import Open, Proxy, address
from harness.wire.round_trips import ONE_TRANSACTION, Cut, Lose, Pass, Raise, Trip, Verdict, beside_one_transaction
from harness.wire.session import Judge, Session

__all__ = [
    "ONE_TRANSACTION",
    "Cut",
    "Judge",
    "Lose",
    "Open",
    "Pass",
    "Proxy",
    "Raise",
    "Session",
    "Trip",
    "Verdict",
    "address",
    "beside_one_transaction",
]
