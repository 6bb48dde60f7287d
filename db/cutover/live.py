"""The live cutover: from the legacy file to Postgres while players play. They wait once, for about 0.1 s.

Its steps before the copy and after the window are those of the offline cutover (db.cutover.cutover), which stays for a
service that can't open two stores, and as the plan's own order.
"""

from __future__ import annotations

import dataclasses

from db.cutover import cutover_steps as steps
from db.cutover import live_steps, window
from db.cutover.cutover import CUTOVER, FINAL_DUMP, FIRST_SNAPSHOT, MIGRATE, SNAPSHOT, SWITCH
from db.cutover.runbook import Step

COPY = Step(
    "5",
    "copy",
    "Postgres has what the legacy file has, but for the last moments",
    None,
    live_steps.copy,
    "keep; capture off",
    detail="change capture is on; every row was copied in batches, and rounds applied what changed meanwhile until one"
    " was short",
    on_failure="It undoes itself, but for a kill: run again, and the copy goes on. Players who write faster than rounds"
    " apply: exit 3, at a quieter hour run again.",
)
STAND_BY = Step(
    "6",
    "stand by",
    "nothing is left to do before the window",
    None,
    live_steps.stand_by,
    detail="Postgres is vacuumed and analyzed; players of our own played on it over HTTP, behind its fence; every"
    " player was proven at one instant, while players played",
    on_failure="It undoes itself. The message names what differs, or the scenario.",
)
HOLD = Step(
    "6",
    "hold",
    "no order keeps the window from coming",
    None,
    live_steps.hold,
    detail="with `--hold`: a round each ten seconds, until `--go` was ordered and taken; without it: no wait",
    on_failure="It undoes itself, but for Ctrl-C, after which the copy stays: run again, and it holds again.",
)
WINDOW = Step(
    "7",
    "window",
    "players play on Postgres; the legacy file says that it moved",
    steps.lifted,
    live_steps.go_live,
    "POINT OF NO RETURN: from here on, invoke rollback",
    detail="**point of no return**: the file is fenced and its write lock held, the last round is applied, phase `live`"
    " and the lift are one transaction, the file says *moved*. Players wait about a tenth of a second; a"
    " window that would last longer than a second is opened again, and tried again after further rounds",
    on_failure="Before the commit it undoes itself, and players played on throughout. Exit 3: see below.",
)
INSTANT = Step(
    "9",
    "instant",
    "what was moved is proven, every player",
    None,
    live_steps.prove_instant,
    detail="the frozen file equals Postgres as it was when the window ended, every player; where the session that kept"
    " that snapshot is gone, who has played since is proven by his chain",
    on_failure="Exit 1, and **players play on Postgres**: the message names who differs. Decide whether to roll back.",
)
CAPTURE_OFF = Step(
    "9",
    "capture off",
    "the legacy file is as the game left it, and fenced",
    window.capture_is_off,
    live_steps.capture_off,
    detail="the log and its triggers are gone from the legacy file",
    on_failure="Exit 1, and **players play on Postgres**: run again to finish.",
)

_FINISH = "Exit 1, and **players play on Postgres**: run again to finish."
SWITCH_AFTERWARDS = dataclasses.replace(
    SWITCH,
    true_after="every process serves Postgres first",
    undo="",
    repeated=False,
    detail="the pointer names Postgres, and the next store is the legacy file; `deploy` and `restart` ended with 0;"
    " every process in `services` is a new one and serves Postgres",
    on_failure=_FINISH,
)
DUMP_AFTERWARDS = dataclasses.replace(
    FINAL_DUMP, undo="", detail="SQLite's last state is kept, hashed, verified", on_failure=_FINISH
)
FIRST_SNAPSHOT_OF_THE_INSTANT = dataclasses.replace(
    FIRST_SNAPSHOT,
    number="9",
    true_after="Postgres can be restored as it was when the window ended",
    do=live_steps.first_snapshot,
    detail="Postgres as it was when the window ended is kept, restored and counted: the same instant as the final dump"
    " of the file. Where the session that kept it is gone: Postgres as it is now",
)

LIVE_CUTOVER = dataclasses.replace(
    CUTOVER,
    steps=(SNAPSHOT, MIGRATE, COPY, STAND_BY, HOLD),
    point_of_no_return=WINDOW,
    then=(SWITCH_AFTERWARDS, INSTANT, FIRST_SNAPSHOT_OF_THE_INSTANT, CAPTURE_OFF, DUMP_AFTERWARDS),
    released=(),
)
