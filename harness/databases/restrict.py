"""A restricted database: only the service role may connect, so a reset checks only what that role can change.

A scenario is played by the service alone, so on a restricted database it is proven besides that its rights are enough,
and a reset need not read the catalog: nobody was there who may change it. Superusers come in everywhere, and
so does the harness's own role. That nothing was missed is proven as a whole when the database is dropped. Temporary
tables are nobody else's, and go with their session.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

GAPS = """
WITH service AS (SELECT oid FROM pg_roles WHERE rolname = %(service)s),
here AS (SELECT oid, datname FROM pg_database WHERE datname = current_database()),
stored AS (
    SELECT c.oid, c.relkind, format('%%I.%%I', n.nspname, c.relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname !~ '^(pg_|information_schema)'
)
SELECT r.rolname || ' may come in' FROM pg_roles r, here
WHERE r.rolcanlogin AND NOT r.rolsuper AND r.rolname NOT IN (current_user, %(service)s)
    AND has_database_privilege(r.oid, here.oid, 'CONNECT')
UNION ALL SELECT 'the service may change roles' FROM pg_roles r, service
WHERE r.oid = service.oid AND (r.rolsuper OR r.rolcreaterole)
UNION ALL SELECT 'the service may act as ' || m.roleid::regrole FROM pg_auth_members m, service
WHERE m.member = service.oid
UNION ALL SELECT 'the service may create schemas' FROM service, here
WHERE has_database_privilege(service.oid, here.oid, 'CREATE')
UNION ALL SELECT 'the service may create in ' || n.nspname FROM pg_namespace n, service
WHERE n.nspname !~ '^pg_(toast_)?temp_' AND has_schema_privilege(service.oid, n.oid, 'CREATE')
UNION ALL SELECT 'the service owns ' || pg_describe_object(d.classid, d.objid, d.objsubid)
FROM pg_shdepend d, service, here
WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = service.oid AND d.deptype = 'o' AND d.dbid IN (0, here.oid)
UNION ALL SELECT 'the service may act by ' || p.oid::regprocedure FROM pg_proc p, service
WHERE p.prosecdef AND has_function_privilege(service.oid, p.oid, 'EXECUTE')
UNION ALL SELECT 'the service may write to ' || stored.name FROM stored, service
WHERE (stored.relkind <> 'r' OR stored.name = ANY (%(filled)s)) AND (
    has_any_column_privilege(service.oid, stored.oid, 'INSERT, UPDATE')
    OR has_table_privilege(service.oid, stored.oid, 'DELETE, TRUNCATE')
)
"""
"""Every way in which something could change that the reset of a restricted database does not look at."""

WRITABLE = """
SELECT t FROM unnest(%(tables)s::text[]) WITH ORDINALITY AS x (t, n)
WHERE has_any_column_privilege(%(service)s, t, 'INSERT') ORDER BY n
"""


@dataclass(frozen=True)
class Restriction:
    """The roles that may not connect to a database, and those that may do nothing but connect."""

    owner: str
    service: str

    def put(self, conn: psycopg.Connection, database: str) -> None:
        """Let nobody in but the service's role. The connection is the owner's, to any database."""
        names = (sql.Identifier(database), sql.Identifier(self.owner))
        conn.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC, {}").format(*names))
        self._admit(conn, database, self.service)

    def lift(self, conn: psycopg.Connection, database: str) -> None:
        """Let the owner in again."""
        self._admit(conn, database, self.owner)

    def _admit(self, conn: psycopg.Connection, database: str, role: str) -> None:
        names = (sql.Identifier(database), sql.Identifier(role))
        conn.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*names))

    @property
    def condition(self) -> str:
        """Return an SQL expression that is true while the owner is kept out of the database that it is asked in."""
        return f"NOT has_database_privilege({sql.quote(self.owner)}, current_database(), 'CONNECT')"

    def gaps(self, conn: psycopg.Connection, filled: Iterable[str]) -> list[str]:
        """Return the reasons why the database is not restricted. filled: the tables that begin with rows."""
        rows = conn.execute(GAPS, {"service": self.service, "filled": list(filled)}).fetchall()
        return [reason for (reason,) in rows]

    def writable(self, conn: psycopg.Connection, tables: Sequence[str]) -> tuple[str, ...]:
        """Return those of the tables to which the service may add rows, in their order."""
        rows = conn.execute(WRITABLE, {"service": self.service, "tables": list(tables)}).fetchall()
        return tuple(table for (table,) in rows)
