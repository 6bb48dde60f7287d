"""Checks who owns the fence on the legacy file: a run turns only fences of its own database's moves.

Two moves may name one file: an attempt on a server that was given up, and the attempt that replaced it. The phase in
one database says nothing about what the other move did to the file, so the fence itself records its owner. Each check
runs inside the transaction that turns the fence, so no other run can turn it in between.
"""

from __future__ import annotations

from pathlib import Path

from db.errors import Failure
from db.ops import emergency
from db.ops.emergency import LEGACY, Emergency
from game.legacy.fence import OwnerCheck
from game.legacy.fence_schema import FenceMark, Owner


def of_this_run(owner: Owner, path: Path) -> OwnerCheck:
    """Raise Failure unless the file is fenced, by this very run."""

    def check(mark: FenceMark) -> None:
        if mark != FenceMark("fenced", owner):
            raise _foreign(f"a legacy file that run {owner.run} fenced", mark, path)

    return check


def of_this_game(owner: Owner, path: Path) -> OwnerCheck:
    """Raise Failure unless a move to or from this database set the file's fence; for a game that is live on it."""

    def check(mark: FenceMark) -> None:
        if not is_of(mark, owner.target):
            raise _foreign("a legacy file whose game is in this database", mark, path)

    return check


def of_this_game_or_open(owner: Owner, path: Path) -> OwnerCheck:
    """Raise Failure if the fence is another database's: what is open may be closed, for players are not on it."""

    def check(mark: FenceMark) -> None:
        if mark.state != "open":
            of_this_game(owner, path)(mark)

    return check


def is_of(mark: FenceMark, target: str) -> bool:
    """Return True if a move to or from the database of this identity set the fence."""
    return mark.owner is not None and mark.owner.target == target


def unrecorded(mark: FenceMark | None, target: str) -> Emergency | None:
    """Return the emergency fence that a file bears, set from this database; for where a failover lost the record."""
    if mark is None or mark.owner is None or not is_of(mark, target) or not emergency.is_emergency(mark.owner.run):
        return None
    return Emergency(mark.owner.run, LEGACY, "somebody", "its record is lost", "a time that is not known")


def describe(mark: FenceMark) -> str:
    """Describe a fence and its owner in words."""
    if mark.state == "open":
        return "one that is open"
    by = "with no owner recorded" if mark.owner is None else f"by run {mark.owner.run} of database {mark.owner.target}"
    return f"one that is {mark.state}, {by}"


def remedy(mark: FenceMark, environment: str) -> str:
    """Say what to do about a fence that is not this run's.

    Never to restore a snapshot where a move is named: players may play in that move's database, and a second game from
    an older file would fork what they own.
    """
    if mark.state == "open":
        return f"Somebody opened the file; this run left it open. The next command: invoke status --env {environment}"
    if mark.owner is None:
        return (
            "Nothing was changed. Ask whoever set the fence to lift it. If nobody set it, and no move is under way"
            " anywhere, put the newest snapshot `final` in its place:"
            f" invoke snapshot.restore --env {environment} --path FOLDER --into NEW --unfence"
        )
    if emergency.is_emergency(mark.owner.run):
        return (
            "Somebody closed the game in an emergency, from the database that is named; nothing was changed. Lift it"
            f" there, once the game may be played again: invoke fence --env {environment} --off --reason WHY"
        )
    return (
        f"Another move owns the file; nothing was changed. Name its database ({mark.owner.target}) in target and"
        f" target_direct; then invoke status --env {environment} names the command that goes on, or undoes it."
    )


def _foreign(expected: str, mark: FenceMark, path: Path) -> Failure:
    return Failure(expected, describe(mark), where=str(path), do=remedy(mark, "NAME"))
