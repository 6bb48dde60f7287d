"""A database put back in place and proven to be back, at the cost of what was done to it.

Where only rows were added to tables that begin empty, they are deleted, and a fingerprint proves that nothing else
changed: one round trip, about a millisecond, and two thirds of it where the database is restricted. Everything else (a
column, a trigger switched, a marker rewritten, many rows) goes the whole way: TRUNCATE and the digests of every object,
some fifteen milliseconds.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

import psycopg

from db.servers.sessions import refuse_locks
from game.errors import FENCE_PASS_SETTING
from harness.databases.restrict import Restriction
from harness.databases.start_state import StartState

PASSES = "ops.fence_passes"
FEW_BYTES = 64 * 1024
"""A table that is larger is truncated: to delete its rows one by one would take longer."""

WORN_BYTES = 8 * 1024
"""A table that is larger after its rows were deleted is vacuumed: what reads it would read past all the dead ones."""

NO_FOREIGN_KEYS = """
SELECT set_config('session_replication_role', 'replica', false) FROM pg_roles WHERE rolname = current_user AND rolsuper
"""
"""All rows of all tables go together, and that nothing is left is proven: to look for who refers to each doubles it.

Nobody but a superuser may say so; for others it takes the double. Triggers of our own fire always.
"""

CALL = b"SELECT said, worn FROM pg_temp.reset_rows()"

FUNCTION = """
CREATE OR REPLACE FUNCTION pg_temp.reset_rows (out said text, out worn text)
LANGUAGE plpgsql AS $body$
DECLARE
    filled boolean[];
    bytes bigint;
BEGIN
    IF EXISTS (
        SELECT FROM pg_lock_status() l, pg_stat_get_activity(l.pid) a
        WHERE l.granted AND l.pid <> pg_backend_pid() AND l.locktype <> 'virtualxid'
            AND coalesce(l.relation >= 16384, true) AND a.backend_type = 'client backend'
            AND a.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) THEN
        said := 'locked';
        RETURN;
    END IF;
    filled := ARRAY[{filled}];
    INSERT INTO {passes} (schema, pass_sha256) VALUES (current_schema(), '{digest}');
    PERFORM set_config('{setting}', '{token}', true);
    {deletes}
    DELETE FROM {passes};
    said := CASE WHEN {fingerprint} THEN 'same' ELSE 'changed' END;
END
$body$
"""
"""In the session's own temporary schema, for its plans are kept there: the database itself gets nothing new.

Most of the time goes to open one relation after another, so each is opened once: a table that is seen empty, or is
emptied, needs no second look. The pass is made in the transaction and gone before it ends. The locks are those that
`refuse_locks` names.
"""

DELETE = """
IF filled[{number}] THEN
    bytes := pg_relation_size('{table}');
    IF bytes > {few} THEN
        DELETE FROM {passes};
        said := 'many';
        RETURN;
    END IF;
    DELETE FROM {table};
    IF bytes > {worn} THEN
        worn := concat_ws(', ', worn, '{table}');
    END IF;
END IF;
"""


class Reset:
    """Puts one database back to its start over one connection, in autocommit, of a role that may do all of it."""

    def __init__(self, conn: psycopg.Connection, start: StartState, restriction: Restriction | None = None) -> None:
        self.conn = conn
        self._cursor = conn.cursor()
        self._start = start
        self._restriction = restriction
        conn.execute("SET lock_timeout = '1s'")
        conn.execute(NO_FOREIGN_KEYS)
        self._make_function()

    def run(self) -> None:
        """Put it back to the start, proven. Raises Failure naming a held lock, or what could not be put back."""
        if self._start.has_sequences or not self._quickly():
            refuse_locks(self.conn)
            self._start = self._start.restore(self.conn)
            self._make_function()

    def prove(self) -> None:
        """Put it back to the start, and look at every object of it. Raises Failure naming what is not as it was."""
        self.run()
        self._start.prove(self.conn)

    def _quickly(self) -> bool:
        """Delete the few rows of tables that begin empty. Returns True if the fingerprint is that of the start."""
        message, worn = self._attempt()
        if message == "locked":
            refuse_locks(self.conn)  # It waits for a client that is about to leave; then nobody holds any.
            message, worn = self._attempt()
        if worn:
            self.conn.execute(f"VACUUM {worn}".encode())
        return message == "same"

    def _attempt(self) -> tuple[str, str | None]:
        (answer,) = self._cursor.execute(CALL, prepare=True).fetchall()
        return answer

    def _make_function(self) -> None:
        token = secrets.token_hex(16)
        digest = hashlib.sha256(token.encode()).hexdigest()
        tables, fingerprint = self._looked_at()
        deletes = "".join(
            DELETE.format(number=number, table=table, passes=PASSES, few=FEW_BYTES, worn=WORN_BYTES)
            for number, table in enumerate(tables, 1)
        )
        function = FUNCTION.format(
            passes=PASSES,
            setting=FENCE_PASS_SETTING,
            digest=digest,
            token=token,
            filled=", ".join(f"EXISTS (SELECT FROM {table})" for table in tables),
            deletes=deletes,
            fingerprint=fingerprint,
        )
        self.conn.execute(function.encode())

    def _looked_at(self) -> tuple[Sequence[str], str]:
        """Return the tables that may have been filled, and the condition under which all else is as at the start."""
        start, restriction = self._start, self._restriction
        empty = [table for table in start.empty if table != PASSES]
        if restriction is None or restriction.gaps(self.conn, start.rows):
            return empty, start.fingerprint.condition
        return restriction.writable(self.conn, empty), f"{start.everybodys.condition} AND {restriction.condition}"
