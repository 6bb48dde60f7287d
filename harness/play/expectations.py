"""Expected against found: outcomes, and all changes from start to end, in the shape that `after` has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import sqlalchemy as sa

from db.samples import moments
from game import tables
from game.rows import Key, Record, Rows, Value, compare
from game.rules import catalog
from game.rules.options import fresh_options
from harness.play.aliases import Aliases
from harness.play.differences import as_data
from harness.scenarios.checks import columns
from harness.scenarios.model import GONE, Added, After, Change, ScenarioStep
from harness.scenarios.problems import ScenarioProblem
from harness.scenarios.yaml_reader import Data, Path, flow

JSON_COLUMNS = frozenset({"options", "items", "materials", "boxes", "equipment", "reward", "claimed"})
"""Where they are text: a milestone's `claimed` is a list, elsewhere it is a flag."""
TIME_COLUMNS = frozenset({"expires_at", "played_at", "reset_at", "since"})
LEDGER = ("currency_ledger", ("currency", "amount", "reason"))
HISTORY = ("inventory_history", ("action", "item_id", "delta"))
ALWAYS_SHOWN = frozenset({"name", "quantity"})

RowChanges: TypeAlias = dict[str, dict[str, Change]]
"""By table and key as a scenario writes them."""


def same(left: Data, right: Data) -> bool:
    """Return True if both are equal as JSON: 1, 1.0 and true differ; the order of a mapping's keys does not count."""
    return _canonical(left) == _canonical(right)


def answer(step: ScenarioStep, path: Path, refused: str | None) -> Iterator[ScenarioProblem]:
    """Yield a refusal that was not expected, or another than the one expected; None is a grant."""
    if step.refused != refused:
        yield ScenarioProblem((*path, "refused") if step.refused else path, in_words(step.refused), in_words(refused))


def in_words(refused: str | None) -> str:
    """Return an answer in words: refused with the code, or granted."""
    return f"refused {refused}" if refused else "granted"


def outcome(path: Path, expected: Mapping[str, Data], found: Mapping[str, Data]) -> Iterator[ScenarioProblem]:
    """Yield the fields in which two outcomes differ; each must have every field of the other."""
    for name in dict.fromkeys((*expected, *found)):
        if name not in found:
            yield ScenarioProblem((*path, name), flow(expected[name]), "no such field")
        elif name not in expected:
            yield ScenarioProblem((*path, name), "no such field", flow(found[name]))
        elif not same(expected[name], found[name]):
            yield ScenarioProblem((*path, name), flow(expected[name]), flow(found[name]))


@dataclass(frozen=True)
class Changes:
    """The changes from start to end: rows, and the lines that the journals gained, ids as a scenario writes them."""

    rows: RowChanges
    ledger: dict[str, list[Data]]
    history: dict[str, list[Data]]

    def as_data(self) -> dict[str, Data]:
        """Return what `after` would say, in full and no more."""
        shown: dict[str, Data] = {
            table: {key: _short(table, change) for key, change in changes.items()}
            for table, changes in self.rows.items()
        }
        journals: dict[str, Data] = {"ledger": dict(self.ledger), "history": dict(self.history)}
        return shown | {name: lines for name, lines in journals.items() if lines}


def changes(start: Rows, end: Rows, aliases: Aliases, order: Sequence[str] = ()) -> Changes:
    """Return what changed, its tables in the game's order and its journals' requests in `order`."""
    compared = compare(start, end)
    rows: RowChanges = {}
    for table, changed in (
        (table.name, compared[table.name]) for table in tables.PLAYER_STATE if table.name in compared
    ):
        each: dict[str, Change] = {}
        each |= {_key(key, aliases): _updated(table, columns, aliases) for key, columns in changed.updates.items()}
        each |= {_key(key, aliases): Added(new=_record(table, r, aliases)) for key, r in changed.inserts.items()}
        each |= {_key(key, aliases): GONE for key in changed.deletes}
        if kept := {key: change for key, change in each.items() if change != {}}:
            rows[table] = kept
    return Changes(
        rows,
        ledger=_journal(start, end, LEDGER, aliases=aliases, order=order),
        history=_journal(start, end, HISTORY, aliases=aliases, order=order),
    )


def after(expected: After, found: Changes) -> Iterator[ScenarioProblem]:
    """Yield where the changes are others than the ones expected, a column or a request at a time."""
    for table in dict.fromkeys((*expected.tables, *found.rows)):
        wanted, happened = expected.tables.get(table, {}), found.rows.get(table, {})
        for key in dict.fromkeys((*wanted, *happened)):
            path: Path = ("after", table, key)
            yield from _change(path, table, wanted.get(key), happened.get(key))
    yield from _journals("ledger", {r: [list(line) for line in ls] for r, ls in expected.ledger.items()}, found.ledger)
    yield from _journals(
        "history", {r: [list(line) for line in ls] for r, ls in expected.history.items()}, found.history
    )


def _change(path: Path, table: str, wanted: Change | None, happened: Change | None) -> Iterator[ScenarioProblem]:
    if isinstance(wanted, dict) and isinstance(happened, dict):
        for column in dict.fromkeys((*wanted, *happened)):
            yield from _unequal((*path, column), _pair(wanted.get(column)), _pair(happened.get(column)))
    elif isinstance(wanted, Added) and isinstance(happened, Added):
        full = _defaults(table, str(wanted.new.get("name", ""))) | wanted.new
        for column in dict.fromkeys((*full, *happened.new)):
            yield from _unequal((*path, "new", column), full.get(column), happened.new.get(column))
    elif wanted != happened:
        yield ScenarioProblem(path, _shown(table, wanted), _shown(table, happened))


def _unequal(path: Path, expected: Data, found: Data) -> Iterator[ScenarioProblem]:
    if not same(expected, found):
        yield ScenarioProblem(path, _or_unchanged(expected), _or_unchanged(found))


def _or_unchanged(value: Data) -> str:
    return "no change" if value is None else flow(value)


def _pair(change: tuple[Data, Data] | None) -> Data:
    return None if change is None else list(change)


def _journals(name: str, expected: Mapping[str, Data], found: Mapping[str, Data]) -> Iterator[ScenarioProblem]:
    for request in dict.fromkeys((*expected, *found)):
        wanted, happened = expected.get(request, []), found.get(request, [])
        if not same(wanted, happened):
            yield ScenarioProblem(("after", name, request), flow(wanted), flow(happened))


def _journal(
    start: Rows, end: Rows, journal: tuple[str, Sequence[str]], *, aliases: Aliases, order: Sequence[str]
) -> dict[str, list[Data]]:
    """Return the journal's new lines by request: requests in `order`, each one's lines by number."""
    table, shown = journal
    known = start.get(table, {})
    records = [record for key, record in end.get(table, {}).items() if key not in known]
    place = {request: n for n, request in enumerate(order)}
    records.sort(key=lambda r: (place.get(str(r["request_id"]), len(place)), str(r["user_id"]), _number(r["n"])))
    lines: dict[str, list[Data]] = {}
    for record in records:
        line: list[Data] = [aliases.to_names(as_data(record[column])) for column in shown]
        lines.setdefault(str(record["request_id"]), []).append(line)
    return lines


def _updated(table: str, changed: Mapping[str, tuple[Value, Value]], aliases: Aliases) -> Change:
    written = columns(table)
    pairs = {
        column: (_written(column, before, aliases), _written(column, after, aliases))
        for column, (before, after) in changed.items()
        if column in written
    }
    return {column: pair for column, pair in pairs.items() if not same(*pair)}


def _record(table: str, record: Record, aliases: Aliases) -> dict[str, Data]:
    return {column: _written(column, record.get(column), aliases) for column in columns(table)}


def _defaults(table: str, name: str) -> dict[str, Data]:
    """Return what a scenario leaves out of a new row; an item's type, slot and grade follow from its name."""
    defaults = {column: _default(tables.BY_NAME[table].columns[column]) for column in columns(table)}
    if table == "user_inventory" and (item := catalog.TEMPLATES.get(name)):
        defaults |= {"type": item.type, "slot": item.slot, "grade": item.grade}
        defaults["options"] = _json(fresh_options(item) or "null")
    return defaults


def _default(column: sa.Column[object]) -> Data:
    default = column.server_default
    if not isinstance(default, sa.DefaultClause):
        return None
    text = str(default.arg.compile()) if isinstance(default.arg, sa.ClauseElement) else str(default.arg)
    if isinstance(column.type, sa.Text):
        return _json(text) if column.name in JSON_COLUMNS else text
    return text == "true" if isinstance(column.type, sa.Boolean) else int(text)


def _short(table: str, change: Change) -> Data:
    """Return a change as one would write it: of a new row only what is not at its default, and what names it."""
    if isinstance(change, Added):
        defaults = _defaults(table, str(change.new.get("name", "")))
        shown = {c: v for c, v in change.new.items() if c in ALWAYS_SHOWN or not same(v, defaults.get(c))}
        return {"new": shown}
    return change if isinstance(change, str) else {column: list(pair) for column, pair in change.items()}


def _shown(table: str, change: Change | None) -> str:
    return "no change" if change is None else flow(_short(table, change))


def _key(key: Key, aliases: Aliases) -> str:
    return "/".join(aliases.name(str(part)) for part in key)


def _written(column: str, value: Value, aliases: Aliases) -> Data:
    """Return a column's value as a scenario writes it: documents as YAML, times as ISO times, ids by their aliases."""
    if value is None:
        return None
    if column in JSON_COLUMNS and isinstance(value, str):
        return aliases.to_names(_json(value))
    if column in TIME_COLUMNS and isinstance(value, int) and value:
        return moments.written(value)
    return aliases.to_names(as_data(value))


def _json(text: str) -> Data:
    """Return the document, or the text itself where it is none."""
    try:
        document: Data = json.loads(text)
    except ValueError:
        return text
    return document


def _canonical(value: Data) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _number(value: Value) -> int:
    assert isinstance(value, int), f"a line's number, not {value!r}"
    return value
