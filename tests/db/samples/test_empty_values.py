"""Among a few hundred made players each column, key and table is filled in every way that the declarations know."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path

import pytest

from db.samples import empty_values, quoted_names, seed, sizes
from db.samples.empty_values import EmptyValue
from db.samples.random_players import random_players
from game import tables
from game.legacy import codec, sqlite_values
from game.legacy.sqlite_values import Cell
from game.rows import Record, Rows
from game.rules import catalog
from game.rules.actions.equip import MOST_PRESETS
from game.rules.missions import MISSIONS
from game.rules.stages import STAGES

PLAYERS = 300
MANY = 3

FULL = {
    "user_equipment": len(catalog.SLOTS),
    "user_equipment_presets": MOST_PRESETS,
    "user_milestones": 3,
    "user_missions": len(MISSIONS),
    "user_stages": len(STAGES),
    "user_tournaments": len(catalog.TOURNAMENTS),
}
"""Tables of which a player has at most so many rows; of the bag, see the test of its own. A mailbox has no limit."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Cell]]:
    """The `users` of a made file."""
    path = tmp_path_factory.mktemp("legacy") / "game.db"
    seed.seed_legacy(path, PLAYERS, seed=3)
    return users(path)


def users(path: Path) -> list[dict[str, Cell]]:
    with closing(sqlite_values.connect(path, readonly=True)) as connection:
        cursor = connection.execute("SELECT * FROM users ORDER BY rowid")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


@pytest.fixture(scope="module")
def players(rows: list[dict[str, Cell]]) -> list[Rows]:
    """The same, as they are decoded; and one as a database is seeded with."""
    decoded = [codec.decode_row(row, rowid=n).rows for n, row in enumerate(rows, start=1)]
    return [*decoded, *(player.rows() for player in random_players(1, seed=3))]


def test_a_made_file_has_every_empty_value_with_which_a_player_plays_on(rows: list[dict[str, Cell]]) -> None:
    dealt = [empty for empty in empty_values.declared() if empty_values.plays_on(empty)]
    missing = [empty.name for empty in dealt if not any(empty.is_in(row) for row in rows)]
    assert missing == []


def test_what_holds_a_player_is_the_little_that_it_should_be() -> None:
    """Currencies that are text, and elements without what they are known by."""
    holding = {empty.name for empty in empty_values.declared() if not empty_values.plays_on(empty)}
    known_by = [
        *(f"inventory.{key}" for key in ("id", "name", "type")),
        "mail.id",
        *(f"quests.{period}.id" for period in ("daily", "weekly", "monthly")),
    ]
    nothing = (empty_values.ABSENT, empty_values.NULL)
    assert holding == {"gold: ''", "diamonds: ''", *(f"{key}: {how}" for key in known_by for how in nothing)}


def test_every_column_and_every_key_of_the_mapping_has_empty_values() -> None:
    columns = {empty.column for empty in empty_values.declared()}
    assert {column for column in codec.MODELLED if column != "id"} <= columns
    assert EmptyValue("mail", "[]") in empty_values.declared()
    assert EmptyValue("quests", "absent", ("weekly", "claimedMilestones")) in empty_values.declared()
    assert EmptyValue("mail", "null", ("attachments", "gold")) in empty_values.declared()


@pytest.mark.parametrize("table", [table.name for table in tables.PLAYER_STATE[1:]])
def test_players_have_none_one_many_and_all_of_a_table(players: list[Rows], table: str) -> None:
    counts = Counter(len(player.get(table, {})) for player in players)
    assert counts[0]
    assert counts[1]
    assert any(number >= MANY for number in counts)
    if table in FULL:
        assert counts[FULL[table]] or any(number > FULL[table] for number in counts)


@pytest.mark.parametrize("kind", [catalog.EQUIPMENT, catalog.MATERIAL, catalog.CONSUMABLE])
def test_a_bag_is_exactly_full_in_some(players: list[Rows], kind: str) -> None:
    taken = [
        (sum(item["type"] == kind for item in player["user_inventory"].values()), user[f"places_{kind}"])
        for player in players
        for user in player["users"].values()
    ]
    assert any(number == places and number for number, places in taken)


def filled(records: list[Record], name: str) -> set[str]:
    values = set()
    for record in records:
        value = record.get(name)
        if value is None:
            values.add("NULL")
        elif isinstance(value, bool):
            values.add(str(value).lower())
        elif isinstance(value, int):
            values.add("0" if value == 0 else "number")
        else:
            values.add({"": "''", "[]": "[]", "{}": "{}"}.get(str(value), "text"))
    return values


def wanted(column: object) -> set[str]:
    """Return what the declaration of a column lets it hold."""
    assert isinstance(column, tables.sa.Column)
    default = "" if column.server_default is None else str(column.server_default.arg)  # type: ignore[union-attr]
    kind = type(column.type).__name__
    fills = {"Boolean": {"true", "false"}, "BigInteger": {"number"}}.get(kind, {"text"})
    if default in {"[]", "{}"}:
        fills = fills | {default}
    if column.nullable:
        fills = fills | {"NULL"}
    return fills


@pytest.mark.parametrize("table", tables.PLAYER_STATE, ids=lambda table: table.name)
def test_every_column_of_a_table_holds_what_its_declaration_allows(players: list[Rows], table: tables.sa.Table) -> None:
    records = [record for player in players for record in player.get(table.name, {}).values()]
    lacking = {
        column.name: sorted(lacks)
        for column in tables.record_columns(table)
        if (lacks := wanted(column) - filled(records, column.name))
    }
    assert lacking == {}


def test_each_size_is_made_and_nobody_but_every_fourth_has_one() -> None:
    made = [*random_players(12 + 4 * len(sizes.SIZES), seed=9)]
    assert all(player.given.bag for player in made[:12])
    assert sum(not player.given.bag for player in made) == 1
    assert sum(len(player.given.bag) == 1 for player in made) == 1
    assert sum(player.given.gold == 0 for player in made) == 1


def test_the_postgres_players_are_the_same_ones(players: list[Rows]) -> None:
    counts: dict[str, set[int]] = defaultdict(set)
    for player in random_players(PLAYERS, seed=3):
        for table, records in player.rows().items():
            counts[table].add(len(records))
    assert {table for table, numbers in counts.items() if not {0, 1} <= numbers} == {"users"}


@pytest.mark.parametrize("table", ["user_inventory", "user_mail", "user_quests", "user_equipment_presets"])
def test_made_players_share_names_that_others_quote(players: list[Rows], table: str) -> None:
    owners = Counter(key[-1] for player in players for key in {k[-1]: k for k in player.get(table, {})}.values())
    assert all(owners[quoted_names.name(n)] > 1 for n in (range(10) if table != "user_equipment_presets" else (0, 1)))


def test_made_players_have_ids_that_others_quote(players: list[Rows]) -> None:
    ids = [str(key[0]) for player in players for key in player["users"]]
    assert sum("'" in player and "%" in player and "?" in player for player in ids) > PLAYERS / 20
