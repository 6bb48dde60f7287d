"""The standing checks: what must hold of any player at any moment, on either store, whatever happened before.

Gold and diamonds = opening + ledger; stock = opening + history; worn once, by its owner; nothing negative; one receipt
a granted request, and all of them one chain; an order is never shuffled. Where the rows of an opening are known, the
laws of `harness.laws` too: all that a player owns = opening + receipts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from db.errors import Failure
from game import tables
from game.chain import Head, following
from game.rows import Key, Record, Rows
from harness.laws import laws
from harness.laws.breach import Breach

CURRENCIES = ("gold", "diamonds")
LEAST = {"quantity": 1, "forge_level": 1}
ORDERED = tuple(
    table.name for table in tables.PLAYER_STATE if "position" in table.columns and table is not tables.user_stages
)
"""A stage's place says where the legacy arrays name it: one that only one of them names moves when others are added."""


def breaches(rows: Rows, order: Sequence[str] = (), *, opening: Rows | None = None) -> list[Breach]:
    """Return the invariants that these players break, by their whole state and journals.

    With `order`, the granted requests' ids from the first to the last, each line's balance and stock is checked too;
    with `opening`, these players' rows as they were at any earlier moment, what follows from the receipts since.
    """
    broken: list[Breach] = []
    for (player, *_), user in rows.get("users", {}).items():
        mine = _of(rows, str(player))
        broken += _worn_once(str(player), mine)
        broken += _nothing_negative(str(player), mine)
        broken += _journals(str(player), user, mine, order)
    return broken if opening is None else [*broken, *laws.breaches(opening, rows)]


def require_sound(opening: Rows, now: Rows, where: str) -> None:
    """Raise Failure with the first invariant that these players break, by their rows before and after what was done."""
    for breach in breaches(now, opening=opening):
        raise Failure(f"{breach.player}'s {breach.law}: {breach.expected}", breach.found, where=where)


def receipts(rows: Rows, granted: Collection[tuple[str, str]], refused: Collection[tuple[str, str]]) -> list[Breach]:
    """Check that each granted (player, request) has one receipt, a refused one none, and that nobody else has any."""
    stored = set(rows.get("action_receipts", {}))
    unasked = {key for key in stored if key not in granted and key not in refused}
    return [
        *(Breach(p, f"receipt of {r}", "one, for it was granted", "none") for p, r in granted if (p, r) not in stored),
        *(Breach(p, f"receipt of {r}", "none, for it was refused", "one") for p, r in refused if (p, r) in stored),
        *(Breach(str(p), f"receipt of {r}", "none, for nobody asked", "one") for p, r in sorted(unasked, key=str)),
    ]


def order_kept(before: Rows, after: Rows) -> list[Breach]:
    """Check that rows that stay keep their order, and new ones come last, in every table that has an order."""
    broken = []
    for table in ORDERED:
        for (player,) in before.get("users", {}):
            old, new = in_order(before, table, player), in_order(after, table, player)
            expected = [key for key in old if key in new] + [key for key in new if key not in old]
            if new != expected:
                broken.append(Breach(str(player), f"order of {table}", _listed(expected), _listed(new)))
    return broken


def still_readable(before: Rows, after: Rows) -> list[Breach]:
    """Check that the rows can be read again: no player is held, and nothing worn has become a mere reference."""
    worn, was = after.get("user_equipment", {}), before.get("user_equipment", {})
    held = [player for (player,), user in after.get("users", {}).items() if user["held"]]
    dangling = [key for key, record in worn.items() if record["kept"] is not None and key not in was]
    return [
        *(Breach(str(p), "state", "readable", "held") for p in held if not before["users"][(p,)]["held"]),
        *(Breach(str(key[0]), f"worn as {key[1]}", "an item", str(worn[key]["kept"])) for key in dangling),
    ]


def in_order(rows: Rows, table: str, player: object) -> list[str]:
    """Return the keys of a player's rows by position, without the player's own id."""
    mine = [(record["position"], key) for key, record in rows.get(table, {}).items() if key[0] == player]
    return ["/".join(map(str, key[1:])) for _, key in sorted(mine, key=str_last)]


def str_last(entry: tuple[object, Key]) -> tuple[int, str]:
    """Return what to sort by: the position, and for rows that share one their keys."""
    position, key = entry
    return (position if isinstance(position, int) else -1, str(key))


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(keys) or "nothing"


def _of(rows: Rows, player: str) -> Rows:
    """Return the rows of one player."""
    return Rows(
        {name: {key: record for key, record in table.items() if key[0] == player} for name, table in rows.items()}
    )


def _worn_once(player: str, mine: Rows) -> Iterator[Breach]:
    items: Counter[str] = Counter()
    for (_, slot), record in mine.get("user_equipment", {}).items():
        if record["item_id"] is None:
            continue
        items[str(record["item_id"])] += 1
        item = mine.get("user_inventory", {}).get((player, str(record["item_id"])))
        if item is None:
            yield Breach(player, f"worn as {slot}", "an item of the player's bag", str(record["item_id"]))
        elif item["slot"] != slot:
            yield Breach(player, f"worn as {slot}", f"an item for {slot}", f"one for {item['slot']!r}")
    for item_id, times in items.items():
        if times > 1:
            yield Breach(player, "worn once", "each item in one slot", f"{item_id} in {times}")


def _nothing_negative(player: str, mine: Rows) -> Iterator[Breach]:
    for table, records in mine.items():
        for key, record in records.items():
            for column, least, value in _amounts(table, record):
                if value < least:
                    at = ".".join([table, *map(str, key[1:]), column])
                    yield Breach(player, at, f"{least} or more", str(value))


def _amounts(table: str, record: Record) -> Iterator[tuple[str, int, int]]:
    """Yield the column, least value and value of each count. Amounts and deltas of a journal may be negative."""
    for column, value in record.items():
        if isinstance(value, int) and column not in ("position", "amount", "delta"):
            yield column, LEAST.get(column, 0) if table in ("users", "user_inventory") else 0, value


def _journals(player: str, user: Record, mine: Rows, order: Sequence[str]) -> Iterator[Breach]:
    opening = mine.get("player_openings", {}).get((player,))
    ledger = list(_lines(mine, "currency_ledger", order))
    history = list(_lines(mine, "inventory_history", order))
    if opening is None:
        if ledger or history or mine.get("action_receipts"):
            yield Breach(player, "opening", "one, for there are journals", "none")
        return
    yield from _numbered(player, mine)
    yield from _without_receipt(player, mine)
    yield from _chained(player, mine, opening)
    stock = {item_id: int(quantity) for item_id, quantity in json.loads(str(opening["stock"])).items()}
    money = {currency: _whole(opening[currency]) for currency in CURRENCIES}
    yield from _running(player, LedgerAccount("{} = opening + ledger", money, ledger, _money(user)), order)
    yield from _running(player, LedgerAccount("stock of {} = opening + history", stock, history, _stock(mine)), order)


@dataclass(frozen=True, slots=True)
class JournalLine:
    """A line of a journal: of what, by how much it changed, what it says was left, and of which request."""

    name: str
    change: int
    left: int
    request: str


@dataclass(frozen=True, slots=True)
class LedgerAccount:
    """The account of an amount: at the start, the changes, and at the end."""

    law: str
    opening: dict[str, int]
    lines: Sequence[JournalLine]
    now: dict[str, int]


def _lines(mine: Rows, journal: str, order: Sequence[str]) -> Iterator[JournalLine]:
    """Yield the lines, requests in `order`, each one's lines by number."""
    place = {request: n for n, request in enumerate(order)}
    name, change, left = (
        ("currency", "amount", "balance") if journal == "currency_ledger" else ("item_id", "delta", "stock")
    )
    records = sorted(
        mine.get(journal, {}).values(),
        key=lambda record: (place.get(str(record["request_id"]), len(place)), _whole(record["n"])),
    )
    for record in records:
        yield JournalLine(str(record[name]), _whole(record[change]), _whole(record[left]), str(record["request_id"]))


def _running(player: str, account: LedgerAccount, order: Sequence[str]) -> Iterator[Breach]:
    """Compare the opening plus all lines with the state; where the order is known, also the rest after each line."""
    totals = Counter(account.opening)
    for line in account.lines:
        totals[line.name] += line.change
        if order and totals[line.name] != line.left:
            law = f"{line.name} after a line of {line.request}"
            yield Breach(player, law, str(totals[line.name]), str(line.left))
    for name in dict.fromkeys((*totals, *account.now)):
        if totals[name] != account.now.get(name, 0):
            yield Breach(player, account.law.format(name), str(totals[name]), str(account.now.get(name, 0)))


def _money(user: Record) -> dict[str, int]:
    return {currency: _whole(user[currency]) for currency in CURRENCIES}


def _stock(mine: Rows) -> dict[str, int]:
    return {str(key[1]): _whole(record["quantity"]) for key, record in mine.get("user_inventory", {}).items()}


def _numbered(player: str, mine: Rows) -> Iterator[Breach]:
    for journal in ("currency_ledger", "inventory_history"):
        numbers: dict[str, list[int]] = {}
        for record in mine.get(journal, {}).values():
            numbers.setdefault(str(record["request_id"]), []).append(_whole(record["n"]))
        for request, lines in numbers.items():
            if sorted(lines) != list(range(1, len(lines) + 1)):
                yield Breach(player, f"{journal} of {request}", "lines numbered from 1", str(sorted(lines)))


def _without_receipt(player: str, mine: Rows) -> Iterator[Breach]:
    granted = {str(request) for _, request in mine.get("action_receipts", {})}
    for journal in ("currency_ledger", "inventory_history"):
        requests = {str(record["request_id"]) for record in mine.get(journal, {}).values()}
        for request in sorted(requests - granted):
            yield Breach(player, f"{journal} of {request}", "a receipt beside its lines", "none")


def _chained(player: str, mine: Rows, opening: Record) -> Iterator[Breach]:
    """Check that numbered receipts count from 1 without a gap, and that each chain follows from the one before."""
    numbered = [record for record in mine.get("action_receipts", {}).values() if record.get("seq") is not None]
    head = Head()
    for receipt in sorted(numbered, key=lambda record: _whole(record["seq"])):
        request = str(receipt["request_id"])
        ledger, history = (
            [line for line in mine.get(journal, {}).values() if line["request_id"] == request]
            for journal in ("currency_ledger", "inventory_history")
        )
        head = following(head, opening, receipt, ledger, history)
        if receipt["seq"] != head.seq:
            yield Breach(player, f"number of {request}", str(head.seq), str(receipt["seq"]))
            return
        if receipt["chain"] != head.chain:
            yield Breach(player, f"chain at {request}", head.chain, str(receipt["chain"]))
            return


def _whole(value: object) -> int:
    assert isinstance(value, int), f"a whole number, not {value!r}"
    return value
