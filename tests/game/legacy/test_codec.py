"""The codec: whatever a legacy row holds comes back byte for byte, and a command changes its own values alone."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from game import json_text
from game.legacy import codec, sqlite_values
from game.legacy.sqlite_values import BadText, Cell
from game.rows import Rows
from tests.game.legacy.under_way_rows import as_browsers_write, assert_known_alike, js

ITEM = {
    "id": "item-1",
    "name": "푸른 바람 부채",
    "description": "바람",
    "type": "equipment",
    "slot": "fan",
    "grade": "normal",
    "level": 1,
    "stars": 3,
    "isEquipped": True,
    "createdAt": 1700000000000,
    "image": "/a.png",
    "options": {"main": {"type": "집중력", "value": 4, "baseValue": 4, "isPercentage": True}},
    "enhancementFails": 2,
}
STONE = {"id": "item-2", "name": "하급 강화석", "type": "material", "slot": None, "grade": "normal", "quantity": 25}
LETTER = {
    "id": "m1",
    "from": "운영자",
    "title": "선물",
    "message": "",
    "attachments": {"gold": 50, "items": [{"itemId": "골드 꾸러미1", "quantity": 1}]},
    "receivedAt": 1,
    "isRead": False,
    "attachmentsClaimed": False,
}
CUP = {
    "type": "national",
    "status": "complete",
    "title": "컵",
    "finalRank": 2,
    "accumulatedMaterials": {"하급 강화석": 3},
}


def a_row(**differences: Cell) -> dict[str, Cell]:
    return {
        "id": "user-1",
        "username": "hana",
        "nickname": "하나",
        "isAdmin": 0,
        "gold": 100,
        "diamonds": 5,
        "inventory": js([ITEM, STONE]),
        "equipment": js({"fan": "item-1"}),
        "inventorySlots": 30,
        "actionPoints": '{"current":30,"max":30}',
        "mail": js([LETTER]),
        "quests": "{}",
        "league": "새싹",
        "lastNationalTournament": js(CUP),
        "lastNationalPlayedDate": 0,
        "nationalRewardClaimed": None,
        "blacksmithLevel": None,
        "futureColumn": "?",
    } | differences


def assert_comes_back(row: dict[str, Cell]) -> codec.Decoded:
    decoded = codec.decode_row(row, rowid=7)
    again = codec.encode_row(decoded.rows, tuple(row))
    assert list(again) == list(row)
    assert {
        column: (row[column], again[column]) for column in row if not sqlite_values.same(row[column], again[column])
    } == {}
    assert_known_alike(row, decoded)
    return decoded


def test_a_known_element_is_written_anew_where_its_item_is_worn_no_more() -> None:
    row = a_row()
    known = codec.known_elements(codec.decode_row(row, rowid=7).rows, row.keys())
    decoded = codec.decode_row(row, rowid=7, known=known)
    taken_off = Rows({**decoded.rows, "user_equipment": {}})
    written = codec.encode_row(taken_off, ("inventory",), known=decoded.known)
    assert written == codec.encode_row(taken_off, ("inventory",))
    assert written != codec.encode_row(decoded.rows, ("inventory",), known=decoded.known)


def test_a_plain_row_comes_back_and_finds_nothing() -> None:
    decoded = assert_comes_back(a_row())
    assert decoded.findings == []
    assert decoded.counts["inventory"] == 2
    user = decoded.rows["users"]["user-1",]
    assert (user["gold"], user["forge_level"], user["places_material"], user["held"]) == (100, 1, 30, False)
    assert decoded.rows["user_inventory"]["user-1", "item-1"]["worn_flag"] is None
    assert decoded.rows["user_mail"]["user-1", "m1"]["items"] == '[["골드 꾸러미1",1]]'
    assert decoded.rows["user_tournaments"]["user-1", "national"]["rank"] == 2


@pytest.mark.parametrize(
    ("column", "cell", "kind"),
    [
        ("gold", -5, "held"),
        ("gold", "many", "held"),
        ("gold", 10.5, "held"),
        ("diamonds", b"\x00\x01", "held"),
        ("strategyLevel", "text", "aside"),
        ("nickname", BadText(b"\xff\xfe"), "aside"),
        ("nickname", "a\x00b", "aside"),
        ("nickname", "long" * 1000, "aside"),
        ("inventory", js([ITEM | {"id": "long" * 1000}]), "held"),
        ("inventory", "[{broken", "held"),
        ("inventory", js([{"name": "without id"}]), "held"),
        ("inventory", js([ITEM, ITEM]), "held"),
        ("inventory", js([ITEM | {"stars": 12}]), "held"),
        ("inventory", '[{"id":"a","name":"b","type":"material","quantity":99999999999999999999}]', "held"),
        ("inventory", '[{"id":"a","name":"\\ud800","type":"material"}]', "held"),
        ("inventory", '[{"id":"a","name":"b","type":"c","x":NaN}]', "held"),
        ("inventory", "[" * 5000, "held"),
        ("inventory", js([ITEM | {"isEquipped": False}]), "aside"),
        ("equipment", js({"fan": "item-gone"}), "aside"),
        ("equipment", js({"fan": "item-1", "board": "item-1"}), "aside"),
        ("equipment", '{"fan":"item-1","fan":"item-1"}', "aside"),
        ("mail", js([LETTER | {"attachments": {"gold": -1}}]), "held"),
        ("quests", "[1", "held"),
        ("actionPoints", "lots", "held"),
        ("inventorySlots", -1, "held"),
        ("lastNationalTournament", '{"status":1}', "aside"),
    ],
)
def test_what_can_not_be_read_is_found_and_comes_back(column: str, cell: Cell, kind: str) -> None:
    decoded = assert_comes_back(a_row(**{column: cell}))
    mine = [finding for finding in decoded.findings if finding.column == column]
    assert [finding.kind for finding in mine] == [kind] * len(mine)
    assert mine
    assert decoded.rows["users"]["user-1",]["held"] is (kind == "held")


@pytest.mark.parametrize("cell", [None, "", "null", "{}", "[]", "[ ]", " {\n}"])
@pytest.mark.parametrize(
    "column", ["inventory", "equipment", "mail", "quests", "actionPoints", "lastNationalTournament"]
)
def test_every_way_to_write_nothing_comes_back(column: str, cell: Cell) -> None:
    assert_comes_back(a_row(**{column: cell}))


@pytest.mark.parametrize(
    "text",
    [
        js([ITEM, STONE]).replace(",", " ,\t"),
        f" [ {js(ITEM)} , 7 ,{js(STONE)}\n] ",
        js([ITEM]).replace('"stars":3', '"stars":3.0').replace("푸른", "\\ud478\\ub978"),
        js([ITEM]).replace('"stars":3', '"stars":9,"stars":3'),
        js([ITEM]).replace('"quantity"', '"q"'),
    ],
)
def test_unusual_writing_comes_back(text: str) -> None:
    assert_comes_back(a_row(inventory=text))


def test_a_change_touches_its_own_value_alone() -> None:
    text = f' [ {js(ITEM).replace(":3,", ": 3.0 ,")} , "raw" ,{js(STONE)}\n] '
    row = a_row(inventory=text)
    before = codec.decode_row(row, rowid=1).rows
    after = before.copy()
    after["user_inventory"]["user-1", "item-2"]["quantity"] = 24
    assert codec.changed(row, before, after) == {"inventory": text.replace('"quantity":25', '"quantity":24')}
    after["user_inventory"]["user-1", "item-1"]["stars"] = 4
    assert '"stars": 4 ,' in str(codec.changed(row, before, after)["inventory"])


def test_removed_and_added_items_keep_the_rest_as_it_was() -> None:
    row = a_row(inventory=f"[{js(ITEM)},  null,{js(STONE)}]")
    before = codec.decode_row(row, rowid=1).rows
    after = before.copy()
    del after["user_inventory"]["user-1", "item-2"]
    after["user_inventory"]["user-1", "new"] = {
        "user_id": "user-1",
        "id": "new",
        "position": 9999,
        "name": "골드 꾸러미1",
        "type": "consumable",
        "slot": None,
        "grade": "normal",
        "stars": 0,
        "quantity": 3,
        "fails": 0,
        "options": None,
        "worn_flag": None,
    }
    written = str(codec.changed(row, before, after)["inventory"])
    assert written.startswith(f"[{js(ITEM)},  null,")
    assert json.loads(written)[2]["name"] == "골드 꾸러미1"


def test_taking_off_an_item_changes_the_flag_and_the_slot() -> None:
    row = a_row()
    before = codec.decode_row(row, rowid=1).rows
    after = before.copy()
    after["user_equipment"].clear()
    written = codec.changed(row, before, after)
    assert written == {"equipment": "{}", "inventory": str(row["inventory"]).replace("true", "false", 1)}


def test_a_value_without_a_place_is_added_at_the_end() -> None:
    row = a_row(lastNationalTournament='{"status":"open"}')
    before = codec.decode_row(row, rowid=1).rows
    after = before.copy()
    after["user_tournaments"]["user-1", "national"]["rank"] = 3
    assert codec.changed(row, before, after) == {"lastNationalTournament": '{"status":"open","finalRank":3}'}


def test_a_held_value_is_not_overwritten_by_a_change_beside_it() -> None:
    row = a_row(gold="many", diamonds=5)
    before = codec.decode_row(row, rowid=1).rows
    after = before.copy()
    after["users"]["user-1",]["diamonds"] = 6
    assert codec.changed(row, before, after) == {"diamonds": 6}


def test_a_row_without_a_usable_id_is_kept_whole() -> None:
    for key in (None, b"blob", "a\x00b", BadText(b"\xff"), "", "long" * 1000):
        row = a_row(id=key)
        decoded = codec.decode_row(row, rowid=3)
        assert list(decoded.rows) == ["legacy_rows"]
        assert [finding.kind for finding in decoded.findings] == ["held"]
        assert codec.encode_row(decoded.rows, tuple(row)) == row


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("kv", {"key": "guilds", "value": "{}"}),
        ("kv", {"key": "odd", "value": b"\x00"}),
        ("kv", {"key": None, "value": "1"}),
        ("user_credentials", {"username": "hana", "passwordHash": "$2b$", "userId": None}),
        ("user_credentials", {"username": "하나", "passwordHash": BadText(b"\xfe"), "userId": 7, "new": 1.5}),
        ("live_games", {"id": "g1", "mode": None, "board": "[]", "komi": 6.5, "x": b""}),
        ("whatever", {"a": 1, "b": -0.0, "c": float("inf"), "d": BadText(b"\x80"), "e": "\x00"}),
    ],
)
def test_rows_of_other_tables_come_back(table: str, row: dict[str, Cell]) -> None:
    name, record = codec.decode_other(table, row, rowid=5)
    again = codec.encode_other(name, record)
    assert {column: repr(cell) for column, cell in again.items()} == {
        column: repr(cell) for column, cell in row.items()
    }
    for value in record.values():
        assert not isinstance(value, str) or "\x00" not in value


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["id", "name", "type", "slot", "stars", "isEquipped", "quantity", "options", "attachments", "x"])
VALUES = JSONS | st.sampled_from(["item-1", "equipment", "fan", 3, 1, True, False, None, 3.0, {"gold": 5}])
ELEMENTS = st.dictionaries(KEYS, VALUES, max_size=6) | st.builds(
    lambda change: ITEM | change, st.dictionaries(KEYS, VALUES)
)
DOCUMENTS = (
    st.lists(ELEMENTS | JSONS, max_size=4)
    | st.dictionaries(st.sampled_from(["fan", "board", ""]), st.sampled_from(["item-1", "x", None, 3]))
    | JSONS
)
TEXTS = (
    st.builds(
        lambda value, indent, ascii_only: json.dumps(value, indent=indent, ensure_ascii=ascii_only),
        DOCUMENTS,
        st.sampled_from([None, 1]),
        st.booleans(),
    )
    | st.builds(js, DOCUMENTS)
    | st.builds(as_browsers_write, DOCUMENTS)
)
CELLS = (
    TEXTS.map(lambda text: text if text.encode("utf-8", "ignore").decode() == text else "[]")
    | st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=6)
    | st.binary(max_size=4).map(lambda data: BadText(b"\xff" + data))
    | st.text(max_size=6).filter(lambda text: text.encode("utf-8", "ignore").decode() == text)
)


@pytest.mark.parametrize("spelled", ["0.00009", "5e-7", "9e-05", "5e-07", "1e21", "1e+21", "0.1", "1.0", "-0.0"])
def test_a_fraction_comes_back_as_it_was_spelled_wherever_it_stands(spelled: str) -> None:
    """JavaScript spells 0.00009 so, Python 9e-05: each of them may have written a file."""
    item = js(ITEM | {"options": {"x": "FRACTION"}, "unknown": "FRACTION"}).replace('"FRACTION"', spelled)
    quest = js({"reward": {"x": "FRACTION"}, "unknown": "FRACTION"}).replace('"FRACTION"', spelled)
    quests = f'{{"daily":{{"quests":[{quest}],"unknown":{spelled}}}}}'
    assert_comes_back(a_row(inventory=f"[{item},{js(STONE)}]", quests=quests))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*codec.MODELLED, "quests", "stats", "unknown"]), CELLS, max_size=10))
def test_any_row_comes_back(differences: dict[str, Cell]) -> None:
    decoded = assert_comes_back(a_row(**differences))
    for records in decoded.rows.values():
        for record in records.values():
            assert not any(isinstance(value, str) and "\x00" in value for value in record.values())
    assert all(decoded.counts[column] >= count for column, count in decoded.quarantined().items())


@pytest.mark.parametrize(("before", "added", "after"), [(120.5, 10, 130.5), (-0.5, 32, 31.5), (0.25, 0, 0.25)])
def test_a_decimal_counts_rounded_down_and_loses_nothing_when_something_is_added(
    before: float, added: int, after: float
) -> None:
    row: dict[str, Cell] = {"id": "u", "gold": 5, "strategyXp": before, "tournamentScore": before}
    decoded = codec.decode_row(row, rowid=1)
    rows = decoded.rows.copy()
    user = rows["users"][("u",)]
    assert user["strategy_xp"] == math.floor(before)
    user |= {"strategy_xp": math.floor(before) + added, "tournament_score": math.floor(before) + added}
    written = codec.encode_row(rows, tuple(row))
    assert (written["strategyXp"], written["tournamentScore"]) == (after, after)
    assert {finding.kind for finding in decoded.findings} == {"aside"}


@pytest.mark.parametrize(("document", "status"), [(None, None), ("", None), ('{"status":"compl', "unreadable")])
def test_a_tournament_is_known_by_its_day_and_its_flag_where_its_document_is_not(
    document: str | None, status: str | None
) -> None:
    row: dict[str, Cell] = {
        "id": "u",
        "lastWorldTournament": document,
        "lastWorldPlayedDate": 1_767_582_000_000,
        "worldRewardClaimed": 1,
    }
    rows = codec.decode_row(row, rowid=1).rows
    record = rows["user_tournaments"][("u", "world")]
    assert (record["status"], record["played_at"], record["claimed"]) == (status, 1_767_582_000_000, True)
    assert codec.encode_row(rows, tuple(row)) == row
    after = rows.copy()
    after["user_tournaments"][("u", "world")] |= {"status": "bracket_ready", "claimed": False}
    assert json.loads(str(codec.encode_row(after, tuple(row))["lastWorldTournament"]))["status"] == "bracket_ready"


FINITE = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4)
)
OBJECTS = st.dictionaries(
    st.text(max_size=2),
    FINITE | st.lists(FINITE, max_size=3) | st.dictionaries(st.text(max_size=2), FINITE),
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(OBJECTS, st.dictionaries(st.text(max_size=2), FINITE, max_size=3), st.sampled_from([None, 1]), st.booleans())
def test_a_text_that_is_rewritten_reads_as_the_value(
    old: dict[str, Any], more: dict[str, Any], indent: int | None, in_array: bool
) -> None:
    before: json_text.Json = [old] if in_array else old
    after: json_text.Json = [old | more, more] if in_array else old | more
    text = json.dumps(before, indent=indent)
    assert json_text.rewritten(text, before) == text
    assert json.loads(json_text.rewritten(text, after)) == after
