"""Tests values that no rule knows: played beside or not at all, never lost and never granted twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from db.samples import builders
from game.errors import Refused
from game.legacy import codec, sqlite_values
from game.legacy.codec import mapping
from game.legacy.sqlite_values import Cell
from game.rules.commands import (
    ClaimAllMail,
    ClaimMail,
    ClaimTournamentReward,
    ClearStage,
    Command,
    DeleteMail,
    Equip,
    ExpandBag,
    StartTournament,
    Unequip,
)
from tests.game.places import Place
from tests.game.playing_on_stores import ask
from tests.game.rules.playing import play, refused

XP = {"xp": {"type": "strategy", "amount": 50}}


def js(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def letter(mail_id: str, attachments: object, **others: object) -> dict[str, Any]:
    return {"id": mail_id, "title": "보상", "attachments": attachments, "attachmentsClaimed": False, **others}


def a_row(**differences: Cell) -> dict[str, Cell]:
    """A player's whole row, with these cells otherwise."""
    return builders.legacy_row("hana", gold=5000, diamonds=50) | differences


def refusal(place: Place, command: Command, request_id: str = "r1") -> str:
    return refused(lambda: ask(place.store, command, request_id))


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
    decoded = codec.decode_row(row, rowid=1)
    assert [(f.kind, f.rule, f.position) for f in decoded.findings] == [("aside", "mail.unknown_attachment", 0)]
    assert decoded.findings[0].original.decode() == js(letter("m1", attachments))
    assert decoded.counts["mail"] == 2
    assert set(decoded.rows["user_mail"]) == {("hana", "m2")}
    assert decoded.rows["users"]["hana",]["held"] is False
    assert codec.encode_row(decoded.rows, tuple(row)) == row


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
    decoded = codec.decode_row(row, rowid=1)
    assert decoded.findings == []
    assert set(decoded.rows["user_mail"]) == {("hana", "m1")}
    assert codec.encode_row(decoded.rows, tuple(row)) == row


@pytest.mark.parametrize("mail", [[letter("m1", XP), letter("m1", {"gold": 7})], [letter("m1", {}), letter("m1", XP)]])
def test_an_id_that_occurs_twice_holds_whatever_either_carries(mail: list[object]) -> None:
    decoded = codec.decode_row(a_row(mail=js(mail)), rowid=1)
    assert ("held", "mail.repeated_id", 1) in [(f.kind, f.rule, f.position) for f in decoded.findings]
    assert decoded.rows["users"]["hana",]["held"] is True


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


ADDED_TO = [column for column, scalar in mapping.SCALARS.items() if scalar.added]
NO_NUMBER: list[Cell] = ["천이백", b"\x00\x01", sqlite_values.BadText(b"\xff"), 1e300, float("inf")]


def test_every_number_that_a_command_adds_to_is_named() -> None:
    assert ADDED_TO == [
        "strategyXp",
        "playfulXp",
        "tournamentScore",
        "cumulativeTournamentScore",
        "blacksmithLevel",
        "blacksmithXp",
        "singlePlayerProgress",
    ]


@pytest.mark.parametrize("cell", NO_NUMBER)
@pytest.mark.parametrize("column", ADDED_TO)
def test_a_number_that_is_none_holds_before_a_command_writes_over_it(column: str, cell: Cell) -> None:
    row = a_row(**{column: cell})
    decoded = codec.decode_row(row, rowid=1)
    assert [(f.kind, f.column) for f in decoded.findings] == [("held", column)]
    again = codec.encode_row(decoded.rows, tuple(row))
    assert sqlite_values.same(again[column], cell)


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("strategyXp", "천이백"),
        ("blacksmithLevel", 0),
        ("blacksmithXp", -5),
        ("actionPoints", '{"current":12.5,"max":30}'),
        ("actionPoints", "[30,30]"),
        ("inventorySlots", 40.5),
        ("inventorySlots", '{"equipment":40.5,"consumable":30,"material":30}'),
        ("inventorySlots", '{"equipment":40'),
    ],
)
def test_both_stores_refuse_whom_it_holds(place: Place, column: str, cell: Cell) -> None:
    place.put_row(a_row(**{column: cell}))
    for command in (ClearStage("입문-1"), ExpandBag("material")):
        assert refusal(place, command) == "player_held"


@pytest.mark.parametrize("column", [*ADDED_TO, "actionPoints", "inventorySlots"])
@pytest.mark.parametrize("cell", [None, ""])
def test_what_says_nothing_holds_nobody(column: str, cell: Cell) -> None:
    assert not codec.decode_row(a_row(**{column: cell}), rowid=1).rows["users"]["hana",]["held"]


@settings(deadline=None)
@given(
    st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)), st.integers(0, 2**63 - 1), st.booleans()
)
@example(cell=0.5, value=2**60 + 1, near=False)
def test_what_is_written_over_a_number_counts_as_what_was_written(cell: int | float, value: int, near: bool) -> None:
    def counts_as(cell: Cell) -> int:
        (user,) = codec.decode_row({"id": "hana", "strategyXp": cell}, rowid=1).rows["users"].values()
        return int(user["strategy_xp"] or 0)

    value = min(2**63 - 1, counts_as(cell) + value % 100) if near else value
    assert counts_as(mapping.SCALARS["strategyXp"].written_over(cell, value)) == value


CUP = js({"type": "world", "status": "complete", "finalRank": 2, "accumulatedEquipmentBoxes": {"장비 상자 I": 1}})


@pytest.mark.parametrize(
    "others",
    [{"worldRewardClaimed": "예"}, {"worldRewardClaimed": 2}, {"lastWorldPlayedDate": "어제"}],
)
@pytest.mark.parametrize("cup", [CUP, None])
def test_a_tournament_whose_flag_or_day_can_not_be_read_is_neither_paid_again_nor_lost(
    place: Place, cup: str | None, others: dict[str, Cell]
) -> None:
    row = a_row(lastWorldTournament=cup, **others)
    decoded = codec.decode_row(row, rowid=1)
    assert [f.kind for f in decoded.findings] == ["aside"]
    assert codec.encode_row(decoded.rows, tuple(row)) == row
    place.put_row(row)
    assert refusal(place, ClaimTournamentReward("world")) == "no_tournament"
    assert refusal(place, StartTournament("world")) == "reward_unclaimed"


FANS = {
    "a": "푸른 바람 부채",
    "b": "푸른 바람 부채",
    "c": "은결 바람 부채",
    "t": "봄빛 도복 상의",
    "s": "여름빛 도복 상의",
}


def worn_after(equipment: str, commands: list[Command]) -> tuple[dict[str, object], dict[str, object], str]:
    """Return the items worn after the commands: by the rows, by the way back, and as text.

    The commands are carried out on the rows of one load, as on Postgres, where what is kept of the document stays.
    """
    row = builders.legacy_row("hana", bag=FANS, level=30) | {"equipment": equipment}
    rows = codec.decode_row(row, rowid=1).rows
    assert codec.encode_row(rows, tuple(row)) == row
    for command in commands:
        try:
            rows = play(rows, command).rows
        except Refused as refused:
            expected = ("already_worn", "slot_empty", "document_unreadable")
            assert refused.code in expected  # noqa: PT017 - one of several commands
    back = codec.encode_row(rows, tuple(row))
    again = codec.decode_row(back, rowid=1).rows
    worn = [
        {str(entry["slot"]): entry["item_id"] for entry in side["user_equipment"].values() if entry["item_id"]}
        for side in (rows, again)
    ]
    return worn[0], worn[1], str(back["equipment"])


def test_a_slot_named_twice_stays_as_it_is_and_the_last_entry_is_worn() -> None:
    off_and_on: list[Command] = [Unequip("top"), Unequip("fan"), Equip("c")]
    document = '{"top":"t","fan":"a","fan":"b"}'
    worn, back, text = worn_after(document, off_and_on)
    assert worn == back == {"top": "t", "fan": "b"}
    assert text == document


ENTRIES = ['"fan":"a"', '"fan":"b"', '"top":"t"', ' "top" :null', '"halo":"x"']
COMMANDS = [Unequip("fan"), Unequip("top"), Equip("c"), Equip("s")]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(ENTRIES), min_size=2, max_size=4), st.lists(st.sampled_from(COMMANDS), max_size=5))
def test_what_is_worn_is_worn_on_the_way_back_whatever_was_kept(entries: list[str], commands: list[Command]) -> None:
    worn, back, _ = worn_after("{" + ",".join(entries) + "}", commands)
    assert worn == back


def test_what_a_tournament_without_a_rank_gathered_is_paid_out_of_it_on_both_stores(place: Place) -> None:
    cup = js({"type": "neighborhood", "status": "eliminated", "accumulatedGold": 350, "rounds": [1]})
    place.put_row(a_row(lastNeighborhoodTournament=cup, lastNeighborhoodPlayedDate=5, neighborhoodRewardClaimed=0))
    assert ask(place.store, ClaimTournamentReward("neighborhood")).outcome == {"gold": 350, "items": {}}
    assert refusal(place, ClaimTournamentReward("neighborhood"), "r2") == "not_finished"
    assert ask(place.store, ClaimTournamentReward("neighborhood")).replayed
    assert ask(place.store, StartTournament("neighborhood"), "r3").outcome == {"status": "bracket_ready"}
