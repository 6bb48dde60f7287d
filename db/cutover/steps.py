"""The steps of a cutover: for each what it does, and how the databases say that it is done.

Before `live` each is undone by db.cutover.undo; nothing here opens the legacy file to writes.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from typing import Any

from psycopg import sql

from db import ops, snapshots, tables, transfer
from db.counts import few
from db.cutover import hooks, ownership, switch
from db.cutover.move import READ_ONLY_BEGINS, READ_ONLY_ENDS, Move
from db.cutover.turning import turn, turning
from db.errors import Failure, Refusal
from db.ops import Phase, fence, statements
from db.schema import migrate
from db.snapshots import Label, Side
from game import tables as game_tables
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values

Facts = dict[str, Any]


def snapshot_done(move: Move) -> bool:
    """Both stores have a verified snapshot of this run; a target without tables has nothing to keep."""
    sides = Side if migrate.current(move.conn) else (Side.LEGACY,)
    return all(_have(move, side, Label.BEFORE) for side in sides)


def take_snapshots(move: Move) -> Facts:
    """3: what is there now, on both sides, restored somewhere and counted."""
    facts = _snapshot(move, Side.LEGACY, Label.BEFORE)
    if migrate.current(move.conn):
        facts |= _snapshot(move, Side.TARGET, Label.BEFORE)
    return facts


def migrated(move: Move) -> bool:
    """The schema is at its head and fenced, and the phase says that what is in it is ours to fill."""
    at_head = migrate.current(move.conn) == migrate.head()
    return at_head and move.phase() is Phase.LOADING and fence.state(move.conn) == "fenced"


def migrate_target(move: Move) -> Facts:
    """4: the schema, its fence, and an empty start; the fence is tried from the service's own URL."""
    direct = move.env.target_direct
    if move.phase() in (Phase.EMPTY, Phase.RETURNED) and migrate.current(move.conn):
        require_empty(move)
    made = migrate.migrate(direct, environment=move.env.name, service_role=move.env.target.user)
    if drifted := migrate.drift(direct):
        raise Failure("the schema as the migrations make it", few(drifted, 3, between="; "), where=direct.redacted)
    fence.set_on(move.conn, pass_token=move.pass_token)
    refused = fence.prove(move.env.target)
    begin_loading(move)
    return {"applied": made.applied, "head": made.head, "writes_refused": refused}


def begin_loading(move: Move) -> None:
    """Phase loading, and in the same transaction an empty target: a copy of another day is no part of this one.

    After an abort players went on playing on the legacy file, so what was loaded then is stale. Only that is emptied:
    what lies in a target that is new, or after a rollback that did not put it away, is not ours to lose.
    """
    phase = move.phase()
    if phase is Phase.LOADING:
        return
    if phase is not Phase.ABORTED:
        require_empty(move)
    if phase is Phase.EMPTY or ops.is_trial(ops.phase_run(move.conn)):
        switch.note_served(move)
    with fence.own_pass(move.conn):
        ops.clear_proof(move.conn)
        names = [sql.Identifier(table.name) for table in (*game_tables.ALL, *tables.ALL)]
        move.conn.execute(sql.SQL("truncate {}").format(sql.SQL(", ").join(names)))
        move.held.advance(phase, Phase.LOADING)


def fenced(move: Move) -> bool:
    """This run's fence stands on the legacy file, whole. The deadline starts when this process finds it.

    A kill may have come between the fence and its proof, so it is tried again here; one with holes is made anew.
    """
    mark = move.legacy_fence()
    if mark.state == "open":
        return False
    move.deadline.start()
    ownership.of_this_game(move.owner, move.env.legacy.path)(mark)
    if mark.owner != move.owner:  # We hold the lock, so the run that fenced it is over: take its fence over.
        return False
    with closing(sqlite_values.connect(move.env.legacy.path)) as connection:
        try:
            return legacy_fence.prove(connection) > 0
        except legacy_fence.NotFenced as error:
            move.means.progress.say(f"     the fence had holes, and is made anew: {error}")
            return False


def fence_legacy(move: Move) -> Facts:
    """6: drain what answers first and saves later, then fence the file and try to write: read-only begins.

    A copy that was proven before this fence stood may lack what was written since: it is to be proven again.
    """
    hooks.run(
        move.env,
        "drain",
        move.journal,
        engine="legacy",
        timeout_seconds=switch.HOOK_SECONDS,
        require=move.require_lock,
    )
    ops.clear_proof(move.conn)
    move.journal.write(READ_ONLY_BEGINS)
    move.deadline.start()
    owned = ownership.of_this_game_or_open(move.owner, move.env.legacy.path)
    turn(move, "fenced", phases=(Phase.LOADING,), owned=owned)
    with closing(sqlite_values.connect(move.env.legacy.path)) as connection:
        return {"writes_refused": legacy_fence.prove(connection)}


def copied(move: Move) -> bool:
    """Postgres has it in writing that this run's copy was proven, since this run's fence stands on the file.

    The pointer says nothing about it: a deploy, or a person, writes it too. Asking the copy itself would cost as much
    as doing it again, and would take for a difference what a smoke that was killed left behind.
    """
    return ops.is_proven(move.conn, move.journal.run)


def copy(move: Move) -> Facts:
    """5 and 7: every row loaded or quarantined, counted, rebuilt and compared, for every player."""
    fence.set_on(move.conn, pass_token=move.pass_token)
    move.dump_beside(lambda: _snapshot(move, Side.LEGACY, Label.FINAL))
    with move.deadline.watching(move.means.progress) as progress:
        loaded = transfer.load(
            move.env.legacy.path,
            move.env.target_direct,
            run=move.journal.run,
            pass_token=move.pass_token,
            max_held=move.env.policy.max_held,
            progress=progress,
        )
    move.held.record_proof()
    names = ("source", "loaded", "quarantined", "aside", "held", "players", "mismatches")
    counts = {name: int(getattr(loaded, name)) for name in names}
    move.journal.write("counts", **counts)
    return counts | {"bytes": loaded.bytes}


def switched(move: Move) -> bool:
    """The pointer names Postgres and every process serves it."""
    return switch.done(move, move.env.target)


def switch_to_target(move: Move) -> Facts:
    """8: pointer, deploy, restart; every process answers from Postgres and the old ones are gone."""
    return switch.to(move, move.env.target, move.env.target.as_text())


def smoke(move: Move) -> Facts:
    """9: players of our own play over HTTP, through the fence, on every process."""
    fence.set_on(move.conn, pass_token=move.pass_token)
    return play(move, move.env.target_direct)


def play(move: Move, place: switch.Place) -> Facts:
    """Run the smoke scenarios; Failure naming those that failed, or that there were none."""
    result = move.means.smoke(move.env.services, place, pass_token=move.pass_token)
    if result.failed or not result.passed:
        found = few(result.failed, 5, between="; ") or "none was run"
        raise Failure("every smoke scenario to pass", found, where=", ".join(move.env.services))
    return {"passed": result.passed}


def final_dump_done(move: Move) -> bool:
    """The legacy file as it is since its fence stands is kept, verified."""
    return not move.dumping and _have(move, Side.LEGACY, Label.FINAL, since=move.legacy_fence().since / 1000)


def final_dump(move: Move) -> Facts:
    """10: the last state of the legacy file, hashed, restored and counted; begun beside the copy, waited for here."""
    return move.dumped() or _snapshot(move, Side.LEGACY, Label.FINAL)


def lifted(move: Move) -> bool:
    """Postgres is live and open, and the legacy file says that it moved there."""
    mark = move.legacy_fence()
    return move.phase() is Phase.LIVE and mark.state == "moved" and ownership.is_of(mark, move.owner.target)


def go_live(move: Move) -> None:
    """11: phase and lift in one transaction, the point of no return; then the legacy file says that it moved.

    The file's write lock is held from before to after, so that its fence is this run's, and whole, when Postgres
    commits: whoever lost his own lock and comes late to undo finds the file moved.
    """
    beyond = move.phase() is Phase.LIVE
    checked = ownership.of_this_game_or_open if beyond else ownership.ours
    phase = Phase.LIVE if beyond else Phase.LOADING
    owned = checked(move.owner, move.env.legacy.path)
    with turning(move, "moved", phases=(phase,), owned=owned) as connection:
        if not beyond:
            require_whole(move, connection)
            _lift(move)
        # A later process can't know when an earlier one lifted; the process whose COMMIT lost its answer can.
        if move.lifting and move.journal.last(READ_ONLY_ENDS) is None:
            move.journal.write(READ_ONLY_ENDS)


def _lift(move: Move) -> None:
    move.check_deadline()
    move.journal.write("lift begun")
    move.lifting = True
    with move.conn.transaction():
        move.held.require_proof()
        move.held.advance(Phase.LOADING, Phase.LIVE)
        fence.lift(move.conn)


def require_whole(move: Move, connection: sqlite3.Connection) -> None:
    """Failure where a trigger of the legacy file's fence is missing or not as it was made."""
    if holes := legacy_fence.missing(connection):
        raise Failure("the legacy file's fence, whole", f"holes: {few(holes, 3)}", where=move.env.legacy.redacted)


def first_snapshot_done(move: Move) -> bool:
    """Postgres has a verified snapshot of its own since it is live."""
    return _have(move, Side.TARGET, Label.FIRST)


def first_snapshot(move: Move) -> Facts:
    """12: the first snapshot of the live target, verified; the lock is released already."""
    return _snapshot(move, Side.TARGET, Label.FIRST)


def _have(move: Move, side: Side, label: Label, *, since: float = 0.0) -> bool:
    """Whether this run took one, not before this time (epoch seconds), restored and counted it, and signed it."""
    found = snapshots.find(move.env.snapshots.folder, move.env.name, side=side, label=label)
    ours = [
        s for s in found if s.manifest.run == move.journal.run and snapshots.is_verified(s) and snapshots.is_admitted(s)
    ]
    return any(datetime.fromisoformat(s.manifest.taken_at).timestamp() >= since for s in ours)


def _snapshot(move: Move, side: Side, label: Label) -> Facts:
    taken = snapshots.take_verified(move.env, side, label=label, run=move.journal.run, tools=move.means.tools)
    rows = sum(taken.manifest.counts.values())
    return {str(side): {"folder": str(taken.folder), "sha256": taken.manifest.sha256, "rows": rows}}


def _rows_away(move: Move) -> str:
    env = move.env.name
    if move.phase() is Phase.RETURNED:
        return (
            f"A rollback left them; it keeps them in another schema when it is run again: invoke rollback --env {env}"
        )
    return (
        "No move made these rows. Name an empty database in target and target_direct; or, if nobody needs them, empty"
        f" this one: invoke transfer.cleanup --env {env}"
    )


def require_empty(move: Move) -> None:
    """Check that no table of the game has rows. Raises Refusal naming one that has."""
    filled = statements.first_filled(move.conn, [table.name for table in game_tables.ALL])
    if filled is not None:
        raise Refusal(
            "an empty target",
            f"rows in {filled}",
            where=ops.place(move.conn),
            do=_rows_away(move),
        )
