"""Players made to order, and their legacy rows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from db.legacy import declared_tables
from db.samples import builders
from db.samples.given import Given
from db.samples.random_players import random_players
from game.legacy import codec, sqlite_values
from game.rows import Rows, compare
from game.tables import PLAYER_STATE, game_columns
from harness import scenarios
from harness.play import arena

FAN = {
    "level": 30,
    "bag": {"fan": {"name": "푸른 바람 부채", "stars": 3}, "stone": {"name": "하급 강화석", "quantity": 25}},
}


UNDER_WAY: dict[str, Any] = {
    "presets": {"대국": {"fan": "gone"}},
    "quests": {"daily": {"q1": {"target": 3, "progress": 1, "reward": {"gold": 5, "items": {"미사일": 2}}}}},
    "missions": {"mission_attendance": {"since": 7, "amount": 3}},
    "stages": {"입문-1": {"cleared": False}, "입문-2": {}},
    "progress": 4,
    "action_points": 12,
    "tournaments": {"world": {"status": "complete", "rank": 1}},
}


def state(decoded: codec.Decoded) -> Rows:
    """Return the rows with the columns that commands see."""
    return Rows(
        {
            table.name: {
                key: {column.name: record[column.name] for column in game_columns(table)}
                for key, record in decoded.rows.get(table.name, {}).items()
            }
            for table in PLAYER_STATE
        }
    )


def test_the_default_player_has_nothing_and_every_table() -> None:
    rows = builders.player("hana")
    assert list(rows) == [table.name for table in PLAYER_STATE]
    user = rows["users"][("hana",)]
    assert (user["gold"], user["diamonds"], user["held"]) == (0, 0, False)
    assert not any(rows[table] for table in rows if table != "users")


def test_a_record_names_every_column_that_commands_see() -> None:
    rows = builders.player("hana", **FAN, **UNDER_WAY, worn=["fan"], mail={"m1": {"gold": 5}})
    for table in PLAYER_STATE:
        (record, *_) = rows[table.name].values()
        assert set(record) == {column.name for column in game_columns(table)}, table.name


def test_level_is_the_sum_of_both_levels() -> None:
    user = builders.player("hana", level=30)["users"][("hana",)]
    assert user["strategy_level"] == 29
    assert user["playful_level"] == 1


def test_type_slot_and_grade_come_from_the_catalog() -> None:
    fan = builders.player("hana", **FAN)["user_inventory"][("hana", "fan")]
    assert (fan["type"], fan["slot"], fan["grade"]) == ("equipment", "fan", "normal")
    options = json.loads(str(fan["options"]))
    assert options["main"]["value"] == options["main"]["baseValue"] * 4
    assert len(options["combatSubs"]) == 3


def test_places_in_the_bag_follow_the_order_given() -> None:
    rows = builders.player("hana", bag={"b": "미사일", "a": "히든"})
    positions = {key[1]: record["position"] for key, record in rows["user_inventory"].items()}
    assert positions["b"] == 0
    assert positions["a"] > 0


def test_a_mails_expiry_is_told_as_a_time() -> None:
    rows = builders.player("hana", mail={"m1": {"expires": "1970-01-01T09:00:01+09:00"}})
    assert rows["user_mail"][("hana", "m1")]["expires_at"] == 1000


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"golds": 1}, "Keys should be of ['gold', 'diamonds', "),
        ({"gold": -1}, "gold\n  Input should be greater than or equal to 0"),
        ({"gold": True}, "gold\n  Input should be a valid integer"),
        ({"gold": None}, "Keys should have values, and ['gold'] have none"),
        ({"level": 1}, "level\n  Input should be greater than or equal to 2"),
        ({"bag": {"x": "푸른 바람 부체"}}, "did you mean '푸른 바람 부채'"),
        ({"bag": {"x": {"name": "미사일", "slot": "fan"}}}, "bag.x.item\n  Keys should be of ['name', 'stars'"),
        ({"bag": {"x": {"name": "미사일", "quantity": 0}}}, "bag.x.item.quantity\n"),
        ({"worn": ["x"]}, "worn: expected an item of the bag"),
        ({"bag": {"x": "미사일"}, "worn": ["x"]}, "worn: expected an item of the bag"),
        ({"mail": {"m": {"expires": "tomorrow"}}}, "mail.m.expires\n  Value error, an ISO time with its offset"),
        ({"mail": {"m": {"expires": "2026-01-05T12:00:00"}}}, "an ISO time with its offset"),
        ({"mail": {"m": {"expires": True}}}, "an ISO time with its offset"),
        ({"tournaments": {"local": {}}}, "tournaments.local.[key]\n  Input should be 'neighborhood'"),
        ({"presets": {"one": {"hat": "fan"}}}, "presets.one.hat.[key]\n  Input should be 'fan', 'board'"),
        ({"presets": {"one": {"fan": 3}}}, "presets.one.fan\n  Input should be a valid string"),
        ({"quests": {"yearly": {}}}, "quests.yearly.[key]\n  Input should be 'daily', 'weekly' or 'monthly'"),
        ({"quests": {"daily": {"q": {"goal": 3}}}}, "quests.daily.q\n  Keys should be of ['target'"),
        ({"quests": {"daily": {"q": {"reward": {"xp": 3}}}}}, "quests.daily.q.reward.xp\n"),
        ({"quests": {"daily": {"q": {"reward": {"items": {"미사알": 3}}}}}}, "did you mean '미사일'"),
        ({"milestones": {"dayly": {}}}, "milestones.dayly.[key]\n"),
        ({"milestones": {"daily": {"claimed": [30]}}}, "milestones.daily.claimed.0\n  Input should be 20, 40"),
        ({"missions": {"m": {"level": 11}}}, "missions.m.level\n  Input should be less than or equal to 10"),
        ({"missions": {"m": {"since": "soon"}}}, "missions.m.since\n  Value error, an ISO time"),
        (
            {"stages": {"입문-1": {"cleared": False, "rewarded": False}}},
            "stages.mapping.입문-1\n  Value error, a stage that was cleared or rewarded",
        ),
    ],
)
def test_what_can_not_be_given_is_named(given: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - pydantic's ValidationError is one, and so is BadGiven
        builders.player("hana", **given)
    assert says in str(caught.value)


def test_a_moment_is_a_time_a_distance_or_epoch_milliseconds() -> None:
    moments: tuple[object, ...] = ("1970-01-01T09:00:02+09:00", "-1s", 5)
    given = Given.model_validate({"mail": {f"m{n}": {"expires": moment} for n, moment in enumerate(moments)}})
    rows = builders.rows("hana", given, clock_ms=10_000)
    assert [record["expires_at"] for record in rows["user_mail"].values()] == [2_000, 9_000, 5]


def test_a_player_of_a_scenario_is_the_one_that_code_makes() -> None:
    """Compare what a scenario gives with what the builder takes by the names of the same fields."""
    text = "about: One.\ngiven: {{hana: {}}}\nsteps: [{{by: hana, do: claim_all_mail}}]\n"
    scenario = scenarios.read(text.format(json.dumps({**FAN, **UNDER_WAY, "missions": {}})), "one.yaml").scenario
    (start,) = arena.starts(scenario).values()
    assert start.rows == builders.player("hana", **{**FAN, **UNDER_WAY, "missions": {}})


def test_a_period_with_quests_has_its_milestones() -> None:
    rows = builders.player(
        "hana", quests={"weekly": {"q": {"target": 3}}}, milestones={"daily": {"claimed": [20, 100]}}
    )
    milestones = {key[1]: record for key, record in rows["user_milestones"].items()}
    assert list(milestones) == ["daily", "weekly"]
    assert milestones["daily"]["claimed"] == "[true,false,false,false,true]"
    assert (milestones["weekly"]["activity"], milestones["weekly"]["reset_at"]) == (0, 1767538800000)


def test_stages_that_are_only_named_were_cleared_and_rewarded() -> None:
    rows = builders.player("hana", stages=["입문-1"])
    assert rows["user_stages"]["hana", "입문-1"]["cleared"]
    assert rows["user_stages"]["hana", "입문-1"]["rewarded"]


def test_what_is_under_way_is_written_as_the_service_writes_it() -> None:
    row = builders.legacy_row("hana", **UNDER_WAY)
    quests = json.loads(str(row["quests"]))
    assert list(quests) == ["daily"]
    assert quests["daily"]["quests"][0]["reward"] == {"gold": 5, "items": [{"itemId": "미사일", "quantity": 2}]}
    assert json.loads(str(row["singlePlayerMissions"]))["mission_attendance"]["lastCollectionTime"] == 7
    assert row["equipmentPresets"] == '[{"name":"대국","equipment":{"fan":"gone"}}]'
    assert row["clearedSinglePlayerStages"] == '["입문-2"]'
    assert row["claimedFirstClearRewards"] == '["입문-2","입문-1"]'
    assert (row["singlePlayerProgress"], row["actionPoints"]) == (4, '{"current":12,"max":30}')
    assert compare(builders.player("hana", **UNDER_WAY), state(codec.decode_row(row, rowid=1))) == {}


def test_a_legacy_row_has_every_column_in_order() -> None:
    assert tuple(builders.legacy_row("hana", **FAN)) == declared_tables.names("users")
    assert len(declared_tables.names("users")) >= 78
    assert len(declared_tables.names("live_games")) == 165


def test_a_legacy_row_is_written_as_the_service_writes_it() -> None:
    row = builders.legacy_row("hana", **FAN, worn=["fan"])
    assert str(row["inventory"]).startswith('[{"id":"fan","name":"푸른 바람 부채",')
    assert row["equipment"] == '{"fan":"fan"}'
    assert row["inventorySlots"] == '{"equipment":30,"consumable":30,"material":30}'
    assert row["lastWorldTournament"] is None


def test_a_legacy_row_reads_as_the_player_it_was_made_for() -> None:
    for player in random_players(60, seed=11):
        rows = player.rows()
        decoded = codec.decode_row(builders.legacy_row(rows), rowid=1)
        assert decoded.findings == []
        assert compare(rows, state(decoded)) == {}


def test_a_legacy_row_is_the_same_each_time() -> None:
    (player,) = random_players(1, seed=4)
    assert builders.legacy_row(player.rows()) == builders.legacy_row(player.rows())


def test_a_legacy_row_can_be_rebuilt_from_its_rows() -> None:
    row = builders.legacy_row("hana", **FAN, worn=["fan"])
    again = codec.encode_row(codec.decode_row(row, rowid=1).rows, tuple(row))
    assert all(sqlite_values.same(again[column], row[column]) for column in row)
