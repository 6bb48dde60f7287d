"""The JSON Schema of scenario files, for editors: made from the models, with the game's own names filled in.

`python -m harness.scenarios.schema` writes it anew; a test fails while it is out of date. It is no stricter than the
reader, and refuses at least what has a wrong shape: an unknown key, action, field, table, column or item.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import TypeAdapter

from game import tables
from game.rules import catalog
from game.rules.commands import COMMANDS, Command
from game.rules.missions import MISSIONS
from game.rules.refusals import REFUSALS
from game.rules.stages import STAGES
from harness.scenarios.checks import BOXES, columns
from harness.scenarios.game_names import LEAGUES, STATUSES
from harness.scenarios.model import OK, Scenario

FILE = Path(__file__).with_name("scenario.schema.json")

Schema: TypeAlias = dict[str, Any]


def schema() -> Schema:
    """Return the JSON schema of a scenario file, draft 2020-12."""
    whole = Scenario.model_json_schema()
    definitions = whole["$defs"]
    for name in ("ScenarioStep", "Action"):
        _name_actions(definitions[name])
    _name_refusals(definitions)
    _name_items(definitions)
    _name_progress(definitions)
    definitions["After"] = _after(definitions["After"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_tidied(whole)}


def text() -> str:
    """Return the schema as the file holds it."""
    return json.dumps(schema(), ensure_ascii=False, indent=2) + "\n"


def _name_actions(definition: Schema) -> None:
    """Define each action with exactly its own fields; `with` may be left out where none is needed."""
    definition["properties"]["do"] = {"enum": list(COMMANDS)}
    definition["allOf"] = [
        {
            "if": {"properties": {"do": {"const": action}}, "required": ["do"]},
            "then": _with(TypeAdapter(command).json_schema(), command),
        }
        for action, command in COMMANDS.items()
    ]


def _with(fields: Schema, command: type[Command]) -> Schema:
    """Return the schema of a step of the command: its fields, the dice that it may name, and its outcome."""
    names = "|".join(map(re.escape, command.draws))
    dice = {"propertyNames": {"pattern": rf"^({names})(\.[0-9]+)?$"}} if command.draws else {"maxProperties": 0}
    properties = {"with": fields, "dice": dice, "expect": {"propertyNames": {"enum": list(command.outcome)}}}
    return {"properties": properties, **({"required": ["with"]} if fields.get("required") else {})}


def _name_refusals(definitions: Schema) -> None:
    definitions["ScenarioStep"]["properties"]["refused"] = {"enum": list(REFUSALS)}
    outcome = definitions["Race"]["properties"]["outcomes"]["items"]
    (requests,) = outcome["patternProperties"]
    outcome["patternProperties"][requests] = {"enum": [OK, *REFUSALS]}


def _name_items(definitions: Schema) -> None:
    item = {"enum": list(catalog.TEMPLATES)}
    definitions["Bagged"]["properties"]["name"] = item
    for paying in ("Letter", "QuestReward"):
        definitions[paying]["properties"]["items"]["propertyNames"] = item
    (bag,) = definitions["Given"]["properties"]["bag"]["patternProperties"].values()
    bag["oneOf"] = [item, *(each for each in bag["oneOf"] if "$ref" in each)]


def _name_progress(definitions: Schema) -> None:
    given, tournament = definitions["Given"]["properties"], definitions["Tournament"]["properties"]
    given["league"] = {"enum": list(LEAGUES)}
    given["missions"]["propertyNames"] = {"enum": list(MISSIONS)}
    listed, mapped = given["stages"]["oneOf"]
    listed["items"] = mapped["propertyNames"] = {"enum": list(STAGES)}
    tournament["status"]["enum"] = [*STATUSES, None]
    del tournament["status"]["anyOf"]
    tournament["materials"]["propertyNames"] = {"enum": list(catalog.MATERIALS)}
    tournament["boxes"]["propertyNames"] = {"enum": list(BOXES)}


def _after(definition: Schema) -> Schema:
    """Put the tables beside the journals, each with its own columns."""
    properties = definition["properties"]
    del properties["tables"]
    properties |= {table.name: _table(table.name) for table in tables.PLAYER_STATE}
    return definition


def _table(name: str) -> Schema:
    pair = {"type": "array", "minItems": 2, "maxItems": 2}
    known = columns(name)
    new = {"type": "object", "properties": dict.fromkeys(known, True), "additionalProperties": False}
    change = {
        "oneOf": [
            {"const": "gone"},
            {"type": "object", "properties": {"new": new}, "required": ["new"], "additionalProperties": False},
            {"type": "object", "properties": dict.fromkeys(known, pair), "additionalProperties": False},
        ]
    }
    rest = len(tables.KEYS[name]) - 1
    key = f"^{'[^/]+/' * rest}.+$" if rest else "^[^/]+$"
    return {"type": "object", "patternProperties": {key: change}}


def _tidied(schema: Any) -> Any:
    """Remove titles (they repeat the keys), and null where it only says that the key may be left out."""
    if isinstance(schema, list):
        return [_tidied(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    tidied = {key: _tidied(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
    if "patternProperties" in tidied:
        tidied.setdefault("additionalProperties", False)
    if tidied.get("default", ...) is None and "anyOf" in tidied:
        del tidied["default"]
        choices = [each for each in tidied.pop("anyOf") if each != {"type": "null"}]
        tidied |= choices[0] if len(choices) == 1 else {"anyOf": choices}
    return tidied


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
