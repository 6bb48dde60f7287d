"""Closes the game to players' writes in an emergency, on the store that serves them now, and opens it again.

A fence of this kind belongs to no move: while it stands no cutover, rollback or undo begins, and what a move has fenced
is never lifted here. The run lock keeps both apart. Every step may be killed: the record says what was begun, and the
same command goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from db import ops
from db.confirmation import Change, Confirm
from db.cutover import ending, fence_owner, journal, probes
from db.cutover.ending import Observation, RunEnding
from db.environments import Environment
from db.errors import Failure, Refusal
from db.ops import Phase, RunLock, emergency, fence, fence_proof
from db.ops.emergency import LEGACY, TARGET, Emergency
from db.processes import operator
from db.schema import migrate
from game.errors import StoreUnavailable
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values
from game.legacy.fence_schema import FenceMark, Owner
from game.printable import escaped
from game.redaction import redact

MOST_CHARACTERS = 200

CLOSED, OPENED = "closed", "open"
"""The outcomes: what the last line begins with."""


@dataclass(frozen=True, slots=True)
class FenceReport:
    """The result of setting or lifting a fence. fence: the one that stands, or stood; None if there was none.

    changed: False if it was so already. refused: how many writes the proof tried, each refused; 0 after a lift.
    """

    environment: str
    outcome: str
    changed: bool
    fence: Emergency | None
    refused: int = 0


def close(env: Environment, reason: str, confirm: Confirm) -> FenceReport:
    """Fence the store on which players play, and prove it; again is harmless, and sets what a killed run left open.

    Raises Refusal, with nothing changed, if both stores are read-only already by a move, or another run is at work.
    """
    reason = _reason(reason)
    seen = ending.look(env)
    store = seen.emergency.store if seen.emergency is not None else _store_of_players(env, seen)
    confirm(Change(env, f"closes to players' writes {_places(env, store)}"))
    run = f"{emergency.RUN}{journal.new_run()}"
    with ops.lock(env.target_direct, run=run, why="fence") as held:
        ops.require_marker(held.conn, env.name)
        before = _standing(held, env)
        if before is None and _store_of_players(env, ending.look(env)) != store:
            raise _turned(env)
        now, changed = _SET[before.store if before else store](env, held, before, reason)
        refused = _PROVE[now.store](env)
    return FenceReport(env.name, CLOSED, changed, now, refused)


def lift(env: Environment, reason: str, confirm: Confirm) -> FenceReport:
    """Lift the emergency fence; harmless if the game is open already.

    Raises Refusal, with nothing changed, if the fence that stands is a move's, or another run is at work.
    """
    reason = _reason(reason)
    seen = ending.look(env)
    if seen.emergency is None:
        return _require_open(env, seen)
    confirm(Change(env, f"opens to players' writes {_places(env, seen.emergency.store)}"))
    with ops.lock(env.target_direct, run=f"{emergency.RUN}{journal.new_run()}", why="fence") as held:
        ops.require_marker(held.conn, env.name)
        if (standing := _standing(held, env)) is None:
            return _require_open(env, ending.look(env))
        _LIFT[standing.store](env, held, standing, reason)
    return FenceReport(env.name, OPENED, changed=True, fence=standing)


def ended(env: Environment, outcome: str, todo: str = "") -> RunEnding:
    """Describe the environment after the command; see `ending.ended`."""
    seen = ending.look(env)
    return RunEnding(outcome, seen.serves, seen.fences, todo or seen.next)


def _reason(text: str) -> str:
    """Return the reason on one line, without secrets. Raises Refusal for none, or one that is too long."""
    reason = escaped(redact(" ".join(text.split())))
    if not reason or len(reason) > MOST_CHARACTERS:
        raise Refusal(
            f"--reason with 1 to {MOST_CHARACTERS} characters",
            f"{len(reason)} characters" if reason else "none",
            do="Say in a few words why; whoever comes next reads them: --reason WHY",
        )
    return reason


def _places(env: Environment, store: str) -> str:
    """Name the store that is turned, and the database that keeps the record."""
    target = env.target_direct.redacted
    return target if store == TARGET else f"{env.legacy.redacted}, with a record in {target}"


def _store_of_players(env: Environment, seen: Observation) -> str:
    """Return the store that takes writes. Raises Refusal if none does, naming the command that ends the move."""
    opened = [
        store
        for store, state in (
            (LEGACY, seen.legacy.state if seen.legacy else ""),
            (TARGET, seen.target.fence if seen.target else ""),
        )
        if state == "open"
    ]
    if len(opened) != 1:
        raise Refusal(
            "one store that takes players' writes",
            seen.serves,
            where=env.name,
            do=f"Nothing was changed. Next: {seen.next}"
            if not opened
            else "Stop the service on every host: no fence of one store keeps the other from taking writes.",
        )
    return opened[0]


def _require_open(env: Environment, seen: Observation) -> FenceReport:
    """Return the report of a game that is open already. Raises Refusal if the fence that stands is a move's."""
    if "open" not in (seen.legacy.state if seen.legacy else "", seen.target.fence if seen.target else ""):
        raise Refusal(
            "a fence that `invoke fence --on` set",
            f"another one: {seen.fences}",
            where=env.name,
            do=f"Nothing was changed: a move's fence is ended by the move's own command. Next: {seen.next}",
        )
    return FenceReport(env.name, OPENED, changed=False, fence=None)


def _standing(held: RunLock, env: Environment) -> Emergency | None:
    """Return the fence that stands: by its record, or by the file that bears it where a failover lost the record."""
    record = emergency.standing(held.conn)
    return record or fence_owner.unrecorded(_mark(env), ops.identity(held.conn))


def _mark(env: Environment) -> FenceMark | None:
    """Return what the legacy file's fence says; None if the file can't be read, as long after a move."""
    try:
        return probes.legacy(env.legacy.path)
    except Refusal:
        return None


def _set_on_target(env: Environment, held: RunLock, before: Emergency | None, reason: str) -> tuple[Emergency, bool]:
    del env
    with held.conn.transaction():
        changed = before is None or fence.recorded_state(held.conn) == "open"
        now = before or emergency.begin(held.conn, held.run, TARGET, operator.name(), reason)
        # Also where it stands: a trigger that somebody switched off is on again.
        fence.raise_fence(held.conn)
    return now, changed


def _set_on_legacy(env: Environment, held: RunLock, before: Emergency | None, reason: str) -> tuple[Emergency, bool]:
    # The record first: a run that is killed between the two leaves a file that is open, and a record that says so.
    now = before or emergency.begin(held.conn, held.run, LEGACY, operator.name(), reason)
    mark = _mark(env)
    owner = Owner(now.run, ops.identity(held.conn))
    _turn_legacy(env, held, owner, lambda conn, check: legacy_fence.raise_fence(conn, owner=owner, check=check))
    return now, before is None or mark is None or mark.state == "open"


def _lift_target(env: Environment, held: RunLock, standing: Emergency, reason: str) -> None:
    mark, phase = _mark(env), ops.phase(held.conn)
    if phase in (Phase.LOADING, Phase.RETURNED) or (mark is not None and mark.state == "open"):
        raise _turned(env)
    with held.conn.transaction():
        fence.lift(held.conn)
        emergency.end(held.conn, standing.run, operator.name(), reason)


def _lift_legacy(env: Environment, held: RunLock, standing: Emergency, reason: str) -> None:
    if migrate.current(held.conn) and fence.recorded_state(held.conn) == "open":
        raise _turned(env)
    owner = Owner(standing.run, ops.identity(held.conn))
    _turn_legacy(env, held, owner, lambda conn, check: legacy_fence.lift(conn, check=check))
    emergency.end(held.conn, standing.run, operator.name(), reason)


def _turn_legacy(env: Environment, held: RunLock, owner: Owner, turn: Callable[..., None]) -> None:
    """Turn the file's fence, if it is open or this emergency's own, while the lock is held."""
    path = env.legacy.path

    def check(mark: FenceMark) -> None:
        held.require()
        if mark.state != "open" and mark.owner != owner:
            raise Failure(
                f"a legacy file that is open, or that {owner.run} fenced",
                fence_owner.describe(mark),
                where=str(path),
                do="Another run turned the file's fence meanwhile, so this one left it. See where the game stands:"
                f" invoke status --env {env.name}",
            )

    try:
        with closing(sqlite_values.connect(path)) as conn:
            turn(conn, check)
    except StoreUnavailable as error:
        raise Failure(
            "the legacy file's write lock",
            str(error),
            where=str(path),
            do="The fence is as it was. Stop the process that holds the file, then run the same command again.",
        ) from error


def _prove_legacy(env: Environment) -> int:
    with closing(sqlite_values.connect(env.legacy.path)) as conn:
        return legacy_fence.prove(conn)


def _turned(env: Environment) -> Refusal:
    return Refusal(
        "the stores as they were when the fence was asked for",
        "players who play on the other one by now",
        where=env.name,
        do=f"Nothing was changed. See where the game stands: invoke status --env {env.name}",
    )


_SET = {LEGACY: _set_on_legacy, TARGET: _set_on_target}
_LIFT = {LEGACY: _lift_legacy, TARGET: _lift_target}
_PROVE: dict[str, Callable[[Environment], int]] = {
    LEGACY: _prove_legacy,
    TARGET: lambda env: fence_proof.prove(env.target),
}
