"""The HTTP face of dispatch. Endpoints are plain functions on threads; nothing here opens a transaction."""

from __future__ import annotations

import hmac
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import Body, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from game import commands, tables
from game.chance import Chance
from game.dispatch import Request as Asked
from game.dispatch import again, dispatch
from game.errors import GameError, Refused, StoreFailure
from game.rows import Rows
from game.service import problems
from game.service.problems import Rejected
from game.service.watching import Metrics, logger, notice
from game.unit import Status, Store

KEY = re.compile(r"[\x21-\x7e]{1,200}")
READY_ATTEMPTS = 2
"""A connection that died while it lay idle is not the store's being away; more patience would outlast who asks."""

SPARE_THREADS = 4
"""Beside one for each connection of the pool, so that readiness is answered while all of them work."""


def create_app(
    store: Store,
    *,
    chance_secret: str,
    operator_token: str | None = None,
    threads: int = 10,
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> FastAPI:
    """The service on the store, which is closed with it. `clock`: epoch milliseconds."""
    metrics = Metrics()
    started = datetime.now(UTC).isoformat()

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = threads + SPARE_THREADS
        yield
        store.close()

    app = FastAPI(title="sudamr", lifespan=life, docs_url=None, redoc_url=None)
    _handle_errors(app, metrics)

    @app.post("/players/{player}/actions/{action}")
    def act(
        player: str,
        action: str,
        fields: Annotated[dict[str, Any], Body()],
        idempotency_key: Annotated[str | None, Header()] = None,
        x_fence_pass: Annotated[str | None, Header()] = None,
        authorization: Annotated[str | None, Header()] = None,
    ) -> JSONResponse:
        _check_operator(x_fence_pass, authorization, operator_token)
        asked = Asked(_player_id(player), _request_id(idempotency_key), commands.decode(action, fields))
        with metrics.seconds.labels(action).time():
            answer = dispatch(
                store,
                asked,
                clock=clock,
                chance=lambda request_id: Chance(chance_secret, request_id),
                fence_pass=x_fence_pass,
                notice=notice(metrics, request_id=asked.request_id, action=action),
            )
        metrics.requests.labels(action, "replayed" if answer.replayed else "granted").inc()
        logger().info("granted", request_id=asked.request_id, action=action, player=player, replayed=answer.replayed)
        return JSONResponse({"outcome": answer.outcome, "replayed": answer.replayed})

    @app.get("/players/{player}")
    def show(player: str) -> JSONResponse:
        player = _player_id(player)
        rows = again(lambda: store.read(player), notice=notice(metrics, player=player))
        if rows is None:
            raise Refused("no_such_player", player)
        return JSONResponse(_shown(rows))

    # Not on a thread: a process whose threads all wait for the database is alive.
    @app.get("/healthz")
    async def alive() -> JSONResponse:
        return JSONResponse({"status": "alive", "pid": os.getpid()})

    @app.get("/readyz")
    def ready() -> JSONResponse:
        return _readiness(store, metrics, started)

    @app.get("/metrics")
    def counters() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app


def _readiness(store: Store, metrics: Metrics, started: str) -> JSONResponse:
    """Which store this process serves; 503 where that does not answer, or is no longer the game's."""
    body: dict[str, object] = dict.fromkeys(Status.__dataclass_fields__)
    body |= {"engine": store.engine, "pid": os.getpid(), "started": started, "code": "ready"}
    try:
        body |= asdict(again(store.status, attempts=READY_ATTEMPTS, notice=notice(metrics)))
    except StoreFailure as error:
        logger().warning("not_ready", detail=str(error))
        body["code"] = "store_unavailable"
    if body["fence"] == "moved":
        body["code"] = "moved"
    if body["code"] == "ready":
        return JSONResponse(body)
    headers = {"Retry-After": str(problems.RETRY_AFTER_SECONDS)}
    return JSONResponse(body, status_code=HTTPStatus.SERVICE_UNAVAILABLE, headers=headers)


def _shown(rows: Rows) -> dict[str, object]:
    """The player's state by table; the journals are the operator's."""
    return {table.name: list(rows[table.name].values()) for table in tables.PLAYER_STATE}


def _player_id(player: str) -> str:
    """What Postgres can't even be asked for is nobody's id."""
    if "\0" in player or not player.isprintable():
        raise Refused("no_such_player", repr(player))
    return player


def _request_id(key: str | None) -> str:
    if key is None or not KEY.fullmatch(key):
        raise Rejected("idempotency_key_needed", "a header Idempotency-Key of 1 to 200 visible ASCII characters")
    return key


def _check_operator(fence_pass: str | None, authorization: str | None, token: str | None) -> None:
    if fence_pass is None:
        return
    given = (authorization or "").encode()
    if token is None or not hmac.compare_digest(given, f"Bearer {token}".encode()):
        raise Rejected("pass_refused", "X-Fence-Pass asks for the operator's token")


def _handle_errors(app: FastAPI, metrics: Metrics) -> None:
    def told(request: Request, code: str, detail: str) -> JSONResponse:
        metrics.refusals.labels(code).inc()
        action = request.path_params.get("action")
        answer = problems.response(code, detail)
        if action in commands.COMMANDS:
            ours = answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
            metrics.requests.labels(action, "failed" if ours else "refused").inc()
        return answer

    @app.exception_handler(GameError)
    def of_the_game(request: Request, error: GameError) -> JSONResponse:
        code, detail = problems.code_of(error)
        about = {"request_id": request.headers.get("idempotency-key"), "path": request.url.path}
        if isinstance(error, StoreFailure):
            logger().warning(code, detail=str(error), **about)
        else:
            logger().info("refused", code=code, detail=detail, **about)
        return told(request, code, detail)

    @app.exception_handler(RequestValidationError)
    def of_the_body(request: Request, _error: RequestValidationError) -> JSONResponse:
        return told(request, "bad_request", "expected the command's fields as one JSON object")

    @app.exception_handler(HTTPException)
    def of_http(request: Request, error: HTTPException) -> JSONResponse:
        missing = error.status_code == HTTPStatus.NOT_FOUND
        odd = error.status_code == HTTPStatus.METHOD_NOT_ALLOWED
        code = "not_found" if missing else "method_not_allowed" if odd else "bad_request"
        return told(request, code, str(error.detail))

    @app.exception_handler(Exception)
    def of_ours(request: Request, error: Exception) -> JSONResponse:
        key = request.headers.get("idempotency-key")
        logger().error("internal_error", request_id=key, path=request.url.path, exc_info=error)
        return told(request, "internal_error", "")
