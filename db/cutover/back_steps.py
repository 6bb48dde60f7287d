"""Does the steps of a live rollback, as far as they differ from an offline one. Players play on Postgres meanwhile."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from db.console.live_view import MoveState
from db.cutover import (
    back_window,
    fence_owner,
    holding,
    instant_back,
    returning,
    rollback_steps,
    services,
    switch,
    taking_over,
    undo,
    writing_back,
)
from db.cutover import journal as journals
from db.cutover.context import RunContext
from db.cutover.cutover_steps import play
from db.cutover.turning import turn
from db.legacy.source import opened
from db.ops import Phase, orders
from db.transfer.live.session import FrozenProof
from db.transfer.live_back import session
from db.transfer.live_back.session import LiveWriteBack

Facts = dict[str, Any]


def back_of(context: RunContext) -> LiveWriteBack:
    """Return the write-back of this process; when first asked for, the file gets this run's pass and stays *moved*."""
    if context.back is None:
        taking_over.from_follower(context)
        path = context.env.legacy.path
        owner_check = fence_owner.of_this_game(context.owner, path)
        turn(context, "moved", phases=(Phase.LIVE,), owner_check=owner_check, pass_token=context.pass_token)
        context.back = context.enter(
            session.writing_back(
                path, context.env.target_direct, run=context.journal.run, pass_token=context.pass_token
            )
        )
    return context.back


def write_back(context: RunContext) -> Facts:
    """Do step R2: go on from the change log or begin a new one, and apply rounds until one is short."""
    holding.begin(context)
    back = back_of(context)
    holding.wait_while_paused(context)
    writing_back.begin(context, back)
    return {"rounds": writing_back.catch_up(context, back)}


def stand_by(context: RunContext) -> Facts:
    """Do step R3: offer the file to every process, try a service on it, and prove it at one instant."""
    with context.config.view.doing(MoveState.STANDING_BY, writing_back.waiting(context)):
        return _stand_by(context, back_of(context))


def _stand_by(context: RunContext, back: LiveWriteBack) -> Facts:
    holding.wait_while_paused(context)
    offered = {} if switch.offered(context, context.env.legacy) else _offer(context)
    holding.wait_while_paused(context)
    with services.started_beside(context.env.legacy, operator_token=context.config.operator_token) as ready:
        played = play(context, context.env.legacy, [ready.url])
    holding.wait_while_paused(context)
    frozen = _proven(context, back)
    counts = {
        "players": frozen.proof.players,
        "mismatches": frozen.proof.mismatches,
        "independent_players": frozen.independent.players,
        "independent_compared": frozen.independent.compared,
        "independent_left_out": frozen.independent.left_out,
        "independent_mismatches": frozen.independent.mismatches,
    }
    context.journal.write("counts", **counts)
    return counts | played | offered


def _proven(context: RunContext, back: LiveWriteBack) -> FrozenProof:
    writing_back.one_round(context, back)  # The log may have been lost meanwhile: a round sees to it.
    frozen = back.prove(context.paced)
    context.proven_at = holding.monotonic()
    return frozen


def hold(context: RunContext) -> Facts:
    """Do step R3: stay there for as long as people ordered it, until the go is taken."""
    back = back_of(context)
    return holding.until_go(
        context,
        holding.ReadyMove(
            round=partial(writing_back.one_round, context, back),
            prove=partial(_proven, context, back),
            proof_seconds=partial(holding.own_proof_seconds, context),
            dirty=writing_back.waiting(context),
        ),
    )


def _offer(context: RunContext) -> Facts:
    earlier = journals.runs(context.journal.folder.parent, "cutover", context.env.name)
    return switch.offer(context, context.env.legacy, undo.legacy_value(context.env, earlier))


def go_back(context: RunContext) -> Facts | None:
    """Do step R4: pass the window. Past its point of no return, only open the file."""
    if context.phase() is Phase.RETURNED:
        returning.open_file(context)
        return None
    facts = back_window.cross(context, back_of(context))
    context.config.view.passed(facts["parts_ms"])
    holding.let_settle(context)
    return facts


def instant_proven(context: RunContext) -> bool:
    """Return True if the old rows are put away, or the return was an offline one, which leaves nothing to compare."""
    return rollback_steps.put_away(context) or not orders.is_return(context.conn, context.journal.run)


def put_away(context: RunContext) -> bool:
    """Return True if the old rows are put away, and the attempt's row of orders is gone."""
    return rollback_steps.put_away(context) and not orders.is_return(context.conn, context.journal.run)


def put_target_away(context: RunContext) -> Facts:
    """Do step R7: put the old rows away; then nobody can order anything of this attempt any more."""
    facts = rollback_steps.put_target_away(context)
    orders.end(context.conn)
    return facts


def prove_instant(context: RunContext) -> Facts:
    """Do step R6: compare every player of Postgres, frozen since the window, with the file."""
    path = context.env.legacy.path
    with opened(path) as file:
        proof = instant_back.prove(str(path), file, context.env.target_direct, context.paced)
    facts = asdict(proof)
    context.journal.write("instant", **facts)
    return facts
