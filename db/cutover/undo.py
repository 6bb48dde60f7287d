"""Undoes a cutover before the point of no return: mark aborted, open the legacy file, switch back.

The file is opened only after Postgres has committed that this attempt is over, so the two stores never both take a
player's write. The switch comes last: if a hook fails, players on processes that serve the file can play already.
"""

from __future__ import annotations

from db.cutover import fence_owner, switch
from db.cutover import journal as journals
from db.cutover.context import READ_ONLY_ENDS, RunContext
from db.cutover.turning import turning
from db.environments import Environment
from db.ops import Phase, orders
from game import urls
from game.errors import BadUrl
from game.legacy import capture_schema
from game.urls import LegacyUrl


def aborted(context: RunContext) -> bool:
    """Return True if no attempt is under way. On a live one the step fails, and no later step is performed."""
    return context.phase() in (Phase.ABORTED, Phase.EMPTY)


def mark_aborted(context: RunContext) -> None:
    """Advance the phase from loading to aborted. The copy stays in Postgres, fenced."""
    context.held.advance(Phase.LOADING, Phase.ABORTED)


def unfence(context: RunContext) -> None:
    """Open the legacy file, and turn change capture off. Raises Failure unless Postgres says that the attempt is over.

    Also removes the fence of an earlier run of this database: we hold the lock, so that run is over. Turns the fence
    even if the file looks open, see db.cutover.turning.
    """
    was_open = context.legacy_fence().state == "open"
    owner_check = fence_owner.of_this_game_or_open(context.owner, context.env.legacy.path)
    phases = (Phase.EMPTY, Phase.ABORTED, Phase.RETURNED)
    with turning(context, "open", phases=phases, owner_check=owner_check) as connection:
        capture_schema.drop(connection)  # Of a live copy, which is over with its attempt.
    orders.end(context.conn)
    if not was_open:  # Else read-only ended when an earlier run opened it.
        context.journal.write(READ_ONLY_ENDS)


def switched_back(context: RunContext) -> bool:
    """Return True if the switch to the legacy file is done, see `switch.done`."""
    return switch.done(context, context.env.legacy)


def switch_back(context: RunContext) -> dict[str, object]:
    """Restore the old pointer, deploy, restart."""
    return switch.to(context, context.env.legacy, legacy_value(context.env, [context.journal]), keep=False)


def legacy_value(env: Environment, runs: list[journals.Journal]) -> str:
    """Return the pointer's value for this legacy file: the one that the newest run saved, or else the plain URL."""
    for run in reversed(runs):
        kept = run.secret(switch.OLD_VALUE)
        if kept is not None and _names(kept, env.legacy):
            return kept
    return env.legacy.as_text()


def _names(kept: str, legacy: LegacyUrl) -> bool:
    """Return True if the pointer's old value names this legacy file."""
    try:
        url = urls.read(kept)
    except BadUrl:  # Whatever the pointer said then, it named no store that could be gone back to.
        return False
    return isinstance(url, LegacyUrl) and url.path.resolve() == legacy.path.resolve()
