"""The steps of a live cutover, as far as they differ from an offline one: copy, stand by, the window, and after it.

Before the window players play on the legacy file and nothing of theirs waits; a copy that was killed goes on where it
is, because capture stays on.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from psycopg import sql

from db import tables as db_tables
from db.console.live_view import CopyProgress, MoveState
from db.counts import counted
from db.cutover import (
    catching_up,
    cutover_steps,
    fence_owner,
    holding,
    instant,
    live_record,
    pointer,
    services,
    switch,
    window,
)
from db.cutover.context import READ_ONLY_ENDS, RunContext
from db.cutover.turning import turn
from db.legacy.source import opened
from db.ops import Phase, fence, orders
from db.transfer.live import capture, session
from db.transfer.live.session import FrozenProof, LiveTransfer
from game import tables

Facts = dict[str, Any]


def transfer_of(context: RunContext) -> LiveTransfer:
    """Return the live copy of this process, opened when it is first asked for and closed with the lock."""
    if context.live is None:
        context.live = context.enter(
            session.transferring(
                context.env.legacy.path,
                context.env.target_direct,
                run=context.journal.run,
                pass_token=context.pass_token,
            )
        )
    return context.live


def copy(context: RunContext) -> Facts:
    """Do step 5: turn capture on, copy every row in batches, and apply rounds until one is short."""
    fence.raise_fence(context.conn, pass_token=context.pass_token, owner=context.owner_on_target)
    holding.begin(context)
    _open_again(context)
    live = transfer_of(context)
    log = live.begin()
    view, waiting = context.config.view, partial(capture.waiting, context.env.legacy.path)
    with view.doing(MoveState.COPYING, waiting):
        with live_record.of_batches(context) as seen:

            def seen_unless_paused(progress: CopyProgress) -> None:
                seen(progress)
                holding.wait_while_paused(context)

            rows = live.copy(log, seen_unless_paused, context.leeway)
        with view.doing(MoveState.CATCHING_UP):
            caught = catching_up.catch_up(context, live)
    aside, held = live.gate(context.env.policy.max_held)
    context.config.progress.say(
        f"     {counted(rows, 'rows')} copied, {counted(caught.rounds, 'rounds')}; the last took"
        f" {caught.last.seconds * 1000:.0f} ms"
    )
    return {"rows": rows, "rounds": caught.rounds, "aside": aside, "held": held}


def _open_again(context: RunContext) -> None:
    """Open the file if a window closed it whose tool and watchdog are both gone: by the phase it was not passed."""
    if context.legacy_fence().state == "fenced":
        of_this_game = fence_owner.of_this_game(context.owner, context.env.legacy.path)
        turn(context, "open", phases=(Phase.LOADING,), owner_check=of_this_game)
        context.journal.write(READ_ONLY_ENDS)


def stand_by(context: RunContext) -> Facts:
    """Do step 6, all that can precede the window: vacuum, try a service on Postgres, prove the copy at one instant."""
    with context.config.view.doing(MoveState.STANDING_BY, partial(capture.waiting, context.env.legacy.path)):
        return _stand_by(context, transfer_of(context))


def _stand_by(context: RunContext, live: LiveTransfer) -> Facts:
    holding.wait_while_paused(context)
    for table in (*tables.ALL, *db_tables.ALL):
        context.conn.execute(sql.SQL("vacuum (analyze) {}").format(sql.Identifier(table.name)))
    offered = {} if _offered(context) else switch.offer(context, context.env.target, context.env.target.as_text())
    if offered:
        holding.let_settle(context)
    holding.wait_while_paused(context)
    played = _smoke(context)
    holding.wait_while_paused(context)
    frozen = _proven(context, live)
    if context.instant is None:
        context.instant = context.enter(instant.standing_by(context.env.target_direct))
    aside, held = live.gate(context.env.policy.max_held)
    counts = {
        "source": frozen.source,
        "loaded": frozen.loaded,
        "quarantined": frozen.quarantined,
        "aside": aside,
        "held": held,
        "players": frozen.proof.players,
        "mismatches": frozen.proof.mismatches,
        "independent_players": frozen.independent.players,
        "independent_compared": frozen.independent.compared,
        "independent_left_out": frozen.independent.left_out,
        "independent_mismatches": frozen.independent.mismatches,
    }
    context.journal.write("counts", **counts)
    return counts | played | offered


def _proven(context: RunContext, live: LiveTransfer) -> FrozenProof:
    """Make the proof of one instant, and record on Postgres that this run made it."""
    frozen = live.prove(context.config.progress, partial(live_record.of_round, context), context.leeway)
    context.held.record_proof()
    context.proven_at = holding.monotonic()
    return frozen


def hold(context: RunContext) -> Facts:
    """Do step 6: stay there for as long as people ordered it, until the go is taken."""
    live = transfer_of(context)
    ready = holding.ReadyMove(
        round=lambda: live_record.of_round(context, live.round(context.leeway), live.waiting),
        prove=partial(_proven, context, live),
        proof_seconds=partial(holding.copy_proof_seconds, context),
        dirty=partial(capture.waiting, context.env.legacy.path),
    )
    facts = holding.until_go(context, ready)
    if facts["rounds"]:  # The session of the instant has idled all the while, and may have been cut.
        context.instant = context.enter(instant.standing_by(context.env.target_direct))
    return facts


def _offered(context: RunContext) -> bool:
    named = pointer.next_value(context.env.pointer)
    return (
        named is not None and pointer.names(named, context.env.target) and switch.offered(context, context.env.target)
    )


def _smoke(context: RunContext) -> Facts:
    """Let canaries play on Postgres, behind its fence, through a service process of this machine."""
    token = context.config.operator_token
    with services.started_beside(context.env.target, operator_token=token) as ready:
        return cutover_steps.play(context, context.env.target_direct, [ready.url])


def go_live(context: RunContext) -> Facts | None:
    """Do step 7: pass the window. Past its point of no return, only turn the file's fence to moved."""
    if context.phase() is Phase.LIVE:
        cutover_steps.go_live(context)
        return None
    with context.config.view.doing(MoveState.CATCHING_UP, partial(capture.waiting, context.env.legacy.path)):
        facts = window.cross(context, transfer_of(context))
    context.config.view.passed(facts["parts_ms"])
    holding.let_settle(context)
    return facts


def prove_instant(context: RunContext) -> Facts:
    """Do step 9: compare every player of the frozen file with Postgres as it was when the window ended."""
    path = context.env.legacy.path
    with opened(path) as file:
        kept = None if context.instant is None else context.instant.target
        proof = instant.prove(str(path), file, kept, context.env.target_direct, context.paced)
    facts = dataclasses.asdict(proof)
    context.journal.write("instant", **facts)
    return facts


def first_snapshot(context: RunContext) -> Facts:
    """Do step 9: dump and restore Postgres as it was when the window ended; as it is now where that session is gone."""
    kept = None if context.instant is None else context.instant.target
    return cutover_steps.first_snapshot(context, None if kept is None else kept.conn)


def capture_off(context: RunContext) -> None:
    """Do step 9: remove the log and its triggers from the legacy file, which stays fenced, as the game left it."""
    context.require_lock()
    orders.end(context.conn)
    session.end(context.env.legacy.path)  # Last: it is what says that this step is done.
