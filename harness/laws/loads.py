"""Enters what a replay of the quarantine loaded: its receipt tells the rows, for no table of the rules has them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from game import tables
from game.rows import Record, Rows, text, whole_number
from game.rules.journals import LOAD_QUARANTINED
from harness.laws.account import Account
from harness.laws.breach import need


def is_load(receipt: Record) -> bool:
    """Return True if a replay of the quarantine wrote the receipt; no client asks for it."""
    try:
        command = json.loads(text(receipt, "command"))
    except ValueError:
        return False
    return isinstance(command, list) and command[:1] == [LOAD_QUARANTINED]


def apply(rows: Rows, outcome: Mapping[str, Any]) -> None:
    """Change the player's rows as the load did: those that went, then new ones and changed columns."""
    for name, keys in outcome["gone"].items():
        for key in keys:
            rows.table(name).pop(tuple(key), None)
    for name, records in outcome["rows"].items():
        for record in records:
            key = tuple(record[column] for column in tables.KEYS[name])
            rows.table(name).setdefault(key, {}).update(record)


def enter(account: Account, receipt: Record, ledger: Sequence[Record], history: Sequence[Record]) -> None:
    """Enter the load. NotGranted where a line does not say rightly what is left of its currency or item."""
    outcome = json.loads(text(receipt, "outcome"))
    apply(account.rows, outcome)
    account.draw_anew(outcome["rows"])
    for line in ledger:
        currency = text(line, "currency")
        left = whole_number(account.user, currency)
        need(line["balance"] == left, f"{left} of {currency} left", line["balance"])
    for line in history:
        item_id = text(line, "item_id")
        item = account.rows.table("user_inventory").get((account.player, item_id))
        left = 0 if item is None else whole_number(item, "quantity")
        need(line["stock"] == left, f"{left} of {item_id} left", line["stock"])
