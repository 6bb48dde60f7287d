"""Differences are written as a scenario would write them, and compared strictly."""

from __future__ import annotations

import pytest

from db.samples import builders
from game.rows import Rows
from game.rules.chance import new_id
from harness.play import expectations
from harness.play.aliases import Aliases
from harness.scenarios.model import After

ALIASES = Aliases(["r1"])


def before() -> Rows:
    return builders.player(
        "hana",
        gold=5,
        bag={"fan": "푸른 바람 부채"},
        mail={"m1": {"gold": 1, "expires": "2026-01-06T12:00:00+09:00"}},
        tournaments={"world": {"boxes": {"장비 상자 I": 2}}},
    )


def shown(after: Rows) -> dict[str, object]:
    return dict(expectations.changes(before(), after, ALIASES).as_data())


def test_nothing_that_happened_is_nothing_to_write() -> None:
    assert shown(before()) == {}


def test_documents_are_written_as_data_and_times_as_times() -> None:
    after = before()
    after["user_mail"][("hana", "m1")]["expires_at"] = 1_767_668_400_500
    after["user_tournaments"][("hana", "world")] |= {"boxes": '{"장비 상자 I":3}', "played_at": 1_767_582_000_000}
    assert shown(after) == {
        "user_mail": {"hana/m1": {"expires_at": ["2026-01-06T12:00:00+09:00", "2026-01-06T12:00:00.500+09:00"]}},
        "user_tournaments": {
            "hana/world": {
                "boxes": [{"장비 상자 I": 2}, {"장비 상자 I": 3}],
                "played_at": [None, "2026-01-05T12:00:00+09:00"],
            }
        },
    }


def test_the_spelling_of_a_document_and_a_position_are_no_difference() -> None:
    after = before()
    after["user_tournaments"][("hana", "world")]["boxes"] = '{ "장비 상자 I" : 2 }'
    after["user_inventory"][("hana", "fan")]["position"] = 4096
    assert shown(after) == {}


def test_ids_that_a_command_made_are_written_by_their_request() -> None:
    after = before()
    made = new_id("r1", 1)
    after["user_inventory"][("hana", made)] = after["user_inventory"].pop(("hana", "fan")) | {"id": made}
    after["user_equipment"][("hana", "fan")] = {"user_id": "hana", "slot": "fan", "item_id": made, "kept": None}
    assert shown(after) == {
        "user_inventory": {"hana/r1.1": {"new": {"name": "푸른 바람 부채", "quantity": 1}}, "hana/fan": "gone"},
        "user_equipment": {"hana/fan": {"new": {"item_id": "r1.1"}}},
    }


def test_an_id_is_named_at_any_depth_and_back_again() -> None:
    made = new_id("r1", 2)
    named = ALIASES.to_names({"a": [made, {"b": made}], made: 1})
    assert named == {"a": ["r1.2", {"b": "r1.2"}], "r1.2": 1}
    assert ALIASES.to_ids(named) == {"a": [made, {"b": made}], made: 1}


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (1, 1, True),
        (1, 1.0, False),
        (1, True, False),
        ("1", 1, False),
        (None, "", False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ([1, 2], [2, 1], False),
    ],
)
def test_values_are_compared_strictly(left: expectations.Data, right: expectations.Data, equal: bool) -> None:
    assert expectations.same(left, right) is equal


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({}, None),
        ({"quantity": 1}, None),
        ({"type": "equipment", "slot": "fan", "grade": "normal"}, None),
        ({"slot": "board"}, ("slot", "board", "fan")),
        ({"stars": 1}, ("stars", "1", "0")),
    ],
)
def test_columns_of_a_new_row_that_are_not_named_are_at_their_defaults(
    columns: dict[str, expectations.Data], problem: tuple[str, str, str] | None
) -> None:
    empty = builders.player("hana")
    changes = expectations.changes(empty, builders.player("hana", bag={"fan": "푸른 바람 부채"}), ALIASES)
    wanted = {"user_inventory": {"hana/fan": {"new": {"name": "푸른 바람 부채", **columns}}}}
    problems = [
        (str(each.path[-1]), each.expected, each.found)
        for each in expectations.after(After.model_validate(wanted), changes)
    ]
    assert problems == ([problem] if problem else [])
