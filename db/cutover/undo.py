"""The way back before the point of no return: mark aborted, switch back, unfence the legacy file.

In that order and no other: the file is opened to writes only after Postgres has it in writing that this attempt is
over, so there is no moment in which both stores could take a player's write.
"""

from __future__ import annotations

from contextlib import closing

from db.cutover import journal as journals
from db.cutover import ownership, switch
from db.cutover.move import READ_ONLY_ENDS, Move, Step
from db.environments import Environment
from db.errors import Failure
from db.ops import Phase
from game import urls
from game.errors import BadUrl
from game.legacy import cells
from game.legacy import fence as legacy_fence
from game.urls import LegacyUrl


def aborted(move: Move) -> bool:
    """Postgres has it in writing. Live is not aborted: to mark that fails, and nothing after it is done."""
    return move.phase() is Phase.ABORTED


def mark_aborted(move: Move) -> None:
    """Loading to aborted; the copy stays where it is, fenced."""
    move.held.advance(Phase.LOADING, Phase.ABORTED)


def switched_back(move: Move) -> bool:
    """The pointer names the legacy file and every process serves it."""
    return switch.done(move, move.env.legacy)


def switch_back(move: Move) -> dict[str, object]:
    """The pointer as it was, deploy, restart; not where another move has the file, whose pointer it is then."""
    ownership.ours_or_open(move.owner, move.env.legacy.path)(move.legacy_fence())
    return switch.to(move, move.env.legacy, legacy_value(move.env, [move.journal]))


def unfenced(move: Move) -> bool:
    """The legacy file can be written."""
    return move.legacy_fence().state == "open"


def unfence(move: Move) -> None:
    """Read-only ends where it began; refused while Postgres does not say that this attempt is over.

    Only the fence of this very run is lifted: one that lost its lock and comes late finds that of the next.
    """
    if (phase := move.phase()) not in (Phase.ABORTED, Phase.RETURNED):
        raise Failure("the phase aborted or returned before the legacy file is opened", f"the phase {phase}")
    with closing(cells.connect(move.env.legacy.path)) as connection:
        legacy_fence.lift(connection, check=ownership.ours_or_open(move.owner, move.env.legacy.path))
    move.journal.write(READ_ONLY_ENDS)


def legacy_value(env: Environment, runs: list[journals.Journal]) -> str:
    """What the pointer said when it named this legacy file: as the newest of these runs kept it, or as we write it."""
    for run in reversed(runs):
        kept = run.secret(switch.OLD_VALUE)
        if kept is not None and _names(kept, env.legacy):
            return kept
    return env.legacy.as_text()


def _names(kept: str, legacy: LegacyUrl) -> bool:
    try:
        url = urls.read(kept)
    except BadUrl:  # Whatever the pointer said then, it named no store that could be gone back to.
        return False
    return isinstance(url, LegacyUrl) and url.path.resolve() == legacy.path.resolve()


UNDO = (
    Step("a", "mark aborted", "Postgres says that the attempt is over, and stays fenced", aborted, mark_aborted),
    Step("b", "switch back", "every service process serves the legacy file", switched_back, switch_back, checked=False),
    Step("c", "unfence", "players play on the legacy file, as before", unfenced, unfence),
)
