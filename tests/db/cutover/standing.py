"""Sets an environment up in any state that a move can leave, and runs the command that ends it."""

from __future__ import annotations

from contextlib import closing

from psycopg import sql

from db import ops, transfer
from db.cutover import pointer, switch, switch_record
from db.cutover.advice import EnvironmentState, Fence, FenceOwner, OperatorCommand, PointerTo
from db.cutover.report import RunReport
from db.ops import Phase, fence
from db.schema import migrate
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values
from game.legacy.fence_schema import Owner
from tests.db.cutover.cutover_world import World

RUN, OTHER_RUN = "20261128_010203_abcd", "20261127_010203_ef01"
ELSEWHERE = "file:/nowhere/else.db"


def set_up(world: World, state: EnvironmentState) -> None:
    """Have both stores and the pointer say what the state says, whatever they said before."""
    _lift(world)
    world.env.pointer.path.write_text(world.pointer_before)
    with ops.connect(world.owner) as conn:
        _empty(world, conn)
        if state.phase is Phase.LIVE:
            _load(world, conn)
        if state.target is Fence.OPEN:
            fence.lift(conn)
        else:
            fence.raise_fence(conn, state=state.target.value)
        run = None if state.phase is Phase.EMPTY else RUN
        conn.execute("update ops.phase set phase = %s, run = %s", (state.phase, run))
        _close_legacy(world, state, ops.identity(conn))
    if state.pointer is not PointerTo.LEGACY:
        value = world.env.target.as_text() if state.pointer is PointerTo.TARGET else ELSEWHERE
        pointer.write(world.env.pointer, value)
    served = world.env.target if state.phase is Phase.LIVE else world.env.legacy
    switch_record.complete(world.env, switch.address(served))
    switch_record.end_undo(world.env)


def run(world: World, command: OperatorCommand) -> RunReport:
    """Run the command as the operator does."""
    verb = world.cutover if command in (OperatorCommand.CUTOVER, OperatorCommand.ABORT) else world.rollback
    return verb(abort=command in (OperatorCommand.ABORT, OperatorCommand.ABORT_ROLLBACK))


def _lift(world: World) -> None:
    with closing(sqlite_values.connect(world.env.legacy.path)) as connection:
        legacy_fence.lift(connection)


def _empty(world: World, conn: ops.Connection) -> None:
    """Make the schema as a migration leaves it: present, empty, and without what rollbacks put away."""
    kept = conn.execute("select nspname from pg_namespace where starts_with(nspname, 'rolled_back_')").fetchall()
    for (name,) in kept:
        conn.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(name)))
    conn.execute("update ops.phase set phase = 'aborted'")
    migrate.migrate(world.owner, environment=world.env.name, service_role=world.env.target.user)
    token = fence.new_pass()
    fence.raise_fence(conn, pass_token=token)
    transfer.clear(world.owner, pass_token=token)
    ops.clear_proof(conn)


def _load(world: World, conn: ops.Connection) -> None:
    token = fence.new_pass()
    fence.raise_fence(conn, pass_token=token)
    transfer.load(world.env.legacy.path, world.owner, run=RUN, pass_token=token)


def _close_legacy(world: World, state: EnvironmentState, identity: str) -> None:
    if state.legacy is Fence.OPEN:
        return
    owners = {
        FenceOwner.THIS_RUN: Owner(RUN, identity),
        FenceOwner.ANOTHER_RUN: Owner(OTHER_RUN, identity),
        FenceOwner.ANOTHER_DATABASE: Owner(OTHER_RUN, "another/1"),
    }
    with closing(sqlite_values.connect(world.env.legacy.path)) as connection:
        legacy_fence.raise_fence(connection, state=state.legacy.value, owner=owners[state.owner])
