"""Legacy files that do what files out there do, and more: any cell in any column, unusual tables and settings.

Drawn by Hypothesis as data, then written by SQLite, so that what is in the file is whatever SQLite made of it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import strategies as st

from db.legacy import declared_tables
from db.samples import builders
from db.transfer.soundness import LAST_PLACE
from game.legacy import sqlite_values
from game.legacy.codec import mapping
from game.legacy.sqlite_values import BadText, Cell

MODELLED = tuple(mapping.USERS.declared)
INDEXED = ("username", "nickname", "gold")
DROPPABLE = [name for name in declared_tables.names("users", 73) if name in MODELLED and name not in INDEXED]


@dataclass(frozen=True)
class UnusualFile:
    """The contents of a file to write: the players' rows by rowid, rows of other tables, and further statements."""

    columns: int
    dropped: list[str]
    players: dict[int, dict[str, Cell]]
    others: list[tuple[str, dict[str, Cell]]]
    statements: list[str]
    settings: dict[str, str]
    extras: list[tuple[str, list[Cell]]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Make the file at `path`."""
        for old in path.parent.glob(f"{path.name}*"):
            old.unlink()
        path.touch()
        connection = sqlite_values.connect(path)
        try:
            for name, value in self.settings.items():
                connection.execute(f"PRAGMA {name}={value}").fetchall()
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("BEGIN")
            declared_tables.create(connection, user_columns=self.columns)
            for column in self.dropped:
                connection.execute(f'ALTER TABLE users DROP COLUMN "{column}"')
            for rowid, row in self.players.items():
                _insert(connection, "users", {"rowid": rowid, **row})
            for table, row in self.others:
                _insert(connection, table, row)
            for statement in self.statements:
                connection.execute(statement)
            for table, values in self.extras:
                _insert(connection, table, dict(zip(("a", "b"), values, strict=True)))
            connection.execute("COMMIT")
            connection.execute(f"PRAGMA journal_mode={self.settings['journal_mode']}").fetchall()
        finally:
            connection.close()


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Cell]) -> None:
    names = ", ".join(f'"{name}"' for name in row)
    places = ", ".join(map(sqlite_values.placeholder, row.values()))
    connection.execute(
        f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({places})", [*map(sqlite_values.bind, row.values())]
    )


texts = st.one_of(
    st.text(max_size=12),
    st.text(alphabet='가나다 \x00\x01"\\{}[],:1', max_size=12),
    st.sampled_from(["", "{}", "[]", "null", "0", "-1", "1e2", "1.0", "true", '"x"', "[1,2", "\x00", "[1]\x00x"]),
    st.sampled_from(['{"a":1,"a":2}', '["\\u0000"]', '["\\ud800"]', "[NaN]", "[" * 1200 + "]" * 1200]),
)
numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-3, 100),
    st.floats(allow_nan=False),
    st.sampled_from([-0.0, 0.5, 1e300, float("inf"), 2.0**53]),
)
bad_texts = st.binary(max_size=8).map(lambda head: BadText(head + b"\xff"))
some_cell: st.SearchStrategy[Cell] = st.one_of(numbers, texts, st.binary(max_size=8), bad_texts)
any_cell = st.one_of(st.none(), some_cell)

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**20), st.floats(allow_nan=False, allow_infinity=False), texts
)
json_values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
item_ids = st.sampled_from(["item-1", "item-2", "item-3", "", "\x00", "가"])
items = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(item_ids, json_values),
        "name": st.one_of(st.just("하급 강화석"), json_values),
        "type": st.one_of(st.just("equipment"), st.just("material"), json_values),
        "slot": st.one_of(st.just("fan"), st.none(), json_values),
        "grade": st.one_of(st.just("normal"), json_values),
        "stars": st.one_of(st.integers(0, 10), json_values),
        "isEquipped": st.one_of(st.booleans(), json_values),
        "quantity": st.one_of(st.integers(1, 9), json_values),
        "options": json_values,
        "wild": json_values,
        "enhancementFails": st.one_of(st.integers(0, 9), json_values),
    },
)
letters = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(st.sampled_from(["m1", "m2"]), json_values),
        "from": texts,
        "expiresAt": st.one_of(st.integers(0, 9), json_values),
        "attachments": st.one_of(
            json_values,
            st.fixed_dictionaries(
                {},
                optional={
                    "gold": st.one_of(st.integers(0, 9), json_values),
                    "diamonds": json_values,
                    "actionPoints": json_values,
                    "items": st.one_of(json_values, st.just([{"itemId": "골드 꾸러미1", "quantity": 2}])),
                },
            ),
        ),
        "attachmentsClaimed": st.one_of(st.booleans(), json_values),
    },
)
worn = st.dictionaries(st.one_of(st.sampled_from(["fan", "top"]), texts), st.one_of(item_ids, json_values), max_size=3)
cups = st.fixed_dictionaries(
    {},
    optional={
        "status": st.one_of(st.just("complete"), json_values),
        "finalRank": st.one_of(st.integers(1, 16), json_values),
        "accumulatedGold": json_values,
        "accumulatedMaterials": json_values,
        "accumulatedEquipmentBoxes": json_values,
        "rounds": json_values,
    },
)
presets = st.fixed_dictionaries(
    {},
    optional={
        "name": st.one_of(st.sampled_from(["기본", "둘"]), json_values),
        "equipment": st.one_of(worn, json_values),
        "wild": json_values,
    },
)
prepared_requests = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(st.sampled_from(["q1", "q2", "q3"]), json_values),
        "title": texts,
        "progress": st.one_of(st.integers(0, 9), json_values),
        "target": st.one_of(st.integers(0, 9), json_values),
        "reward": st.one_of(st.just({"gold": 5, "xp": 1}), json_values),
        "activityPoints": st.one_of(st.integers(0, 20), json_values),
        "isClaimed": st.one_of(st.booleans(), json_values),
    },
)
periods = st.fixed_dictionaries(
    {},
    optional={
        "quests": st.one_of(
            st.lists(prepared_requests, max_size=3), st.lists(st.one_of(prepared_requests, json_values), max_size=3)
        ),
        "activityProgress": st.one_of(st.integers(0, 100), st.integers(0, 100), json_values),
        "claimedMilestones": st.one_of(st.lists(st.booleans(), min_size=5, max_size=5), json_values),
        "lastReset": st.one_of(st.none(), st.integers(0, 10**13), json_values),
        "wild": json_values,
    },
)
missions = st.fixed_dictionaries(
    {},
    optional={
        "isStarted": st.one_of(st.booleans(), json_values),
        "level": st.one_of(st.integers(1, 10), json_values),
        "lastCollectionTime": st.one_of(st.integers(0, 10**13), json_values),
        "wild": json_values,
        "accumulatedAmount": st.one_of(st.integers(0, 9), json_values),
        "accumulatedCollection": json_values,
    },
)
stages = st.lists(st.one_of(st.sampled_from(["입문-1", "입문-2", "초급-1"]), json_values), max_size=4)
points = st.fixed_dictionaries({}, optional={"current": json_values, "max": json_values, "equipment": json_values})

documents = {
    "inventory": st.lists(st.one_of(items, items, json_values), max_size=4),
    "mail": st.lists(st.one_of(letters, letters, json_values), max_size=3),
    "equipment": worn,
    "actionPoints": points,
    "inventorySlots": points,
    "equipmentPresets": st.lists(st.one_of(presets, presets, json_values), max_size=3),
    "quests": st.dictionaries(
        st.one_of(st.sampled_from(mapping.PERIODS), texts), st.one_of(periods, periods, json_values), max_size=3
    ),
    "singlePlayerMissions": st.dictionaries(texts, st.one_of(missions, missions, json_values), max_size=3),
    **dict.fromkeys(mapping.STAGES.values(), stages),
    **{f"last{name}Tournament": cups for name in mapping.KINDS.values()},
}


@st.composite
def written(draw: st.DrawFn, values: st.SearchStrategy[object]) -> str:
    """A value as JSON text, in any of the ways in which programs write it; at times cut off."""
    value = draw(values)
    text = json.dumps(
        value,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, None, 1])),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": ")])),
    )
    match draw(st.integers(0, 9)):
        case 0:
            return text[: draw(st.integers(0, len(text)))]
        case 1:
            return text.replace(":", " : ").replace("1", "1.0")
        case _:
            return text


def cell_of(column: str) -> st.SearchStrategy[Cell]:
    """Draw a cell for the column: mostly its kind of document, or anything."""
    documented = written(documents[column]) if column in documents else written(json_values)
    return st.one_of(documented, documented, any_cell, numbers)


@st.composite
def players(draw: st.DrawFn, columns: tuple[str, ...]) -> dict[str, Cell]:
    """One row: a whole player with some columns made unusual."""
    player = f"user-{draw(st.integers(0, 99))}"
    row: dict[str, Cell] = {"id": draw(st.one_of(st.just(player), st.just(player), st.just(player), any_cell))}
    if draw(st.booleans()):
        row = builders.legacy_row(player) | {"nickname": f"{player}의 별명"} | row
    altered = draw(st.lists(st.sampled_from(columns[1:]), max_size=6, unique=True))
    likely = draw(st.lists(st.sampled_from([name for name in MODELLED if name in columns]), max_size=4, unique=True))
    row |= {column: draw(cell_of(column)) for column in (*altered, *likely)}
    return {column: cell for column, cell in row.items() if column in columns}


STATEMENTS = [
    'CREATE TABLE "odd "" name" (a, b, PRIMARY KEY (b, a)) WITHOUT ROWID',
    "CREATE TABLE plain (a, b TEXT COLLATE NOCASE)",
    "CREATE TABLE hidden (rowid TEXT, oid, _rowid_ BLOB, a, b REAL)",
    "CREATE TABLE counted (a INTEGER PRIMARY KEY AUTOINCREMENT, b)",
    "CREATE TABLE made (a, b NUMERIC, c GENERATED ALWAYS AS (b || 'x') VIRTUAL, d AS (a) STORED)",
    "CREATE INDEX users_gold ON users (gold) WHERE gold > 0",
    "CREATE UNIQUE INDEX users_lower ON users (lower(nickname), id)",
    "CREATE VIEW rich AS SELECT id FROM users WHERE gold > 100",
    "CREATE TRIGGER noted AFTER UPDATE ON users BEGIN UPDATE users SET lastLoginAt = 1 WHERE id = NEW.id; END",
    "CREATE VIRTUAL TABLE search USING fts5 (body)",
]
EXTRA_TABLES = ('"odd "" name"', "plain", "hidden", "counted", "made")


@st.composite
def unusual_files(draw: st.DrawFn) -> UnusualFile:
    """Draw a whole legacy file with unusual values."""
    count = draw(st.sampled_from([73, 78, 78, 80]))
    dropped = draw(st.one_of(st.just([]), st.lists(st.sampled_from(DROPPABLE), max_size=5, unique=True)))
    columns = tuple(name for name in declared_tables.names("users", count) if name not in dropped)
    rowids = st.one_of(st.integers(1, 20), st.integers(-(2**63), LAST_PLACE))
    rows = draw(st.dictionaries(rowids, players(columns), max_size=4))
    statements = [statement for statement in STATEMENTS if draw(st.booleans())]
    made = [name for name in EXTRA_TABLES if any(f"TABLE {name} " in statement for statement in statements)]
    extras = []
    for name in made:
        first = st.one_of(st.none(), st.integers(1, 99)) if name == "counted" else some_cell
        extras += [(name, [draw(first), draw(any_cell)]) for _ in range(draw(st.integers(0, 3)))]
    if draw(st.booleans()):
        statements.append("ANALYZE")
    kv = st.fixed_dictionaries({"key": any_cell, "value": st.one_of(written(json_values), any_cell)})
    secrets = st.fixed_dictionaries({"username": any_cell, "passwordHash": any_cell, "userId": any_cell})
    games = st.fixed_dictionaries({"id": any_cell, "mode": any_cell, "description": any_cell})
    others = [("kv", row) for row in draw(st.lists(kv, max_size=3))]
    others += [("user_credentials", row) for row in draw(st.lists(secrets, max_size=3))]
    others += [("live_games", row) for row in draw(st.lists(games, max_size=2))]
    settings = {
        "page_size": draw(st.sampled_from(["4096", "1024", "65536"])),
        "auto_vacuum": draw(st.sampled_from(["0", "1", "2"])),
        "user_version": str(draw(st.integers(-(2**31), 2**31 - 1))),
        "application_id": str(draw(st.integers(0, 2**31 - 1))),
        "journal_mode": draw(st.sampled_from(["wal", "delete"])),
    }
    return UnusualFile(count, dropped, rows, others, statements, settings, extras)
