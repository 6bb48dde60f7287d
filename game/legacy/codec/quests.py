"""Quests: one object of periods, each with its milestones and an array of quests; what can't be read stays in its form.

A period becomes a record of user_milestones, its quests records of user_quests. One that is missing, null or can't be
read gives no record, and stays in the form of the whole.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from game.json_text import JsonPart, Unreadable, parts
from game.legacy.codec.arrays import element_texts, form_of, opened, read_array, write_array
from game.legacy.codec.document import Document, Elements
from game.legacy.codec.forms import MARK, Field, cut_part, fill
from game.legacy.codec.readers import source_text, write_text
from game.legacy.sqlite_values import Cell
from game.rows import Record

ARRAY = "quests"
"""The key of a period's array, and the name under which its text stands in the period's form."""


@dataclass(slots=True)
class Quests:
    """The document as records: the whole's form, records, and the layout of a period's array where it has one.

    troubles: (path, what, source text) of each period or quest that can't be read.
    """

    form: str = ""
    milestones: list[Record] = field(default_factory=list)
    quests: list[Record] = field(default_factory=list)
    layouts: dict[str, str] = field(default_factory=dict)
    unreadable: list[tuple[str, Unreadable, str]] = field(default_factory=list)

    def is_plain(self, periods: Iterable[str]) -> bool:
        """Return True if the form is the one that the records give by themselves."""
        return self.form == _plain_top(periods, {str(record["period"]) for record in self.milestones})


def read_quests(cell: Cell, document: Document) -> Quests:
    """Read the document as records of its periods and their quests. Raises Unreadable if it is no object."""
    text, start = opened(cell, "{", "an object")
    entries, _ = parts(text, start, to_end=True)
    last = {part.key: part for part in entries if part.key in document.periods and part.value is not None}
    decoded = Quests()
    form: list[str] = []
    at = 0
    for part in sorted(last.values(), key=_start):
        try:
            _read_period(decoded, document, text, part)
        except Unreadable as trouble:
            decoded.unreadable.append((f"$.{part.key}", trouble, text[part.value_start : part.end]))
            continue
        form += [text[at : part.value_start], f"{MARK}{part.key}{MARK}"]
        at = part.end
    decoded.form = "".join([*form, text[at:]])
    decoded.milestones.sort(key=lambda record: document.periods.index(str(record["period"])))
    return decoded


def write_quests(
    document: Document,
    form: str | None,
    milestones: Iterable[Record],
    quests: Iterable[Record],
    layouts: Mapping[str, str],
) -> str:
    """Return the document of `read_quests` again, with these records."""
    by_period: dict[str, Record] = {str(record["period"]): record for record in milestones}
    handed_out: dict[str, list[Record]] = {}
    for quest in quests:
        handed_out.setdefault(str(quest["period"]), []).append(quest)
    none = _without_values(document)
    texts = {
        period: _period_text(document, by_period.get(period, none), handed_out.get(period, []), layouts.get(period))
        for period in document.periods
        if period in by_period or period in handed_out
    }
    top = {period: Field(period, source_text, write_text, None) for period in document.periods}
    return fill(
        form if form is not None else _plain_top(document.periods, texts), top, texts, {name: name for name in top}
    )


def _outer(document: Document) -> Elements:
    assert document.outer is not None
    return document.outer


def _without_values(document: Document) -> Record:
    """Return what a period's columns read as where it is missing."""
    return {column: value for column, value in _outer(document).absent.items() if column != ARRAY}


def _read_period(decoded: Quests, document: Document, text: str, part: JsonPart) -> None:
    """Read the whole period, then add its records. Raises Unreadable; nothing of the period is added then."""
    period = str(part.key)
    if not isinstance(part.value, dict):
        raise Unreadable("not_an_object", "expected a period's quests and milestones")
    form, values = cut_part(text, part, _outer(document).fields)
    array = values.pop(ARRAY, None)
    quests: list[Record] = []
    if array is not None:
        read = read_array(str(array), document, None)
        quests = read.records
        decoded.unreadable += [(f"$.{period}.{ARRAY}[{place}]", error, raw) for place, error, raw in read.unreadable]
        if quests and read.layout is not None:
            decoded.layouts[period] = read.layout
    if not quests:
        form = form.replace(f"{MARK}{ARRAY}{MARK}", "null" if array is None else str(array))
    decoded.quests += [{"period": period, **quest} for quest in quests]
    decoded.milestones.append({"period": period, **_without_values(document), **values, "form": form})


def _period_text(document: Document, milestones: Record, quests: list[Record], layout: str | None) -> str:
    outer = _outer(document)
    form = form_of(milestones, outer.plain_form)
    array = None
    if quests or f"{MARK}{ARRAY}{MARK}" in form:
        array = write_array(element_texts(document, quests), layout)
    return fill(form, outer.columns, {**milestones, ARRAY: array}, outer.keys)


def _plain_top(periods: Iterable[str], named: Container[str]) -> str:
    return "{" + ",".join(f'"{period}":{MARK}{period}{MARK}' for period in periods if period in named) + "}"


def _start(part: JsonPart) -> int:
    return part.start
