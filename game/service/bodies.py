"""What a client sends with an action: its key, and the command's fields as one JSON object."""

from __future__ import annotations

import json
from typing import Annotated, NoReturn

from fastapi import Depends, Header, Request

from game.errors import BadRequest
from game.service.problems import Rejected

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        pattern="^[!-~]{1,200}$",
        description="The request's own, kept when it is asked again: it is granted once.",
    ),
]

JSON = "application/json"


async def _fields(request: Request) -> dict[str, object]:
    """The body's object. Raises Rejected where it is said to be something else, BadRequest where it is."""
    said = request.headers.get("content-type", "")
    if said.partition(";")[0].strip().lower() != JSON:
        raise Rejected("not_json", f"Content-Type: {JSON}")
    try:
        fields = json.loads((await request.body()).decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):  # No UTF-8, no JSON, a number of 5,000 digits, a depth of 10,000.
        raise BadRequest("expected a body of JSON") from None
    if not isinstance(fields, dict):
        raise BadRequest("expected the command's fields as one JSON object")
    return fields


Fields = Annotated[dict[str, object], Depends(_fields)]


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
