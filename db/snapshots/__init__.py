"""Takes, verifies and restores snapshots of both stores.

A snapshot counts only once it was restored somewhere else and its rows were counted: `verify` says so in a file beside
the manifest, and a cutover accepts no other.
"""

from __future__ import annotations

from pathlib import Path

from db import transfer
from db.environments import Environment
from db.errors import Refusal
from db.snapshots import legacy, manifest, postgres
from db.snapshots.manifest import Label, Side, Snapshot, find, read
from db.snapshots.tools import Tools

__all__ = ["Label", "Side", "Snapshot", "find", "read", "restore", "take", "verify"]


def take(
    env: Environment, side: Side, *, label: Label = Label.MANUAL, run: str = "", tools: Tools | None = None
) -> Snapshot:
    """Take a snapshot of one store into the environment's folder; the oldest of its label make room.

    Refusal: a legacy file that `transfer` would refuse, in the same words.
    """
    parent = env.snapshots.folder
    if side is Side.LEGACY and label is Label.MANUAL:  # A move has asked in its preflight, and players may wait by now.
        transfer.check(env.legacy.path)
    if side is Side.LEGACY:
        snapshot = legacy.take(env.legacy.path, parent, environment=env.name, label=label, run=run)
    else:
        snapshot = postgres.take(env.target_direct, parent, environment=env.name, label=label, run=run, tools=tools)
    manifest.retain(parent, env.name, env.snapshots.keep)
    return snapshot


def verify(env: Environment, snapshot: Snapshot, *, tools: Tools | None = None) -> dict[str, int]:
    """Restore into a scratch place, count rows a table, and note that it was done; Failure where they disagree."""
    if snapshot.manifest.side is Side.LEGACY:
        counts = legacy.verify(snapshot)
    else:
        counts = postgres.verify(snapshot, env.target_direct, tools=tools)
    manifest.note_verified(snapshot)
    return counts


def restore(
    env: Environment, snapshot: Snapshot, *, keep_fence: bool, replace: bool = False, into: Path | None = None,
    tools: Tools | None = None,
) -> str:  # fmt: skip
    """Put a snapshot back: the legacy file at `into` or its own place, the game's schema into the target.

    keep_fence: whether the store is read-only afterwards; it is one or the other on purpose, whatever the snapshot
    carries. Gives where what stood there was moved, or "".
    """
    if snapshot.manifest.environment != env.name:
        raise Refusal(
            f"a snapshot of {env.name}", f"one of {snapshot.manifest.environment}", where=str(snapshot.folder)
        )
    if snapshot.manifest.side is Side.LEGACY:
        aside = legacy.restore(snapshot, into or env.legacy.path, keep_fence=keep_fence, replace=replace)
        return str(aside or "")
    moved = postgres.restore(snapshot, env.target_direct, keep_fence=keep_fence, replace=replace, tools=tools)
    return moved or ""
