"""The independent proof finds what a codec that is wrong both ways hides from the proof of the rows."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from db import transfer
from db.console.progress import Silent
from db.errors import Failure
from db.legacy.source import opened
from db.transfer import independent
from db.transfer import target as targets
from db.transfer.figures import NAMES
from db.transfer.independent import IndependentProof
from game.json_text import dumps
from game.legacy import codec
from game.legacy.codec import equipment, mapping
from game.legacy.codec.document import Document
from game.legacy.codec.forms import Field
from game.rows import Record
from game.urls import PostgresUrl
from harness.databases import Database
from tests.db.transfer.transferring import PASS, load, seeded, sqlite, value, written_to

ITEMS = [
    {"id": "item-fan", "name": "부채", "type": "equipment", "slot": "fan", "stars": 3, "quantity": 2},
    {"id": "item-top", "name": "상의", "type": "equipment", "slot": "top", "stars": 1, "quantity": 1},
]
WORN = {"fan": "item-fan", "top": "item-top"}
LETTERS = [
    {"id": "m1", "attachments": {"gold": 7, "diamonds": 5}, "attachmentsClaimed": False},
    {"id": "m2", "attachments": {"gold": 100}, "attachmentsClaimed": True},
]


def small(path: Path) -> Path:
    """A file whose players all own the same few things."""
    source = seeded(path, 4, anomalies=False)
    documents = {"inventory": ITEMS, "equipment": WORN, "mail": LETTERS}
    cells = [f"{column} = '{dumps(document)}'" for column, document in documents.items()]
    sqlite(source, f"UPDATE users SET gold = 11, diamonds = 22, {', '.join(cells)}")
    return source


def proven(source: Path, target: PostgresUrl) -> IndependentProof:
    with opened(source) as legacy, targets.opened(target) as snapshot:
        return independent.compare(legacy, snapshot.conn, Silent())


def test_every_figure_of_clean_players_is_compared(fenced_database: Database, tmp_path: Path) -> None:
    loaded = load(fenced_database, seeded(tmp_path / "game.db", 40, anomalies=False)).independent
    assert (loaded.players, loaded.compared, loaded.left_out, loaded.mismatches) == (40, 40 * len(NAMES), 0, 0)


def test_what_is_left_out_is_counted_by_column(fenced_database: Database, tmp_path: Path) -> None:
    loaded = load(fenced_database, seeded(tmp_path / "game.db", 60)).independent
    assert loaded.mismatches == 0
    assert loaded.compared + loaded.left_out == 60 * len(NAMES)
    assert loaded.left_out == sum(loaded.per_column.values()) > 0
    with opened(tmp_path / "game.db") as legacy, targets.opened(fenced_database.owner) as snapshot:
        columns = {name for (name,) in snapshot.conn.execute("select distinct column_name from quarantine")}
        assert legacy.count("users") == 60
    assert loaded.per_column.keys() <= columns | {"inventory"}, "an escaped NUL in a bag is not quarantined"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("update users set strategy_xp = strategy_xp + 1", ", strategyXp"),
        ("update users set username = nickname, nickname = username", ", username"),
        ("update user_inventory set stars = 4 where id = 'item-fan'", ", inventory: digest of the items"),
        ("update user_mail set claimed = true", ", mail: number of unclaimed letters"),
        ("update user_mail set gold = gold + 1", ", mail: gold attached"),
        ("update user_mail set gold = 9 where id = 'm2'", ", mail: digest of the letters"),
        ("delete from user_equipment where slot = 'fan'", ", equipment: digest of the slots and what is worn in them"),
        ("update user_quests set target = target + 1", ", quests: digest of the quests"),
        ("update user_milestones set activity = activity + 1", ", quests: digest of the periods"),
        ("update user_missions set amount = amount + 1", ", singlePlayerMissions: digest of the missions"),
        ("insert into users (id) values ('user-new')", "users: 5 players in the target, 4 of them in the file"),
        (
            "update legacy_rows set key = null where source = 'users' and position = 2",
            "users: 1 rows kept whole, of which the quarantine has 0",
        ),
    ],
)
def test_what_was_changed_in_the_target_is_named(
    change: str, named: str, fenced_database: Database, tmp_path: Path
) -> None:
    source = small(tmp_path / "game.db")
    load(fenced_database, source)
    with written_to(fenced_database.owner) as conn:
        assert conn.execute(change.encode()).rowcount > 0
    proof = proven(source, fenced_database.owner)
    assert named in "; ".join(proof.named)
    with pytest.raises(Failure, match="that differ"):
        proof.check()


def test_a_player_whom_the_target_lacks_is_named_by_the_row(fenced_database: Database, tmp_path: Path) -> None:
    source = small(tmp_path / "game.db")
    load(fenced_database, source)
    sqlite(source, "UPDATE users SET id = 'user-other' WHERE rowid = 3")
    assert "users row 3: not in the target" in proven(source, fenced_database.owner).named


Plant = Callable[[pytest.MonkeyPatch], None]


def _columns_swapped(fields: Mapping[str, object], left: str, right: str) -> Plant:
    """The two fields or plain columns go to each other's column, and come back from there."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        one, other = fields[left], fields[right]
        assert isinstance(one, Field | mapping.Scalar)
        assert isinstance(other, Field | mapping.Scalar)
        assert isinstance(fields, dict)
        patch.setitem(fields, left, replace(one, column=other.column))
        patch.setitem(fields, right, replace(other, column=one.column))

    return plant


def _slots_swapped(patch: pytest.MonkeyPatch) -> None:
    other = {"fan": "top", "top": "fan"}
    read, write = equipment._worn_record, equipment._entry_text

    def swapped(record: Record) -> Record:
        return record | {"slot": other.get(str(record["slot"]), record["slot"])}

    patch.setattr(equipment, "_worn_record", lambda *read_of: swapped(read(*read_of)))
    patch.setattr(equipment, "_entry_text", lambda record: write(swapped(record)))


PLANTS: dict[str, tuple[Plant, str]] = {
    "gold and diamonds": (_columns_swapped(mapping.SCALARS, "gold", "diamonds"), "gold"),
    "experience of two kinds": (_columns_swapped(mapping.SCALARS, "strategyXp", "playfulXp"), "strategyXp"),
    "stars and quantity of items": (
        _columns_swapped(mapping.ITEM, "stars", "quantity"),
        "inventory: digest of the items",
    ),
    "what is attached to mail": (_columns_swapped(mapping.ATTACHMENTS, "gold", "diamonds"), "mail: gold attached"),
    "action points and their most": (_columns_swapped(mapping.ACTION_POINTS, "current", "max"), "actionPoints: max"),
    "progress and target": (_columns_swapped(mapping.QUEST, "progress", "target"), "quests: digest of the quests"),
    "amounts of missions": (
        _columns_swapped(mapping.MISSION, "accumulatedAmount", "accumulatedCollection"),
        "singlePlayerMissions: digest of the missions",
    ),
    "two slots": (_slots_swapped, "equipment: digest of the slots and what is worn in them"),
}


def _forget_columns() -> None:
    """Forget what the documents derived from their fields."""
    derived = ("columns", "keys", "absent", "plain_form", "new_form", "flags", "refusing")
    for document in mapping.USERS.documents:
        for part in (document, document.outer):
            for name in derived if part is not None else ():
                part.__dict__.pop(name, None)


@pytest.fixture
def planted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A codec with one of the plants, and the figure that it makes wrong."""
    plant, figure = PLANTS[request.param]
    with monkeypatch.context() as patch:
        plant(patch)
        _forget_columns()
        yield figure
    _forget_columns()


@pytest.mark.parametrize("planted", PLANTS, indirect=True)
def test_a_codec_that_is_wrong_both_ways_is_caught_by_this_proof_alone(
    planted: str, fenced_database: Database, tmp_path: Path
) -> None:
    source = small(tmp_path / "game.db")
    with pytest.raises(Failure, match="that differ") as caught:
        load(fenced_database, source)
    assert "by SQLite's reading of the file" in str(caught.value)
    assert transfer.prove(source, fenced_database.owner).mismatches == 0
    player = str(value(fenced_database.owner, "select key from legacy_rows where source = 'users' and position = 1"))
    assert f"player {player}, {planted}" in proven(source, fenced_database.owner).named


def test_no_function_of_the_codec_is_called(
    fenced_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = seeded(tmp_path / "game.db", 30)
    loaded = load(fenced_database, source).independent

    def refuse(*_called: object, **_with: object) -> None:
        raise AssertionError("a function of the codec was called")

    patched = 0
    for module in pkgutil.walk_packages(codec.__path__, "game.legacy.codec."):
        for name, function in inspect.getmembers(importlib.import_module(module.name), inspect.isfunction):
            monkeypatch.setattr(f"{module.name}.{name}", refuse)
            patched += function.__module__.startswith("game.legacy.codec")
    assert patched > 100
    assert isinstance(mapping.USERS.by_column["mail"], Document)
    assert proven(source, fenced_database.owner) == loaded


HOSTILE = {
    "a key that occurs twice": ("actionPoints", '{"current":1,"max":30,"current":2}', True),
    "a key that is written with an escape": ("actionPoints", '{"curr\\u0065nt":3}', True),
    "a key that SQLite cuts at a NUL": ("actionPoints", '{"current\\u0000x":9,"current":3}', False),
    "an exact decimal": ("actionPoints", '{"current":1.5e1}', True),
    "a decimal past 2**53": ("actionPoints", '{"current":9007199254740994.0}', False),
    "nothing": ("actionPoints", "null", True),
    "one number for all places": ("inventorySlots", "40", True),
    "a period that is null at last": ("quests", '{"daily":{"activityProgress":3},"daily":null}', True),
    "sums past 64 bits": (
        "mail",
        json.dumps([{"id": f"m{n}", "attachments": {"gold": 2**63 - 1}} for n in range(3)]),
        True,
    ),
    "a slot whose item is written with an escape": ("equipment", '{"fan":"it\\u0065m-gone"}', True),
    "a slot whose item is half a pair": ("equipment", '{"fan":"\\ud800"}', False),
    "a slot with a number": ("equipment", '{"fan":5,"top":null}', False),
    "options deeper than SQLite reads": (
        "inventory",
        f'[{{"id":"i","name":"n","type":"t","options":{"[" * 900 + "]" * 900}}}]',
        True,
    ),
    "a document that is too large": (
        "inventory",
        f'[{{"id":"i","name":"n","type":"t","description":"{"x" * 2**20}"}}]',
        False,
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_two_programs_may_read_differently_is_equal_or_left_out(
    name: str, fenced_database: Database, tmp_path: Path
) -> None:
    column, document, compared = HOSTILE[name]
    source = seeded(tmp_path / "game.db", 4, anomalies=False)
    sqlite(source, f"UPDATE users SET {column} = '{document}' WHERE rowid = 1")
    loaded = transfer_of(fenced_database, source)
    assert loaded.per_column == ({} if compared else {column: 1})


def transfer_of(database: Database, source: Path) -> IndependentProof:
    proof = load(database, source, pass_token=PASS).independent
    proof.check()
    return proof
