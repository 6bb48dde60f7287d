"""Errors as answers: whatever an endpoint or the framework raises becomes a problem, and is noted for the log."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from game.errors import GameError, StoreFailure
from game.service import problems
from game.service.traffic import about, refusing

_KEY = ("header", "Idempotency-Key")


def handle_errors(app: FastAPI) -> None:
    """Have the app answer with problems. A defect goes on: `traffic.AccessLog` answers it."""

    @app.exception_handler(GameError)
    async def of_the_game(request: Request, error: GameError) -> Response:
        code, detail = problems.code_of(error)
        about(request.scope).detail = str(error) if isinstance(error, StoreFailure) else detail
        return refusing(request.scope, code, detail)

    @app.exception_handler(RequestValidationError)
    async def of_the_request(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if tuple(first["loc"]) == _KEY:
            detail = 'a header Idempotency-Key of 1 to 200 visible ASCII characters, K or "K"'
            return refusing(request.scope, "idempotency_key_needed", detail)
        where = ".".join(str(part) for part in first["loc"])
        return refusing(request.scope, "bad_request", f"{where}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        match error.status_code:
            case HTTPStatus.NOT_FOUND:
                return refusing(request.scope, "not_found")
            case HTTPStatus.METHOD_NOT_ALLOWED:
                return refusing(request.scope, "method_not_allowed", headers=headers)
            case _:
                return refusing(request.scope, "bad_request", str(error.detail), headers=headers)
