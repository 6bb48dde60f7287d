"""The count by receipts: every acknowledged request exactly once in the store, with what the player was told.

What a request should have left in the journals follows from its outcome and the catalog alone, never from the journals.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from game import catalog
from game.rows import Record, Rows
from harness import invariants
from harness.clients import Granted


@dataclass
class Count:
    """missing: acknowledged, but not there or otherwise than told. duplicated: there more than once, or unasked."""

    acknowledged: int = 0
    missing: int = 0
    duplicated: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether everything is there once."""
        return not self.problems


Lines = Counter[str]
"""What the journals say of one request, in sums and numbers of lines."""


def count(read: Callable[[str], Rows | None], granted: Iterable[Granted], refused: Iterable[tuple[str, str]]) -> Count:
    """Read each player that acted, whole, and compare; `read` is a store's."""
    result = Count()
    by_player: dict[str, list[Granted]] = {}
    for grant in granted:
        by_player.setdefault(grant.request.player, []).append(grant)
    not_granted = set(refused)
    for player in by_player.keys() | {player for player, _request in not_granted}:
        grants = by_player.get(player, [])
        result.acknowledged += len(grants)
        _player(result, player, read(player), grants, {key for key in not_granted if key[0] == player})
    return result


def _player(
    result: Count, player: str, rows: Rows | None, grants: list[Granted], refused: set[tuple[str, str]]
) -> None:
    if rows is None:
        result.missing += len(grants)
        result.problems.append(f"{player}: no such player any more, with {len(grants)} acknowledged requests")
        return
    known = {grant.request.key for grant in grants}
    for grant in grants:
        _grant(result, rows, grant)
    breaches = [
        *invariants.breaches(rows, [grant.request.id for grant in grants]),
        *(breach for breach in invariants.receipts(rows, known, refused) if "was granted" not in breach.expected),
    ]
    result.duplicated += sum(1 for breach in breaches if breach.law.startswith("receipt"))
    result.problems += [f"{b.player}: {b.law}: expected {b.expected}; found {b.found}" for b in breaches]


def _grant(result: Count, rows: Rows, grant: Granted) -> None:
    where = f"{grant.request.player}: {grant.request.action} {grant.request.id}"
    receipt = rows.get("action_receipts", {}).get(grant.request.key)
    if receipt is None or json.loads(str(receipt["outcome"])) != grant.outcome:
        found = "no receipt" if receipt is None else f"a receipt for {receipt['outcome']!r}"
        result.missing += 1
        result.problems.append(f"{where}: told {dict(grant.outcome)}; found {found}")
        return
    told, found_lines = _told(grant, rows), _found(rows, grant.request.key)
    if told != found_lines:
        fewer = any(abs(found_lines[name]) < abs(told[name]) for name in told)
        result.missing += fewer
        result.duplicated += not fewer
        result.problems.append(f"{where}: expected in the journals {dict(told)}; found {dict(found_lines)}")


def _told(grant: Granted, rows: Rows) -> Lines:
    """What the outcome says must stand in the journals."""
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
    """What stands in the journals under the request."""
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
