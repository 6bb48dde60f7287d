"""Runs `invoke snapshot.take`, `snapshot.verify` and `snapshot.restore`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from db import snapshots
from db.confirmation import Change, Confirm, unasked
from db.environments import Environment
from db.errors import Refusal
from db.snapshots import Side


def run(
    env: Environment,
    verb: str,
    what: str,
    into: str,
    *,
    unfence: bool = False,
    replace: bool = False,
    unsigned: bool = False,
    confirm: Confirm = unasked,
) -> dict[str, object]:
    """Take, verify or restore a snapshot. Returns what was done, by name.

    unsigned: verify or restore one that nobody signed. Raises Refusal for options that do not fit, and as the verbs do.
    """
    if verb == "take":
        taken = snapshots.take_verified(env, _side(what))
        return {"snapshot": str(taken.folder), **taken.manifest.counts}
    if not what:
        raise Refusal(
            "--path FOLDER", "none", do="Name the folder of a snapshot, as `invoke snapshot.take --env NAME` prints it."
        )
    snapshot = snapshots.read(Path(what))
    if unsigned and snapshot.manifest.signature is not None:
        raise Refusal(
            "--unsigned with an unsigned snapshot",
            "a signed one",
            where=str(snapshot.folder),
            do="Leave --unsigned out.",
        )
    if verb == "verify":
        return {"snapshot": str(snapshot.folder), **snapshots.verify(env, snapshot, unsigned=unsigned)}
    if snapshot.manifest.side is Side.LEGACY and not into:
        raise Refusal(
            "--into NEW, the file to restore into",
            "none",
            where=str(snapshot.folder),
            do="Name a path where no file is yet: --into NEW",
        )
    if snapshot.manifest.side is Side.TARGET and into:
        raise Refusal(
            "--into with a snapshot of the legacy file",
            "one of Postgres",
            where=str(snapshot.folder),
            do="Leave --into out: it is restored into the target of this environment.",
        )
    if snapshot.manifest.side is Side.LEGACY and replace:
        raise Refusal(
            "--replace with a snapshot of the target",
            "one of the legacy file",
            where=str(snapshot.folder),
            do="Restore it into a new file (--into NEW). Stop the service, move the file that it serves aside with its"
            " -wal and -shm, move NEW to its place, start the service.",
        )
    database = snapshot.manifest.side is Side.TARGET
    place = env.target_direct.redacted if database else into
    writes = ", and opens it to writes" if unfence else ""
    kept = snapshots.restore(
        env,
        snapshot,
        keep_fence=not unfence,
        replace=replace,
        into=Path(into) if into else None,
        unsigned=unsigned,
        confirm=partial(
            confirm, Change(env, f"restores {snapshot.folder.name} into {place}{writes}", database=database)
        ),
    )
    return {
        "snapshot": str(snapshot.folder),
        "restored": into or env.target_direct.redacted,
        "fence": "off" if unfence else "on",
        **({"replaced": f"is kept in the schema {kept}"} if kept else {}),
        **({"to see and undo it": f"invoke snapshot.kept --env {env.name}"} if kept else {}),
    }


def _side(name: str) -> Side:
    try:
        return Side(name)
    except ValueError:
        raise Refusal(
            f"--of {' | '.join(Side)}", f"--of {name}", do="Say --of legacy, the SQLite file, or --of target, Postgres."
        ) from None
