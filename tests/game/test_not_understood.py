"""What a legacy row holds and no rule knows: played beside or not at all, never lost and never granted twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from places import Place
from playing_on_stores import ask

from db import builders
from game.commands import ClaimAllMail, ClaimMail, ClearStage, Command, DeleteMail, ExpandBag
from game.errors import Refused
from game.legacy import codec
from game.legacy.cells import Cell

XP = {"xp": {"type": "strategy", "amount": 50}}


def js(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def letter(mail_id: str, attachments: object, **others: object) -> dict[str, Any]:
    return {"id": mail_id, "title": "보상", "attachments": attachments, "attachmentsClaimed": False, **others}


def a_row(**differences: Cell) -> dict[str, Cell]:
    """A player's whole row, with these cells otherwise."""
    return builders.legacy_row("hana", gold=5000, diamonds=50) | differences


def refusal(place: Place, command: Command, request_id: str = "r1") -> str:
    with pytest.raises(Refused) as refused:
        ask(place.store, command, request_id)
    return refused.value.code


@pytest.mark.parametrize(
    "attachments",
    [
        {"gold": 50, **XP},
        XP,
        {"gold": 0, "items": [], "guildCoins": 3},
        {"items": [{"itemId": "푸른 바람 부채", "quantity": 1, "stars": 5}]},
    ],
)
def test_mail_that_carries_what_no_rule_knows_is_set_aside_whole(attachments: dict[str, Any]) -> None:
    row = a_row(mail=js([letter("m1", attachments), letter("m2", {"gold": 7})]))
    exploded = codec.explode(row, rowid=1)
    assert [(f.kind, f.rule, f.position) for f in exploded.findings] == [("aside", "mail.unknown_attachment", 0)]
    assert exploded.findings[0].original.decode() == js(letter("m1", attachments))
    assert exploded.counts["mail"] == 2
    assert set(exploded.rows["user_mail"]) == {("hana", "m2")}
    assert exploded.rows["users"]["hana",]["held"] is False
    assert codec.implode(exploded.rows, tuple(row)) == row


@pytest.mark.parametrize(
    ("attachments", "others"),
    [
        ({}, {}),
        (None, {}),
        ({"gold": 0, "diamonds": None, "actionPoints": 0, "items": []}, {}),
        ({"gold": 5, "items": None, "xp": None, "coupons": [], "note": ""}, {}),
        ({"gold": 5, "items": [{"itemId": "미사일", "quantity": 1, "note": None}]}, {}),
        ({"gold": 50, **XP}, {"attachmentsClaimed": True}),
    ],
)
def test_a_key_that_holds_nothing_and_mail_claimed_before_are_no_trouble(
    attachments: object, others: dict[str, object]
) -> None:
    row = a_row(mail=js([letter("m1", attachments, **others)]))
    exploded = codec.explode(row, rowid=1)
    assert exploded.findings == []
    assert set(exploded.rows["user_mail"]) == {("hana", "m1")}
    assert codec.implode(exploded.rows, tuple(row)) == row


@pytest.mark.parametrize("mail", [[letter("m1", XP), letter("m1", {"gold": 7})], [letter("m1", {}), letter("m1", XP)]])
def test_an_id_that_occurs_twice_holds_whatever_either_carries(mail: list[object]) -> None:
    exploded = codec.explode(a_row(mail=js(mail)), rowid=1)
    assert ("held", "mail.repeated_id", 1) in [(f.kind, f.rule, f.position) for f in exploded.findings]
    assert exploded.rows["users"]["hana",]["held"] is True


def test_what_is_set_aside_is_neither_claimed_nor_deleted_while_the_rest_of_the_mailbox_is(place: Place) -> None:
    place.put_row(a_row(mail=js([letter("m1", {"gold": 50, **XP}), letter("m2", {"gold": 7})])))
    assert refusal(place, ClaimMail("m1")) == "no_such_mail"
    assert refusal(place, DeleteMail("m1")) == "no_such_mail"
    assert ask(place.store, ClaimAllMail()).outcome["mails"] == ["m2"]
    assert ask(place.store, DeleteMail("m2"), "r2").outcome == {"mail": "m2"}
    assert refusal(place, ClaimAllMail(), "r3") == "nothing_to_claim"


@pytest.mark.parametrize("column", ["clearedSinglePlayerStages", "claimedFirstClearRewards"])
@pytest.mark.parametrize("cell", ['["입문-1"', '{"입문-1":true}', "입문-1", 3])
def test_stages_that_can_not_be_read_hold_so_that_no_first_clear_is_granted_twice(
    place: Place, column: str, cell: Cell
) -> None:
    place.put_row(a_row(**{column: cell}))
    assert refusal(place, ClearStage("입문-1")) == "player_held"
    assert refusal(place, ExpandBag("material")) == "player_held"


@pytest.mark.parametrize("cell", [None, "", "null", "{}", "[]"])
def test_stages_written_as_nothing_are_none(place: Place, cell: Cell) -> None:
    place.put_row(a_row(clearedSinglePlayerStages=cell, claimedFirstClearRewards=cell))
    assert ask(place.store, ClearStage("입문-1")).outcome["first"] is True
