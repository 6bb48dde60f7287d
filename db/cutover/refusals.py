"""Says from which states each verb may begin, go on or be undone; a refusal names the command that may."""

from __future__ import annotations

from db.cutover import fence_owner
from db.cutover.move_status import MoveStatus
from db.environments import Environment
from db.errors import Refusal
from db.ops import Phase, fence

_GO_ON_OR_UNDO = "Go on with it: invoke rollback --env {0} --offline; or undo it: invoke rollback --env {0} --abort."


def refuse_emergency(status: MoveStatus, env: Environment) -> None:
    """Raise Refusal while an emergency fence stands: no move may begin, go on or be undone beside it."""
    if status.emergency:
        raise Refusal(
            "no emergency fence",
            f"one {status.emergency}",
            where=env.name,
            do="Nothing was changed. Lift it, once the game may be played again:"
            f" invoke fence --env {env.name} --off --reason WHY",
        )


def refuse_cutover(status: MoveStatus, env: Environment) -> None:
    """Raise Refusal if a cutover may neither begin nor go on from this state."""
    refuse_emergency(status, env)
    fence.require_consistent(
        status.target, status.inconsistent, env.target_direct.schema, where=env.target_direct.redacted
    )
    # Before all that names a command: while another move has the file, none would begin.
    if status.phase in (Phase.LOADING, Phase.LIVE):
        refuse_foreign_run(status, env)
    if status.returned_unknown:
        raise _return_unknown(env)
    if status.rollback_begun:
        raise Refusal(
            "no rollback under way",
            "a fenced Postgres that is live",
            where=env.name,
            do=_GO_ON_OR_UNDO.format(env.name),
        )
    if status.lift_lost:
        raise _lift_not_known(status, env)
    if status.phase is Phase.RETURNED and status.legacy != "open" and status.of_this_game:
        raise Refusal(
            "no rollback under way",
            "one that still has to open the file",
            where=env.name,
            do=f"Go on: invoke rollback --env {env.name}.",
        )


def refuse_foreign_run(status: MoveStatus, env: Environment) -> None:
    """Raise Refusal if the legacy file is closed by a fence that is not of this database's moves."""
    if status.of_another:
        raise Refusal(
            f"a legacy file that is open, or that run {status.run} fenced",
            fence_owner.describe(status.mark),
            where=str(env.legacy.path),
            do=fence_owner.remedy(status.mark, env.name),
        )


def _return_unknown(env: Environment) -> Refusal:
    return Refusal(
        "a legacy file that is closed while Postgres is live",
        "one that is open, and that the pointer names",
        where=str(env.legacy.path),
        do=f"Players may play on the file. Run: invoke rollback --env {env.name}; it compares the two and changes no"
        " player.",
    )


def _lift_not_known(status: MoveStatus, env: Environment) -> Refusal:
    """Say that a failover lost the lift, and the command that gives up what players did after it."""
    by = status.mark.owner.run if status.mark.owner else "of an earlier cutover"
    aborts = f"invoke cutover --env {env.name} --abort"
    opens = f"invoke rollback --env {env.name}" if status.phase is Phase.RETURNED else aborts
    return Refusal(
        f"Postgres to know that run {by} went live",
        f"the phase {status.phase}, and a legacy file that says moved",
        where=env.target_direct.redacted,
        do="A failover lost its newest transactions, and with them what players did on Postgres. If the old primary can"
        f" be had, bring it back. If not: {opens} opens the file as it was when it was fenced.",
    )


def _require_no_undo_of_a_rollback(status: MoveStatus, env: Environment) -> None:
    """Raise Refusal if the undo of a rollback has still to switch the services back to Postgres."""
    if status.rollback_undo_unfinished:
        raise Refusal(
            "no undo of a rollback under way",
            "one whose switch back to Postgres is not done",
            where=env.name,
            do=f"Finish it first: invoke rollback --env {env.name} --abort.",
        )


def refuse_abort(status: MoveStatus, env: Environment) -> None:
    """Raise Refusal if there is no attempt to abort, or it is past its point of no return."""
    refuse_emergency(status, env)
    refuse_foreign_run(status, env)
    if status.phase is Phase.LIVE and status.rollback_begun and not status.returned_unknown:
        raise Refusal(
            "an attempt before its point of no return",
            "a rollback under way",
            where=env.target_direct.redacted,
            do=_GO_ON_OR_UNDO.format(env.name),
        )
    _require_no_undo_of_a_rollback(status, env)
    if status.phase in (Phase.LIVE, Phase.RETURNED):
        raise Refusal(
            "an attempt before its point of no return",
            f"the phase {status.phase}",
            where=env.target_direct.redacted,
            do=f"To go back to the legacy file with everything that players did: invoke rollback --env {env.name}."
            if status.phase is Phase.LIVE or status.legacy != "open"
            else f"Players play on the legacy file already; to see what is left to do: invoke status --env {env.name}.",
        )
    if status.phase is Phase.EMPTY and status.legacy == "open" and not status.unfinished:
        raise Refusal(
            "an attempt to abort",
            "none that was begun",
            where=env.target_direct.redacted,
            do=f"Nothing has to be undone. To begin: invoke cutover --env {env.name}.",
        )


def refuse_rollback(status: MoveStatus, env: Environment) -> None:
    """Raise Refusal if a rollback may neither begin nor go on from this state."""
    refuse_emergency(status, env)
    if status.phase is not Phase.RETURNED:
        _refuse_unless_live(status, env)
    _require_no_undo_of_a_rollback(status, env)
    fence.require_consistent(
        status.target, status.inconsistent, env.target_direct.schema, where=env.target_direct.redacted
    )
    refuse_foreign_run(status, env)


def refuse_rollback_abort(status: MoveStatus, env: Environment) -> None:
    """Raise Refusal if there is no rollback to undo."""
    refuse_emergency(status, env)
    _refuse_unless_live(status, env)
    if status.returned_unknown:
        raise Refusal(
            "a rollback that has not opened the legacy file",
            "one that is open, and that the pointer names",
            where=str(env.legacy.path),
            do=f"Players may play on it. Finish: invoke rollback --env {env.name}.",
        )


def _refuse_unless_live(status: MoveStatus, env: Environment) -> None:
    """Raise Refusal if players do not play on Postgres, naming the command that ends the present state, if any."""
    if status.lift_lost:
        raise _lift_not_known(status, env)
    refuse_foreign_run(status, env)
    if status.phase is Phase.LOADING:
        raise Refusal(
            "a game that is live on Postgres",
            "a cutover under way",
            where=env.target_direct.redacted,
            do=f"Undo it: invoke cutover --env {env.name} --abort.",
        )
    if status.startable:
        raise Refusal(
            "a game that is live on Postgres",
            f"the phase {status.phase}",
            where=env.target_direct.redacted,
            do=_end_of(status, env),
        )


def _end_of(status: MoveStatus, env: Environment) -> str:
    """Return what to do after a refused rollback: nothing; or the command that opens the file, if it is closed."""
    if status.undo_unfinished:
        return f"There is nothing to roll back; open the legacy file: invoke cutover --env {env.name} --abort."
    if status.phase is Phase.RETURNED and status.legacy != "open":
        return f"It has returned already; open the legacy file: invoke rollback --env {env.name}."
    return "There is nothing to roll back: players play on the legacy file."
