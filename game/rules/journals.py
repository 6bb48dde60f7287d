"""The journals of one request: lines that are added to the rows, numbered from 1."""

from __future__ import annotations

from typing import Literal

from game.rows import Rows

Reason = Literal[
    "bundle", "enhance", "expand_bag", "level_up_mission", "mail", "mission", "quest", "sale", "stage", "tournament"
]
"""Why gold or diamonds changed."""

ItemAction = Literal["gain", "spend", "equip", "unequip", "enhance", "combine"]
"""The actions that change an item, as history lines name them."""

LOAD_QUARANTINED = "load_quarantined"
"""The command of a receipt that no client asked for: of a replay of the quarantine, once the journals had begun."""

ADJUSTMENT, ADJUST = "adjustment", "adjust"
"""The reason of its ledger lines, and the action of its history lines."""


class Journals:
    """Writes the lines of one player's request."""

    def __init__(self, rows: Rows, player_id: str, request_id: str) -> None:
        self._rows = rows
        self._player_id = player_id
        self._request_id = request_id

    def currency(self, currency: str, amount: int, reason: Reason, balance: int) -> None:
        """Add a line of the ledger: `balance` is what is left."""
        self._add("currency_ledger", currency=currency, amount=amount, reason=reason, balance=balance)

    def item(self, action: ItemAction, item_id: str, delta: int, stock: int) -> None:
        """Add a line of the item's history: `stock` is its quantity after."""
        self._add("inventory_history", action=action, item_id=item_id, delta=delta, stock=stock)

    def _add(self, table: str, **columns: str | int) -> None:
        lines = self._rows.table(table)
        n = 1 + len(lines)
        lines[(self._player_id, self._request_id, n)] = {
            "user_id": self._player_id,
            "request_id": self._request_id,
            "n": n,
            **columns,
        }
