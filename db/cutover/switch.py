"""Switching: the pointer, the operator's hooks, and the proof that every process serves the new store.

The proof is what the processes say at /readyz, so a deploy that went to another machine, or a variable that is exported
over the file, is found here and not by players. What the hooks did elsewhere can't be asked: `switch_record` says that
they ended with 0.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, TypeAlias

from db.cutover import hooks, pointer, services, switch_record
from db.cutover.advice import PointerTo
from db.cutover.context import RunContext
from db.cutover.pointer import address
from db.cutover.services import Ready
from db.cutover.switch_record import Switched
from db.environments import Environment
from db.errors import Failure, Refusal
from game.errors import StoreFailure
from game.stores import open_store
from game.urls import LegacyUrl, PostgresUrl

Place: TypeAlias = PostgresUrl | LegacyUrl

OLD_VALUE = "pointer.before"
HOOK_SECONDS = 600.0
READY_SECONDS = 60.0


def done(context: RunContext, place: Place) -> bool:
    """Return True if the pointer names the store, its hooks have ended with 0 since, and every process serves it.

    Without a record (of an older version's run) the hooks count as not run: each does no harm twice.
    """
    if not points_at(context, place) or switch_record.switched(context.env, address(place)) is not Switched.YES:
        return False
    identity = store_identity(place)
    answers = [services.ask(url) for url in context.env.services]
    return all(ready is not None and services.serves(ready, place, identity) for ready in answers)


def points_at(context: RunContext, place: Place) -> bool:
    """Return True if the pointer names the store; the role's password and the parameters may differ."""
    return address(pointer.url(context.env.pointer)) == address(place)


def pointed(env: Environment) -> PointerTo:
    """Return which store the pointer names; OTHER if its file or its line is missing."""
    try:
        named = address(pointer.url(env.pointer))
    except Refusal:
        return PointerTo.OTHER
    if named == address(env.legacy):
        return PointerTo.LEGACY
    return PointerTo.TARGET if named == address(env.target) else PointerTo.OTHER


def is_unfinished(env: Environment, place: Place) -> bool:
    """Return True if the record says that the last switch was to another store, or was not completed."""
    return switch_record.switched(env, address(place)) is Switched.NO


def to(context: RunContext, place: Place, value: str, *, keep: bool = True) -> dict[str, Any]:
    """Write the pointer, run `deploy` and `restart`, and wait until no old process is left.

    keep: save the old value in a file of the run that only its owner can read. An undo saves nothing, so that a full
    disk can't stop it. Raises Failure if the lock is lost, a hook fails, or a process does not serve the store in time.
    """
    context.check_deadline()
    identity = store_identity(place)
    old = [ready for ready in map(services.ask, context.env.services) if ready is not None]
    processes = [process for process in map(services.process_of, old) if process is not None]
    with hooks.writing_pointer(context.env, context.journal, context.require_lock):
        context.note(lambda: switch_record.begin(context.env), must=keep)
        if not points_at(context, place):
            if keep:
                context.journal.keep_secret(OLD_VALUE, pointer.read(context.env.pointer))
            pointer.write(context.env.pointer, value)
    _deploy_and_restart(context, services.engine(place))

    def left(ready: Ready) -> str:
        if ready.process in [before.process for before in old]:
            return f"is still the old process, {ready.pid}, which was not restarted"
        running = [str(process.pid) for process in processes if process.is_running()]
        return f"answers, but the old process {', '.join(running)} still runs" if running else ""

    new = services.wait_for(
        context.env.services,
        lambda ready: not left(ready) and services.serves(ready, place, identity),
        what=f"every process to be a new one that serves {place.redacted}",
        timeout_seconds=_left(context, READY_SECONDS),
        fault=left,
    )
    if not points_at(context, place):  # The next restart would serve another store, whose fence is closed by then.
        raise Failure(
            f"{context.env.pointer.variable} to name {place.redacted} still, after the hooks",
            pointer.url(context.env.pointer).redacted,
            where=str(context.env.pointer.path),
            do="A hook writes it: have deploy and restart leave that line as they find it.",
        )
    context.note(lambda: _complete(context, place))
    return {"old": [r.pid for r in old], "new": [r.pid for r in new]}


def _complete(context: RunContext, place: Place) -> None:
    with hooks.writing_pointer(context.env, context.journal, context.require_lock):
        switch_record.complete(context.env, address(place))


def note_served(context: RunContext) -> None:
    """Record that the legacy file is served, if no switch was ever recorded: the checks of this run have seen it.

    An undo of this run then knows whether a switch was begun, and restarts nothing if none was.
    """
    served = address(context.env.legacy)
    with hooks.writing_pointer(context.env, context.journal, context.require_lock):
        if switch_record.switched(context.env, served) is Switched.UNKNOWN:
            switch_record.complete(context.env, served)


def store_identity(place: Place) -> str:
    """Return the identity that a process shows at /readyz if it serves this store. Raises Failure without an answer."""
    try:
        with closing(open_store(place.as_text(), pool_size=1)) as store:
            return store.status().store
    except StoreFailure as error:
        raise Failure("a store that answers", str(error), where=place.redacted) from None


def offered(context: RunContext, place: Place) -> bool:
    """Return True if every process has this store open as its second one, and would change to it at once."""
    identity = store_identity(place)
    answers = [services.ask(url) for url in context.env.services]
    return all(ready is not None and _has_next(ready, identity) for ready in answers)


def _has_next(ready: Ready, identity: str) -> bool:
    return ready.next is not None and ready.next.ready and ready.next.store == identity


def offer(context: RunContext, place: Place, value: str) -> dict[str, Any]:
    """Name the store as the next one in the pointer's file, run `deploy` and `restart`, and wait for every process.

    Raises Failure if the lock is lost, a hook fails, or a process has not opened it in time.
    """
    identity = store_identity(place)
    served = services.engine(pointer.url(context.env.pointer))
    with hooks.writing_pointer(context.env, context.journal, context.require_lock):
        pointer.write_next(context.env.pointer, value)
    _deploy_and_restart(context, served)
    new = services.wait_for(
        context.env.services,
        lambda ready: ready.status == services.OK and _has_next(ready, identity),
        what=f"every process to have {place.redacted} open beside the store that it serves",
        timeout_seconds=_left(context, READY_SECONDS),
        fault=lambda ready: "" if _has_next(ready, identity) else "does not say that it has it open, and ready",
    )
    services.let_settle(context.env.services)
    return {"next": [ready.pid for ready in new]}


def _deploy_and_restart(context: RunContext, engine: str) -> None:
    for hook in ("deploy", "restart"):
        hooks.run(
            context.env,
            hook,
            context.journal,
            engine=engine,
            timeout_seconds=_left(context, HOOK_SECONDS),
            require=context.require_lock,
        )


def _left(context: RunContext, at_most: float) -> float:
    context.check_deadline()
    return context.deadline.left(at_most)
