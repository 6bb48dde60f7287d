"""Does the steps of a rollback, and finds out which are done: fence, carry everything back, switch, and open the file.

Players' writes are on Postgres until R7, which is the point of no return; before it an undo lifts Postgres again.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Any

from db import ops, transfer
from db.counts import count, counted
from db.cutover import fence_owner, switch, undo
from db.cutover import journal as journals
from db.cutover.context import READ_ONLY_BEGINS, READ_ONLY_ENDS, RunContext
from db.cutover.cutover_steps import play, require_whole
from db.cutover.turning import turn, turning
from db.errors import Failure, Refusal
from db.legacy.source import opened
from db.ops import Phase, fence, fence_proof, following, orders, statements
from db.schema import migrate, relocation
from db.snapshots import kept
from game import tables
from game.legacy import applied_log, draws, file_journals, sqlite_values
from game.legacy.fence_schema import Owner

NAMES = "select relname from pg_class where relnamespace = to_regnamespace(quote_ident(current_schema()))"


def fenced(context: RunContext) -> bool:
    """Return True if Postgres is fenced and this move's fence stands on the legacy file. The deadline starts then."""
    if fence.recorded_state(context.conn) == "open":
        return False
    context.deadline.start()
    mark = context.legacy_fence()
    own = fence_owner.is_of(mark, context.owner.target)
    return fence.state(context.conn) == "fenced" and mark.state == "fenced" and own


def fence_target(context: RunContext) -> dict[str, Any]:
    """Do step R3: fence Postgres and try to write. The legacy file's fence turns from moved to fenced.

    Read-only begins. A process that serves the fenced file is ready, and refuses writes.
    """
    orders.end(context.conn)  # Of a live rollback, from which this one takes over.
    context.journal.write(READ_ONLY_BEGINS)
    context.deadline.start()
    fence.raise_fence(context.conn, pass_token=context.pass_token, owner=context.owner_on_target)
    refused = fence_proof.prove(context.env.target)
    _fence_legacy(context)
    return {"writes_refused": refused}


def write_back(context: RunContext) -> dict[str, Any]:
    """Do step R4: write back all that players did on Postgres, in one SQLite transaction, verified before COMMIT."""
    _fence_legacy(context)
    with context.deadline.watching(context.config.progress) as progress:
        carried = asdict(
            transfer.write_back(
                context.env.target_direct, context.env.legacy.path, pass_token=context.pass_token, progress=progress
            )
        )
    counts = {name: value for name, value in carried.items() if isinstance(value, int)}
    context.journal.write("counts", **counts)
    context.config.progress.say(
        f"     the legacy file: {counted(counts['players'], 'players')} changed,"
        f" {counted(counts['cells'], 'values')} written, {counted(counts['inserted'], 'rows')} and"
        f" {counted(counts['lines'], 'journal lines')} added, {counted(counts['deleted'], 'rows')} deleted"
    )
    return counts | {"added_columns": carried["added_columns"]}


def require_whole_rounds(context: RunContext) -> None:
    """Raise Refusal if the legacy file has a part of a round: a player could have his gold and lack the receipt."""
    with opened(context.env.legacy.path) as file:
        in_part = applied_log.has_part(file.connection)
    if in_part:
        env = context.env.name
        raise Refusal(
            "a legacy file that has every round of a write-back whole",
            "a part of one, which was cut off",
            where=context.env.legacy.redacted,
            do=f"Nothing was changed. Leave --discard-writes out, and all is written back: invoke rollback --env {env}."
            f" Or have the round ended first: invoke follow --env {env}.",
        )


def discard(context: RunContext, accepted: int) -> dict[str, Any]:
    """Do step R4 with --discard-writes: what players did on Postgres stays there. Raises Failure at another count.

    The file gets a new draw epoch: players remember which of the discarded requests won.
    """
    require_whole_rounds(context)  # Whoever wrote a round beside us can't any more.
    lost = lost_writes(context)
    if lost != accepted:
        raise Failure(
            f"{count(accepted, 'write')} to lose, as accepted",
            f"{lost}",
            do=f"Accept the new count with --discard-writes --accept-loss {lost}, or leave them out to write all back.",
        )
    owner_check = fence_owner.of_this_game(context.owner, context.env.legacy.path)
    with turning(
        context, "fenced", phases=(Phase.LIVE,), owner_check=owner_check, pass_token=context.pass_token
    ) as connection:
        draws.renew(connection)
    context.journal.write("counts", discarded=lost)
    return {"discarded": lost}


def compare(context: RunContext, accepted: int) -> dict[str, Any]:
    """Do step R4 where players may play on the file already: write nothing, and count what the file lacks.

    Raises Failure unless the operator accepted that count of lost requests.
    """
    require_whole_rounds(context)  # Whoever wrote a round beside us can't any more.
    lost = lost_writes(context)
    if lost != accepted:
        raise Failure(
            "a legacy file that has every request that Postgres granted",
            f"{lost} that it lacks",
            where=context.env.name,
            do=f"Players may play on the file, so nothing can be carried over it. To finish without those {lost}, which"
            f" stay in Postgres for you to look at: invoke rollback --env {context.env.name} --discard-writes"
            f" --accept-loss {lost}",
        )
    if lost:
        owner_check = fence_owner.of_this_game_or_open(context.owner, context.env.legacy.path)
        with turning(context, "open", phases=(Phase.LIVE,), owner_check=owner_check) as connection:
            draws.renew(connection)
    context.journal.write("counts", discarded=lost)
    return {"discarded": lost}


def lost_writes(context: RunContext) -> int:
    """Count the granted requests that Postgres has and the legacy file lacks."""
    with closing(sqlite_values.connect(context.env.legacy.path, readonly=True)) as connection:
        journal = file_journals.TABLES["action_receipts"].name
        has_journal = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (journal,)).fetchone()
        known = (
            set(connection.execute(f'SELECT user_id, request_id FROM "{journal}"').fetchall()) if has_journal else set()
        )
    with context.conn.cursor(name="receipts", withhold=True) as cursor:
        cursor.execute("select user_id, request_id from action_receipts")
        return sum(key not in known for key in cursor)


def switched(context: RunContext) -> bool:
    """Return True if the pointer names the legacy file and every process serves it."""
    return switch.done(context, context.env.legacy)


def switch_to_legacy(context: RunContext) -> dict[str, Any]:
    """Do step R5: restore the pointer as it was before the cutover, deploy, restart."""
    earlier = journals.runs(context.journal.folder.parent, "cutover", context.env.name)
    return switch.to(context, context.env.legacy, undo.legacy_value(context.env, earlier))


def smoke(context: RunContext) -> dict[str, Any]:
    """Do step R6: canaries play on the legacy file, through its fence."""
    _fence_legacy(context)
    return play(context, context.env.legacy)


def returned(context: RunContext) -> bool:
    """Return True if the phase is returned and the legacy file is open."""
    return context.phase() is Phase.RETURNED and context.legacy_fence().state == "open"


def go_back(context: RunContext, *, adopted: bool = False) -> None:
    """Do step R7: set the phase returned and Postgres's fence moved in one transaction, the point of no return.

    Then the file is opened. Its write lock is held throughout, so that its fence is this run's, and complete, when
    Postgres commits. Postgres holds then what was written back, since its own fence stood all the time.
    adopted: the file is open already, see `rollback.adopting`.
    """
    if context.phase() is Phase.RETURNED:
        undo.unfence(context)
        return
    checked = fence_owner.of_this_game_or_open if adopted else fence_owner.of_this_run
    owner_check = checked(context.owner, context.env.legacy.path)
    with turning(context, "open", phases=(Phase.LIVE,), owner_check=owner_check) as connection:
        require_whole(context, connection)
        context.check_deadline()
        context.journal.write("return begun")
        with context.conn.transaction():
            if (state := fence.state(context.conn)) != "fenced":
                raise Failure("Postgres fenced until the legacy file is opened", state, where=context.env.name)
            context.held.advance(Phase.LIVE, Phase.RETURNED)
            fence.raise_fence(context.conn, state="moved", owner=context.owner_on_target)
    context.journal.write(READ_ONLY_ENDS)


def put_away(context: RunContext) -> bool:
    """Return True if the game's schema is migrated and empty, and its fence says moved."""
    schema = context.env.target_direct.schema
    at_head = relocation.exists(context.conn, schema) and migrate.current(context.conn) == migrate.head()
    return at_head and not has_rows(context.conn) and fence.state(context.conn) == "moved"


def put_target_away(context: RunContext) -> dict[str, Any]:
    """Do step R8: move the game's tables to another schema, fenced, for the analysis, and make new ones for a retry.

    A schema that was restored since the rollback is put away beside the one that the rollback itself put away.
    """
    following.note_returned(context.conn)
    schema, aside = context.env.target_direct.schema, ""
    if relocation.exists(context.conn, schema) and migrate.current(context.conn) and has_rows(context.conn):
        aside = kept.free_name(context.conn, f"{kept.ROLLED_BACK}{context.journal.run}")
        kept.move(context.conn, schema, aside)
    made = migrate.migrate(
        context.env.target_direct, environment=context.env.name, service_role=context.env.target.user
    )
    fence.raise_fence(context.conn, state="moved", owner=context.owner_on_target)
    now = f"kept in the schema {aside}" if aside else "no old rows to keep"
    context.config.progress.say(f"     {now}; see: invoke snapshot.kept --env {context.env.name}")
    return {"kept": aside, "applied": made.applied}


def stays(context: RunContext) -> bool:
    """Return True if the switch to Postgres is done, see `switch.done`."""
    return switch.done(context, context.env.target)


def switch_forward(context: RunContext) -> dict[str, Any]:
    """Switch the pointer and the services back to Postgres."""
    return switch.to(context, context.env.target, context.env.target.as_text(), keep=False)


def lift(context: RunContext) -> None:
    """Close the legacy file, then lift Postgres: in this order the two never both take writes.

    The file names the cutover's run again: by that the rounds of a live rollback know that the log leads on from it.
    Repeated even if it looks done, so that it waits for a paused run that still holds the file's write lock.
    """
    was_open = fence.recorded_state(context.conn) == "open"
    owner_check = fence_owner.of_this_game_or_open(context.owner, context.env.legacy.path)
    run = ops.phase_run(context.conn) or context.journal.run
    turn(context, "moved", phases=(Phase.LIVE,), owner_check=owner_check, owner=Owner(run, context.owner.target))
    fence.lift(context.conn)
    orders.end(context.conn)
    if not was_open:  # Else read-only ended when an earlier run lifted it.
        context.journal.write(READ_ONLY_ENDS)


def _fence_legacy(context: RunContext) -> None:
    """Fence the legacy file with the pass of this process: the pass of an earlier process is lost with it."""
    owner_check = fence_owner.of_this_game(context.owner, context.env.legacy.path)
    turn(context, "fenced", phases=(Phase.LIVE,), owner_check=owner_check, pass_token=context.pass_token)


def has_rows(conn: ops.Connection) -> bool:
    """Return True where a table of the game, of this version's, holds something."""
    existing = {name for (name,) in conn.execute(NAMES).fetchall()} & {table.name for table in tables.ALL}
    return statements.first_filled(conn, sorted(existing)) is not None
