"""Problems: what a client is told when it is not granted what it asked for (RFC 9457), one table for all codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import NotRequired, TypedDict

from fastapi.responses import JSONResponse

from game.errors import BadRequest, Fenced, GameError, Moved, Refused, StoreFailure
from game.rules.refusals import REFUSALS

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1
ECHOED = 200
"""Characters of a detail that a client sees."""

CHALLENGE = 'Bearer realm="sudamr"'


@dataclass(frozen=True, slots=True)
class Problem:
    """A code's HTTP status and its title, a sentence that stays the same."""

    status: HTTPStatus
    title: str


PROBLEMS = {code: Problem(refusal.status, refusal.title) for code, refusal in REFUSALS.items()} | {
    # The request is not one.
    "bad_request": Problem(HTTPStatus.BAD_REQUEST, "The request is malformed."),
    "header_repeated": Problem(HTTPStatus.BAD_REQUEST, "A header that may be sent only once is repeated."),
    "idempotency_key_needed": Problem(HTTPStatus.BAD_REQUEST, "An Idempotency-Key is needed."),
    "token_needed": Problem(HTTPStatus.UNAUTHORIZED, "A bearer token of the player's is needed."),
    "token_of_another": Problem(HTTPStatus.FORBIDDEN, "The bearer token is another player's."),
    "pass_refused": Problem(HTTPStatus.FORBIDDEN, "A fence's pass is for the operator alone."),
    "not_json": Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The request's body is not said to be JSON."),
    "request_timeout": Problem(HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive whole in time."),
    "head_too_large": Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's headers are too large."),
    "body_too_large": Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request's body is too large."),
    "not_found": Problem(HTTPStatus.NOT_FOUND, "There is nothing at this address."),
    "method_not_allowed": Problem(HTTPStatus.METHOD_NOT_ALLOWED, "The address does not take this method."),
    # The service or the store can't, now.
    "too_busy": Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The service has more to do than it can for a moment."),
    "fenced": Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The game is read-only for a moment."),
    "moved": Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The game is served elsewhere now."),
    "store_unavailable": Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The game can't be reached for a moment."),
    "internal_error": Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed; ask again with the same key."),
}


PLANNED = {"fenced": "fenced", "moved": "moved", "too_busy": "turned_away"}
"""The ends of requests that are answered 503 as designed: by the fence of a move, and by the limit on load."""


def end_of(code: str) -> str:
    """Return how a request with this code ended, for the metrics and the log: `failed` is what nobody planned."""
    failed = PROBLEMS[code].status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return PLANNED.get(code, "failed" if failed else "refused")


class Rejected(GameError):
    """The request is no request of the game's: `code` is one of the table."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def code_of(error: GameError) -> tuple[str, str]:
    """Return the error's code and the detail that a client may see; a store's failure shows none of its own."""
    match error:
        case Refused() | Rejected():
            return error.code, error.detail
        case BadRequest():
            return "bad_request", str(error)
        case Fenced():
            return "fenced", "Ask again with the same Idempotency-Key."
        case Moved():
            return "moved", "Ask again with the same Idempotency-Key."
        case StoreFailure():
            return "store_unavailable", "Ask again with the same Idempotency-Key: it is granted once."
        case _:
            return "internal_error", ""


class Message(TypedDict):
    """The message that is shown to the player."""

    ko: str
    en: str


class ProblemBody(TypedDict):
    """A problem as the client reads it; the rules' refusals bear a message for the player."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    message: NotRequired[Message]


def response(code: str, detail: str = "", headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the code as application/problem+json, with the headers that its status asks for."""
    problem = PROBLEMS[code]
    body: ProblemBody = {
        "type": f"urn:sudamr:problem:{code}",
        "title": problem.title,
        "status": problem.status.value,
        "code": code,
        "detail": _cut(detail),
    }
    if refusal := REFUSALS.get(code):
        body["message"] = {"ko": refusal.message, "en": refusal.title}
    return JSONResponse(
        body, status_code=problem.status, media_type=MEDIA_TYPE, headers={**_headers(code), **(headers or {})}
    )


def _cut(detail: str) -> str:
    # It may repeat what the client sent, which is up to 64 KB.
    return detail if len(detail) <= ECHOED else f"{detail[:ECHOED]}…"


def _headers(code: str) -> dict[str, str]:
    if code == "header_repeated":  # A proxy may have read another request, and what follows may be its rest.
        return {"Connection": "close"}
    match PROBLEMS[code].status:
        case HTTPStatus.SERVICE_UNAVAILABLE:
            return {"Retry-After": str(RETRY_AFTER_SECONDS)}
        case HTTPStatus.UNAUTHORIZED:
            return {"WWW-Authenticate": CHALLENGE}
        case _:
            return {}
