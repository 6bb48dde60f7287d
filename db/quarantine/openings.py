"""Keeps a player's journals right when a value is loaded that the player owned before they began.

Gold = opening + ledger, and stock = opening + history. Lines of journals are never changed; the opening is.
"""

from __future__ import annotations

import json

from db import ops
from game.rows import Rows, whole_number

_LEDGER = "select currency, sum(amount)::bigint from currency_ledger where user_id = %s group by currency"
_HISTORY = "select item_id, sum(delta)::bigint from inventory_history where user_id = %s group by item_id"


def amend(conn: ops.Connection, player: str, before: Rows, after: Rows) -> dict[str, int] | None:
    """Amend the opening by what was loaded. Return the difference by currency or item id; None if there is none.

    A player whose journals have not begun has no opening: the first command writes it, of what is there then.
    """
    row = conn.execute("select gold, diamonds, stock from player_openings where user_id = %s", (player,)).fetchone()
    if row is None:
        return None
    opening: dict[str, int] = {"gold": row[0], "diamonds": row[1]}
    stock: dict[str, int] = json.loads(row[2])
    money = _lacking(_money(before), _money(after), opening, dict(conn.execute(_LEDGER, (player,)).fetchall()))
    items = _lacking(_stock(before), _stock(after), stock, dict(conn.execute(_HISTORY, (player,)).fetchall()))
    if not money and not items:
        return None
    opening = {name: amount + money.get(name, 0) for name, amount in opening.items()}
    stock = {name: stock.get(name, 0) + items.get(name, 0) for name in (*stock, *(n for n in items if n not in stock))}
    conn.execute(
        "update player_openings set gold = %s, diamonds = %s, stock = %s where user_id = %s",
        (opening["gold"], opening["diamonds"], json.dumps(stock, ensure_ascii=False), player),
    )
    return money | items


def _lacking(
    before: dict[str, int], after: dict[str, int], opening: dict[str, int], lines: dict[str, int]
) -> dict[str, int]:
    """Return what opening and lines lack of each changed amount. A sum that was wrong before stays wrong."""
    changed = [name for name in dict.fromkeys((*before, *after)) if before.get(name, 0) != after.get(name, 0)]
    lacking = {name: after.get(name, 0) - opening.get(name, 0) - lines.get(name, 0) for name in changed}
    return {name: amount for name, amount in lacking.items() if amount}


def _money(rows: Rows) -> dict[str, int]:
    (user,) = rows["users"].values()
    return {"gold": whole_number(user, "gold"), "diamonds": whole_number(user, "diamonds")}


def _stock(rows: Rows) -> dict[str, int]:
    return {str(key[-1]): whole_number(record, "quantity") for key, record in rows.get("user_inventory", {}).items()}
