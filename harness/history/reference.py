"""The reference: a player's receipts, carried out by the rules once more, in memory, by the game's own dispatch.

Each command is carried out at the instant of its receipt, with the draws of its request. What a replay of the
quarantine loaded is taken from its receipt. Costs some 0.5 ms a receipt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from game import tables
from game.chain import Head
from game.dispatch import Request, dispatch
from game.errors import GameError, Refused
from game.rows import Key, Record, Rows, text, whole_number
from game.rules.chance import Chance
from game.rules.commands import decode
from harness.laws import loads
from harness.play.memory_store import OPENINGS, MemoryStore

LEDGER, HISTORY = tables.currency_ledger.name, tables.inventory_history.name
STATE = tuple(table.name for table in tables.PLAYER_STATE)


@dataclass(frozen=True, slots=True)
class Granted:
    """The result of a command: its outcome as JSON, and its lines by journal and key."""

    outcome: object
    ledger: dict[Key, Record]
    history: dict[Key, Record]


Done = Granted | str
"""The result of a command; or why there is none, in words: the code of a refusal, a command that can't be read."""


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """A receipt as a store has it, with its own lines."""

    receipt: Record
    granted: Granted

    @property
    def request(self) -> str:
        """Return the request's id, in the form in which the receipt keeps it."""
        return text(self.receipt, "request_id")

    @property
    def seq(self) -> int:
        """Return the receipt's number; a player's receipts are numbered from 1."""
        return whole_number(self.receipt, "seq")


def kept_receipts(rows: Rows) -> list[KeptReceipt]:
    """Return the receipts of one player's rows that have a number, in the order of the numbers."""
    ledger, history = _by_request(rows, LEDGER), _by_request(rows, HISTORY)
    kept = [
        KeptReceipt(
            receipt,
            Granted(
                json.loads(text(receipt, "outcome")),
                ledger.get(text(receipt, "request_id"), {}),
                history.get(text(receipt, "request_id"), {}),
            ),
        )
        for receipt in rows.get("action_receipts", {}).values()
        if receipt["seq"] is not None
    ]
    return sorted(kept, key=lambda one: one.seq)


def _by_request(rows: Rows, journal: str) -> dict[str, dict[Key, Record]]:
    lines: dict[str, dict[Key, Record]] = {}
    for key, record in rows.get(journal, {}).items():
        lines.setdefault(text(record, "request_id"), {})[key] = record
    return lines


class Reference:
    """One player, from how he was at the start.

    epochs: the draw epochs of the stores that he played on, in their order; none is used again once a later one was.
    A command may give the same in two of them, and yet leave other rows (a number that no outcome tells): then both are
    followed, until a later command or the rows at the end tell which it was.
    """

    def __init__(self, player: str, start: Rows, chance: Callable[[str], Chance], epochs: Sequence[str]) -> None:
        self._player = player
        self._chance = chance
        self._epochs = epochs
        self._store = MemoryStore({player: start})
        self._states: list[tuple[int, Rows]] = [(0, Rows(start))]
        """The place of an epoch, and the player's rows: what may be, after what was carried out so far."""

    @property
    def rows(self) -> list[Rows]:
        """Return the player's state and opening as they may be now: one, where no epoch changed."""
        return [Rows({name: rows.get(name, {}) for name in (*STATE, OPENINGS)}) for _, rows in self._states]

    def carry_out(self, kept: KeptReceipt) -> Done:
        """Carry out the command of a receipt. Returns what the store has, if it gives that in one of the epochs left.

        Else what it gives in the earliest, and nothing is changed.
        """
        states: list[tuple[int, Rows]] = []
        gives: list[Done] = []
        for place, rows in self._states:
            for epoch in range(place, len(self._epochs)):
                gives.append(self._in(epoch, rows, kept))
                state = (epoch, self._store.read(self._player) or Rows())
                if gives[-1] == kept.granted and state not in states:
                    states.append(state)
        if not states:
            return gives[0]
        self._states = states
        return kept.granted

    def skip(self, kept: Iterable[KeptReceipt], skipped: Collection[str]) -> None:
        """Carry out these receipts but for those of some requests, in the first epoch, whatever they give then."""
        for one in kept:
            if one.request not in skipped:
                self._in(0, self._states[0][1], one)
                self._states = [(0, self._store.read(self._player) or Rows())]

    def _in(self, epoch: int, rows: Rows, kept: KeptReceipt) -> Done:
        """Carry out a command in this epoch, on these rows; the store then has what comes of it."""
        receipt = kept.receipt
        if loads.is_load(receipt):
            return self._load(rows, kept)
        self._store.put(self._player, rows)
        self._store.epoch = self._epochs[epoch]
        # The number and the digest are judged apart, by what the store has.
        self._store.heads[self._player] = Head()
        try:
            action, fields = json.loads(text(receipt, "command"))
            answer = dispatch(
                self._store,
                Request(self._player, kept.request, decode(action, fields)),
                clock=lambda: whole_number(receipt, "at"),
                chance=self._chance,
            )
        except Refused as refusal:
            return f"refused {refusal.code}"
        except (GameError, ValueError, TypeError) as error:
            return f"{type(error).__name__}: {error}"
        if answer.replayed or self._store.saved is None:
            return "granted before, under the other form of the key"
        after = self._store.saved[1]
        made = after["action_receipts"][(self._player, kept.request)]
        return Granted(json.loads(text(made, "outcome")), after.get(LEDGER, {}), after.get(HISTORY, {}))

    def _load(self, rows: Rows, kept: KeptReceipt) -> Done:
        """Change the rows as the receipt of a load of the quarantine says; its lines are judged by what they sum to."""
        after = rows.copy()
        try:
            loads.apply(after, json.loads(text(kept.receipt, "outcome")))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        self._store.put(self._player, after)
        return kept.granted
