"""Tries revisions on the newest verified snapshot of Postgres, for the rows of an environment may break one.

It takes as long as the restore of that snapshot and the revisions themselves; the database in use is only read.
"""

from __future__ import annotations

from dataclasses import dataclass

from db.environments import Environment
from db.errors import Failure, Refusal
from db.schema import migrate
from db.schema.revisions import History
from db.snapshots import manifest, postgres
from db.snapshots.manifest import Side, Snapshot
from db.snapshots.tools import Tools
from db.snapshots.trust import is_admitted, is_verified
from game.urls import PostgresUrl


@dataclass(frozen=True)
class Trial:
    """The snapshot on which the revisions passed, and the revisions, oldest first."""

    snapshot: Snapshot
    applied: list[str]


def try_revisions(env: Environment, *, history: History | None = None, tools: Tools | None = None) -> Trial:
    """Restore the newest verified snapshot into a scratch database and apply what it lacks there.

    Raises Refusal without such a snapshot, and for a revision that does not pass on it; else as `snapshots.verify`.
    """
    snapshot = _newest_verified(env)
    applied: list[str] = []

    def apply(scratch: PostgresUrl) -> None:
        try:
            done = migrate.migrate(scratch, environment=env.name, service_role=None, history=history)
        except Failure as error:
            raise Refusal(
                f"{error.expected} on the newest verified snapshot",
                error.found,
                where=str(snapshot.folder),
                do="Nothing was changed. Correct the revision, or the rows that it names; after a change of rows take"
                f" another snapshot: invoke snapshot.take --env {env.name} --of target",
            ) from error
        applied.extend(done.applied)

    postgres.verify(snapshot, env.target_direct, tools=tools, inspect=apply)
    return Trial(snapshot, applied)


def _newest_verified(env: Environment) -> Snapshot:
    every = manifest.find(env.snapshots.folder, env.name, side=Side.TARGET)
    fitting = [snapshot for snapshot in every if is_admitted(snapshot) and is_verified(snapshot)]
    if not fitting:
        raise Refusal(
            "a verified snapshot of Postgres, to try the revisions on",
            f"none in {env.snapshots.folder}",
            do=f"Nothing was changed. Take one: invoke snapshot.take --env {env.name} --of target",
        )
    return fitting[-1]
