"""The rollback: back to the legacy file with everything that players did on Postgres, by docs/cutover.md.

Players' writes are on Postgres until R7, which is the point of no return; before it an undo lifts Postgres again.
Running it again goes on where it stopped. R2, writing back while players play, is made only by a live rollback.
"""

from __future__ import annotations

import dataclasses
from functools import partial

from db.cutover import engine, preflight, refusals
from db.cutover import journal as journals
from db.cutover import rollback_steps as steps
from db.cutover.checks import PreflightCheck
from db.cutover.context import PREFLIGHT, RunConfig, RunContext
from db.cutover.dry_run import STANDING
from db.cutover.move_status import MoveStatus
from db.cutover.report import RunReport, RunVerdict
from db.cutover.runbook import Agreement, Runbook, RunbookRow, Step
from db.environments import Environment
from db.errors import Refusal
from db.ops import Phase, fence, orders

FENCE = Step(
    "R3",
    "fence Postgres",
    "both stores are read-only",
    steps.fenced,
    steps.fence_target,
    "lift, last of all",
    detail="**read-only begins**: Postgres refused every kind of write; SQLite goes from *moved* to *fenced*",
    on_failure="A session holds the tables: the message names it. End it, run again.",
)
WRITE_BACK = Step(
    "R4",
    "carry back",
    "the legacy file has all that players did",
    None,
    steps.write_back,
    detail="SQLite has all that players did, in one transaction, compared before its commit; nothing else of it"
    " changed. It prints how much was written, added and deleted",
    on_failure="It undoes itself.",
)
SWITCH = Step(
    "R5",
    "switch",
    "every process serves the legacy file",
    steps.switched,
    steps.switch_to_legacy,
    "Postgres, restart",
    checked=False,
    repeated=True,
    detail="the pointer as before the cutover; every process is a new one and serves SQLite",
    on_failure="It undoes itself.",
)
SMOKE = Step(
    "R6",
    "smoke",
    "players of our own could play, over HTTP",
    None,
    steps.smoke,
    detail="players of our own played over HTTP, and are gone",
    on_failure="It undoes itself.",
)
RETURN = Step(
    "R7",
    "return",
    "players play on the legacy file",
    steps.returned,
    steps.go_back,
    "POINT OF NO RETURN: from here on, a new cutover",
    detail="**point of no return; read-only ends**: phase `returned`, Postgres says *moved*, in one transaction, made"
    " while SQLite is held and both fences stand; then SQLite is opened. Run again when returned, it sees to the switch"
    " once more",
    on_failure="Exit 3 as above: bring Postgres back, run again.",
)
PUT_AWAY = Step(
    "R8",
    "put away",
    "old rows, if any, are kept, fenced; a retry starts clean",
    steps.put_away,
    steps.put_target_away,
    detail="the old tables, if they had rows, are in the schema `rolled_back_<run>` (`_2` … if a snapshot was restored"
    " since), fenced, kept for the analysis; new empty ones stand in their place",
    on_failure="Exit 1, and **players play on SQLite**: run again to finish.",
)

LIFT = Step("a", "lift", "Postgres takes writes, as before; the legacy file says that it moved", None, steps.lift)
SWITCH_FORWARD = Step(
    "b", "switch forward", "every service process serves Postgres", steps.stays, steps.switch_forward, checked=False
)

PREFLIGHT_AND_LOCK = RunbookRow(
    "R1",
    f"{PREFLIGHT}, lock",
    "the game is live on Postgres, with every player of SQLite; hooks, pointer and room are there",
    "Exit 2.",
)


def discarding(accepted_loss: int) -> Step:
    """Return R4 of a rollback that leaves on Postgres what players did there."""
    return Step(
        "R4", "discard", "what is lost was accepted", None, lambda context: steps.discard(context, accepted_loss)
    )


def _run_of(status: MoveStatus, env: Environment, config: RunConfig, *, undoes: bool) -> str | None:
    """Return the run to go on with: from the phase once it is returned, before that from the newest journal."""
    if status.phase is Phase.RETURNED:
        return status.run
    if undoes and status.going_back is not None:
        return status.going_back
    begun = journals.unfinished(config.folder, "rollback", env.name)
    return begun.run if begun is not None and status.rollback_begun else None


def _preflight(context: RunContext, *, carries: bool = True) -> tuple[PreflightCheck, ...]:
    return preflight.before_rollback(context, context.config.demands, carries=carries)


ROLLBACK = Runbook(
    verb="rollback",
    steps=(FENCE, WRITE_BACK, SWITCH, SMOKE),
    point_of_no_return=RETURN,
    then=(PUT_AWAY,),
    undo=(LIFT, SWITCH_FORWARD),
    begun=Phase.LIVE,
    beyond=Phase.RETURNED,
    verdict=RunVerdict.RETURNED,
    refuse=refusals.refuse_rollback,
    refuse_abort=refusals.refuse_rollback_abort,
    preflight=_preflight,
    begins=lambda status: status.phase is not Phase.RETURNED,
    run_of=_run_of,
    for_undo=preflight.FOR_AN_UNDO,
    rows_before=(PREFLIGHT_AND_LOCK,),
)


def _fence_alone(context: RunContext) -> None:
    orders.end(context.conn)  # Of a live rollback whose return a failover lost.
    fence.raise_fence(context.conn, owner=context.owner_on_target)


def adopting(runbook: Runbook, accepted_loss: int) -> Runbook:
    """Return the variant for a file that is open and that the pointer names, while Postgres says live.

    A failover lost the transaction of R7, or somebody opened the file by hand. Players may play on the file, so nothing
    is carried over it: the two are compared, and Postgres is marked as returned. None of these steps is undone.
    """
    return dataclasses.replace(
        runbook,
        steps=(
            Step(
                FENCE.number,
                FENCE.name,
                "Postgres is read-only",
                None,
                _fence_alone,
            ),
            Step(
                "R4",
                "compare",
                "the file has every request that Postgres granted, or the loss was accepted",
                None,
                lambda context: steps.compare(context, accepted_loss),
            ),
            SWITCH,
        ),
        point_of_no_return=dataclasses.replace(
            RETURN, undo="", do=lambda context: steps.go_back(context, adopted=True)
        ),
        undo=(),
        preflight=partial(_preflight, carries=False),
    )


def runbook_of(*, discard_writes: bool, accept_loss: int | None) -> Runbook:
    """Return the rollback that writes back what players did, or the one that discards this number of writes."""

    def adapted(status: MoveStatus) -> Runbook:
        return adopting(wanted, accept_loss or 0) if status.returned_unknown else wanted

    carry = discarding(accept_loss) if discard_writes and accept_loss is not None else WRITE_BACK
    wanted = dataclasses.replace(
        ROLLBACK,
        steps=(FENCE, carry, SWITCH, SMOKE),
        preflight=partial(_preflight, carries=not discard_writes),
        agreement=Agreement(
            "writes that are given up",
            partial(_require_accepted, discard_writes=discard_writes, accept_loss=accept_loss),
            ("server", STANDING),
        ),
    )
    return dataclasses.replace(wanted, adapted=adapted)


def run(
    env: Environment, config: RunConfig, *, discard_writes: bool = False, accept_loss: int | None = None
) -> RunReport:
    """Move the game back to the legacy file. Raises what `engine.run` raises.

    discard_writes: leave on Postgres what players did there; `accept_loss` must then be the number of their granted
    requests.
    """
    return engine.run(env, runbook_of(discard_writes=discard_writes, accept_loss=accept_loss), config)


def _require_accepted(
    context: RunContext, status: MoveStatus, *, discard_writes: bool, accept_loss: int | None
) -> None:
    """Raise Refusal unless the number of writes that are given up is the one that was accepted."""
    if not discard_writes or status.phase is not Phase.LIVE:
        return
    steps.require_whole_rounds(context)
    with context.looking():
        lost = steps.lost_writes(context)
    if accept_loss != lost:
        raise Refusal(
            f"--accept-loss {lost}, the requests granted on Postgres",
            "none" if accept_loss is None else f"--accept-loss {accept_loss}",
            where=context.env.target_direct.redacted,
            do=f"To give them up: --discard-writes --accept-loss {lost}."
            if status.returned_unknown
            else "Leave --discard-writes out, and all of them are written back. To give them up:"
            f" --discard-writes --accept-loss {lost}.",
        )
