"""Names of a made player in every form that a legacy file may hold: long, in mixed case, with quoted characters.

`rename` gives the player's bag, mail, quests and presets such names. A name follows from its place alone, so two
players with such names share them: ids are unique only within a player.
"""

from __future__ import annotations

import json

from game.json_text import dumps
from game.legacy.codec.readers import KEY_BYTES
from game.rows import Rows, Value

QUOTED = {
    "SQL": "o'Neil\"; DROP TABLE users; --$$%s\\",
    "JSON": '{"a":["\\u0041\t\x1f\u2028"]}',
    "URL": "%2F../a b?c=d&e#f+g;h",
    "format": "{0}{name}%(name)s$1${x}",
    "case": "ItEm",
    "other case": "iTeM",
    "accents": "e\u0301\u00e9",
    "wide": "아이템\U0001f600",
    "spaces": "  two  ",
}
"""Text that must come back unchanged, by what might quote, fold or trim it."""

_RENAMED = {
    "user_inventory": "id",
    "user_mail": "id",
    "user_quests": "id",
    "user_equipment_presets": "name",
}
"""Tables of a player, and the column that the player's own names stand in: the last of the key, and unique in it."""


def name(n: int) -> str:
    """Return the n-th name, from 0: one of each kind, the next ones of full length and numbered."""
    kinds = [*QUOTED.values()]
    if n < len(kinds):
        return kinds[n]
    numbered = f"{n}-{kinds[n % len(kinds)]}-"
    return numbered + "x" * (KEY_BYTES - len(numbered.encode()))


def player_name(id: str) -> str:  # noqa: A002  # as every record calls it
    """Return a player's id with characters that others quote; no slash and no control, for it is part of a path."""
    return f"{id}-Aa'\";--$$\\{{}}?#&+% 가"


def has_some(n: int) -> bool:
    """Return True if the n-th player, from 0, has such names: every sixteenth after the first twelve."""
    return n % 16 == 13


def renamed(rows: Rows) -> Rows:
    """Return the player's rows under such names, each reference with them."""
    renamed = rows.copy()
    items: dict[Value, Value] = {}
    for table, column in _RENAMED.items():
        names: dict[Value, str] = {key[-1]: name(n) for n, key in enumerate(rows.get(table, {}))}
        if table == "user_inventory":
            items.update(names)
        renamed[table] = {
            (*key[:-1], names[key[-1]]): {**record, column: names[key[-1]]}
            for key, record in rows.get(table, {}).items()
        }
    for record in renamed.table("user_equipment").values():
        record["item_id"] = items[record["item_id"]]
    for record in renamed["user_equipment_presets"].values():
        record["equipment"] = _equipment(record["equipment"], items)
    return renamed


def _equipment(document: Value, items: dict[Value, Value]) -> str:
    worn = json.loads(str(document))
    return dumps({slot: items.get(item, item) for slot, item in worn.items()})
