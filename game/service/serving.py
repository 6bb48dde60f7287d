"""What a process of the service does: it loads, says so, and serves once its supervisor tells it to."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from pydantic import SecretStr

from game import settings
from game.errors import BadSettings, StoreFailure, StoreLacks
from game.postgres.store import Timeouts
from game.service import reports
from game.service.app import create_app
from game.service.connections import Door
from game.service.descriptors import PRIVATE_CONNECTIONS, most_connections
from game.service.limits import Limits
from game.service.logs import configure_logs, logger
from game.service.metrics import Metrics
from game.service.pair import CAN_NOT_ASK, ProbedStore, StorePair
from game.service.process import LOADED, SERVE
from game.service.revocations import Revocations
from game.service.server import GRACE_SECONDS, UvicornServer, server
from game.service.tokens import Rules
from game.service.traffic import RequestFacts
from game.settings import Settings
from game.stores import open_probe, open_store
from game.unit_of_work import Store

NEXT_SECONDS = 3.0


def load(
    public: socket.socket, private: socket.socket, says: int, *, warm: bool, digests: int | None = None
) -> Callable[[], int] | None:
    """Load all that serving needs, by the settings, and return `serve`; None, and a line on standard error, if they are
    wrong.

    warm: open every connection to the store too, since players come at once, as they do after a restart. digests:
    memory that the service's processes share; see `LegacyStore`.
    """
    configure_logs()
    try:
        now = settings.load()
        reports.start(now)
        loaded = _server(now, public.getsockname()[1], private.getsockname()[1], warm=warm, digests=digests)
    except (BadSettings, StoreLacks) as error:
        sys.stderr.write(f"{error}\n")
        return None
    return partial(serve, loaded, [public, private], says)


def serve(loaded: UvicornServer, sockets: list[socket.socket], says: int) -> int:
    """Say LOADED on the descriptor, and serve on the listeners, once told to, until SIGTERM; the exit code."""
    gc.freeze()  # All of this stays: a collection that looked at it would stop every request for a tenth of a second.
    gc.enable()
    os.write(says, LOADED)
    os.close(says)
    if os.read(sys.stdin.fileno(), 1) != SERVE:
        return 1
    threading.Thread(target=_end_with_the_supervisor, daemon=True).start()
    loaded.run(sockets=sockets)
    reports.flush()
    return 0


def _server(now: Settings, public: int, private: int, *, warm: bool, digests: int | None = None) -> UvicornServer:
    """Return the server for the two ports. Raises BadSettings, StoreLacks."""
    metrics = Metrics()
    try:
        most = most_connections(now.connections, _pools(now))
    except ValueError as error:
        raise BadSettings(f"CONNECTIONS: {error}") from None
    if most < now.connections:
        logger().warning("fewer_connections", wanted=now.connections, most=most)
    limits = Limits(now.request_timeout_seconds, now.send_timeout_seconds)
    doors = {
        public: Door(most, private=False, metrics=metrics, limits=limits),
        private: Door(PRIVATE_CONNECTIONS, private=True, metrics=metrics, limits=limits),
    }
    first = _side(now, now.database_url, metrics, digests)
    _require_columns(first.store)
    if warm:
        with suppress(*CAN_NOT_ASK):  # If the store does not answer now, later requests open the connections.
            first.store.warm()
    following = _side(now, now.database_url_next, metrics, digests) if now.database_url_next else None
    pair = StorePair(first, following) if following else None
    if warm and pair is not None:
        _reach_next(pair)
    app = create_app(
        pair or first.store,
        chance_secret=now.chance_secret.get_secret_value(),
        token_secret=now.token_secret.get_secret_value(),
        token_rules=_token_rules(now),
        operator_token=now.operator_token.get_secret_value() if now.operator_token else None,
        pool_size=now.pool_size,
        hold_seconds=now.hold_ms / 1000,
        metrics=metrics,
        report=reports.report,
    )
    return server(app, doors)


def _reach_next(pair: StorePair) -> None:
    """Open the next store before the first requests come, which would wait beside it. Returns within NEXT_SECONDS.

    One that is away, or is broken, must not keep the process from serving the other: the lookout tends it from then on.
    """

    def reach() -> None:
        try:
            pair.tend()
        except Exception as error:  # noqa: BLE001  # reported as a defect, and met again by the lookout
            reports.report(error, RequestFacts())

    reaching = threading.Thread(target=reach, name="reaching the next store", daemon=True)
    reaching.start()
    reaching.join(NEXT_SECONDS)


def _side(now: Settings, url: SecretStr, metrics: Metrics, digests: int | None) -> ProbedStore:
    """Return the store at the URL, and the one with which it is asked; nothing has connected to either yet."""
    text = url.get_secret_value()
    return ProbedStore(
        open_store(text, pool_size=now.pool_size, timeouts=_timeouts(now), watch=metrics, digests=digests),
        open_probe(text),
    )


def _pools(now: Settings) -> int:
    """Return how many connections to stores the process may have; of two stores each has one more, for its probe."""
    return now.pool_size if now.database_url_next is None else 2 * (now.pool_size + 1)


def _require_columns(store: Store) -> None:
    """Raise StoreLacks if the store lacks a column. The restart fails, and the old processes go on serving."""
    try:
        lacks = store.status().lacks
    except StoreFailure:
        # The store does not answer now. Readiness makes the same check later.
        return
    if lacks:
        raise StoreLacks(lacks)


def _token_rules(now: Settings) -> Rules:
    """Return how long tokens are good. Raises BadSettings if the file of revoked ones can't be read."""
    until = now.undated_tokens_until
    rules = Rules(
        lifetime_ms=now.token_lifetime_seconds * 1000,
        previous_secret=now.previous_token_secret.get_secret_value() if now.previous_token_secret else None,
        undated_until_ms=int(until.timestamp() * 1000) if until else 0,
    )
    return replace(rules, revoked_ms=Revocations(now.revoked_tokens)) if now.revoked_tokens else rules


def _timeouts(now: Settings) -> Timeouts:
    return Timeouts(
        statement_ms=now.statement_timeout_ms,
        lock_ms=now.lock_timeout_ms,
        idle_in_transaction_ms=now.idle_in_transaction_timeout_ms,
        connect_seconds=now.connect_timeout_seconds,
        pool_seconds=now.pool_timeout_seconds,
    )


def _end_with_the_supervisor() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    late = threading.Timer(GRACE_SECONDS, os._exit, (1,))
    late.daemon = True
    late.start()
    os.kill(os.getpid(), signal.SIGTERM)
