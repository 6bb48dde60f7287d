"""Reads what a client sends with an action: its key, and the command's fields as one JSON object."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request

from game.errors import BadRequest
from game.rules.json_columns import UNREADABLE, from_json
from game.service.problems import Rejected

_BARE = r"[!#-~][!-~]{0,199}"
_OPENED = r'"(?:[!#-~][!-~]{0,198}|"[!-~]{1,198})?'
_QUOTED = r'"(?:[!#-\[\]-~]|\\["\\]){1,200}"'
"""An Idempotency-Key is one of three: up to 200 visible ASCII characters that do not begin with a quotation mark; up to
200 that begin with one; or a string of up to 200 characters between two. The empty string, `""`, matches none of them.
"""

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        pattern=f"^(?:{_BARE}|{_OPENED}|{_QUOTED})$",
        description='The request\'s own, kept when it is asked again: it is granted once. K and "K" are the same key.',
    ),
]

JSON = "application/json"


async def _fields(request: Request) -> dict[str, object]:
    """Return the body's JSON object. Raises Rejected for another Content-Type, BadRequest for another body."""
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != JSON:
        raise Rejected("not_json", f"Content-Type: {JSON}")
    try:
        fields = from_json((await request.body()).decode())
    except UnicodeDecodeError:
        fields = UNREADABLE
    if fields is UNREADABLE:  # Not JSON, a repeated key, a number of 5,000 digits, or a depth of 10,000.
        raise BadRequest("expected a body of JSON, each key once")
    if not isinstance(fields, dict):
        raise BadRequest("expected the command's fields as one JSON object")
    return fields


BodyFields = Annotated[dict[str, object], Depends(_fields)]
