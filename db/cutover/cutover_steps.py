"""The steps of a cutover: for each what it does, and how the databases say that it is done.

Before `live` each is undone by db.cutover.undo; nothing here opens the legacy file to writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import Any

from psycopg import sql

from db import ops, snapshots, tables, transfer
from db.counts import few
from db.cutover import fence_owner, holding, hooks, services, switch
from db.cutover.context import READ_ONLY_BEGINS, READ_ONLY_ENDS, RunContext
from db.cutover.turning import turn, turning
from db.errors import Failure, Refusal
from db.legacy import receipts
from db.ops import Connection, Phase, fence, fence_proof, statements
from db.schema import migrate
from db.snapshots import Label, Side, manifest
from game import tables as game_tables
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values

Facts = dict[str, Any]


def snapshot_done(context: RunContext) -> bool:
    """Return True if both stores have a verified snapshot of this run; a target without tables needs none."""
    sides = Side if migrate.current(context.conn) else (Side.LEGACY,)
    return all(_have(context, side, Label.BEFORE) for side in sides)


def take_snapshots(context: RunContext) -> Facts:
    """Do step 3: take snapshots of both stores as they are; restore each somewhere and count it."""
    facts = _snapshot(context, Side.LEGACY, Label.BEFORE)
    if migrate.current(context.conn):
        facts |= _snapshot(context, Side.TARGET, Label.BEFORE)
    return facts


def migrated(context: RunContext) -> bool:
    """Return True if the schema is at its head and fenced, and the phase is loading."""
    at_head = migrate.current(context.conn) == migrate.head()
    return at_head and context.phase() is Phase.LOADING and fence.state(context.conn) == "fenced"


def migrate_target(context: RunContext) -> Facts:
    """Do step 4: migrate the schema, raise its fence, try it from the service's own URL, and empty the tables."""
    direct = context.env.target_direct
    if context.phase() in (Phase.EMPTY, Phase.RETURNED) and migrate.current(context.conn):
        require_empty(context)
    made = migrate.migrate(
        direct,
        environment=context.env.name,
        service_role=context.env.target.user,
        unable=partial(services.unable, context.env.services),
    )
    numbered = receipts.number_all(context.env.legacy.path)
    if drifted := migrate.drift(direct):
        raise Failure("the schema as the migrations make it", few(drifted, 3, between="; "), where=direct.redacted)
    fence.raise_fence(context.conn, pass_token=context.pass_token, owner=context.owner_on_target)
    refused = fence_proof.prove(context.env.target)
    begin_loading(context)
    return {"applied": made.applied, "head": made.head, "numbered_receipts": numbered, "writes_refused": refused}


def begin_loading(context: RunContext) -> None:
    """Set the phase loading, and empty the target in the same transaction: an earlier copy must not mix with this one.

    After an abort players went on playing on the legacy file, so what was loaded then is stale. Only such a copy is
    emptied. The rows of a new target, or of a rollback that did not put them away, are not ours to delete.
    """
    phase = context.phase()
    if phase is Phase.LOADING:
        return
    if phase is not Phase.ABORTED:
        require_empty(context)
    if phase is Phase.EMPTY or ops.is_trial(ops.phase_run(context.conn)):
        switch.note_served(context)
    with fence.own_pass(context.conn):
        ops.clear_proof(context.conn)
        names = [sql.Identifier(table.name) for table in (*game_tables.ALL, *tables.ALL)]
        context.conn.execute(sql.SQL("truncate {}").format(sql.SQL(", ").join(names)))
        context.held.advance(phase, Phase.LOADING)
        if not context.config.offline:
            holding.begin(context)


def fenced(context: RunContext) -> bool:
    """Return True if this run's fence stands on the legacy file, complete. The deadline starts when it is found.

    A kill may have come between the fence and its proof, so writing is tried again; a fence with holes is made anew.
    """
    mark = context.legacy_fence()
    if mark.state == "open":
        return False
    context.deadline.start()
    fence_owner.of_this_game(context.owner, context.env.legacy.path)(mark)
    if mark.owner != context.owner:  # We hold the lock, so the run that fenced it is over: take its fence over.
        return False
    with closing(sqlite_values.connect(context.env.legacy.path)) as connection:
        try:
            return legacy_fence.prove(connection) > 0
        except legacy_fence.NotFenced as error:
            context.config.progress.say(f"     the fence had holes, and is made anew: {error}")
            return False


def fence_legacy(context: RunContext) -> Facts:
    """Do step 6: drain programs that answer before they save, then fence the file and try to write. Read-only begins.

    A copy that was proven before this fence stood may lack later writes, so its proof is cleared.
    """
    hooks.run(
        context.env,
        "drain",
        context.journal,
        engine="legacy",
        timeout_seconds=switch.HOOK_SECONDS,
        require=context.require_lock,
    )
    ops.clear_proof(context.conn)
    context.journal.write(READ_ONLY_BEGINS)
    context.deadline.start()
    owner_check = fence_owner.of_this_game_or_open(context.owner, context.env.legacy.path)
    turn(context, "fenced", phases=(Phase.LOADING,), owner_check=owner_check)
    with closing(sqlite_values.connect(context.env.legacy.path)) as connection:
        refused = legacy_fence.prove(connection)
    # Of a process of an earlier version that played on while the others were numbered.
    receipts.number_all(context.env.legacy.path, pass_token=context.pass_token)
    return {"writes_refused": refused}


def copied(context: RunContext) -> bool:
    """Return True if `ops.proven` names this run: its copy was proven after its fence was raised.

    The pointer proves nothing: a deploy or a person writes it too. To compare the copy itself would cost as much as to
    make it again, and would report as a difference what a killed smoke left behind.
    """
    return ops.is_proven(context.conn, context.journal.run)


def copy(context: RunContext) -> Facts:
    """Do steps 5 and 7: load or quarantine every row, count the values, and compare every rebuilt row."""
    fence.raise_fence(context.conn, pass_token=context.pass_token, owner=context.owner_on_target)
    context.dump_beside(lambda: _snapshot(context, Side.LEGACY, Label.FINAL))
    with context.deadline.watching(context.config.progress) as progress:
        loaded = transfer.load(
            context.env.legacy.path,
            context.env.target_direct,
            run=context.journal.run,
            pass_token=context.pass_token,
            max_held=context.env.policy.max_held,
            progress=progress,
        )
    context.held.record_proof()
    names = ("source", "loaded", "quarantined", "aside", "held", "players", "mismatches")
    counts = {name: int(getattr(loaded, name)) for name in names}
    context.journal.write("counts", **counts)
    return counts | {"bytes": loaded.bytes}


def switched(context: RunContext) -> bool:
    """Return True if the pointer names Postgres and every process serves it."""
    return switch.done(context, context.env.target)


def switch_to_target(context: RunContext) -> Facts:
    """Do step 8: pointer, deploy, restart, until every process serves Postgres and the old ones are gone."""
    return switch.to(context, context.env.target, context.env.target.as_text())


def smoke(context: RunContext) -> Facts:
    """Do step 9: canaries play over HTTP on every process, through the fence."""
    fence.raise_fence(context.conn, pass_token=context.pass_token, owner=context.owner_on_target)
    return play(context, context.env.target_direct)


def play(context: RunContext, place: switch.Place, urls: Sequence[str] | None = None) -> Facts:
    """Run the smoke scenarios on these processes, the environment's own by default.

    Raises Failure naming those that failed, or that there were none.
    """
    processes = context.env.services if urls is None else urls
    result = context.config.smoke(processes, place, pass_token=context.pass_token)
    if result.failed or not result.passed:
        failed = few(result.failed, 5, between="; ") or "none was run"
        raise Failure("every smoke scenario to pass", failed, where=", ".join(processes))
    return {"passed": result.passed}


def final_dump_done(context: RunContext) -> bool:
    """Return True if a verified snapshot of the legacy file was taken after its fence was raised.

    Of a fence that was raised after now, any of the run counts: the clock was set back, and can't tell what came first.
    """
    since = context.legacy_fence().since / 1000
    if since > manifest.now().timestamp():
        since = 0.0
    return not context.dumping and _have(context, Side.LEGACY, Label.FINAL, since=since)


def final_dump(context: RunContext) -> Facts:
    """Do step 10: wait for the final snapshot of the legacy file, which `copy` began, or take it now."""
    return context.dumped() or _snapshot(context, Side.LEGACY, Label.FINAL)


def lifted(context: RunContext) -> bool:
    """Return True if Postgres is live and the legacy file says that it moved there."""
    mark = context.legacy_fence()
    return context.phase() is Phase.LIVE and mark.state == "moved" and fence_owner.is_of(mark, context.owner.target)


def go_live(context: RunContext) -> None:
    """Do step 11: set the phase live and lift the fence in one transaction, the point of no return.

    Then the legacy file says that it moved. Its write lock is held from before to after, so that its fence is this
    run's, and complete, when Postgres commits. A run that lost its lock and comes late to undo finds the file moved.
    """
    beyond = context.phase() is Phase.LIVE
    checked = fence_owner.of_this_game_or_open if beyond else fence_owner.of_this_run
    phase = Phase.LIVE if beyond else Phase.LOADING
    owner_check = checked(context.owner, context.env.legacy.path)
    with turning(context, "moved", phases=(phase,), owner_check=owner_check) as connection:
        if not beyond:
            require_whole(context, connection)
            _lift(context)
        # A later process can't know when an earlier one lifted; the process whose COMMIT lost its answer can.
        if context.lifting and context.journal.last(READ_ONLY_ENDS) is None:
            context.journal.write(READ_ONLY_ENDS)


def _lift(context: RunContext) -> None:
    context.check_deadline()
    context.journal.write("lift begun")
    context.lifting = True
    with context.conn.transaction():
        context.held.require_proof()
        context.held.advance(Phase.LOADING, Phase.LIVE)
        fence.lift(context.conn, log=True)


def require_whole(context: RunContext, connection: sqlite3.Connection) -> None:
    """Raise Failure if a trigger of the legacy file's fence is missing or not as it was made."""
    if holes := legacy_fence.missing(connection):
        raise Failure("the legacy file's fence, whole", f"holes: {few(holes, 3)}", where=context.env.legacy.redacted)


def first_snapshot_done(context: RunContext) -> bool:
    """Return True if this run has a verified snapshot of Postgres, taken since it is live."""
    return _have(context, Side.TARGET, Label.FIRST)


def first_snapshot(context: RunContext, instant: Connection | None = None) -> Facts:
    """Do step 12: take and verify the first snapshot of the live target; the run lock is released already.

    instant: a session that sees Postgres as it was when the window ended; by default it is taken as of now.
    """
    return _snapshot(context, Side.TARGET, Label.FIRST, instant)


def _have(context: RunContext, side: Side, label: Label, *, since: float = 0.0) -> bool:
    """Return True if this run has a verified and signed snapshot that was taken at `since` (epoch seconds) or later."""
    kept = snapshots.find(context.env.snapshots.folder, context.env.name, side=side, label=label)
    of_the_run = [s for s in kept if s.manifest.run == context.journal.run]
    admitted = [s for s in of_the_run if snapshots.is_verified(s) and snapshots.is_admitted(s)]
    return any(datetime.fromisoformat(s.manifest.taken_at).timestamp() >= since for s in admitted)


def _snapshot(context: RunContext, side: Side, label: Label, instant: Connection | None = None) -> Facts:
    taken = snapshots.take_verified(
        context.env, side, label=label, run=context.journal.run, tools=context.config.tools, instant=instant
    )
    rows = sum(taken.manifest.counts.values())
    return {str(side): {"folder": str(taken.folder), "sha256": taken.manifest.sha256, "rows": rows}}


def _rows_away(context: RunContext) -> str:
    env = context.env.name
    if context.phase() is Phase.RETURNED:
        return f"A rollback left them. Finish it, and they are kept in another schema: invoke rollback --env {env}"
    return (
        "No move made these rows. Name an empty database in target and target_direct; or, if nobody needs them, empty"
        f" this one: invoke transfer.cleanup --env {env}"
    )


def require_empty(context: RunContext) -> None:
    """Check that no table of the game has rows. Raises Refusal naming one that has."""
    filled = statements.first_filled(context.conn, [table.name for table in game_tables.ALL])
    if filled is not None:
        raise Refusal(
            "an empty target",
            f"rows in {filled}",
            where=ops.place(context.conn),
            do=_rows_away(context),
        )
