"""The contents of a database before a test: put back after it, in place, and proven to be back.

The proof is a digest of each object of some kinds (columns, constraints, indexes, triggers and whether they fire,
functions, types, rules, policies, schemas, sequences, large objects, settings of roles; with their privileges) and of
each table's rows. A difference that can't be put back, a column that a test added, is a Failure that names it.

Not looked at: casts, operators, text search, extensions, publications; and what is the whole server's, as its roles and
ALTER SYSTEM, but for ALTER ROLE ... SET: any role may do that to itself, and all workers' sessions begin with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import psycopg

from db.errors import Failure
from db.ops import fence
from harness.databases.fingerprint import EVERYBODYS, Fingerprint

TABLES = """
SELECT format('%I.%I', n.nspname, c.relname), pg_relation_size(c.oid) > 0
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema)'
ORDER BY 1
"""

SWITCHES = """
SELECT t.tgrelid::regclass::text, quote_ident(t.tgname), t.tgenabled::text
FROM pg_trigger t WHERE NOT t.tgisinternal AND t.oid >= 16384
"""

VERBS = {"O": "ENABLE", "D": "DISABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}
"""How `pg_trigger.tgenabled` is written in ALTER TABLE."""

OBJECTS = """
SELECT pg_describe_object('pg_class'::regclass, c.oid, 0) AS name, (to_jsonb(c) - ARRAY[
    'relfilenode', 'relpages', 'reltuples', 'relallvisible', 'relallfrozen', 'relfrozenxid', 'relminmxid',
    'relhasindex', 'relhasrules', 'relhastriggers', 'relhassubclass'
])::text AS said
FROM pg_class c WHERE c.oid >= 16384 AND c.relnamespace <> 'pg_toast'::regnamespace
UNION ALL SELECT 'columns of ' || attrelid::regclass, string_agg(x::text, ' ' ORDER BY attnum)
FROM pg_attribute x WHERE attrelid >= 16384 AND attnum > 0 GROUP BY attrelid
UNION ALL SELECT 'defaults of ' || adrelid::regclass, string_agg(x::text, ' ' ORDER BY adnum)
FROM pg_attrdef x GROUP BY adrelid
UNION ALL SELECT 'state of index ' || indexrelid::regclass, (to_jsonb(x) - 'indcheckxmin')::text
FROM pg_index x WHERE indexrelid >= 16384
UNION ALL SELECT pg_describe_object('pg_constraint'::regclass, oid, 0), x::text FROM pg_constraint x WHERE oid >= 16384
UNION ALL SELECT pg_describe_object('pg_trigger'::regclass, oid, 0), x::text FROM pg_trigger x WHERE oid >= 16384
UNION ALL SELECT pg_describe_object('pg_proc'::regclass, oid, 0), x::text FROM pg_proc x
WHERE oid >= 16384 AND pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_temp_')
UNION ALL SELECT pg_describe_object('pg_type'::regclass, oid, 0), x::text FROM pg_type x WHERE oid >= 16384
UNION ALL SELECT pg_describe_object('pg_rewrite'::regclass, oid, 0), x::text FROM pg_rewrite x WHERE oid >= 16384
UNION ALL SELECT pg_describe_object('pg_policy'::regclass, oid, 0), x::text FROM pg_policy x
UNION ALL SELECT pg_describe_object('pg_namespace'::regclass, oid, 0), x::text FROM pg_namespace x
WHERE nspname !~ '^pg_'
UNION ALL SELECT 'sequence ' || schemaname || '.' || sequencename, x::text FROM pg_sequences x
UNION ALL SELECT 'settings of role ' || setrole::regrole || CASE setdatabase WHEN 0 THEN ' everywhere' ELSE '' END,
x::text FROM pg_db_role_setting x, pg_database d
WHERE d.datname = current_database() AND setdatabase IN (0, d.oid) AND (
    setrole IN (0, current_user::regrole) OR EXISTS (
        SELECT FROM pg_shdepend s WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = setrole
        AND (s.dbid = d.oid OR (s.dbid = 0 AND s.classid = 'pg_database'::regclass AND s.objid = d.oid))
    )
)
UNION ALL SELECT 'large object ' || oid, x::text FROM pg_largeobject_metadata x
"""
"""All that a test could change, less the server's own changes. 16384 is the first object id not the server's own;
a clone has its template's. Of roles, which are the server's and so those of other runs too, it looks at the ones that
own something here or have a right here.
Functions of a session's own are not the database's; a crash leaves those of sessions that are gone.
"""


LOG_NUMBERS = "sequence ops.change_log_n_seq"


@dataclass(frozen=True)
class StartState:
    """Digests by object and table, the rows of the few tables that don't begin empty, and which triggers fire.

    Names of tables and triggers are as the server quotes them. empty: the tables that begin so. fingerprint: holds
    in every clone of the same template until it is written to; everybodys: one of no more than any role may change.
    """

    digests: dict[str, str]
    rows: dict[str, bytes]
    switches: dict[tuple[str, str], str]
    empty: tuple[str, ...]
    fingerprint: Fingerprint
    everybodys: Fingerprint

    @classmethod
    def read(cls, conn: psycopg.Connection) -> Self:
        """Read the state of a database as it is now."""
        tables = _tables(conn)
        rows = {table: _copy_out(conn, table) for table, filled in tables.items() if filled}
        empty = tuple(table for table in tables if table not in rows)
        return cls(_digests(conn), rows, _switches(conn), empty, *_fingerprints(conn, rows))

    @cached_property
    def has_sequences(self) -> bool:
        """Return True if there are values that only a digest can prove."""
        # The change log's numbers rise only after a lift that begins the log, which writes rows that are looked at.
        return any(name.startswith("sequence ") and name != LOG_NUMBERS for name in self.digests)

    def restore(self, conn: psycopg.Connection) -> Self:
        """Put it back and prove it. Returns the state, with fingerprints of what was proven. In autocommit."""
        with fence.own_pass(conn):
            conn.execute("SET LOCAL lock_timeout = '1s'")
            self._empty(conn)
            self._flip(conn)
        self._put_rows_back(conn)
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self.prove(conn)
            fingerprint, everybodys = _fingerprints(conn, self.rows)
        return replace(self, fingerprint=fingerprint, everybodys=everybodys)

    def _empty(self, conn: psycopg.Connection) -> None:
        """Truncate each table that was written to, if only by what was rolled back."""
        written = [table for table, filled in _tables(conn).items() if filled and table not in self.rows]
        if written:
            conn.execute(f"TRUNCATE {', '.join(written)} RESTART IDENTITY CASCADE".encode())

    def _flip(self, conn: psycopg.Connection) -> None:
        """Switch each trigger back to what it was at the start."""
        now = _switches(conn)
        for (table, trigger), enabled in self.switches.items():
            if now.get((table, trigger), enabled) != enabled:
                conn.execute(f"ALTER TABLE {table} {VERBS[enabled]} TRIGGER {trigger}".encode())

    def _put_rows_back(self, conn: psycopg.Connection) -> None:
        for table, rows in self.rows.items():
            with conn.transaction():
                if _copy_out(conn, table) != rows:
                    conn.execute(f"DELETE FROM {table}".encode())
                    with conn.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN".encode()) as copy:
                        copy.write(rows)

    def prove(self, conn: psycopg.Connection) -> None:
        """Compare the database with this state. Raises Failure, which names each object and table that differs."""
        now = _digests(conn)
        changed = sorted(name for name in self.digests.keys() | now.keys() if self.digests.get(name) != now.get(name))
        if changed:
            raise Failure(
                "the database as it was at the start",
                f"changed: {', '.join(changed)}",
                where=f"{conn.info.dbname}",
                do="Drop this database, and take a fresh clone.",
            )


def _fingerprints(conn: psycopg.Connection, rows: Mapping[str, bytes]) -> tuple[Fingerprint, Fingerprint]:
    return Fingerprint.read(conn, rows), Fingerprint.read(conn, (), EVERYBODYS)


def _tables(conn: psycopg.Connection) -> dict[str, bool]:
    """Return the quoted name of each table, and True if something was written into it since the last TRUNCATE."""
    return dict(conn.execute(TABLES).fetchall())


def _switches(conn: psycopg.Connection) -> dict[tuple[str, str], str]:
    return {(table, trigger): enabled for table, trigger, enabled in conn.execute(SWITCHES).fetchall()}


def _copy_out(conn: psycopg.Connection, table: str) -> bytes:
    with conn.cursor() as cursor, cursor.copy(f"COPY {table} TO STDOUT".encode()) as copy:
        return b"".join(bytes(chunk) for chunk in copy)


def _digests(conn: psycopg.Connection) -> dict[str, str]:
    """Return a digest by name: of each object, and of each table's rows in an order that no history changes."""
    rows = [
        f"SELECT 'rows of {table}', string_agg(r::text, E'\\n' ORDER BY r::text COLLATE \"C\") FROM {table} r"
        for table in _tables(conn)
    ]
    query = " UNION ALL ".join([OBJECTS, *rows])
    return dict(conn.execute(f"SELECT name, md5(coalesce(said, '')) FROM ({query}) x".encode()).fetchall())
