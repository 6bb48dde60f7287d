"""PostgreSQL's wire: a proxy before a server that sees every round trip, and an interceptor that may break it."""

from __future__ import annotations

from harness.wire.proxy import Open, Proxy, address
from harness.wire.round_trips import (
    ONE_TRANSACTION,
    Decision,
    DropBefore,
    DropReply,
    InjectError,
    Pass,
    RoundTrip,
    beside_one_transaction,
)
from harness.wire.session import Interceptor, ProxySession

__all__ = [
    "ONE_TRANSACTION",
    "Decision",
    "DropBefore",
    "DropReply",
    "InjectError",
    "Interceptor",
    "Open",
    "Pass",
    "Proxy",
    "ProxySession",
    "RoundTrip",
    "address",
    "beside_one_transaction",
]
