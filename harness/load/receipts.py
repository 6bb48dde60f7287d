"""The count by receipts: every acknowledged request exactly once in the store, with what the player was told.

What a request should have left in the journals follows from its outcome and the catalog alone, never from the journals.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from game.legacy import file_journals, sqlite_values
from game.legacy.codec.mapping import SCALARS
from game.rows import Key, Record, Rows
from game.rules import catalog
from harness.load.virtual_users import Granted
from harness.play import invariants

SIGNED = frozenset(scalar.column for scalar in SCALARS.values() if scalar.kind is int and scalar.low < 0)
"""Numbers that a legacy file may hold negative. A decimal of -0.5 counts as -1 until something is added to it."""

_RECEIPTS = file_journals.TABLES["action_receipts"].name


@dataclass
class ReceiptCount:
    """missing: acknowledged, but not there or otherwise than told. duplicated: there more than once, or unasked."""

    acknowledged: int = 0
    missing: int = 0
    duplicated: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Return True if everything is there once."""
        return not self.problems


Lines = Counter[str]
"""What the journals say of one request, in sums and numbers of lines."""


def earlier(path: Path) -> dict[str, set[str]]:
    """Return the requests of each player that a legacy file has receipts for already."""
    requests: dict[str, set[str]] = {}
    with closing(sqlite_values.connect(path, readonly=True)) as connection:
        query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        if connection.execute(query, (_RECEIPTS,)).fetchone():
            for player, request in connection.execute(f"SELECT user_id, request_id FROM {_RECEIPTS}"):
                requests.setdefault(str(player), set()).add(str(request))
    return requests


def count(
    read: Callable[[str], Rows | None],
    granted: Iterable[Granted],
    refused: Iterable[tuple[str, str]],
    before: Mapping[str, set[str]] | None = None,
    *,
    opening: Callable[[str], Rows | None] | None = None,
) -> ReceiptCount:
    """Read each player that acted, whole, and compare.

    read: a store's. granted: in each player's order. before: requests that had receipts before, which are there still.
    opening: reads a player as the store had one before all of `granted`; all that there is must follow from it.
    """
    result = ReceiptCount()
    asked: dict[str, Asked] = {}
    for grant in granted:
        asked.setdefault(grant.request.player, Asked()).granted.append(grant)
    for player, request in refused:
        asked.setdefault(player, Asked()).refused.add((player, request))
    for player, asking in asked.items():
        asking.before |= {(player, request) for request in (before or {}).get(player, ())}
        asking.opening = opening(player) if opening else None
        result.acknowledged += len(asking.granted)
        _player(result, player, read(player), asking)
    return result


@dataclass
class Asked:
    """The requests of one player, by what became of them.

    before: what had a receipt already. opening: the player's rows then.
    """

    granted: list[Granted] = field(default_factory=list)
    refused: set[tuple[str, str]] = field(default_factory=set)
    before: set[tuple[str, str]] = field(default_factory=set)
    opening: Rows | None = None


def _player(result: ReceiptCount, player: str, rows: Rows | None, asked: Asked) -> None:
    if rows is None:
        result.missing += len(asked.granted)
        result.problems.append(f"{player}: no such player any more, with {len(asked.granted)} acknowledged requests")
        return
    for grant in asked.granted:
        _grant(result, rows, grant)
    present = set(rows.get("action_receipts", {}))
    lost = sorted(asked.before - present)
    unasked = sorted(present - asked.before - {grant.request.key for grant in asked.granted}, key=str)
    result.missing += len(lost)
    result.duplicated += len(unasked)
    result.problems += [f"{player}: the receipt of {request}, of before, is gone" for _player, request in lost]
    result.problems += [f"{key[0]}: {key[1]} has a receipt, and was {_named(key, asked)}" for key in unasked]
    # In which order the earlier ones came is not known: then only the sums are checked, not each line's balance.
    order = [] if asked.before else [grant.request.id for grant in asked.granted]
    breaches = invariants.breaches(rows, order, opening=asked.opening, signed=SIGNED)
    result.problems += [f"{b.player}: {b.law}: expected {b.expected}; found {b.found}" for b in breaches]


def _named(key: Key, asked: Asked) -> str:
    return "refused" if key in asked.refused else "asked for by nobody"


def _grant(result: ReceiptCount, rows: Rows, grant: Granted) -> None:
    where = f"{grant.request.player}: {grant.request.action} {grant.request.id}"
    receipt = rows.get("action_receipts", {}).get(grant.request.key)
    if receipt is None or json.loads(str(receipt["outcome"])) != grant.outcome:
        kept = "no receipt" if receipt is None else f"a receipt for {receipt['outcome']!r}"
        result.missing += 1
        result.problems.append(f"{where}: told {dict(grant.outcome)}; found {kept}")
        return
    expected, found = _expected(grant, rows), _found(rows, grant.request.key)
    if expected != found:
        fewer = any(abs(found[name]) < abs(expected[name]) for name in expected)
        result.missing += fewer
        result.duplicated += not fewer
        result.problems.append(f"{where}: expected in the journals {dict(expected)}; found {dict(found)}")


def _expected(grant: Granted, rows: Rows) -> Lines:
    """Return what the journals must hold by the outcome."""
    outcome, lines = grant.outcome, Lines()
    match grant.request.action:
        case "claim_mail" | "claim_tournament_reward":
            lines["gold"] = _whole(outcome.get("gold"))
            lines["diamonds"] = _whole(outcome.get("diamonds"))
            items = outcome["items"]
            assert isinstance(items, Mapping)
            lines["gain"] = sum(items.values())
        case "equip":
            lines["equip lines"] = 1
            lines["unequip lines"] = int(outcome["replaced"] is not None)
        case "unequip":
            lines["unequip lines"] = 1
        case "enhance":
            lines.update(_forged(grant, rows))
    return Lines({name: amount for name, amount in lines.items() if amount})


def _forged(grant: Granted, rows: Rows) -> Lines:
    item = rows["user_inventory"][(grant.request.player, str(grant.request.fields["item"]))]
    grade = catalog.GRADES[str(item["grade"])]
    stars = _whole(grant.outcome["stars"]) - int(bool(grant.outcome["success"]))
    _name, amount = catalog.enhance_material(grade, stars)
    spent = Lines()
    spent["gold"], spent["spend"], spent["enhance lines"] = -catalog.enhance_gold(grade, stars), -amount, 1
    return spent


def _found(rows: Rows, key: tuple[str, str]) -> Lines:
    """Return what the journals hold under the request."""
    lines = Lines()
    for line in _of(rows, "currency_ledger", key):
        lines[str(line["currency"])] += _whole(line["amount"])
    for line in _of(rows, "inventory_history", key):
        delta = _whole(line["delta"])
        action = str(line["action"])
        lines[action if delta else f"{action} lines"] += delta or 1
    return Lines({name: amount for name, amount in lines.items() if amount})


def _of(rows: Rows, journal: str, key: tuple[str, str]) -> list[Record]:
    return [record for place, record in rows.get(journal, {}).items() if place[:2] == key]


def _whole(value: object) -> int:
    assert value is None or isinstance(value, int)
    return value or 0
