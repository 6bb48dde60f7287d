"""Journals what a replay loads for a player whose journals have begun, as a receipt at the end of the player's chain.

The opening never changes, for the digest of the first receipt covers it. Gold = opening + ledger, and stock = opening +
history, hold by the lines of the new receipt.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import sql

from db import ops
from db.quarantine.results import Adjustment
from db.transfer.copying import copy
from game import tables
from game.chain import OPENING, Head, following
from game.rows import Record, Rows, compare, text, whole_number
from game.rules.journals import ADJUST, ADJUSTMENT, LOAD_QUARANTINED

_OPENING = sql.SQL("select {} from player_openings where user_id = %s").format(
    sql.SQL(", ").join(map(sql.Identifier, OPENING))
)
_HEAD = "select seq, chain from users where id = %s"
_NEW_HEAD = "update users set seq = %s, chain = %s where id = %s"
_LEDGER = "select currency, sum(amount)::bigint from currency_ledger where user_id = %s group by currency"
_HISTORY = "select item_id, sum(delta)::bigint from inventory_history where user_id = %s group by item_id"

_TOGETHER = frozenset(("forge_level", "forge_xp"))
"""Columns of `users` of which one tells nothing without the other."""


@dataclass(frozen=True, slots=True)
class LoadedValues:
    """What one replay loaded of one player. numbers: of the values. before, after: all rows of the player."""

    run: str
    player: str
    numbers: Sequence[int]
    before: Rows
    after: Rows


def journal(conn: ops.Connection, loaded: LoadedValues) -> Adjustment | None:
    """Add the receipt, its lines and the player's new head, and return what the lines add.

    The caller holds the player's lock, and commits. Returns None, with nothing written, if opening and lines account
    for all that was loaded, and if the journals have not begun: the first command then writes the opening.
    """
    opening = _opening(conn, loaded.player)
    if opening is None:
        return None
    currencies, items = _lacking_money(conn, loaded, opening), _lacking_stock(conn, loaded, opening)
    if not currencies and not items:
        return None
    head = _head(conn, loaded.player)
    # No key of a client has a space. The number tells two receipts of one run apart.
    request = f"{LOAD_QUARANTINED} {loaded.run} {head.seq + 1}"
    money, stock = _money(loaded.after), _stock(loaded.after)
    ledger = _lines(
        loaded.player,
        request,
        (
            {"currency": name, "amount": amount, "reason": ADJUSTMENT, "balance": money[name]}
            for name, amount in currencies.items()
        ),
    )
    history = _lines(
        loaded.player,
        request,
        (
            {"action": ADJUST, "item_id": item, "delta": delta, "stock": stock.get(item, 0)}
            for item, delta in items.items()
        ),
    )
    receipt = _receipt(request, loaded)
    head = following(head, opening, receipt, ledger, history)
    copy(conn, tables.action_receipts, [receipt | {"seq": head.seq, "chain": head.chain}])
    copy(conn, tables.currency_ledger, ledger)
    copy(conn, tables.inventory_history, history)
    conn.execute(_NEW_HEAD, (head.seq, head.chain, loaded.player))
    return Adjustment(request, currencies, items)


def _opening(conn: ops.Connection, player: str) -> Record | None:
    row = conn.execute(_OPENING, (player,)).fetchone()
    return None if row is None else dict(zip(OPENING, row, strict=True))


def _head(conn: ops.Connection, player: str) -> Head:
    row = conn.execute(_HEAD, (player,)).fetchone()
    assert row is not None, "the caller has locked the player's row"
    return Head(int(row[0]), str(row[1]))


def _receipt(request: str, loaded: LoadedValues) -> Record:
    return {
        "user_id": loaded.player,
        "request_id": request,
        "command": _json([LOAD_QUARANTINED, {"numbers": [*loaded.numbers]}]),
        "outcome": _json(outcome(loaded.before, loaded.after)),
        "at": time.time_ns() // 1_000_000,
    }


def outcome(before: Rows, after: Rows) -> dict[str, dict[str, list[object]]]:
    """Return what the load changed, by table. rows: keys and changed columns; gone: the keys of rows that went."""
    told: dict[str, dict[str, list[object]]] = {"rows": {}, "gone": {}}
    for name, change in compare(_of_the_game(before), _of_the_game(after)).items():
        rows: list[object] = [*change.inserts.values()]
        for key, columns in change.updates.items():
            named = {*tables.KEYS[name], *columns, *(() if _TOGETHER.isdisjoint(columns) else _TOGETHER)}
            rows.append({column: value for column, value in after[name][key].items() if column in named})
        if rows:
            told["rows"][name] = rows
        if change.deletes:
            told["gone"][name] = [[*key] for key in change.deletes]
    return told


def _of_the_game(rows: Rows) -> Rows:
    """Leave out what only rebuilds the legacy row."""
    columns = {table.name: [column.name for column in tables.game_columns(table)] for table in tables.PLAYER_STATE}
    return Rows(
        {
            name: {
                key: {column: record[column] for column in columns[name] if column in record}
                for key, record in records.items()
            }
            for name, records in rows.items()
            if name in columns
        }
    )


def _lines(player: str, request: str, lines: Iterable[Record]) -> list[Record]:
    return [{"user_id": player, "request_id": request, "n": n, **line} for n, line in enumerate(lines, 1)]


def _lacking_money(conn: ops.Connection, loaded: LoadedValues, opening: Record) -> dict[str, int]:
    owned = {currency: whole_number(opening, currency) for currency in ("gold", "diamonds")}
    booked: dict[str, int] = dict(conn.execute(_LEDGER, (loaded.player,)).fetchall())
    return _lacking(_money(loaded.before), _money(loaded.after), owned, booked)


def _lacking_stock(conn: ops.Connection, loaded: LoadedValues, opening: Record) -> dict[str, int]:
    owned: dict[str, int] = json.loads(text(opening, "stock"))
    booked: dict[str, int] = dict(conn.execute(_HISTORY, (loaded.player,)).fetchall())
    return _lacking(_stock(loaded.before), _stock(loaded.after), owned, booked)


def _lacking(
    before: dict[str, int], after: dict[str, int], opening: dict[str, int], booked: dict[str, int]
) -> dict[str, int]:
    """Return what opening and lines lack of each changed amount. Of one that did not change, a wrong sum stays wrong.

    It is not what was loaded: of an item that can't be read, journals that came with the file have the lines.
    """
    changed = [name for name in dict.fromkeys((*before, *after)) if before.get(name, 0) != after.get(name, 0)]
    lacking = {name: after.get(name, 0) - opening.get(name, 0) - booked.get(name, 0) for name in changed}
    return {name: amount for name, amount in lacking.items() if amount}


def _money(rows: Rows) -> dict[str, int]:
    (user,) = rows["users"].values()
    return {currency: whole_number(user, currency) for currency in ("gold", "diamonds")}


def _stock(rows: Rows) -> dict[str, int]:
    return {str(key[-1]): whole_number(record, "quantity") for key, record in rows.get("user_inventory", {}).items()}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
