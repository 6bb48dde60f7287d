"""Runs a move by the packages that PYTHONPATH names, those of an earlier commit; as a process of its own.

Standard input is JSON: the places of the move, its verb, and the step before which the process kills itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import db
from db import environments
from db.cutover import moves, rollback
from db.cutover.context import RunConfig
from db.cutover.ports import SmokeResult
from db.environments import Hooks, Pointer, Policy, SnapshotPlan
from db.servers import Server
from game.urls import read


def main() -> None:
    """Run it. The exit code is 0, or the one of the error."""
    given = json.load(sys.stdin)
    assert Path(db.__file__).is_relative_to(given["tree"]), f"{db.__file__} is not the earlier commit's"
    folder = Path(given["folder"])
    env = environments.throwaway(
        owner=read(given["owner"]),
        service=read(given["service"]),
        legacy=Path(given["legacy"]),
        folder=folder,
        pointer=Pointer(Path(given["pointer"])),
        services=tuple(given["services"]),
        hooks=Hooks(restart=given["restart"]),
        policy=Policy(freeze_budget_seconds=60, max_held=100, watch_seconds=0),
        snapshots=SnapshotPlan(folder / "snapshots"),
    )

    def observer(when: str, step: str) -> None:
        if (when, step) == ("before", given["dies_before"]):
            os.kill(os.getpid(), signal.SIGKILL)

    config = RunConfig(
        folder=folder / "runs",
        observer=observer,
        smoke=lambda _services, _store, *, pass_token: SmokeResult(1),
        tools=Server.attach(given["handle"]).tool,
        abort=given["abort"],
    )
    if given["verb"] == "cutover":
        moves.cut_over(env, config, evidence=lambda _env: None)
    else:
        rollback.run(env, config)


if __name__ == "__main__":
    main()
