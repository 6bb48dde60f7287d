"""Commands on rows alone: no store, no transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from game.errors import Refused
from game.rows import Rows, TableChanges, compare
from game.rules.actions import perform
from game.rules.chance import Chance
from game.rules.commands import Command
from game.rules.player import Player
from harness.play.defects import Defect


@dataclass(frozen=True)
class Played:
    """The effects of a command on rows alone: its outcome, what changed, and the journals' lines in short."""

    outcome: dict[str, object]
    rows: Rows
    changes: dict[str, TableChanges]

    @property
    def ledger(self) -> list[tuple[object, ...]]:
        lines = self.rows.get("currency_ledger", {}).values()
        return [(line["currency"], line["amount"], line["reason"], line["balance"]) for line in lines]

    @property
    def history(self) -> list[tuple[object, ...]]:
        lines = self.rows.get("inventory_history", {}).values()
        return [(line["action"], line["item_id"], line["delta"], line["stock"]) for line in lines]

    def updated(self, table: str) -> dict[str, dict[str, tuple[object, object]]]:
        """Row key without the player to column to (before, after); empty where the table did not change."""
        change = self.changes.get(table, TableChanges())
        return {"/".join(map(str, key[1:])): dict(columns) for key, columns in change.updates.items()}

    @property
    def user(self) -> dict[str, tuple[object, object]]:
        return self.updated("users").get("", {})


def play(rows: Rows, command: Command, dice: Mapping[str, int | float] | None = None, *, now_ms: int = 0) -> Played:
    """Carry out a command on rows alone, as request r1; dice that nothing draws are an error."""
    after = rows.copy()
    chance = Chance("the secret of tests", "r1", dice)
    outcome = perform(Player(after, "r1", now_ms, chance), command)
    assert chance.unused() == set()
    return Played(outcome, after, compare(rows, after))


def refusal(rows: Rows, command: Command, *, now_ms: int = 0) -> str:
    """The code with which the rules refuse the command."""
    return refused(lambda: play(rows, command, now_ms=now_ms))


def refused(act: Callable[[], object]) -> str:
    """The code of the refusal that comes of it; anything else fails the test in a few lines, with its place."""
    try:
        granted = act()
    except Refused as refusal:
        return refusal.code
    except Exception as error:  # noqa: BLE001  # told in few lines; the test fails
        defect = Defect.of(error)
        outcome = f"{defect.what}, at {defect.where}\n\n{defect.trace}"
    else:
        outcome = f"granted {granted}"
    pytest.fail(f"expected a refusal; found {outcome}", pytrace=False)
