"""Checks before a chunk is written, and before a load counts as done; each error says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from db import ops
from db.counts import count, few
from db.environments import THROWAWAY
from db.errors import Failure, Refusal
from db.legacy import receipts
from db.legacy import schema as schemas
from db.legacy.source import Source
from db.ops import fence, locks, statements
from db.schema import in_use
from db.target import requirements
from db.transfer.batches import JOURNALS
from game import printable, tables
from game.errors import FENCE_SQLSTATE
from game.legacy import file_journals, sqlite_values
from game.legacy.codec import homes
from game.redaction import redact
from game.urls import PostgresUrl

LOCK_TIMEOUT = "10s"

ORPHAN_TIMEOUT = "10s"
"""How long the session of a killed run may go on with what it was told last."""

NAMED = 5
"""How many held players a refusal names."""


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Raise errors of Postgres as errors of ours, without a row in them: a row may hold a secret."""
    try:
        yield
    except psycopg.OperationalError as error:
        message = redact(str(error).strip().splitlines()[0]) if str(error).strip() else "no answer"
        raise Failure(
            "Postgres to answer throughout", message, where=where, do="Run again: it goes on where it stopped."
        ) from None
    except psycopg.Error as error:
        if error.sqlstate == FENCE_SQLSTATE:
            raise Refusal(
                "the pass of the run that fenced the target",
                "one that the fence does not accept",
                where=where,
                do="Another run took over, and nothing more was written. The next command: invoke status --env NAME",
            ) from None
        message = f"{error.sqlstate} {error.diag.message_primary}"
        raise Failure(
            "rows that the target takes",
            message,
            where=f"{where} {error.diag.table_name or ''}".strip(),
            do="What was loaded stays, fenced; the file is whole. Empty the target: invoke transfer.cleanup --env NAME",
        ) from None


def check_homes() -> None:
    """Refuse if a column of game/tables.py has no place in the legacy file: such a row could not be rebuilt."""
    if lacking := homes.homeless():
        raise Refusal(
            "a place in the legacy file for every column of game/tables.py",
            f"none for {printable.named(lacking)}",
            do="Give it one in game/legacy, or take it out of game/tables.py until the game has moved to Postgres.",
        )


class TransferUnderWay(Refusal):
    """Another process writes batches or rounds on this target."""


@contextmanager
def writing(target: PostgresUrl) -> Iterator[ops.Connection]:
    """Connect as the only one who writes chunks. Raises Refusal while another does.

    The session of a run that was killed a moment ago lasts until the server notices, so it is waited for, not refused.
    """
    with ops.connect(target, application="sudamr transfer") as conn, explained(target.redacted):
        requirements.require(conn)
        conn.execute(sql.SQL("set lock_timeout = {}").format(sql.Literal(ORPHAN_TIMEOUT)))
        try:
            conn.execute("select pg_advisory_lock(%s, %s)", (locks.LOCK_CLASS, locks.TRANSFER_LOCK))
        except psycopg.errors.LockNotAvailable:
            raise TransferUnderWay(
                "no other transfer at work",
                locks.owners(conn, locks.TRANSFER_LOCK),
                where=target.redacted,
                do=locks.how_to_end(conn, locks.TRANSFER_LOCK),
            ) from None
        conn.execute(sql.SQL("set lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
        try:
            yield conn
        finally:
            locks.release(conn, locks.TRANSFER_LOCK)


@contextmanager
def under_pass(conn: ops.Connection, pass_token: str, phase: ops.Phase) -> Iterator[None]:
    """Begin a transaction that the fence lets through. Raises if the phase has changed since the load began."""
    with conn.transaction():
        fence.bypass(conn, pass_token)
        conn.execute("select from ops.phase for share")  # A run that aborts this one waits for this transaction's end.
        if (now := ops.phase(conn)) != phase:
            raise Failure(
                f"the phase {phase} throughout the load",
                f"{now}",
                where=ops.place(conn),
                do="Another run took over; what was loaded stays, fenced. What is next: invoke status --env NAME",
            )
        yield


def require_fenced(conn: ops.Connection) -> ops.Phase:
    """Return the phase. Raises Refusal: not prepared, not migrated, live, or open to players."""
    phase = ops.phase(conn)
    if phase is ops.Phase.LIVE:
        raise in_use.live(conn)
    if fence.state(conn) == "open":
        raise Refusal(
            "a fenced target",
            "one open to players",
            where=ops.place(conn),
            do="Somebody opened it meanwhile. Run the same command again: it fences the target first.",
        )
    return phase


def require_empty_or_same(conn: ops.Connection, source: Source) -> bool:
    """Return True if this very file was begun to be loaded before. Raises Refusal if the target holds other rows."""
    statements_loaded = conn.execute(
        "select type, name, table_name, sql from legacy_schema order by position"
    ).fetchall()
    if statements_loaded:
        if schemas.from_records(statements_loaded) != source.schema:
            raise another_file(source, "another schema")
        return True
    require_empty(conn)
    return False


def require_empty(conn: ops.Connection) -> None:
    """Raise Refusal if a table of the game has rows."""
    filled = statements.first_filled(conn, [table.name for table in tables.ALL])
    if filled is not None:
        raise Refusal(
            "an empty target",
            f"rows in {filled}",
            where=ops.place(conn),
            do="Name an empty database in target and target_direct; or, if nobody needs these rows, empty this one:"
            f" invoke transfer.cleanup --env {ops.named(conn)}",
        )


def another_file(source: Source, difference: str) -> Refusal:
    """Return the refusal of a file that is not the one whose chunks are in the target."""
    return Refusal(
        "the file that was begun to be loaded",
        difference,
        where=source.where,
        do="It is another file, or was written to since. Empty the target (invoke transfer.cleanup --env NAME), and run"
        " this command again.",
    )


def check_journals(source: Source) -> None:
    """Refuse a table that has a journal's name but not its columns, and what would act in a journal's place."""
    for statement in source.schema.statements:
        # What a trigger or a view does with a line of a journal, no receipt would tell.
        is_journal = statement.table.lower().startswith(tables.LEGACY_PREFIX)
        if is_journal and (statement.type in ("trigger", "view") or statement.is_virtual):
            kind = "TABLE" if statement.is_virtual else statement.type.upper()
            raise Refusal(
                f"journals ({tables.LEGACY_PREFIX}…) that are tables without triggers",
                f"{statement.type} {statement.name} on {statement.table}",
                where=source.where,
                do=schemas.in_the_file(f"DROP {kind} {sqlite_values.quote(statement.name)};"),
            )
    spelt = {name.lower(): name for name in source.tables}  # SQLite ignores the case of names.
    for name, journal in JOURNALS.items():
        if name not in spelt:
            continue
        table, expected = source.tables[spelt[name]], tuple(column.name for column in journal.columns)
        added = {column for column in expected if column in file_journals.ADDED_TO_RECEIPTS}
        as_ours = {*table.columns, *added} == set(expected) and table.primary_key == tables.KEYS[journal.name]
        if table.name != name or not as_ours:
            raise Refusal(
                f"our journal {name} ({', '.join(expected)})",
                f"a table {table.name} of {', '.join(table.columns)}",
                where=source.where,
                do=schemas.in_the_file(schemas.renaming(table.name, f"game_{name}")),
            )


def check_numbers(source: Source) -> None:
    """Refuse a file in which a receipt has no number, or another's: its player's chain could not be carried on."""
    if problem := receipts.unnumbered(source.connection):
        raise Refusal(
            "receipts that are numbered, each once",
            problem,
            where=source.where,
            do="In an environment's own file `invoke migrate --env NAME` numbers them; take a copy of it afterwards.",
        )


def check_ids(source: Source) -> None:
    """Raise Refusal if a player bears an id of the smoke test's: it would be removed as one of its canaries."""
    if "users" not in source.tables:
        return
    prefix = tables.CANARY_PREFIX
    player = source.connection.execute(
        "SELECT id FROM users WHERE id >= ? AND id < ? LIMIT 1", (prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1))
    ).fetchone()
    if player is not None:
        raise Refusal(
            f"no player whose id begins with {prefix}",
            str(player[0]),
            where=source.where,
            do="Smoke tests make and remove players with such ids. Give a real player another id; delete one that an"
            " older smoke test left.",
        )


def findings(conn: ops.Connection) -> tuple[int, int]:
    """Return the number of findings that let a player play on, and the number of players held."""
    row = conn.execute(
        "select count(*) filter (where kind = 'aside'),"
        " count(distinct coalesce(key, 'n ' || n)) filter (where kind = 'held') from quarantine"
    ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def gate(conn: ops.Connection, held: int, max_held: int | None) -> None:
    """Raise Refusal, naming some, if more players are held than the policy allows; None allows any number."""
    if max_held is None or held <= max_held:
        return
    named = conn.execute(
        "select distinct on (coalesce(key, 'n ' || n)) coalesce(key, '(no id)'), column_name, reason from quarantine"
        " where kind = 'held' order by coalesce(key, 'n ' || n), n limit %s",
        [NAMED],
    ).fetchall()
    some = [f"{key}: {column}, {reason}" for key, column, reason in named]
    raise Refusal(
        f"at most {count(max_held, 'player')} held",
        f"{held} ({few(some, NAMED, between='; ', total=held)})",
        where="quarantine",
        do=_remedy(ops.named(conn), held),
    )


def _remedy(environment: str, held: int) -> str:
    """Say how to allow them, to list them and to mend them. The database of `test` is gone with its command."""
    if environment == THROWAWAY:
        return f"Allow them: --max-held {held} --json NEW. NEW lists them all. Or mend them in the source."
    return (
        f"Everything is loaded, and fenced. List them all: invoke transfer.quarantine --env {environment}. Allow them:"
        f" --max-held {held}. Or mend them in the source, empty the target (invoke transfer.cleanup --env"
        f" {environment}), and load it anew."
    )
