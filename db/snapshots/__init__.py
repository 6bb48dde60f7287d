"""Takes, verifies and restores snapshots of both stores.

A snapshot counts only once it was restored somewhere else and its rows were counted: `verify` says so in a file beside
the manifest, and a cutover accepts no other. Older ones are removed only after a newer one was verified.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from db import ops, transfer
from db.confirmation import unasked
from db.environments import Environment
from db.errors import Failure, Refusal
from db.snapshots import legacy, manifest, postgres, trust
from db.snapshots.dump import Foreign
from db.snapshots.manifest import Label, Side, Snapshot, Unsound, find, read
from db.snapshots.postgres import Inspect
from db.snapshots.tools import Tools
from db.snapshots.trust import is_admitted, is_verified

__all__ = [
    "Inspect",
    "Label",
    "Side",
    "Snapshot",
    "find",
    "is_admitted",
    "is_verified",
    "read",
    "restore",
    "take",
    "take_verified",
    "verify",
]

_TAKE_AGAIN = "Something changed the copy while it was written or read: look at that disk, and take another."


def take(
    env: Environment,
    side: Side,
    *,
    label: Label = Label.MANUAL,
    run: str = "",
    tools: Tools | None = None,
    instant: ops.Connection | None = None,
) -> Snapshot:
    """Take a snapshot of one store into the environment's folder. Removes no other snapshot.

    instant: of Postgres, a session whose open transaction sees the instant to take; by default it is now.

    Raises Refusal and Failure as `transfer` does if the store is not the game's, or can't be read; Refusal without a
    key for an environment that admits no unsigned snapshot.
    """
    parent, key = env.snapshots.folder, trust.key_for(env.name)
    if side is Side.LEGACY and label is Label.MANUAL:
        # A move checked this in its preflight, and players may be waiting now.
        transfer.check(env.legacy.path)
    if side is Side.LEGACY:
        return legacy.take(env.legacy.path, parent, environment=env.name, label=label, run=run, key=key)
    return postgres.take(
        env.target_direct, parent, environment=env.name, label=label, run=run, key=key, tools=tools, instant=instant
    )


def take_verified(
    env: Environment,
    side: Side,
    *,
    label: Label = Label.MANUAL,
    run: str = "",
    tools: Tools | None = None,
    inspect: Inspect | None = None,
    instant: ops.Connection | None = None,
) -> Snapshot:
    """Take a snapshot and verify it. Then remove the old ones by the rule of `manifest.retain`. instant: see `take`.

    Raises Foreign, a Refusal, if the database holds what no revision makes; Failure if the copy is not what was taken.
    """
    snapshot = take(env, side, label=label, run=run, tools=tools, instant=instant)
    try:
        verify(env, snapshot, tools=tools, inspect=inspect)
    except Foreign:
        raise
    except Unsound as error:  # Nobody's input: it was written a moment ago.
        raise Failure(error.expected, error.found, where=error.where, do=_TAKE_AGAIN) from error
    manifest.retain(
        env.snapshots.folder,
        env.name,
        env.snapshots.keep,
        is_admitted=is_admitted,
        is_verified=is_verified,
        taken=snapshot.folder,
    )
    return snapshot


def verify(
    env: Environment,
    snapshot: Snapshot,
    *,
    unsigned: bool = False,
    tools: Tools | None = None,
    inspect: Inspect | None = None,
) -> dict[str, int]:
    """Restore into a scratch place, count each table's rows, and note the success.

    Raises Unsound if it is not what its manifest says.

    inspect: looks at the restored database, of a snapshot of Postgres; what it raises is raised, and nothing is noted.
    unsigned: admit a snapshot without a signature, which staging and production refuse otherwise.
    """
    _check(env, snapshot, unsigned=unsigned)
    try:
        if snapshot.manifest.side is Side.LEGACY:
            counts = legacy.verify(snapshot)
        else:
            counts = postgres.verify(snapshot, env.target_direct, tools=tools, inspect=inspect)
    except (Failure, Unsound):
        # `retain` must not keep this snapshot as a verified one and remove others.
        manifest.forget_verified(snapshot)
        raise
    trust.note_verified(snapshot)
    return counts


def restore(
    env: Environment,
    snapshot: Snapshot,
    *,
    keep_fence: bool,
    replace: bool = False,
    into: Path | None = None,
    unsigned: bool = False,
    confirm: Callable[[], None] = unasked,
    tools: Tools | None = None,
) -> str:
    """Put a snapshot back: the legacy file at `into` or its own place, the game's schema into the target.

    keep_fence: whether the store is read-only afterwards; it is one or the other on purpose, whatever the snapshot
    carries. unsigned: as of `verify`. confirm: called after the checks and before any change; may raise Refusal. Gives
    where what stood there was moved, or "".
    """
    _check(env, snapshot, unsigned=unsigned)
    if snapshot.manifest.side is Side.LEGACY:
        aside = legacy.restore(
            snapshot, into or env.legacy.path, keep_fence=keep_fence, replace=replace, confirm=confirm
        )
        return str(aside or "")
    moved = postgres.restore(
        snapshot,
        env.target_direct,
        service_role=env.target.user,
        legacy=env.legacy.path,
        keep_fence=keep_fence,
        replace=replace,
        confirm=confirm,
        tools=tools,
    )
    return moved or ""


def _check(env: Environment, snapshot: Snapshot, *, unsigned: bool) -> None:
    """Refuse a snapshot of another environment, one that nobody here signed, and one without the game's tables."""
    where = str(snapshot.folder)
    if snapshot.manifest.environment != env.name:
        raise Refusal(
            f"a snapshot of {env.name}",
            f"one of {snapshot.manifest.environment}",
            where=where,
            do=f"Name one of {env.name} with --path: they are in {env.snapshots.folder}.",
        )
    trust.require(snapshot, unsigned=unsigned)
    if "users" not in snapshot.manifest.counts:
        raise Refusal(
            "a snapshot of the game",
            "one without a table `users`",
            where=where,
            do=f"Name another with --path: they are in {env.snapshots.folder}.",
        )
