"""Does the steps of a live rollback, as far as they differ from an offline one. Players play on Postgres meanwhile."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from db.cutover import (
    back_window,
    fence_owner,
    instant_back,
    returning,
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
from db.ops import Phase
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
    back = back_of(context)
    writing_back.begin(context, back)
    return {"rounds": writing_back.catch_up(context, back)}


def stand_by(context: RunContext) -> Facts:
    """Do step R3: offer the file to every process, try a service on it, and prove it at one instant."""
    back = back_of(context)
    offered = {} if switch.offered(context, context.env.legacy) else _offer(context)
    with services.started_beside(context.env.legacy, operator_token=context.config.operator_token) as ready:
        played = play(context, context.env.legacy, [ready.url])
    writing_back.one_round(context, back)  # The log may have been lost meanwhile: a round sees to it.
    frozen = back.prove(context.config.progress)
    counts = {
        "players": frozen.proof.players,
        "mismatches": frozen.proof.mismatches,
        "independent_players": frozen.independent.players,
        "independent_compared": frozen.independent.compared,
        "independent_mismatches": frozen.independent.mismatches,
    }
    context.journal.write("counts", **counts)
    return counts | played | offered


def _offer(context: RunContext) -> Facts:
    earlier = journals.runs(context.journal.folder.parent, "cutover", context.env.name)
    return switch.offer(context, context.env.legacy, undo.legacy_value(context.env, earlier))


def go_back(context: RunContext) -> Facts | None:
    """Do step R4: pass the window. Past its point of no return, only open the file."""
    if context.phase() is Phase.RETURNED:
        returning.open_file(context)
        return None
    return back_window.cross(context, back_of(context))


def prove_instant(context: RunContext) -> Facts:
    """Do step R6: compare every player of Postgres, frozen since the window, with the file."""
    path = context.env.legacy.path
    with opened(path) as file:
        proof = instant_back.prove(str(path), file, context.env.target_direct, context.config.progress)
    facts = asdict(proof)
    context.journal.write("instant", **facts)
    return facts
