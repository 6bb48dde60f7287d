"""The texts of elements: of items, mail, presets, missions and tournaments, known or new."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set

from game.json_text import MARK, Field, by_column, dumps, fill, top_keys
from game.legacy.codec import mapping
from game.legacy.codec.arrays import plain_form
from game.rows import Record, Value

_ITEM_COLUMNS, _ITEM_KEYS = by_column(mapping.ITEM), top_keys(mapping.ITEM)
_MAIL_COLUMNS, _MAIL_KEYS = by_column(mapping.MAIL), top_keys(mapping.MAIL)
_PRESET_COLUMNS, _PRESET_KEYS = by_column(mapping.PRESET), top_keys(mapping.PRESET)
_MISSION_COLUMNS, _MISSION_KEYS = by_column(mapping.MISSION), top_keys(mapping.MISSION)
_TOURNAMENT_COLUMNS, _TOURNAMENT_KEYS = by_column(mapping.TOURNAMENT), top_keys(mapping.TOURNAMENT)

_NEW_ITEM = dumps(
    {
        "id": "id",
        "name": "name",
        "description": "",
        "type": "type",
        "slot": "slot",
        "grade": "grade",
        "level": 1,
        "stars": "stars",
        "isEquipped": "worn",
        "createdAt": 0,
        "image": "",
        "quantity": "quantity",
        "options": "options",
        "enhancementFails": "fails",
    }
)
_NEW_MAIL = dumps(
    {
        "id": "id",
        "from": "",
        "title": "",
        "message": "",
        "attachments": {"gold": "gold", "diamonds": "diamonds", "actionPoints": "action_points", "items": "items"},
        "receivedAt": 0,
        "expiresAt": "expires_at",
        "isRead": False,
        "attachmentsClaimed": "claimed",
    }
)


def item_texts(bag: Iterable[Record], worn: Iterable[Record]) -> list[tuple[int, str]]:
    """Each item's position and JSON text; the flag isEquipped follows what is worn unless it disagreed."""
    ids: set[Value] = {record["item_id"] for record in worn if record["item_id"] is not None}
    return [(position(record), _item_text(record, ids)) for record in bag]


def mail_texts(mail: Iterable[Record]) -> list[tuple[int, str]]:
    """Each letter's position and JSON text."""
    return [(position(record), fill(form_of(record, _new_mail), _MAIL_COLUMNS, record, _MAIL_KEYS)) for record in mail]


def write_tournament(record: Record) -> str:
    """A tournament's document."""
    form = form_of(record, lambda: '{"type":' + dumps(record["kind"]) + "," + plain_form(mapping.TOURNAMENT)[1:])
    return fill(form, _TOURNAMENT_COLUMNS, record, _TOURNAMENT_KEYS)


def preset_texts(presets: Iterable[Record]) -> list[tuple[int, str]]:
    """Each preset's position and JSON text."""
    return [
        (position(record), fill(form_of(record, _new_preset), _PRESET_COLUMNS, record, _PRESET_KEYS))
        for record in presets
    ]


def mission_texts(missions: Iterable[Record]) -> list[tuple[int, str]]:
    """Each mission's position and entry: its id, and its state."""
    return [(position(record), _mission_text(record)) for record in missions]


def position(record: Record) -> int:
    """The record's place among its neighbours."""
    place = record["position"]
    if not isinstance(place, int):
        raise TypeError(f"a position is a number, not {place!r}")
    return place


def form_of(record: Record, new: Callable[[], str]) -> str:
    """The record's own form, or a new one."""
    form = record.get("form")
    return form if isinstance(form, str) else new()


def marked(template: str, columns: Mapping[str, Field]) -> str:
    """A template's texts that are names of columns, turned into marks."""
    for column in columns:
        template = template.replace(f':"{column}"', f":{MARK}{column}{MARK}")
    return template


def _item_text(record: Record, worn: Set[Value]) -> str:
    flag = record.get("worn_flag")
    shown = record["id"] in worn if flag is None else flag
    return fill(form_of(record, lambda: _NEW_ITEM_FORM), _ITEM_COLUMNS, {**record, "worn": shown}, _ITEM_KEYS)


def _new_mail() -> str:
    return _NEW_MAIL_FORM


def _new_preset() -> str:
    return plain_form(mapping.PRESET)


def _mission_text(record: Record) -> str:
    form = form_of(record, lambda: f"{dumps(record['id'])}:{plain_form(mapping.MISSION)}")
    return fill(form, _MISSION_COLUMNS, record, _MISSION_KEYS)


_NEW_ITEM_FORM = marked(_NEW_ITEM, _ITEM_COLUMNS)
_NEW_MAIL_FORM = marked(_NEW_MAIL, _MAIL_COLUMNS)
