"""Writes the OpenAPI document from the commands, the tables and the table of problems."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from game import tables
from game.rules.commands import Command
from game.rules.refusals import REFUSALS
from game.service.problems import CHALLENGE, MEDIA_TYPE, PROBLEMS, RETRY_AFTER_SECONDS
from game.unit_of_work import Engine, FenceState

Responses: TypeAlias = dict[int | str, dict[str, Any]]

_COMPONENT = "#/components/schemas/{model}"
_HEADERS = {
    HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate", {"type": "string", "const": CHALLENGE}),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After", {"type": "string", "const": str(RETRY_AFTER_SECONDS)}),
}
_OF_PLAYERS = ("header_repeated", "token_needed", "token_of_another", "moved", "store_unavailable", "too_busy")
_OF_ACTIONS = ("bad_request", "idempotency_key_needed", "pass_refused", "not_json", "fenced")


@dataclass(frozen=True, slots=True)
class GrantedBody:
    """An action's answer: its outcome, and whether an earlier request under the same key was given it before."""

    outcome: dict[str, Any]
    replayed: bool


@dataclass(frozen=True, slots=True)
class Alive:
    """The body of /livez: the process answers."""

    status: Literal["alive"]
    pid: int


ABILITIES = ("numbered receipts", "next store")
"""What processes of earlier versions can't do, and a revision may need of all of them (`needs_of_service`)."""


@dataclass(frozen=True, slots=True)
class NextStore:
    """The other store of the process, as it was found within the last second. Null: it does not answer.

    identity: as a fence of the served store names it. ready: its pool is open, and no fence names a third store.
    """

    engine: Engine
    store: str | None
    identity: str | None
    fence: FenceState | None
    ready: bool


@dataclass(frozen=True, slots=True)
class Readiness:
    """The store that the process serves, and since when. Null: the store does not say it, or does not answer now."""

    engine: Engine
    pid: int
    started: str
    code: Literal["ready", "moved", "store_unavailable"]
    store: str | None = None
    marker: str | None = None
    schema_head: str | None = None
    fence: FenceState | None = None
    next: NextStore | None = None
    abilities: tuple[str, ...] = ABILITIES


def of_action(action: str, command: type[Command]) -> dict[str, Any]:
    """Return an action's part: its body, and each status that it can answer with."""
    schema = TypeAdapter(command).json_schema(ref_template=_COMPONENT)
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {
        "operation_id": action,
        "summary": action.replace("_", " ").capitalize(),
        "response_model": GrantedBody,
        "responses": _problems((*REFUSALS, *_OF_PLAYERS, *_OF_ACTIONS)),
        "openapi_extra": {"requestBody": body},
    }


def of_player() -> dict[str, Any]:
    """Return the part of reading a player, whose answer has an array for each table."""
    shown = {table.name: {"type": "array", "items": _record(table)} for table in tables.PLAYER_STATE}
    player = {"content": {"application/json": {"schema": _object(shown)}}}
    return {"operation_id": "show", "responses": _problems(("no_such_player", *_OF_PLAYERS)) | {200: player}}


def of_readiness() -> dict[str, Any]:
    """Return the part of readiness: the same body, ready or not."""
    unready = {"model": Readiness, "description": "Not ready.", "headers": _header(HTTPStatus.SERVICE_UNAVAILABLE)}
    return {"response_model": Readiness, "responses": {503: unready}}


def of_metrics() -> dict[str, Any]:
    """Return the part of the counters, which are text."""
    return {"responses": {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}}


def of_all() -> Responses:
    """Return the responses that any endpoint can give."""
    return _problems(("body_too_large", "internal_error"))


def add_to(app: FastAPI) -> None:
    """Have the app's document know what its endpoints refer to, and nothing of errors that the framework would tell."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, routes=app.routes)
            schemas = made["components"]["schemas"]
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name)
            made["paths"]["/players/{player}"]["get"]["responses"].pop("422")
            schemas["Problem"] = _PROBLEM
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the framework's own way to extend its document


def _problems(codes: Iterable[str]) -> Responses:
    by_status: dict[HTTPStatus, list[str]] = defaultdict(list)
    for code in codes:
        by_status[PROBLEMS[code].status].append(code)
    return {status.value: _problem(status, codes_of_status) for status, codes_of_status in by_status.items()}


def _problem(status: HTTPStatus, codes: list[str]) -> dict[str, Any]:
    described = {
        "description": ", ".join(codes),
        "content": {MEDIA_TYPE: {"schema": {"$ref": _COMPONENT.format(model="Problem")}}},
    }
    return described | ({"headers": _header(status)} if status in _HEADERS else {})


def _header(status: HTTPStatus) -> dict[str, Any]:
    name, schema = _HEADERS[status]
    return {name: {"required": True, "schema": schema}}


def _record(table: sa.Table) -> dict[str, Any]:
    return _object({column.name: _cell(column) for column in tables.game_columns(table)})


def _cell(column: sa.Column[Any]) -> dict[str, Any]:
    match column.type:
        case sa.Boolean():
            kind = "boolean"
        case sa.Integer():
            kind = "integer"
        case _:
            kind = "string"
    return {"type": [kind, "null"] if column.nullable else kind}


def _object(properties: dict[str, Any], optional: Collection[str] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_TEXT = {"type": "string"}
_PROBLEM = _object(
    {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "code": {"enum": sorted(PROBLEMS)},
        "detail": _TEXT,
        "message": _object({"ko": _TEXT, "en": _TEXT}) | {"description": "For the player, where the rules refuse."},
    },
    optional=("message",),
)
