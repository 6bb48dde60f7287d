"""The plan of a cutover: its steps in the order in which they are done, and what is said of them beforehand.

Offline, the whole copy is made under the fence; the steps keep the numbers that the runbook gives them.
"""

from __future__ import annotations

from db.cutover import steps
from db.cutover.context import Step
from db.errors import Refusal

PREFLIGHT = "preflight"

SWITCH = Step(
    "8",
    "switch",
    "every process serves Postgres, read-only",
    steps.switched,
    steps.switch_to_target,
    "the old pointer, restart",
    checked=False,
)

OFFLINE = (
    Step("3", "snapshot", "both stores can be restored", steps.snapshot_done, steps.take_snapshots, "keep"),
    Step("4", "migrate", "Postgres has the schema, fenced and empty", steps.migrated, steps.migrate_target, "keep"),
    Step("6", "fence", "the legacy file is read-only for all", steps.fenced, steps.fence_legacy, "unfence, at last"),
    Step(
        "5+7",
        "copy",
        "every value is in Postgres, proven for every player",
        steps.copied,
        steps.copy,
        "keep",
        checked=False,
    ),
    SWITCH,
    Step("9", "smoke", "players of our own could play, over HTTP", None, steps.smoke, "nothing is left of them"),
    Step("10", "final dump", "the legacy file's last state is kept", steps.final_dump_done, steps.final_dump, "keep"),
)

LIVE = Step(
    "11",
    "live",
    "players play on Postgres; the legacy file says that it moved",
    steps.lifted,
    steps.go_live,
    "POINT OF NO RETURN: from here on, invoke rollback",
)

FIRST_SNAPSHOT = Step(
    "12", "first snapshot", "the live Postgres can be restored", steps.first_snapshot_done, steps.first_snapshot
)


def require_offline(offline: bool) -> None:
    """Refusal of what is not built: copying while players play, and then only the difference."""
    if not offline:
        raise Refusal("--offline", "a live copy, which this version does not make", do="Leave --no-offline out.")
