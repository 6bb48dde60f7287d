"""Switching: the pointer, the operator's hooks, and the proof that every process serves the new store.

The proof is what the processes say at /readyz, so a deploy that went to another machine, or a variable that is exported
over the file, is found here and not by players.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any, TypeAlias

from db.cutover import hooks, pointer, services
from db.cutover.advice import PointerTo
from db.cutover.move import Move
from db.cutover.services import Ready
from db.environments import Environment
from db.errors import Failure, Refusal
from game.errors import StoreFailure
from game.stores import open_store
from game.urls import LegacyUrl, PostgresUrl

Place: TypeAlias = PostgresUrl | LegacyUrl

OLD_VALUE = "pointer.before"
HOOK_SECONDS = 600.0
READY_SECONDS = 60.0


def done(move: Move, place: Place) -> bool:
    """Whether the pointer names the store and every process serves it."""
    if not points_at(move, place):
        return False
    identity = store_identity(place)
    answers = [services.ask(url) for url in move.env.services]
    return all(ready is not None and services.serves(ready, place, identity) for ready in answers)


def points_at(move: Move, place: Place) -> bool:
    """Whether the pointer names the store; the role's password and the parameters may differ."""
    return _address(pointer.url(move.env.pointer)) == _address(place)


def pointed(env: Environment) -> PointerTo:
    """Return which store the pointer names; OTHER if its file or its line is missing."""
    try:
        address = _address(pointer.url(env.pointer))
    except Refusal:
        return PointerTo.OTHER
    if address == _address(env.legacy):
        return PointerTo.LEGACY
    return PointerTo.TARGET if address == _address(env.target) else PointerTo.OTHER


def to(move: Move, place: Place, value: str, *, keep: bool = True) -> dict[str, Any]:
    """Write the pointer, run `deploy` and `restart`, and wait until no old process is left.

    keep: save the old value in a file of the run that only its owner can read. An undo saves nothing, so that a full
    disk can't stop it. Raises Failure if the lock is lost, a hook fails, or a process does not serve the store in time.
    """
    move.check_deadline()
    identity = store_identity(place)
    old = [ready for ready in map(services.ask, move.env.services) if ready is not None]
    with hooks.writing_pointer(move.env, move.journal, move.require_lock):
        if not points_at(move, place):
            if keep:
                move.journal.keep_secret(OLD_VALUE, pointer.read(move.env.pointer))
            pointer.write(move.env.pointer, value)
    for hook in ("deploy", "restart"):
        hooks.run(
            move.env, hook, move.journal, engine=services.engine(place), timeout_seconds=_left(move, HOOK_SECONDS),
            require=move.require_lock,
        )  # fmt: skip

    def arrived(ready: Ready) -> bool:
        left = ready.process in [before.process for before in old] or any(map(services.still_runs, old))
        return not left and services.serves(ready, place, identity)

    new = services.wait_for(
        move.env.services, arrived, what=f"every process to serve {place.redacted}",
        timeout_seconds=_left(move, READY_SECONDS),
    )  # fmt: skip
    if not points_at(move, place):  # The next restart would serve another store, whose fence is closed by then.
        raise Failure(
            f"{move.env.pointer.variable} to name {place.redacted} still, after the hooks",
            pointer.url(move.env.pointer).redacted, where=str(move.env.pointer.path),
            do="A hook writes it: have deploy and restart leave that line as they find it.",
        )  # fmt: skip
    return {"old": [r.pid for r in old], "new": [r.pid for r in new]}


def store_identity(place: Place) -> str:
    """What a process that serves this store says it is."""
    try:
        with closing(open_store(place.as_text(), pool_size=1)) as store:
            return store.status().store
    except StoreFailure as error:
        raise Failure("a store that answers", str(error), where=place.redacted) from None


def _address(place: Place) -> tuple[object, ...]:
    if isinstance(place, LegacyUrl):
        return (os.path.realpath(place.path),)
    return place.host, place.port, place.dbname, place.schema, place.user


def _left(move: Move, at_most: float) -> float:
    move.check_deadline()
    return move.deadline.left(at_most)
