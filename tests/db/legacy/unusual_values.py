"""Players' values that today's service would not write. Values that can't be read are quarantined, and come back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tests.db.legacy.unusual_cases import Case, case

_DIGITS = "9" * 5000
_DEEP = "[" * 5000 + "]" * 5000
_LONG = "".join(chr(0xAC00 + n * 7 % 11_000) for n in range(3000))


def _values(name: str, column: str, values: Sequence[object]) -> Case:
    """The first players' column set to these values."""
    rows = [(value, n) for n, value in enumerate(values, 1)]
    return case(name, (f"UPDATE users SET {column} = ? WHERE rowid = ?", rows))


def _documents(name: str, documents: Mapping[str, str]) -> Case:
    """Return the documents of the first player, by column."""
    return case(
        name, *((f"UPDATE users SET {column} = ? WHERE rowid = 1", [(text,)]) for column, text in documents.items())
    )


CARRIED = (
    case(
        "negative and largest rowids of players",
        "UPDATE users SET rowid = -7 WHERE rowid = 1",
        "UPDATE users SET rowid = 9223372036854775807 WHERE rowid = 2",
        "UPDATE users SET rowid = 0 WHERE rowid = 3",
    ),
    case("no rowid after the largest", "UPDATE kv SET rowid = 9223372036854775807 WHERE rowid = 1"),
    case(
        "rowids at both ends",
        "CREATE TABLE ends (a)",
        "INSERT INTO ends (rowid, a) VALUES (-9223372036854775808, 1), (0, 2), (9223372036854775807, 3)",
    ),
    _documents(
        "numbers of thousands of digits",
        {
            "inventory": f'[{{"id":"i1","name":"x","type":"material","quantity":{_DIGITS}}}]',
            "currencyLogs": f'[{{"amount":{_DIGITS}}}]',
            "actionPoints": f'{{"current":{_DIGITS},"max":30}}',
            "quests": f'{{"daily":{{"quests":[{{"id":"q","progress":{_DIGITS}}}]}}}}',
        },
    ),
    case(
        "names longer than a key may be",
        ("UPDATE users SET nickname = ?, username = ? WHERE rowid = 1", [(_LONG, _LONG + "x")]),
        ("UPDATE user_credentials SET userId = ? WHERE rowid = 1", [(_LONG,)]),
    ),
    _values("ids that look alike", "id", ["user-é", "user-e\u0301", "USER-É", "user-é ", "user-é\t", " user-é"]),
    case(
        "ids that are none",
        "UPDATE users SET id = '' WHERE rowid = 1",
        "UPDATE users SET id = NULL WHERE rowid = 3",
        "UPDATE users SET id = CAST(x'75ff' AS TEXT) WHERE rowid = 4",
        "UPDATE users SET id = 'a' || char(0) || 'b' WHERE rowid = 5",
    ),
    _values("gold in figures of any kind", "gold", [9007199254740993, "٣", "1_000", " 12", 9e18, 1e19]),
    _values("JSON as only some read it", "mail", ["[1,]", "[{a:1}]", "['x']", "[+1]", "[0x1F]", "/*c*/[]"]),
    _values("SQLite's own binary JSON", "inventory", [b"\x0b", b"\x4b\x13\x61"]),
    _values(
        "days that are none",
        "lastLoginAt",
        ["0000-00-00", "2025-13-45T99:99:99Z", 253402300800000, -62135596800001, float("inf"), "Infinity"],
    ),
    case(
        "documents as deep as they are long",
        ("INSERT INTO kv VALUES ('deep', ?)", [("[" * 100_000 + "]" * 100_000,)]),
        ("UPDATE users SET inventory = ? WHERE rowid = 1", [(_DEEP,)]),
        ("UPDATE users SET mail = ? WHERE rowid = 2", [(json.dumps([{"id": "m1"}])[:-2] + f', "x": {_DEEP}}}]',)]),
    ),
)
