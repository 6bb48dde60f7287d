"""Quests: one object of periods, each with its milestones and an array of quests; what can't be read stays in its form.

A period becomes a record of user_milestones, its quests records of user_quests. One that is missing, null or can't be
read gives no record, and stays in the form of the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from game.json_text import MARK, Field, Part, Unreadable, by_column, cut_part, dumps, fill, parts, top_keys
from game.legacy.codec import mapping
from game.legacy.codec.arrays import absent, opened, plain_form, read_array, write_array
from game.legacy.codec.elements import form_of, marked, position
from game.legacy.codec.mapping import PERIODS
from game.legacy.sqlite_values import Cell
from game.rows import Record

_QUEST_COLUMNS, _QUEST_KEYS = by_column(mapping.QUEST), top_keys(mapping.QUEST)
_PERIOD_COLUMNS, _PERIOD_KEYS = by_column(mapping.PERIOD), top_keys(mapping.PERIOD)
_TOP = {period: Field(period, mapping.source_text, mapping.write_text, None) for period in PERIODS}
_ARRAY = f"{MARK}quests{MARK}"
_NO_PERIOD = {column: value for column, value in absent(mapping.PERIOD).items() if column != "quests"}

_NEW_QUEST = marked(
    dumps(
        {
            "id": "id",
            "title": "",
            "description": "",
            "progress": "progress",
            "target": "target",
            "reward": "reward",
            "activityPoints": "activity_points",
            "isClaimed": "claimed",
        }
    ),
    _QUEST_COLUMNS,
)
_NEW_PERIOD = plain_form(mapping.PERIOD)


@dataclass(slots=True)
class Quests:
    """The document taken apart: the whole's form, records, and the frame of a period's array where it has one.

    troubles: (path, what, source text) of each period or quest that can't be read.
    """

    form: str = ""
    milestones: list[Record] = field(default_factory=list)
    quests: list[Record] = field(default_factory=list)
    frames: dict[str, str] = field(default_factory=dict)
    troubles: list[tuple[str, Unreadable, str]] = field(default_factory=list)

    @property
    def is_plain(self) -> bool:
        """Whether the form is the one that the records give by themselves."""
        return self.form == _plain_top(str(record["period"]) for record in self.milestones)


def read_quests(cell: Cell) -> Quests:
    """The document taken apart. Raises Unreadable where it is no object."""
    text, start = opened(cell, "{", "an object")
    found, _ = parts(text, start, whole=True)
    last = {part.key: part for part in found if part.key in PERIODS and part.value is not None}
    apart = Quests()
    form: list[str] = []
    at = 0
    for part in sorted(last.values(), key=_start):
        try:
            _read_period(apart, text, part)
        except Unreadable as trouble:
            apart.troubles.append((f"$.{part.key}", trouble, text[part.value_start : part.end]))
            continue
        form += [text[at : part.value_start], f"{MARK}{part.key}{MARK}"]
        at = part.end
    apart.form = "".join([*form, text[at:]])
    apart.milestones.sort(key=_by_period)
    return apart


def write_quests(
    form: str | None, milestones: Iterable[Record], quests: Iterable[Record], frames: Mapping[str, str]
) -> str:
    """The document again."""
    by_period: dict[str, Record] = {str(record["period"]): record for record in milestones}
    handed_out: dict[str, list[Record]] = {}
    for quest in quests:
        handed_out.setdefault(str(quest["period"]), []).append(quest)
    texts = {
        period: _period_text(by_period.get(period, _NO_PERIOD), handed_out.get(period, []), frames.get(period))
        for period in PERIODS
        if period in by_period or period in handed_out
    }
    return fill(form if form is not None else _plain_top(texts), _TOP, texts, {period: period for period in PERIODS})


def _read_period(apart: Quests, text: str, part: Part) -> None:
    """Adds the period's records, once all of it is read. Raises Unreadable."""
    period = str(part.key)
    if not isinstance(part.value, dict):
        raise Unreadable("not_an_object", "expected a period's quests and milestones")
    form, values = cut_part(text, part, mapping.PERIOD)
    array = values.pop("quests", None)
    quests: list[Record] = []
    if array is not None:
        taken = read_array(str(array), mapping.QUEST, mapping.QUEST_NEEDS, None)
        quests = taken.records
        apart.troubles += [(f"$.{period}.quests[{place}]", what, raw) for place, what, raw in taken.troubles]
        if quests and taken.frame is not None:
            apart.frames[period] = taken.frame
    if not quests:
        form = form.replace(_ARRAY, "null" if array is None else str(array))
    apart.quests += [{"period": period, **quest} for quest in quests]
    apart.milestones.append({"period": period, **_NO_PERIOD, **values, "form": form})


def _period_text(milestones: Record, quests: list[Record], frame: str | None) -> str:
    form = form_of(milestones, _new_period)
    array = None
    if quests or _ARRAY in form:
        texts = [
            (position(quest), fill(form_of(quest, _new_quest), _QUEST_COLUMNS, quest, _QUEST_KEYS)) for quest in quests
        ]
        array = write_array(texts, frame)
    return fill(form, _PERIOD_COLUMNS, {**milestones, "quests": array}, _PERIOD_KEYS)


def _plain_top(periods: Iterable[str]) -> str:
    there = set(periods)
    return "{" + ",".join(f'"{period}":{MARK}{period}{MARK}' for period in PERIODS if period in there) + "}"


def _new_period() -> str:
    return _NEW_PERIOD


def _new_quest() -> str:
    return _NEW_QUEST


def _start(part: Part) -> int:
    return part.start


def _by_period(record: Record) -> int:
    return PERIODS.index(str(record["period"]))
