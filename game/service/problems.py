"""Problems: what a client is told when it is not granted what it asked for (RFC 9457), one table for all codes."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from fastapi.responses import JSONResponse

from game.errors import BadRequest, Fenced, GameError, Moved, Refused, StoreFailure
from game.refusals import REFUSALS

RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """A code's HTTP status and its title, a sentence that stays the same."""

    status: HTTPStatus
    title: str


PROBLEMS = {code: Problem(refusal.status, refusal.title) for code, refusal in REFUSALS.items()} | {
    # The request is not one.
    "bad_request": Problem(HTTPStatus.BAD_REQUEST, "The request is malformed."),
    "idempotency_key_needed": Problem(HTTPStatus.BAD_REQUEST, "An Idempotency-Key is needed."),
    "pass_refused": Problem(HTTPStatus.FORBIDDEN, "A fence's pass is for the operator alone."),
    "not_found": Problem(HTTPStatus.NOT_FOUND, "There is nothing at this address."),
    "method_not_allowed": Problem(HTTPStatus.METHOD_NOT_ALLOWED, "The address does not take this method."),
    # The store can't, now.
    "fenced": Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The game is read-only for a moment."),
    "moved": Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The game is served elsewhere now."),
    "store_unavailable": Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The game can't be reached for a moment."),
    "internal_error": Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed; ask again with the same key."),
}


class Rejected(GameError):
    """The request is no request of the game's: `code` is one of the table."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def code_of(error: GameError) -> tuple[str, str]:
    """The error's code and the detail that a client may see; a store's failure shows none of its own."""
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


def response(code: str, detail: str = "") -> JSONResponse:
    """The code as application/problem+json, with Retry-After where asking again may help."""
    problem = PROBLEMS[code]
    again = problem.status == HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse(
        {
            "type": f"urn:sudamr:problem:{code}",
            "title": problem.title,
            "status": problem.status.value,
            "code": code,
            "detail": detail,
        },
        status_code=problem.status,
        media_type="application/problem+json",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)} if again else None,
    )
