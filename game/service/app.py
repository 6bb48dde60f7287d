"""The HTTP face of dispatch. Endpoints are plain functions on threads; nothing here opens a transaction."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Literal, TypeAlias

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from game import tables
from game.dispatch import Answer, dispatch, retry
from game.dispatch import Request as Asked
from game.errors import Refused, StoreFailure
from game.rows import Rows
from game.rules import commands
from game.rules.chance import Chance
from game.rules.commands import Command
from game.service import answers, openapi, problems
from game.service.access import Access, FencePass, once
from game.service.admission import ON_THE_FILE, SLOT_SECONDS, Admission, CommandSlots, PairAdmission
from game.service.bodies import BodyFields, IdempotencyKey
from game.service.holding import Holding
from game.service.logs import logger, notice
from game.service.lookout import Lookout
from game.service.metrics import Metrics
from game.service.openapi import Alive, Readiness
from game.service.pair import StorePair
from game.service.tokens import RULES, Rules
from game.service.traffic import AccessLog, BodyLimit, Capacity, ErrorReporter, Private, RequestFacts, about
from game.unit_of_work import PairedStore, Store

MetricNames: TypeAlias = Annotated[
    list[str], Query(alias="name[]", default_factory=list, description="Metrics to show; without any, all of them.")
]
"""As other programs that Prometheus reads name them: ?name[]=sudamr_request_seconds_sum&name[]=…"""

READY_ATTEMPTS = 2
"""A connection that died while it lay idle is not the store's being away; more patience would outlast who asks."""

WAITING_PER_CONNECTION = 4
"""Requests at work or waiting, for each connection of the pool; more than that are turned away at once."""

READS_PER_CONNECTION = 1
"""Reads beyond that many, for each connection of the pool: commands that all wait for a lock turn no read away."""

FEWEST_OF_A_PLAYER = 2
"""The least share of one player: requests at work or waiting. In a larger pool it is one less than the commands at
once, so that one player never takes every slot.
"""


def commands_at_once(pool_size: int) -> int:
    """Return how many commands are on threads at once while Postgres is served: half as many as connections.

    More at once do not finish sooner: they share the processor. All that wait for a lock when a window ends wake
    together, and delay the first held request. The other connections are for reads.
    """
    return max(min(FEWEST_OF_A_PLAYER + 1, pool_size), pool_size // 2)


def share_of_a_player(pool_size: int) -> int:
    """Return how many requests of one player may be at work or waiting. One more is turned away."""
    return max(FEWEST_OF_A_PLAYER, commands_at_once(pool_size) - 1)


SPARE_THREADS = 4
"""So that readiness is answered while all the others wait."""


def create_app(
    store: Store | StorePair,
    *,
    chance_secret: str,
    token_secret: str,
    token_rules: Rules = RULES,
    operator_token: str | None = None,
    pool_size: int = 10,
    hold_seconds: float = 2.0,
    metrics: Metrics | None = None,
    report: ErrorReporter = lambda _error, _about: None,
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> FastAPI:
    """Make the service on the store, which is closed with it.

    token_secret: what players' tokens follow from; token_rules: which of them are good.
    pool_size, metrics: the store's own. hold_seconds: how long a request is held over a window; with two stores alone.
    report: told of each defect.
    clock: epoch milliseconds.
    """
    metrics = metrics or Metrics()
    room = Capacity(
        most=pool_size * WAITING_PER_CONNECTION,
        for_reads=pool_size * READS_PER_CONNECTION,
        share=share_of_a_player(pool_size),
    )
    # At least as long as a request is held, so that no command that waits for a slot when a window begins is refused.
    slots = CommandSlots(
        {"legacy": ON_THE_FILE, "postgres": commands_at_once(pool_size)}, seconds=max(SLOT_SECONDS, hold_seconds)
    )

    lookout: Lookout | None = None
    if isinstance(store, StorePair):
        lookout = Lookout(store, metrics, hold_seconds=hold_seconds, report=lambda error: report(error, RequestFacts()))
        admission: Admission = PairAdmission(store, room, Holding(lookout, metrics, hold_seconds), slots)
    else:
        admission = Admission(store, room, metrics, slots)
        metrics.serves.labels(store.engine).set(1)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = room.places + SPARE_THREADS
        if lookout is not None:
            lookout.start()
        yield
        if lookout is not None:
            lookout.end()
        store.close()

    app = FastAPI(
        title="sudamr",
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=openapi.of_all(),
    )
    app.add_middleware(BodyLimit)
    app.add_middleware(Private)
    app.add_middleware(AccessLog, metrics=metrics, report=report)
    answers.handle_errors(app)
    openapi.add_to(app)
    access = Access(token_secret, token_rules, operator_token)

    def carry_out(on: Store, asked: Asked, fence_pass: str | None) -> Answer:
        return dispatch(
            on,
            asked,
            clock=clock,
            chance=lambda request_id: Chance(chance_secret, request_id),
            fence_pass=fence_pass,
            notice=notice(metrics, request_id=asked.request_id, action=asked.command.action),
        )

    for action, command in commands.COMMANDS.items():
        _add_action(app, action, command, access, admission, carry_out)
    _add_unknown_action(app, access)
    _add_player(app, access, admission, metrics)
    _add_probes(app, admission, store if isinstance(store, StorePair) else None, metrics)
    return app


def _add_action(
    app: FastAPI,
    action: str,
    command: type[Command],
    access: Access,
    admission: Admission,
    carry_out: Callable[[Store, Asked, str | None], Answer],
) -> None:
    @app.post(
        f"/players/{{player}}/actions/{action}",
        dependencies=[Depends(_naming(action)), Depends(once), Depends(access.acting)],
        **openapi.of_action(action, command),
    )
    async def act(
        request: Request, player: str, idempotency_key: IdempotencyKey, fields: BodyFields, x_fence_pass: FencePass = ""
    ) -> JSONResponse:
        noted = about(request.scope)
        noted.request_id = idempotency_key
        asked = Asked(_player_id(player), idempotency_key, commands.decode(action, fields))

        def work(store: Store) -> JSONResponse:
            answer = carry_out(store, asked, x_fence_pass or None)
            noted.end = "replayed" if answer.replayed else "granted"
            return JSONResponse({"outcome": answer.outcome, "replayed": answer.replayed})

        return await admission.command(request, asked.player, work, bears_pass=bool(x_fence_pass))


def _add_unknown_action(app: FastAPI, access: Access) -> None:
    @app.post(
        "/players/{player}/actions/{action}",
        dependencies=[Depends(once), Depends(access.acting)],
        include_in_schema=False,
    )
    async def act(action: str) -> None:
        commands.decode(action, {})


def _add_player(app: FastAPI, access: Access, admission: Admission, metrics: Metrics) -> None:
    @app.get(
        "/players/{player}",
        dependencies=[Depends(_naming("show")), Depends(once), Depends(access.reading)],
        summary="A player's state, by table",
        **openapi.of_player(),
    )
    async def show(request: Request, player: str) -> JSONResponse:
        player = _player_id(player)

        def shown(state: Callable[[str], Rows | None]) -> JSONResponse:
            rows = retry(lambda: state(player), notice=notice(metrics, player=player))
            if rows is None:
                raise Refused("no_such_player", player)
            about(request.scope).end = "granted"
            return JSONResponse(_shown(rows))

        def if_open(store: PairedStore) -> JSONResponse:
            return shown(store.state_if_open)

        return await admission.read(request, player, if_open, lambda store: shown(store.state))


def _add_probes(app: FastAPI, admission: Admission, pair: StorePair | None, metrics: Metrics) -> None:
    started = datetime.now(UTC).isoformat()

    # Not on a thread: a process whose threads all wait for the database is alive.
    @app.get("/healthz", operation_id="alive", summary="Whether the process answers")
    async def alive() -> Alive:
        return Alive("alive", os.getpid())

    @app.get("/readyz", operation_id="ready", summary="Which store it serves", **openapi.of_readiness())
    def ready(request: Request) -> JSONResponse:
        readiness = _readiness(admission, pair, metrics, started)
        if readiness.code == "ready":
            return JSONResponse(asdict(readiness))
        about(request.scope).code = readiness.code
        headers = {"Retry-After": str(problems.RETRY_AFTER_SECONDS)}
        return JSONResponse(asdict(readiness), status_code=HTTPStatus.SERVICE_UNAVAILABLE, headers=headers)

    @app.get(
        "/metrics",
        operation_id="metrics",
        summary="What Prometheus reads",
        response_class=Response,
        **openapi.of_metrics(),
    )
    async def counters(names: MetricNames) -> Response:
        return Response(metrics.text(names), media_type=CONTENT_TYPE_LATEST)


def _naming(action: str) -> Callable[[Request], Awaitable[None]]:
    """Note the action. Must be the first dependency: a request that a later one rejects counts under its action."""

    async def name(request: Request) -> None:
        about(request.scope).action = action

    return name


def _readiness(admission: Admission, pair: StorePair | None, metrics: Metrics, started: str) -> Readiness:
    """Return the store that this process serves; not ready if it does not answer or is no longer the game's."""
    if pair is not None:  # Of two stores it may be the other one by now, and no request has come to find that.
        pair.look()
    store = admission.served
    process = Readiness(
        store.engine, os.getpid(), started, "store_unavailable", next=pair.next_store() if pair is not None else None
    )
    try:
        status = retry(store.status, attempts=READY_ATTEMPTS, notice=notice(metrics))
    except StoreFailure as error:
        logger().warning("not_ready", detail=str(error))
        return process
    if status.lacks:
        logger().warning("not_ready", detail=status.lacks)
        return replace(process, store=status.store, marker=status.marker, schema_head=status.schema_head)
    code: Literal["moved", "ready"] = "moved" if status.fence == "moved" else "ready"
    return replace(
        process, code=code, store=status.store, marker=status.marker, schema_head=status.schema_head, fence=status.fence
    )


def _shown(rows: Rows) -> dict[str, object]:
    """Return the player's state by table; the journals are the operator's."""
    return {table.name: list(rows[table.name].values()) for table in tables.PLAYER_STATE}


def _player_id(player: str) -> str:
    """Check the id. Raises Refused no_such_player for one that Postgres can't be asked for."""
    if "\0" in player or not player.isprintable():
        raise Refused("no_such_player", repr(player))
    return player
