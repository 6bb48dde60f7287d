"""Names the cause where a store and the reference differ: it looks for a history that gives what the store has.

Only called where something is wrong, so its cost does not matter: it carries a history out again and again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from game.rows import Key, Record, Rows, Value, compare
from harness.history.reference import STATE, Done, Granted, KeptReceipt, Reference
from harness.history.violations import Violation, ViolationKind
from harness.play import invariants
from harness.play.differences import place, shown, shown_record
from harness.play.differential import comparable

MOST_LEFT_OUT = 60
"""So many of the requests before a command are left out, one at a time, to see which one the command did not see."""

Line = tuple[Value, ...]


@dataclass(frozen=True)
class Executed:
    """The receipts of one player that the reference carried out, and how to begin anew at the same start."""

    player: str
    begin: Callable[[], Reference]
    receipts: Sequence[KeptReceipt]


def of_command(executed: Executed, kept: KeptReceipt, done: Done) -> Violation:
    """Return the violation of a receipt that is not what the rules give. executed: all receipts before it."""
    granted = kept.granted
    if isinstance(done, str):
        kind = (
            ViolationKind.DOUBLE_GRANT
            if done.startswith(("refused", "granted before"))
            else ViolationKind.NOT_BY_THE_RULES
        )
        return Violation(kind, executed.player, kept.request, done, f"granted {_shown(granted)}")
    expected, lines = Counter(_lines(done)), Counter(_lines(granted))
    kind = ViolationKind.NOT_BY_THE_RULES
    more, fewer = lines - expected, expected - lines
    if granted.outcome == done.outcome and more and not fewer and set(more) <= set(expected):
        kind = ViolationKind.DOUBLE_GRANT
    elif granted.outcome == done.outcome and fewer and not more:
        kind = ViolationKind.TORN
    elif unseen := _unseen(executed, kept):
        as_if = f"{kept.request} as if it had not been, which granted {_shown(granted)}"
        return Violation(ViolationKind.LOST_UPDATE, executed.player, unseen.request, _shown(done), as_if)
    return Violation(kind, executed.player, kept.request, _shown(done), _shown(granted))


def _unseen(executed: Executed, kept: KeptReceipt) -> KeptReceipt | None:
    """Return the request before it without which the command gives what the store has; the latest, if several do."""
    for left_out in reversed(executed.receipts[-MOST_LEFT_OUT:]):
        reference = executed.begin()
        reference.skip(executed.receipts, {left_out.request})
        if reference.carry_out(kept) == kept.granted:
            return left_out
    return None


def _lines(granted: Granted) -> Iterator[Line]:
    """Yield each line without its number and without what it says is left, which follow from the lines before it."""
    for line in granted.ledger.values():
        yield line["currency"], line["amount"], line["reason"]
    for line in granted.history.values():
        yield line["action"], line["item_id"], line["delta"]


def _shown(granted: Granted) -> str:
    lines = [*granted.ledger.values(), *granted.history.values()]
    return f"{json.dumps(granted.outcome, ensure_ascii=False)} with {[_short(line) for line in lines]}"


def _short(line: Record) -> str:
    return " ".join(str(value) for column, value in line.items() if column not in ("user_id", "request_id", "n"))


@dataclass(frozen=True)
class ValueChange:
    """One value that a request changed; None stands for no such row."""

    request: str
    before: Value
    after: Value

    @property
    def added(self) -> int | None:
        """Return by how much a number grew, from nothing too; None if it is no number."""
        before = 0 if self.before is None else self.before
        return self.after - before if isinstance(self.after, int) and isinstance(before, int) else None


Cells = dict[tuple[str, Key, str], list[ValueChange]]
"""The changes of each value, in order; "" as the column is the whole row, as text."""


def of_rows(executed: Executed, expected: Rows, found: Rows) -> Iterator[Violation]:
    """Yield why the player's rows at the end are not the reference's; once for each request that is the reason."""
    left, right = (comparable(Rows({name: rows.get(name, {}) for name in STATE})) for rows in (expected, found))
    changes = compare(left, right)
    if not changes and not (orders := list(_orders(executed.player, expected, found))):
        return
    if not changes:
        yield from orders
        return
    history = _history(executed)
    named: dict[tuple[ViolationKind, str], Violation] = {}
    for table, change in changes.items():
        values = [(key, column, pair) for key, columns in change.updates.items() for column, pair in columns.items()]
        rows: list[tuple[Key, str, tuple[Value, Value]]] = [
            *((key, "", (shown_record(record), None)) for key, record in change.deletes.items()),
            *((key, "", (None, shown_record(record))) for key, record in change.inserts.items()),
        ]
        for key, column, pair in [*values, *rows]:
            kind, request = _why(history, (table, key, column), pair, change.inserts.get(key))
            where = place(table, key) + (f".{column}" if column else "")
            texts = tuple("no such row" if not column and value is None else shown(value) for value in pair)
            violation = Violation(kind, executed.player, request, f"{where} {texts[0]}", texts[1])
            named.setdefault((kind, request), violation)
    yield from named.values()


def _orders(player: str, expected: Rows, found: Rows) -> Iterator[Violation]:
    for table in invariants.ORDERED:
        orders = [", ".join(invariants.in_order(rows, table, player)) for rows in (expected, found)]
        if orders[0] != orders[1]:
            yield Violation(ViolationKind.ROWS_DIFFER, player, "", f"{table} in the order {orders[0]}", orders[1])


def _why(
    history: Cells, cell: tuple[str, Key, str], pair: tuple[Value, Value], inserted: Record | None
) -> tuple[ViolationKind, str]:
    """Return the name and the request of one value that differs."""
    expected, found = pair
    steps = history.get(cell, [])
    for step in reversed(steps):
        if step.before == found and type(step.before) is type(found):
            return ViolationKind.LOST_UPDATE, step.request
    if isinstance(expected, int) and isinstance(found, int):
        for kind, by in ((ViolationKind.LOST_UPDATE, expected - found), (ViolationKind.DOUBLE_GRANT, found - expected)):
            for step in reversed(steps):
                if step.added == by:
                    return kind, step.request
    if inserted is not None and (duplicate := _duplicate_of(history, cell[0], inserted)):
        return ViolationKind.DOUBLE_GRANT, duplicate
    return ViolationKind.ROWS_DIFFER, ""


def _duplicate_of(history: Cells, table: str, inserted: Record) -> str:
    """Return the request that made a row like this one, but for its id; "" if none did."""
    for (name, key, column), steps in history.items():
        if name == table and not column:
            alike = shown_record(inserted | ({"id": key[-1]} if "id" in inserted else {}))
            for step in steps:
                if step.before is None and step.after == alike:
                    return step.request
    return ""


def _history(executed: Executed) -> Cells:
    """Carry everything out once more, and note each value that changes."""
    cells: Cells = {}
    reference = executed.begin()
    before = comparable(_state(reference.rows[0]))
    for kept in executed.receipts:
        reference.carry_out(kept)
        after = comparable(_state(reference.rows[0]))
        for table, change in compare(before, after).items():
            for key, columns in change.updates.items():
                for column, (was, now) in columns.items():
                    cells.setdefault((table, key, column), []).append(ValueChange(kept.request, was, now))
            for key, record in change.inserts.items():
                _note_row(cells, table, key, kept.request, record, made=True)
            for key, record in change.deletes.items():
                _note_row(cells, table, key, kept.request, record, made=False)
        before = after
    return cells


def _note_row(cells: Cells, table: str, key: Key, request: str, record: Record, *, made: bool) -> None:
    row = shown_record(record)
    cells.setdefault((table, key, ""), []).append(
        ValueChange(request, None, row) if made else ValueChange(request, row, None)
    )
    for column, value in record.items():
        step = ValueChange(request, None, value) if made else ValueChange(request, value, None)
        cells.setdefault((table, key, column), []).append(step)


def _state(rows: Rows) -> Rows:
    return Rows({name: rows.get(name, {}) for name in STATE})
