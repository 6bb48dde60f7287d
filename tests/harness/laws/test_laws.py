"""The laws: what an action does follows from its receipt, and each value that it changes is missed if it is not there.

On rows alone, without a store; scenarios, twins, races, sequences and the rehearsal ask the same laws of both stores.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from db.quarantine import adjustment
from db.samples import builders
from game.rows import Record, Rows, compare
from game.rules import actions
from game.rules.actions import Outcome
from game.rules.chance import Chance
from game.rules.commands import COMMANDS, Command, decode
from game.rules.journals import LOAD_QUARANTINED
from game.rules.player import Player
from harness.laws import laws
from tests.game.examples import EXAMPLES, FAN, STONE
from tests.game.playing_on_stores import NOON_MS

ORDER_ALONE = ("position", "worn_flag")
"""Columns that the order's own check and the codec have, and no law."""

every_action = pytest.mark.parametrize("action", sorted(COMMANDS))


def act(rows: Rows, command: Command, request: str = "r1", dice: Mapping[str, int | float] | None = None) -> Rows:
    """Return the rows of one player after a command, with its receipt."""
    ((player,),) = rows["users"]
    after, journals = rows.copy(), ("currency_ledger", "inventory_history", "action_receipts")
    kept = {name: after.pop(name, {}) for name in journals}
    outcome = actions.perform(Player(after, request, NOON_MS, Chance("the secret of tests", request, dice)), command)
    seq = 1 + len(kept["action_receipts"])
    receipt = {"command": command.body(), "outcome": json.dumps(outcome), "at": NOON_MS, "seq": seq}
    after.table("action_receipts")[player, request] = {"user_id": player, "request_id": request, **receipt}
    for name in journals:
        after[name] = kept[name] | after.get(name, {})
    return after


def breaches(opening: Rows, now: Rows) -> list[str]:
    return [f"{b.player}: {b.law}: {b.expected} → {b.found}" for b in laws.breaches(opening, now)]


def example(action: str) -> tuple[Rows, Rows]:
    """Return the rows before and after the action's example."""
    before = EXAMPLES[action].player()
    return before, act(before, decode(action, EXAMPLES[action].fields))


def test_every_action_has_an_entry() -> None:
    assert set(laws.ENTRIES) == set(COMMANDS)


@every_action
def test_what_an_action_does_follows_from_its_receipt(action: str) -> None:
    assert breaches(*example(action)) == []


@every_action
def test_each_value_that_an_action_changes_is_missed_when_it_is_not_there(action: str) -> None:
    before, after = example(action)
    assert {what for what, forged in forgeries(before, after) if not breaches(before, forged)} == set()


def forgeries(before: Rows, after: Rows) -> Iterator[tuple[str, Rows]]:
    """Yield the rows after a command with one value, row, line or word of its outcome otherwise."""
    receipts = after.pop("action_receipts")
    for table, change in compare(before, after).items():
        for key, columns in change.updates.items():
            for column, (was, _is) in columns.items():
                if column not in ORDER_ALONE:
                    yield f"{table}.{key}.{column} as before", _with(after, receipts, table, key, column, was)
        for key in change.inserts:
            yield f"{table}.{key} not there", _without(after, receipts, table, key)
        for key, record in change.deletes.items():
            forged = _whole(after, receipts)
            forged[table][key] = record
            yield f"{table}.{key} still there", forged
    for name in json.loads(str(next(iter(receipts.values()))["outcome"])):
        forged = _whole(after, receipts)
        for receipt in forged["action_receipts"].values():
            receipt["outcome"] = json.dumps(json.loads(str(receipt["outcome"])) | {name: "otherwise"})
        yield f"the outcome's {name}", forged


def _whole(after: Rows, receipts: dict[Any, Any]) -> Rows:
    return Rows({**after, "action_receipts": receipts}).copy()


def _with(after: Rows, receipts: dict[Any, Any], table: str, key: Any, column: str, value: Any) -> Rows:
    forged = _whole(after, receipts)
    forged[table][key][column] = value
    return forged


def _without(after: Rows, receipts: dict[Any, Any], table: str, key: Any) -> Rows:
    forged = _whole(after, receipts)
    del forged[table][key]
    return forged


Action = Callable[[Player, Any], Outcome]


def twice(column: str, amount: int) -> Callable[[Action], Action]:
    """Plant the defect that an action adds something once more to the player's row."""

    def plant(action: Action) -> Action:
        def planted(player: Player, command: Command) -> Outcome:
            outcome = action(player, command)
            player.user[column] = int(player.user[column] or 0) + amount
            return outcome

        return planted

    return plant


def says(**told: object) -> Callable[[Action], Action]:
    """Plant the defect that an outcome says one thing and the rows another."""
    return lambda action: lambda player, command: {**action(player, command), **told}


def loses(table: str, **columns: Any) -> Callable[[Action], Action]:
    """Plant the defect that a record loses what it had."""

    def plant(action: Action) -> Action:
        def planted(player: Player, command: Command) -> Outcome:
            outcome = action(player, command)
            next(iter(player.rows[table].values())).update(columns)
            return outcome

        return planted

    return plant


def pays(currency: str, amount: int) -> Callable[[Action], Action]:
    """Plant the defect that an action pays something more, with a line of the ledger that says so."""

    def plant(action: Action) -> Action:
        def planted(player: Player, command: Command) -> Outcome:
            outcome = action(player, command)
            player.pay(currency, amount, "stage")
            return outcome

        return planted

    return plant


@pytest.mark.parametrize(
    ("action", "plant", "law"),
    [
        ("clear_stage", twice("strategy_xp", 10), "users.strategy_xp = opening + receipts: 10 → 20"),
        ("clear_stage", twice("action_points", 2), "users.action_points = opening + receipts: 8 → 10"),
        ("clear_stage", twice("stage_progress", 1), "users.stage_progress = opening + receipts: 3 → 4"),
        ("clear_stage", says(xp=20), "clear_stage r1 by the rules' tables: xp 10 → 20"),
        ("clear_stage", pays("gold", 100), "clear_stage r1 by the rules' tables: gold +100 → 200"),
        (
            "clear_stage",
            loses("user_stages", cleared=False),
            "user_stages.입문-1.cleared = opening + receipts: true → false",
        ),
        ("finish_tournament", twice("tournament_score", 1), "users.tournament_score = opening + receipts"),
        ("finish_tournament", says(score=7), "finish_tournament r1 by the rules' tables: score"),
        ("enhance", loses("user_inventory", stars=3), "user_inventory.fan.stars = opening + receipts: 4 → 3"),
        ("enhance", loses("user_inventory", fails=9), "user_inventory.fan.fails = opening + receipts: 0 → 9"),
        ("enhance", twice("forge_xp", 10), "forge XP = opening + receipts: 1 to 10 in all → 20"),
        ("enhance", twice("forge_level", 1), "forge XP = opening + receipts: 1 to 10 in all → 1210"),
        (
            "convert",
            twice("forge_xp", 1),
            "forge XP = opening + receipts: level 1 and 0, for none was gained → level 1 and 1",
        ),
        ("claim_quest", twice("playful_xp", 5), "users.playful_xp = opening + receipts: 0 → 5"),
        (
            "claim_quest",
            loses("user_quests", claimed=False),
            "user_quests.daily.q1.claimed = opening + receipts: true → false",
        ),
        ("claim_mail", says(gold=51), "claim_mail r1 by the rules' tables: gold 50 → 51"),
        ("expand_bag", twice("places_material", 10), "users.places_material = opening + receipts: 40 → 50"),
    ],
)
def test_a_defect_of_an_action_is_told_by_its_law(
    action: str, plant: Callable[[Action], Action], law: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = decode(action, EXAMPLES[action].fields)
    monkeypatch.setitem(actions.ACTIONS, type(command), plant(actions.ACTIONS[type(command)]))
    before = EXAMPLES[action].player()
    dice = {"enhance": {"success": 1, "xp": 10}}.get(action)
    assert re.match(re.escape(f"hana: {law}"), "".join(breaches(before, act(before, command, dice=dice))))


def test_a_score_that_reached_another_player_is_missed_here_and_found_there() -> None:
    before = Rows()
    after = Rows()
    hana, duri = EXAMPLES["finish_tournament"].player(), builders.player("duri")
    played = act(hana, decode("finish_tournament", {"kind": "neighborhood"}), dice={"rank": 1})
    for own, rows in ((before, (hana, duri)), (after, (played, duri.copy()))):
        for each in rows:
            for table, records in each.items():
                own.table(table).update(records)
    assert breaches(before, after) == []
    after["users"][("hana",)]["tournament_score"] = 0
    after["users"][("duri",)]["tournament_score"] = 32
    assert breaches(before, after) == [
        "hana: users.tournament_score = opening + receipts: 32 → 0",
        "duri: users.tournament_score = opening + receipts: 0 → 32",
    ]


def test_a_player_who_was_not_there_has_no_opening() -> None:
    hana = builders.player("hana")
    assert breaches(Rows(), hana) == ["hana: opening: the player's rows before the receipts → none"]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"stage": "입문-9"}, "a record 입문-8 in user_stages → none"),
        ({"stage": "입문-99"}, "a command they grant → KeyError"),
    ],
)
def test_a_receipt_that_the_tables_do_not_grant_is_told(fields: dict[str, object], wrong: str) -> None:
    before, after = example("clear_stage")
    after["action_receipts"]["hana", "r1"]["command"] = json.dumps(["clear_stage", fields])
    (told,) = breaches(before, after)
    assert told.startswith(f"hana: clear_stage r1 by the rules' tables: {wrong}")


def test_what_is_granted_once_is_not_granted_by_a_second_receipt() -> None:
    before, after = example("claim_mail")
    again = after["action_receipts"]["hana", "r1"] | {"request_id": "r2", "seq": 2}
    after["action_receipts"]["hana", "r2"] = again
    assert breaches(before, after) == ["hana: claim_mail r2 by the rules' tables: a mail claimed once → a second time"]


def load(rows: Rows, after: Rows, request: str = "load_quarantined replay-1 1") -> Rows:
    """Return the rows after a replay of the quarantine that leaves `after`, with its receipt and without lines."""
    receipts = rows.get("action_receipts", {})
    receipt = {
        "command": json.dumps([LOAD_QUARANTINED, {"numbers": [1]}]),
        "outcome": json.dumps(adjustment.outcome(rows, after)),
        "at": NOON_MS,
        "seq": 1 + len(receipts),
    }
    now = after.copy()
    now["action_receipts"] = receipts | {("hana", request): {"user_id": "hana", "request_id": request, **receipt}}
    return now


def enhanced(rows: Rows, request: str) -> Rows:
    return act(rows, decode("enhance", {"item": "fan"}), request, {"success": 1, "xp": 10})


def test_what_a_replay_loads_is_entered_by_its_receipt() -> None:
    """Mail comes, a stone goes, and what dice had decided of the fan and the forge is read again, beside play."""
    bag = {"fan": FAN, "stone": {"name": STONE, "quantity": 90}, "odd": {"name": STONE, "quantity": 3}}
    start = builders.player("hana", gold=5000, level=30, bag=bag)
    played = enhanced(start, "r1")
    loaded = played.copy()
    loaded["user_mail"] = builders.player("hana", mail={"m1": {"gold": 50}})["user_mail"]
    del loaded["user_inventory"]["hana", "odd"]
    fan, user = loaded["user_inventory"]["hana", "fan"], loaded["users"]["hana",]
    fan["options"] = json.dumps(json.loads(str(fan["options"])) | {"main": {"value": 500, "baseValue": 100}})
    user |= {"forge_level": 3, "forge_xp": 7, "gold": 4000}
    after = enhanced(load(played, loaded), "r2")
    now = act(after, decode("claim_mail", {"mail": "m1"}), "r3")
    assert breaches(start, now) == []
    assert breaches(played, now) == []
    for table, key, column, value in (
        ("users", ("hana",), "gold", 1),
        ("users", ("hana",), "forge_xp", 900),
        ("user_mail", ("hana", "m1"), "claimed", False),
        ("user_inventory", ("hana", "fan"), "options", fan["options"]),
    ):
        forged = now.copy()
        forged[table][key][column] = value
        assert len(breaches(start, forged)) == 1, column


@pytest.mark.parametrize(
    ("journal", "line", "wrong"),
    [
        ("currency_ledger", {"currency": "gold", "amount": 9, "balance": 8}, "9 of gold left → 8"),
        ("inventory_history", {"action": "adjust", "item_id": "a", "delta": 3, "stock": 2}, "3 of a left → 2"),
        ("inventory_history", {"action": "adjust", "item_id": "b", "delta": -1, "stock": 2}, "0 of b left → 2"),
    ],
)
def test_a_line_of_a_replay_says_what_is_left(journal: str, line: Record, wrong: str) -> None:
    start = builders.player("hana", bag={"b": {"name": STONE}})
    request = "load_quarantined replay-1 1"
    now = load(start, builders.player("hana", gold=9, bag={"a": {"name": STONE, "quantity": 3}}))
    now[journal] = {("hana", request, 1): {"user_id": "hana", "request_id": request, "n": 1, **line}}
    assert breaches(start, now) == [f"hana: load_quarantined {request} by the rules' tables: {wrong}"]
    now[journal]["hana", request, 1]["balance" if "balance" in line else "stock"] = int(wrong[0])
    assert breaches(start, now) == []


def test_receipts_are_entered_in_their_order_and_an_opening_may_have_some() -> None:
    start = builders.player("hana", gold=5000, level=30, bag={"fan": FAN, "stone": {"name": STONE, "quantity": 90}})
    states = [start]
    for n in range(4):
        dice = {"success": 100 if n == 1 else 1, "xp": 10}
        states.append(act(states[-1], decode("enhance", {"item": "fan"}), f"r{9 - n}", dice))
    assert [breaches(opening, states[-1]) for opening in states] == [[]] * len(states)
    assert states[-1]["user_inventory"]["hana", "fan"]["stars"] == 3
