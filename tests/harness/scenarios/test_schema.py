"""Editors are given the reader's own word: the schema takes every scenario, and refuses what the reader refuses."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness import scenarios
from harness.scenarios import BadScenario, schema, yaml_reader

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "scenarios").rglob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(json.loads(schema.FILE.read_text("utf-8")))

GOOD: dict[str, Any] = {
    "about": "All of it.",
    "given": {
        "hana": {
            "gold": 5,
            "forge": {"level": 1, "xp": 0},
            "bag": {"fan": {"name": "푸른 바람 부채", "stars": 3}, "bowl": "가벼운 나무통"},
            "mail": {"m1": {"gold": 50, "items": {"골드 꾸러미1": 1}}},
            "tournaments": {"world": {"rank": 1}},
            "presets": {"대국": {"fan": "fan"}},
            "quests": {"daily": {"q1": {"target": 3, "reward": {"xp": {"playful": 2}, "items": {"골드 꾸러미1": 1}}}}},
            "milestones": {"daily": {"activity": 40, "claimed": [20], "reset": "-1d"}, "weekly": {"reset": None}},
            "missions": {"mission_attendance": {"level": 2, "since": "-1h"}},
            "stages": {"입문-1": {"rewarded": False}},
            "progress": 1,
        },
        "mina": {"stages": ["입문-1", "입문-2"], "league": "루키", "action_points": 3},
    },
    "steps": [
        {"by": "hana", "do": "claim_mail", "with": {"mail": "m1"}, "expect": {"gold": 50}},
        {
            "race": [{"by": "hana", "do": "equip", "with": {"item": "fan"}}] * 2,
            "outcomes": [{"a": "ok", "b": "bag_full"}],
        },
        {"by": "hana", "do": "claim_all_mail"},
    ],
    "after": {
        "users": {"hana": {"gold": [5, 55]}},
        "user_inventory": {"hana/s1.1": {"new": {"name": "골드 꾸러미1"}}, "hana/fan": "gone"},
        "ledger": {"s1": [["gold", 50, "mail"]]},
    },
}


def accepted(document: object) -> bool:
    return VALIDATOR.is_valid(document)


def read(document: object) -> None:
    scenarios.read(json.dumps(document, ensure_ascii=False), "file.yaml")


def test_the_file_is_what_the_models_say() -> None:
    assert schema.FILE.read_text("utf-8") == schema.text(), "run: python -m harness.scenarios.schema"


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.schema())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_of_the_project_is_accepted(path: Path) -> None:
    VALIDATOR.validate(yaml_reader.read(path.read_text("utf-8")).data)


def test_what_the_reader_takes_is_accepted() -> None:
    read(GOOD)
    VALIDATOR.validate(GOOD)


@pytest.mark.parametrize(
    "at",
    [
        (),
        ("given", "hana"),
        ("given", "hana", "forge"),
        ("given", "hana", "bag", "fan"),
        ("given", "hana", "mail", "m1"),
        ("given", "hana", "tournaments", "world"),
        ("given", "hana", "quests", "daily", "q1"),
        ("given", "hana", "quests", "daily", "q1", "reward"),
        ("given", "hana", "milestones", "daily"),
        ("given", "hana", "missions", "mission_attendance"),
        ("given", "hana", "stages", "입문-1"),
        ("steps", 0),
        ("steps", 0, "with"),
        ("steps", 1),
        ("steps", 1, "race", 0),
        ("after",),
        ("after", "users", "hana"),
        ("after", "user_inventory", "hana/s1.1", "new"),
    ],
    ids=lambda path: ".".join(map(str, path)) or "top",
)
def test_an_unknown_key_is_refused_by_both(at: tuple[str | int, ...]) -> None:
    document = copy.deepcopy(GOOD)
    value_at: Any = document
    for part in at:
        value_at = value_at[part]
    value_at["surprise"] = ["a", "b"]
    assert not accepted(document)
    with pytest.raises(BadScenario, match="surprise"):
        read(document)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (("steps", 0, "do"), "claim_male"),
        (("steps", 0, "with"), {}),
        (("steps", 0, "dice"), {"success": 1}),
        (("steps", 2, "refused"), "nothing_to_clam"),
        (("steps", 1, "outcomes"), [{"a": "okay", "b": "bag_full"}]),
        (("steps", 1), {"race": [{"by": "hana", "do": "equip", "with": {"item": "fan"}}] * 2}),
        (("steps", 0, "expect"), {"glod": 50}),
        (("after", "ledger", "s1"), [["glod", 50, "mail"]]),
        (("after", "ledger", "s1"), [["gold", 50, "mial"]]),
        (("after", "history"), {"s1": [["gian", "s1.1", 1]]}),
        (("given", "hana", "bag", "bowl"), "푸른 바람 부체"),
        (("given", "hana", "mail", "m1", "items"), {"gold": 1}),
        (("given", "hana", "presets"), {"대국": {"hat": "fan"}}),
        (("given", "hana", "quests", "yearly"), {}),
        (("given", "hana", "quests", "daily", "q1", "reward", "items"), {"gold": 1}),
        (("given", "hana", "milestones", "daily", "claimed"), [30]),
        (("given", "hana", "missions", "mission_attendance", "level"), 11),
        (("given", "hana", "stages"), "입문-1"),
        (("given", "hana", "gold"), None),
        (("given", "hana", "gold"), -1),
        (("given", "Mina"), {}),
        (("after", "users", "hana"), {"gold": [1]}),
        (("after", "users", "hana/x"), "gone"),
        (("after", "user_quests"), {"hana/q1": "gone"}),
        (("after", "ledger", "s1"), [["gold", 50]]),
        (("steps",), []),
        (("about",), "no sentence"),
        (("after",), None),
    ],
    ids=lambda part: ".".join(map(str, part)) if isinstance(part, tuple) else "",
)
def test_a_wrong_value_is_refused_by_both(at: tuple[str | int, ...], value: object) -> None:
    document = copy.deepcopy(GOOD)
    value_at: Any = document
    for part in at[:-1]:
        value_at = value_at[part]
    value_at[at[-1]] = value
    assert not accepted(document)
    with pytest.raises(BadScenario):
        read(document)
