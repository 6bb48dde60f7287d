"""The figures that the independent proof compares: their names by legacy column, and how a digest is made.

This declares the mapping a second time on purpose, so that a mistake in the codec's mapping is not repeated.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

Figures: TypeAlias = "dict[str, tuple[object, ...] | None]"
"""The values of a player's figures by legacy column; None where they are left out."""

NUMBERS: dict[str, tuple[str, int]] = {
    "strategyLevel": ("strategy_level", 1),
    "strategyXp": ("strategy_xp", 0),
    "playfulLevel": ("playful_level", 1),
    "playfulXp": ("playful_xp", 0),
    "gold": ("gold", 0),
    "diamonds": ("diamonds", 0),
    "tournamentScore": ("tournament_score", 0),
    "cumulativeTournamentScore": ("cumulative_tournament_score", 0),
    "blacksmithLevel": ("forge_level", 1),
    "blacksmithXp": ("forge_xp", 0),
    "singlePlayerProgress": ("stage_progress", 0),
}
"""Plain legacy columns: the column of `users` in Postgres, and the value that NULL or a missing column stands for."""

TEXTS: dict[str, str] = {"username": "username", "nickname": "nickname", "league": "league"}
FLAGS: dict[str, str] = {"isAdmin": "is_admin"}

OBJECTS: dict[str, dict[str, tuple[str, int]]] = {
    "actionPoints": {"current": ("action_points", 0), "max": ("action_points_max", 30)},
    "inventorySlots": {
        "equipment": ("places_equipment", 30),
        "consumable": ("places_consumable", 30),
        "material": ("places_material", 30),
    },
}
"""Legacy columns that hold one object: its keys, each with the column of `users` and the value if it is missing."""

DOCUMENTS: dict[str, tuple[str, ...]] = {
    "inventory": ("number of items", "digest of the items"),
    "equipment": ("digest of the slots and what is worn in them",),
    "mail": (
        "number of letters",
        "number of unclaimed letters",
        "gold attached",
        "diamonds attached",
        "action points attached",
        "digest of the letters",
    ),
    "quests": ("digest of the periods", "digest of the quests"),
    "singlePlayerMissions": ("number of missions", "digest of the missions"),
}
"""Legacy columns that hold elements, and the names of their figures. What is attached is summed over unclaimed mail."""

NAMES: dict[str, tuple[str, ...]] = {
    **{column: (column,) for column in (*NUMBERS, *TEXTS, *FLAGS)},
    **{column: tuple(keys) for column, keys in OBJECTS.items()},
    **DOCUMENTS,
}
"""The names of the figures of every column that is compared."""


class Digest:
    """A hash of values, written so that two different sequences never give the same text."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, *values: str | int | None) -> None:
        """Add values as `target_figures` writes them in SQL."""
        self._hash.update("".join(map(_written, values)).encode())

    def hex(self) -> str:
        return self._hash.hexdigest()


def _written(value: str | int | None) -> str:
    if value is None:
        return "-"
    return f"{len(value)}:{value}" if isinstance(value, str) else f"{int(value)},"
