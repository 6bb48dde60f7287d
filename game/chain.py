"""The chain of a player's receipts: each bears its number and a digest of itself and of all receipts before it.

A number is given under the player's lock, so a player's receipts are in one order, without a gap, on either store and
over a move. The same receipt gives the same digest on both: the bytes that are hashed are the texts that are stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from game.rows import Record, Value, whole_number

RECEIPT = ("user_id", "request_id", "command", "outcome", "at")
"""Hashed behind the receipt's number."""

LEDGER = ("n", "currency", "amount", "reason", "balance")
HISTORY = ("n", "action", "item_id", "delta", "stock")
OPENING = ("user_id", "gold", "diamonds", "stock")
"""The columns that are hashed, in this order; never another one, for every digest would change."""


@dataclass(frozen=True, slots=True)
class Head:
    """The number and the digest of a player's newest receipt; 0 and "" before the first one."""

    seq: int = 0
    chain: str = ""


def following(
    head: Head, opening: Record | None, receipt: Record, ledger: Iterable[Record], history: Iterable[Record]
) -> Head:
    """Return the head after this receipt, which need not have a `seq` yet.

    opening: what the player owned before the first receipt, whose digest follows from it; None: nobody noted it.
    ledger, history: the receipt's own lines, in any order.
    """
    seq = head.seq + 1
    before = head.chain
    if not head.seq and opening is not None:
        before = _sha256(_fields(opening, OPENING))
    parts = [before, _field(seq), _fields(receipt, RECEIPT), _lines(ledger, LEDGER), _lines(history, HISTORY)]
    return Head(seq, _sha256("".join(parts)))


def _lines(lines: Iterable[Record], columns: tuple[str, ...]) -> str:
    ordered = sorted(lines, key=lambda line: whole_number(line, "n"))
    return _field(len(ordered)) + "".join(_fields(line, columns) for line in ordered)


def _fields(record: Record, columns: tuple[str, ...]) -> str:
    return "".join(_field(record[column]) for column in columns)


def _field(value: Value) -> str:
    """Return the value behind its length in bytes, so that no two lists of values read alike."""
    text = str(value)
    return f"{len(text.encode())}:{text}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
