"""The standing checks hold of a sound player, and each of them finds the one thing that it is there for."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from db.errors import Failure
from db.samples import builders
from game.rows import Rows
from harness.laws.breach import Breach
from harness.play import invariants

Harm = Callable[[Rows], object]


@pytest.fixture
def sound() -> Rows:
    """Make a player with 150 gold, 100 of it the opening; three stones, one of them gained; a fan that is worn."""
    bag = {"fan": "푸른 바람 부채", "board": "새싹 바둑판", "stone": {"name": "하급 강화석", "quantity": 3}}
    rows = builders.player("hana", gold=150, diamonds=5, bag=bag, worn=["fan"])
    stock = {"fan": 1, "board": 1, "stone": 2}
    rows["player_openings"] = {
        ("hana",): {"user_id": "hana", "gold": 100, "diamonds": 5, "stock": json.dumps(stock)},
    }
    rows["action_receipts"] = {
        ("hana", "r1"): {"user_id": "hana", "request_id": "r1", "command": "[]", "outcome": "{}", "at": 0},
    }
    line = {"user_id": "hana", "request_id": "r1", "n": 1}
    rows["currency_ledger"] = {
        ("hana", "r1", 1): line | {"currency": "gold", "amount": 50, "reason": "mail", "balance": 150},
    }
    rows["inventory_history"] = {
        ("hana", "r1", 1): line | {"action": "gain", "item_id": "stone", "delta": 1, "stock": 3},
    }
    return rows


def breaches(rows: Rows) -> list[str]:
    return [f"{b.law}: {b.expected} → {b.found}" for b in invariants.breaches(rows, ["r1"])]


def test_a_sound_player_has_no_breach(sound: Rows) -> None:
    assert breaches(sound) == []
    assert invariants.receipts(sound, {("hana", "r1"): 1}, set()) == []


def test_a_player_of_whom_nothing_is_written_yet_is_sound() -> None:
    assert invariants.breaches(builders.player("hana", gold=7)) == []


def of(table: str, *key: str | int) -> Callable[[Rows], dict[str, object]]:
    return lambda rows: rows[table][("hana", *key)]  # type: ignore[return-value]  # a test writes what no game would


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lambda r: r["users"][("hana",)].update(gold=151), "gold = opening + ledger: 150 → 151"),
        (lambda r: r["users"][("hana",)].update(diamonds=4), "diamonds = opening + ledger: 5 → 4"),
        (lambda r: r["currency_ledger"].clear(), "gold = opening + ledger: 100 → 150"),
        (
            lambda r: of("currency_ledger", "r1", 1)(r).update(balance=149),
            "gold after a line of r1: 150 → 149",
        ),
        (
            lambda r: of("user_inventory", "stone")(r).update(quantity=4),
            "stock of stone = opening + history: 3 → 4",
        ),
        (lambda r: r["user_inventory"].pop(("hana", "board")), "stock of board = opening + history: 1 → 0"),
        (
            lambda r: of("inventory_history", "r1", 1)(r).update(stock=2),
            "stone after a line of r1: 3 → 2",
        ),
        (lambda r: r["player_openings"].clear(), "opening: one, for there are journals → none"),
        (
            lambda r: r["action_receipts"].clear(),
            "currency_ledger of r1: a receipt beside its lines → none",
        ),
        (
            lambda r: of("inventory_history", "r1", 1)(r).update(n=2),
            "inventory_history of r1: lines numbered from 1 → [2]",
        ),
        (lambda r: r["users"][("hana",)].update(action_points=-1), "users.action_points: 0 or more → -1"),
        (lambda r: of("user_inventory", "fan")(r).update(quantity=0), "user_inventory.fan.quantity: 1 or more → 0"),
        (lambda r: of("user_inventory", "fan")(r).update(fails=-1), "user_inventory.fan.fails: 0 or more → -1"),
        (
            lambda r: of("user_equipment", "fan")(r).update(item_id="gone"),
            "worn as fan: an item of the player's bag → gone",
        ),
        (
            lambda r: of("user_equipment", "fan")(r).update(item_id="board"),
            "worn as fan: an item for fan → one for 'board'",
        ),
        (
            lambda r: r["user_equipment"].update({("hana", "top"): {**of("user_equipment", "fan")(r), "slot": "top"}}),
            "worn once: each item in one slot → fan in 2",
        ),
    ],
)
def test_each_check_finds_what_it_is_there_for(harm: Harm, found: str, sound: Rows) -> None:
    harm(sound)
    assert found in breaches(sound)


def test_a_legacy_entry_that_names_no_item_is_no_breach(sound: Rows) -> None:
    sound["user_equipment"][("hana", "top")] = {
        "user_id": "hana",
        "slot": "top",
        "position": 9,
        "item_id": None,
        "kept": '"gone"',
    }
    assert breaches(sound) == []


@pytest.mark.parametrize(
    ("granted", "refused", "wanted"),
    [
        ({("hana", "r1"), ("hana", "r2")}, set(), [Breach("hana", "receipt of r2", "one, for it was granted", "none")]),
        (set(), {("hana", "r1")}, [Breach("hana", "receipt of r1", "none, for it was refused", "one")]),
        (set(), set(), [Breach("hana", "receipt of r1", "none, for nobody asked", "one")]),
    ],
)
def test_receipts_are_of_the_granted_alone(
    granted: set[tuple[str, str]], refused: set[tuple[str, str]], wanted: list[Breach], sound: Rows
) -> None:
    assert invariants.receipts(sound, granted, refused) == wanted


@pytest.mark.parametrize(
    ("positions", "kept"),
    [
        ({"fan": 0, "board": 1, "stone": 2}, True),
        ({"fan": 5, "board": 60, "stone": 700}, True),
        ({"board": 1, "stone": 2}, True),
        ({"fan": 0, "board": 1, "stone": 2, "new": 3}, True),
        ({"fan": 0, "board": 2, "stone": 1}, False),
        ({"fan": 0, "new": 1, "board": 2, "stone": 3}, False),
    ],
)
def test_an_order_is_kept_where_nothing_moved_and_the_new_came_last(
    positions: dict[str, int], kept: bool, sound: Rows
) -> None:
    after = sound.copy()
    after["user_inventory"] = {("hana", name): {"position": position} for name, position in positions.items()}
    assert (invariants.order_kept(sound, after) == []) is kept


def test_a_player_whom_a_command_made_unreadable_is_found(sound: Rows) -> None:
    after = sound.copy()
    after["users"][("hana",)]["held"] = True
    assert invariants.still_readable(sound, after) == [Breach("hana", "state", "readable", "held")]
    assert invariants.still_readable(after, after) == []


def test_a_run_that_sweeps_compare_with_must_be_sound() -> None:
    opening = builders.player("hana", gold=7)
    invariants.require_sound(opening, opening, "the run without a fault")
    after = opening.copy()
    after["users"][("hana",)]["strategy_xp"] = 3
    with pytest.raises(Failure, match=r"hana's users.strategy_xp = opening \+ receipts: 0; found 3"):
        invariants.require_sound(opening, after, "the run without a fault")
