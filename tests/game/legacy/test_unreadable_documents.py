"""Unreadable data of a legacy row is never lost: on the legacy store, on Postgres, and on the way back.

Each modelled column is broken in every way, for each action that writes to it. Afterwards the original bytes still
stand in the file, because the action was refused or because what it added was written beside them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest

from db import ops, transfer
from db.ops import fence
from db.samples import builders, seed
from game.errors import Refused
from game.legacy import codec, sqlite_values
from game.legacy.codec import Finding, mapping
from game.legacy.sqlite_values import BadText, Cell
from game.legacy.store import LegacyStore
from game.postgres.store import PostgresStore
from game.rules import catalog
from game.rules.actions import perform
from game.rules.chance import Chance
from game.rules.commands import COMMANDS, ApplyPreset, ClaimMail, Equip, ExpandBag, SavePreset, SellItem, StartMission
from game.rules.player import Player
from game.unit_of_work import Store
from harness.databases import Database
from harness.play import arena
from tests.db.transfer.transferring import PASS, give_pass, load, moved
from tests.game.examples import EXAMPLES, command
from tests.game.places import Place
from tests.game.playing_on_stores import NOON_MS, ask
from tests.game.rules.playing import refused

Row = dict[str, Cell]
Broken = dict[tuple[str, int], Row]
"""A player's row by the action to be tried and the number of the breakage."""

READABLE = ("dangling", "disagrees")
"""Findings about what can be read, and gives way: an item that is in no bag, a flag that is put right."""

MISSION = '{"isStarted":true,"level":2,"accumulatedAmount":9}'
ELEMENTS: dict[str, list[Cell]] = {
    "inventory": ['[{"id":"fan","name":"푸른 바람 부채","type":"equipment","stars":0.5}]', '[{"id":""}]'],
    "equipment": [
        '{"fan":"fan","fan":"fan2"}',
        '{"fan":"fan2", "fan" : "fan"}',
        '{"fan":7}',
        '{"fan":{"id":"fan"}}',
        '{"board":true,"fan":"fan"}',
        '{"":"fan"}',
        '{"fan":["fan"],"top":null}',
    ],
    "equipmentPresets": [
        '[{"name":"연습","equipment":[]}]',
        '[{"name":"연습","equipment":{"fan":7}}]',
        '[{"name":7}, {"name":"연습"}]',
        '[{"name":"연습","equipment":{"fan":"fan","fan":"fan2"}}]',
        '[{"name":"연습"},{"name":"연습"}]',
        "[7]",
    ],
    "mail": ['[{"id":"m1","attachments":{"gold":50,"coupons":3}}]', '[{"id":"m1","attachments":{"gold":0.5}}]', "[7]"],
    "quests": ['{"daily":7}', '{"daily":{"quests":[{"id":""}]}}', '{"daily":{"claimedMilestones":[true]}}'],
    "singlePlayerMissions": [
        '{"mission_attendance":{"level":1.5}}',
        '{"mission_attendance":7,"mission_league":' + MISSION + "}",
        '{"mission_attendance":{"level":3},"mission_attendance":' + MISSION + "}",
        '{"":7}',
        '{"nobody":7}',
        '{ "mission_attendance" : {"accumulatedAmount":"30"} , "mission_study_joseki":' + MISSION + "}",
    ],
    "clearedSinglePlayerStages": ['["입문-1",7,["입문-3"],"입문-2",null,"입문-1"]', '["입문-1", "입문-2", true ]'],
    "claimedFirstClearRewards": ['["입문-1",7,["입문-3"],"입문-2",null,"입문-1"]', '[ "입문-2", true ]'],
}


def documents(sound: str) -> Iterator[Cell]:
    """The document broken as a whole."""
    other = "[]" if sound.startswith("{") else '{"0":1}'
    yield from (sound[:-1], sound[: len(sound) // 2], sound.replace('"', "'", 1), sound + "x", sound + "\0", other, "7")
    yield from ('"글"', "true", "NaN", "[" * 5000, '{"a":' * 5000, " ", "{,}", "천이백", 7, -7, 1.5, b"", b"\x00\xff")
    yield from (sound.encode(), BadText(sound.encode() + b"\xff"), BadText(b'{"a":"\xed\xa0\xbd"}'))


NUMBERS: tuple[Cell, ...] = (
    "천이백",
    "12",
    "어제",
    "{}",
    b"\x00\x01",
    b"12",
    BadText(b"\xff"),
    1e300,
    float("inf"),
    float("-inf"),
    -1e300,
    12.5,
    -0.5,
    -12.25,
    0.75,
    -7,
    2,
)


def lean(row: Row) -> Row:
    """Only what the game models: a row of 2 KB instead of 30."""
    return {
        column: cell if column == "id" or column in mapping.USERS.declared else None for column, cell in row.items()
    }


@cache
def example(action: str) -> Row:
    """The example's player, one point short of the next forge level."""
    return lean(builders.legacy_row(EXAMPLES[action].player())) | {"blacksmithXp": catalog.xp_to_leave(1) - 1}


@cache
def written_by(action: str) -> frozenset[str]:
    """The columns that the action writes to where all can be read."""
    row = example(action)
    before = codec.decode_row(row, rowid=1).rows
    after = before.copy()
    chance = Chance("the secret of tests", "r1")
    perform(Player(after, "r1", NOON_MS, chance, command(action).body()), command(action))
    return frozenset(codec.changed(row, before, after))


WRITTEN = {column: [a for a in sorted(COMMANDS) if column in written_by(a)] for column in mapping.USERS.declared}


def broken(column: str, path: Path) -> Broken:
    """Make a file of players who have what can't be read in this one column; the rows as SQLite has them."""
    tried: Broken = {}
    for action in WRITTEN[column]:
        sound = example(action)[column]
        cells = tuple(documents(sound)) if isinstance(sound, str) and sound[:1] in ("{", "[") else NUMBERS
        for n, cell in enumerate((*cells, *ELEMENTS.get(column, ()))):
            name = f"{action}-{n}"
            tried[action, n] = {**example(action), "id": name, "username": name, "nickname": name, column: cell}
    kept = in_file(made(path, tried))  # The column's affinity may have made a number of a text.
    rows = {key: kept[str(row["id"])] for key, row in tried.items()}
    return {key: row for key, row in rows.items() if row[column] not in codec.NOTHING and unreadable(row, column)}


def unreadable(row: Row, column: str) -> list[Finding]:
    findings = codec.decode_row(row, rowid=1).findings
    return [finding for finding in findings if finding.column == column and not finding.rule.endswith(READABLE)]


def play(store: Store, rows: Broken) -> dict[str, str]:
    """Each player's action, as it ended."""
    ended = {}
    for (action, _), row in rows.items():
        try:
            ask(store, command(action), "r1", player=str(row["id"]))
            ended[str(row["id"])] = "granted"
        except Refused as refused:
            ended[str(row["id"])] = refused.code
    return ended


def made(path: Path, rows: Broken) -> Path:
    seed.empty_legacy(path)
    with closing(sqlite_values.connect(path)) as connection:
        for row in rows.values():
            arena.insert_legacy(connection, row)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return path


def in_file(path: Path) -> dict[str, Row]:
    with closing(sqlite_values.connect(path, readonly=True)) as connection:
        cursor = connection.execute("SELECT * FROM users")
        names = [column[0] for column in cursor.description]
        return {str(row["id"]): row for row in (dict(zip(names, line, strict=True)) for line in cursor)}


def lost(column: str, rows: Broken, after: dict[str, Row]) -> list[str]:
    """Return a sentence for each value that the file no longer has as it was, with the one that stands there now."""
    return [
        f"{row['id']}: {row[column]!r} became {after[str(row['id'])][column]!r}"
        for row in rows.values()
        for finding in unreadable(row, column)
        if not survives(finding, row[column], after[str(row["id"])][column])
    ]


def survives(finding: Finding, before: Cell, after: Cell) -> bool:
    if sqlite_values.same(before, after):
        return True
    if isinstance(before, float) and isinstance(after, float):
        return (after - before).is_integer()  # A decimal, and what was added.
    is_element = finding.position is not None or finding.path != "$"
    return is_element and finding.original in sqlite_values.original(after)


def test_every_action_writes_to_columns_that_are_tried() -> None:
    assert {action for actions in WRITTEN.values() for action in actions} == set(COMMANDS)
    unwritten = {column for column, actions in WRITTEN.items() if not actions}
    assert unwritten == {
        "username",
        "nickname",
        "isAdmin",
        "strategyLevel",
        "playfulLevel",
        "playfulXp",
        "league",
        *OF_OTHER_KINDS,
    }


OF_OTHER_KINDS = {
    column
    for kind in ("national", "neighborhood", "world")
    for column in mapping.USERS.declared
    if column.lower().startswith((kind, f"last{kind}")) and not WRITTEN[column]
}
"""Of tournaments of other kinds, which the code treats alike."""


@pytest.mark.parametrize("column", [column for column, actions in WRITTEN.items() if actions])
def test_what_can_not_be_read_survives_every_action_on_both_stores_and_the_way_back(
    column: str, fenced_database: Database, tmp_path: Path
) -> None:
    direct, moved_file = tmp_path / "direct.db", tmp_path / "moved.db"
    rows = broken(column, direct)
    assert len(rows) >= 4
    moved_file.write_bytes(direct.read_bytes())

    with closing(LegacyStore(direct)) as legacy:
        on_legacy = play(legacy, rows)
    assert lost(column, rows, in_file(direct)) == []

    load(fenced_database, moved_file)
    with ops.connect(fenced_database.owner) as connection:
        fence.lift(connection)
    with closing(PostgresStore(fenced_database.service, pool_size=1)) as postgres:
        assert play(postgres, rows) == on_legacy
    give_pass(fenced_database)
    transfer.write_back(fenced_database.owner, moved(moved_file), pass_token=PASS)
    assert in_file(moved_file) == in_file(direct)
    with ops.connect(fenced_database.owner) as connection:
        query = "select key, original from quarantine where column_name = %s"
        kept = set(connection.execute(query, (column,)).fetchall())
    assert {(str(row["id"]), f.original) for row in rows.values() for f in unreadable(row, column)} <= kept


def a_row(**differences: Cell) -> Row:
    given = {"bag": {"fan": "푸른 바람 부채", "fan2": "푸른 바람 부채"}, "mail": {"m1": {"gold": 50}}, "diamonds": 150}
    return builders.legacy_row("hana", level=30, stages=["입문-1", "입문-2"], **given) | differences


def refusal(place: Place, wanted: object, request_id: str) -> str:
    return refused(lambda: ask(place.store, wanted, request_id))  # type: ignore[arg-type]  # any command


def test_what_is_worn_can_not_be_read_and_everything_else_goes_on(place: Place) -> None:
    place.put_row(a_row(equipment='{"fan":"fan"'))
    assert refusal(place, Equip("fan2"), "r1") == "document_unreadable"
    assert refusal(place, SellItem("fan"), "r2") == "document_unreadable"  # It may be worn.
    assert refusal(place, SavePreset("연습"), "r3") == "document_unreadable"  # It would be saved empty.
    assert ask(place.store, ClaimMail("m1"), "r4").outcome["gold"] == 50
    assert ask(place.store, ExpandBag("material"), "r5").outcome["places"] == 40


def test_presets_can_not_be_read_and_everything_else_goes_on(place: Place) -> None:
    place.put_row(a_row(equipmentPresets='[{"name":"연습"'))
    assert refusal(place, SavePreset("연습"), "r1") == "document_unreadable"
    assert refusal(place, ApplyPreset(""), "r2") == "document_unreadable"
    assert ask(place.store, Equip("fan"), "r3").outcome["slot"] == "fan"


def test_a_mission_that_can_not_be_read_refuses_what_is_done_with_missions_alone(place: Place) -> None:
    place.put_row(a_row(singlePlayerMissions='{"mission_attendance":{"accumulatedAmount":12.5}}'))
    assert refusal(place, StartMission("mission_attendance"), "r1") == "document_unreadable"
    assert ask(place.store, ClaimMail("m1"), "r2").outcome["gold"] == 50


@pytest.mark.parametrize("cell", ['{"mission_attendance":', "[]x", 7, b"{}", "[" * 5000])
def test_missions_that_can_not_be_read_at_all_hold_the_player(place: Place, cell: Cell) -> None:
    place.put_row(a_row(singlePlayerMissions=cell))
    assert refusal(place, ClaimMail("m1"), "r1") == "player_held"


def test_a_receipt_is_answered_although_its_document_can_no_longer_be_read(legacy: Place, tmp_path: Path) -> None:
    legacy.put_row(a_row())
    first = ask(legacy.store, Equip("fan"))
    with closing(sqlite3.connect(tmp_path / "game.db")) as connection:
        connection.execute("UPDATE users SET equipment = '{'")
        connection.commit()
    again = ask(legacy.store, Equip("fan"))
    assert (again.outcome, again.replayed) == (first.outcome, True)


@pytest.mark.parametrize("others", [{"lastWorldPlayedDate": "어제"}, {"worldRewardClaimed": "예"}])
def test_a_day_or_flag_that_can_not_be_read_survives_in_a_file_without_the_tournaments_column(others: Row) -> None:
    row: Row = {"id": "hana", "gold": 5, **others}
    decoded = codec.decode_row(row, rowid=1)
    assert [finding.kind for finding in decoded.findings] == ["aside"]
    again = codec.encode_row(decoded.rows)
    assert {c: cell for c, cell in again.items() if c in row} == row
    assert again.get("lastWorldTournament") is None
    with pytest.raises(Refused, match="reward_unclaimed"):
        perform(Player(decoded.rows, "r1", NOON_MS, Chance("the secret of tests", "r1")), command("start_tournament"))
