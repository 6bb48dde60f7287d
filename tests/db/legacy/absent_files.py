"""Links to a legacy file that lead nowhere today, as to a volume that is not mounted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from db.environments import Environment
from game.urls import LegacyUrl


def _itself(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(path.name)


def _nowhere(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(path.parent / "away" / path.name)


LEADS_AWAY: dict[str, Callable[[Path], object]] = {
    "a link to nothing": _nowhere,
    "a folder that is a link to nothing": lambda path: path.parent.symlink_to(path.parent.parent / "away"),
    "a link to itself": _itself,
    "a file for the folder": lambda path: path.parent.touch(),
}


def leading_away(env: Environment, kind: str) -> Environment:
    """Return the environment with a legacy file of this kind, in a folder of its own."""
    path = env.legacy.path.parent / "volume" / "game.db"
    LEADS_AWAY[kind](path)
    return replace(env, legacy=LegacyUrl(path))
