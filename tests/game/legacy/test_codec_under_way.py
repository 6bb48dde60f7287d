"""The codec on quests, presets, missions and stages: they come back byte for byte, and change in their place alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from game import json_text
from game.legacy import codec
from game.legacy.codec import forms, mapping
from game.legacy.sqlite_values import Cell
from game.rows import Record
from tests.game.legacy.under_way_rows import (
    DAILY,
    MISSION,
    PRESET,
    QUEST,
    a_row,
    as_browsers_write,
    assert_comes_back,
    js,
    records,
    write,
)


def test_a_plain_row_comes_back_and_finds_nothing() -> None:
    decoded = assert_comes_back(a_row())
    assert decoded.findings == []
    quest = records(decoded.rows, "user_quests")["daily/q1"]
    assert (quest["target"], quest["progress"], quest["activity_points"], quest["claimed"]) == (3, 3, 20, False)
    assert quest["reward"] == '{"gold":50,"xp":{"type":"strategy","amount":5}}'
    milestones = records(decoded.rows, "user_milestones")
    assert list(milestones) == ["daily", "weekly"]
    assert milestones["daily"]["claimed"] == "[true,false,false,false,false]"
    assert (milestones["daily"]["activity"], milestones["daily"]["reset_at"]) == (40, 1767538800000)
    mission = records(decoded.rows, "user_missions")["mission_attendance"]
    assert [mission[name] for name in ("started", "level", "amount", "collected", "since")] == [True, 2, 5, 40, 17]
    assert records(decoded.rows, "user_equipment_presets")["대국"]["equipment"] == '{"fan":"item-1","top":null}'
    stages = records(decoded.rows, "user_stages")
    assert {name: (r["cleared"], r["rewarded"], r["position"]) for name, r in stages.items()} == {
        "입문-1": (True, False, 0),
        "입문-2": (True, True, 1024),
        "입문-9": (False, True, 2048),
    }
    assert decoded.rows["users"]["u",]["stage_progress"] == 2
    assert json.loads(str(decoded.rows["legacy_rows"]["users", 7]["cells"])) == {
        "\x01quests": '{"daily":\x01daily\x01,"weekly":\x01weekly\x01,"monthly":null}'
    }


@pytest.mark.parametrize(
    ("column", "cell", "kind", "loaded"),
    [
        ("quests", "[1]", "held", 0),
        ("quests", "{", "held", 0),
        ("quests", '{"daily":[]}', "held", 0),
        ("quests", js({"daily": DAILY | {"quests": {}}}), "held", 0),
        ("quests", js({"daily": DAILY | {"claimedMilestones": [True]}}), "held", 0),
        ("quests", js({"daily": DAILY | {"activityProgress": -1}}), "held", 0),
        ("quests", js({"daily": DAILY | {"lastReset": "2026"}}), "held", 0),
        ("quests", js({"daily": DAILY | {"quests": [QUEST, {"id": ""}, QUEST, 7]}}), "held", 1),
        ("quests", js({"daily": DAILY, "weekly": DAILY | {"quests": [QUEST | {"progress": 1.5}]}}), "held", 2),
        ("equipmentPresets", "[{", "aside", 1),
        ("equipmentPresets", js([PRESET, PRESET, 3]), "aside", 1),
        ("equipmentPresets", js([PRESET | {"equipment": []}]), "aside", 0),
        ("equipmentPresets", js([{"name": "x", "equipment": {"fan": 3}}]), "aside", 0),
        ("equipmentPresets", '[{"name":"x","equipment":{"fan":"\\ud800"}}]', "aside", 0),
        ("singlePlayerMissions", "[1]", "held", 1),
        ("singlePlayerMissions", js({"a": MISSION | {"accumulatedAmount": 1.5}, "b": MISSION}), "aside", 1),
        ("singlePlayerMissions", js({"a": MISSION | {"level": 0}, "": MISSION, "b": None}), "aside", 0),
        ("singlePlayerMissions", '{"a":{"level":3},"a":{"level":4}}', "aside", 1),
        ("clearedSinglePlayerStages", "입문-1", "held", 2),
        ("clearedSinglePlayerStages", '["a","a",1,"",null]', "aside", 3),
        ("claimedFirstClearRewards", '{"입문-1":true}', "held", 2),
        ("singlePlayerProgress", "many", "held", None),
    ],
)
def test_what_can_not_be_read_is_found_and_comes_back(column: str, cell: Cell, kind: str, loaded: int | None) -> None:
    decoded = assert_comes_back(a_row(**{column: cell}))
    assert decoded.findings
    assert {(finding.column, finding.kind) for finding in decoded.findings} == {(column, kind)}
    assert decoded.rows["users"]["u",]["held"] is (kind == "held")
    tables = {
        "quests": "user_quests",
        "equipmentPresets": "user_equipment_presets",
        "singlePlayerMissions": "user_missions",
    }
    if loaded is not None:
        assert len(decoded.rows[tables.get(column, "user_stages")]) == loaded


DOCUMENTS = ["quests", "equipmentPresets", "singlePlayerMissions", *mapping.STAGES.values()]


@pytest.mark.parametrize("cell", [None, "", "null", "{}", "[]", "[ ]", " {\n}", '{"x":1}', "[null]", " [ 3 ] "])
@pytest.mark.parametrize("column", DOCUMENTS)
def test_every_way_to_write_nothing_comes_back(column: str, cell: Cell) -> None:
    assert_comes_back(a_row(**{column: cell}))


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("quests", json.dumps({"x": [], "weekly": DAILY, "daily": DAILY}, indent=1)),
        ("quests", '{"daily":3,"daily":{"quests":[ {"id":"q","progress":2.0} , {"id":"r"}]}, "monthly" : {} }'),
        ("quests", '{"daily":{"quests":null,"quests":[]},"weekly":{"activityProgress":null}}'),
        ("quests", '{"daily":{"claimedMilestones":[ true,false,false,false,false]}}'),
        ("equipmentPresets", '[ {"equipment":null,"name":"\\uac00", "x":1} ,{"name":"b"}]'),
        ("singlePlayerMissions", '{ "a" : {"level":2.0}, "\\u0062":{} ,"c":{"isStarted":1,"x":[]}}'),
        ("clearedSinglePlayerStages", '[ "\\uc785", "b"]'),
        ("claimedFirstClearRewards", '["입문-2","입문-1"]'),
    ],
)
def test_unusual_writing_comes_back(column: str, text: str) -> None:
    assert assert_comes_back(a_row(**{column: text})).findings == []


def test_an_older_file_lacks_the_columns() -> None:
    rows = codec.decode_row({"id": "u"}, rowid=1).rows
    assert not {"user_quests", "user_missions", "user_stages", "user_equipment_presets"} & set(rows)
    assert write({"id": "u", "quests": None}, "user_stages", **{"입문-1": a_stage(cleared=True)}) == {
        "clearedSinglePlayerStages": '["입문-1"]'
    }


def a_stage(**flags: bool) -> Record:
    return {"stage": "입문-1", "position": 9999, "cleared": False, "rewarded": False, **flags}


def test_a_claimed_quest_changes_its_own_flag_and_its_periods_activity() -> None:
    text = json.dumps({"weekly": {"quests": [{"id": "q1"}]}, "daily": DAILY, "x": 1}, ensure_ascii=False)
    row = a_row(quests=text)
    head, flag, tail = text.rpartition('"isClaimed": false')
    assert write(row, "user_quests", **{"daily/q2": {"claimed": True}}) == {
        "quests": head + flag.replace("false", "true") + tail
    }
    assert write(row, "user_milestones", daily={"activity": 60}) == {
        "quests": text.replace('"activityProgress": 40', '"activityProgress": 60')
    }


def test_a_quest_without_a_flag_gets_it_at_its_end() -> None:
    text = '{"daily":{"quests":[{"id":"q1","target":0, "y":2 },{"id":"q2"}],"z":1}}'
    assert write(a_row(quests=text), "user_quests", **{"daily/q1": {"claimed": True}}) == {
        "quests": text.replace('"y":2 }', '"y":2,"isClaimed":true }')
    }


def test_a_claimed_milestone_is_written_in_its_place() -> None:
    row = a_row()
    claimed = "[true,true,false,false,false]"
    assert write(row, "user_milestones", daily={"claimed": claimed}) == {
        "quests": str(row["quests"]).replace("[true,false,false,false,false]", claimed, 1)
    }


def test_a_mission_changes_in_its_place_and_a_new_one_comes_last() -> None:
    text = '{ "a":{"level":1,"x":[ 1 ]} , "b":7}'
    row = a_row(singlePlayerMissions=text)
    assert write(row, "user_missions", a={"level": 2, "started": True}) == {
        "singlePlayerMissions": '{ "a":{"level":2,"x":[ 1 ],"isStarted":true} , "b":7}'
    }
    new = {"id": "c", "position": 9999, "started": True, "level": 1, "amount": 0, "collected": 0, "since": 5}
    assert write(row, "user_missions", c=new) == {
        "singlePlayerMissions": '{ "a":{"level":1,"x":[ 1 ]} , "b":7,"c":{"isStarted":true,"lastCollectionTime":5,'
        '"accumulatedAmount":0,"level":1,"accumulatedCollection":0}}'
    }


def test_a_preset_is_saved_over_and_beside() -> None:
    text = '[{"name":"대국","equipment":{"fan":"item-1"},"x":1}, null]'
    row = a_row(equipmentPresets=text)
    assert write(row, "user_equipment_presets", 대국={"equipment": '{"top":"t"}'}) == {
        "equipmentPresets": text.replace('{"fan":"item-1"}', '{"top":"t"}')
    }
    new = {"name": "둘", "position": 9999, "equipment": "{}"}
    assert write(row, "user_equipment_presets", 둘=new) == {
        "equipmentPresets": text[:-1] + ',{"name":"둘","equipment":{}}]'
    }


NOTHINGS = [None, "", "[]", "null", "{}"]


@pytest.mark.parametrize(
    ("table", "nothing"),
    [
        *(("user_stages", nothing) for nothing in NOTHINGS),
        *(("user_missions", nothing) for nothing in NOTHINGS),
        *(("user_equipment_presets", nothing) for nothing in NOTHINGS),
    ],
)
def test_what_is_added_to_nothing_is_written_plainly(table: str, nothing: Cell) -> None:
    row = a_row(**dict.fromkeys(("singlePlayerMissions", "equipmentPresets", *mapping.STAGES.values()), nothing))
    new: dict[str, Record] = {
        "user_stages": a_stage(cleared=True, rewarded=True),
        "user_missions": {
            "id": "입문-1",
            "position": 0,
            "started": True,
            "level": 1,
            "amount": 0,
            "collected": 0,
            "since": 5,
        },
        "user_equipment_presets": {"name": "입문-1", "position": 0, "equipment": "{}"},
    }
    written = write(row, table, **{"입문-1": new[table]})
    assert all("입문-1" in str(cell) for cell in written.values())
    assert (
        set(written)
        == {
            "user_stages": set(mapping.STAGES.values()),
            "user_missions": {"singlePlayerMissions"},
            "user_equipment_presets": {"equipmentPresets"},
        }[table]
    )


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ('["a"]', '["a","입문-1"]'),
        ('[ "a", 7, "a" ]', '[ "a", 7, "a","입문-1" ]'),
        ("[ ]", '["입문-1" ]'),
        ('["\\u0061"]\n', '["\\u0061","입문-1"]\n'),
    ],
)
def test_a_stage_is_appended_once(cell: str, written: str) -> None:
    row = a_row(clearedSinglePlayerStages=cell, claimedFirstClearRewards='["입문-1"]')
    first = write(row, "user_stages", **{"입문-1": a_stage(cleared=True, rewarded=True)})
    assert first == {"clearedSinglePlayerStages": written}
    assert write(row | first, "user_stages", **{"입문-1": {"rewarded": True}}) == {}


def test_a_stage_that_is_taken_away_leaves_the_rest() -> None:
    row = a_row(clearedSinglePlayerStages='[ "입문-1", 7,"입문-2"]', claimedFirstClearRewards=None)
    assert write(row, "user_stages", **{"입문-1": None}) == {"clearedSinglePlayerStages": '[7,"입문-2"]'}


def test_rows_without_a_form_are_written_as_the_service_would() -> None:
    """As those of players that were made on Postgres."""
    made = codec.decode_row(a_row(), rowid=1).rows
    made["legacy_rows"].clear()
    for table in made.values():
        for record in table.values():
            record.pop("form", None)
    again = codec.encode_row(made)
    quests = json.loads(str(again["quests"]))
    assert list(quests) == ["daily", "weekly"]
    assert quests["daily"] == DAILY | {"quests": [q | {"title": ""} for q in DAILY["quests"]]}  # type: ignore[attr-defined]  # a list
    assert again["singlePlayerMissions"] == a_row()["singlePlayerMissions"]
    assert again["equipmentPresets"] == a_row()["equipmentPresets"]
    assert again["clearedSinglePlayerStages"] == a_row()["clearedSinglePlayerStages"]


def test_a_tournament_that_starts_again_keeps_what_it_has_of_unknown_keys() -> None:
    text = '{"type":"world","status":"complete","x":[1], "finalRank":3,"accumulatedEquipmentBoxes":{"상자":1}}'
    row = a_row(lastWorldTournament=text, lastWorldPlayedDate=5, worldRewardClaimed=1)
    again: Record = {"status": "round_in_progress", "rank": None, "boxes": "{}", "played_at": 6, "claimed": False}
    assert write(row, "user_tournaments", world=again) == {
        "lastWorldTournament": text.replace("complete", "round_in_progress")
        .replace('"finalRank":3', '"finalRank":null')
        .replace('{"상자":1}', "{}"),
        "lastWorldPlayedDate": 6,
        "worldRewardClaimed": 0,
    }


def test_a_command_reads_the_columns_of_its_tables() -> None:
    have = [*codec.MODELLED, "id", "stats"]
    holding = {"quests", "singlePlayerMissions", *mapping.STAGES.values()}
    assert holding <= set(codec.columns_for((), have))
    assert not set(codec.columns_for((), have)) & {*set(DOCUMENTS) - holding, "stats"}
    assert set(DOCUMENTS) <= set(
        codec.columns_for(("user_stages", "user_missions", "user_equipment_presets", "user_quests"), have)
    )


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 10**20) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


def altered(plain: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The plain object with some keys gone, some of other values, some unknown."""
    keys = st.sampled_from([*plain, "x"])
    return st.builds(
        lambda gone, changes: {key: value for key, value in (plain | changes).items() if key not in gone},
        st.sets(keys, max_size=2),
        st.dictionaries(keys, JSONS, max_size=2),
    )


QUESTS = st.lists(altered(QUEST) | JSONS, max_size=3)
PERIODS = st.builds(
    lambda period, quests: period | quests, altered(DAILY), st.fixed_dictionaries({}, optional={"quests": QUESTS})
)
NAMES = st.sampled_from(["daily", "weekly", "monthly", "yearly"])
STAGES = st.lists(st.sampled_from(["입문-1", "입문-2", "초급-1"]) | JSONS, max_size=4)
OF_COLUMN: dict[str, st.SearchStrategy[Any]] = {
    "quests": st.dictionaries(NAMES, PERIODS | JSONS, max_size=3),
    "equipmentPresets": st.lists(altered(PRESET) | JSONS, max_size=3),
    "singlePlayerMissions": st.dictionaries(st.sampled_from(["a", "b", ""]), altered(MISSION) | JSONS, max_size=3),
    "clearedSinglePlayerStages": STAGES,
    "claimedFirstClearRewards": STAGES,
}


@st.composite
def texts(draw: st.DrawFn, column: str) -> str:
    value = draw(OF_COLUMN[column] | JSONS)
    text = (
        as_browsers_write(value)
        if draw(st.booleans())
        else json.dumps(
            value,
            ensure_ascii=draw(st.booleans()),
            indent=draw(st.sampled_from([None, 1])),
            separators=draw(st.sampled_from([(",", ":"), (", ", ": ")])),
        )
    )
    if draw(st.booleans()):
        text = text.replace("1", "1.0").replace('"progress"', '"target"')
    clean = text.encode("utf-8", "ignore").decode()
    return clean[: draw(st.integers(0, len(clean)))] if draw(st.integers(0, 9)) == 0 else clean


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries({}, optional={column: texts(column) for column in DOCUMENTS}))
def test_any_documents_come_back(documents: dict[str, Cell]) -> None:
    decoded = assert_comes_back({"id": "u", **documents})
    for finding in decoded.findings:
        is_document = finding.column in ("singlePlayerMissions", *mapping.STAGES.values()) and finding.position is None
        assert finding.kind == ("held" if finding.column == "quests" or is_document else "aside")
    again = codec.decode_row(codec.encode_row(decoded.rows, ("id", *documents)), rowid=7)
    assert again.rows == decoded.rows


@settings(max_examples=300, deadline=None)
@given(
    altered(QUEST) | altered(MISSION) | altered(QUEST | {"inner": MISSION}), st.sampled_from([js, as_browsers_write])
)
def test_the_quick_way_to_cut_gives_what_the_slow_one_gives(
    value: dict[str, Any], spelled: Callable[[object], str]
) -> None:
    assume("NaN" not in js(value) and "Infinity" not in js(value))  # They are no JSON, and no part holds them.
    text = spelled(value)
    wanted = {**mapping.QUEST, "inner": mapping.MISSION}
    part = json_text.JsonPart(0, len(text), 0, json.loads(text))
    try:
        slow = forms.cut(text, 0, wanted)[:2]
    except json_text.Unreadable:
        with pytest.raises(json_text.Unreadable):
            forms.cut_part(text, part, wanted)
        return
    assert forms.cut_part(text, part, wanted) == slow
