"""Checks the server, the database and the roles for properties that a session can't or must not set for itself.

`game.session` pins the settings that a session can set. Each Refusal here names one property and the SQL that mends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import sql

from db.counts import count
from db.errors import Refusal
from db.servers.settings import MAJOR
from game.session import Connection

TOOLS_CONNECTIONS = 10
"""A cutover opens several at once: for the lock, the copy, the snapshots, and a trial process of the service."""

LEAST_PATIENCE_MS = 1_000
"""A shorter timeout could end the session before the first message of a transaction has set ours."""


@dataclass(frozen=True, slots=True)
class Required:
    """A setting and the value that it must have, as the server prints it. durable: only where data must survive."""

    name: str
    value: str
    durable: bool = False


REQUIRED = (
    Required("server_encoding", "UTF8"),
    # A session could set it to off, but an administrator closed the database to writes on purpose.
    Required("default_transaction_read_only", "off"),
    # With replica the server checks no foreign key.
    Required("session_replication_role", "origin"),
    # With these the server reads a damaged page as an empty one.
    Required("zero_damaged_pages", "off"),
    Required("ignore_checksum_failure", "off"),
    # Only some minor versions have it. The fence's state is a view, which it could forbid.
    Required("restrict_nonsystem_relation_kind", ""),
    # From version 17 on.
    Required("transaction_timeout", "0"),
    Required("fsync", "on", durable=True),
    Required("full_page_writes", "on", durable=True),
)

IMPATIENT = ("statement_timeout", "idle_session_timeout")
"""Behind a pooler, a session can't pin these before its first statement, so the server's values must not be tiny."""

FACTS = "select current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery()"
SETTINGS = "select name, current_setting(name, true) from unnest(%s::text[]) name"
PATIENCE = "select name, reset_val::int from pg_settings where name = any(%s) order by name"
SOURCE = "select source from pg_settings where name = %s"
SET_BY = """
select setdatabase <> 0, setrole <> 0
from pg_db_role_setting, unnest(setconfig) setting
where split_part(setting, '=', 1) = %s
    and setdatabase in (0, (select oid from pg_database where datname = current_database()))
    and setrole in (0, (select oid from pg_roles where rolname = session_user))
order by setrole = 0, setdatabase = 0
limit 1
"""
LIMITS = """
select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true), '0')::int,
    (select datconnlimit from pg_database where datname = current_database()),
    (select rolconnlimit from pg_roles where rolname = %s)
"""


def require(conn: Connection, *, durable: bool = False, pooled: bool = False) -> None:
    """Check that the database and the session's role fit a move.

    durable: data must survive a crash of the machine. pooled: the session is a pooler's.
    Raises Refusal naming the property at fault, with the statement that mends it.
    """
    _require_server(conn)
    settings: dict[str, str | None] = dict(conn.execute(SETTINGS, ([each.name for each in REQUIRED],)).fetchall())
    for each in REQUIRED:
        value = settings[each.name]
        if value not in (None, each.value) and (durable or not each.durable):
            raise _unfit(conn, each.name, each.value, value)
    if pooled:
        _require_patience(conn)


def require_connections(conn: Connection, service_role: str, *, service: int) -> None:
    """Check the connection limits for `service` connections and those of the tools. Raises Refusal naming the limit."""
    server, database, role = conn.execute(LIMITS, (service_role,)).fetchone() or (0, -1, -1)
    needed = service + TOOLS_CONNECTIONS
    database_name = str(_value(conn, "select current_database()"))
    names = {"database": sql.Identifier(database_name), "role": sql.Identifier(service_role)}
    checks: list[tuple[str, int, int, str]] = [
        ("for the service's role", role, service, "ALTER ROLE {role} CONNECTION LIMIT -1;"),
        ("for the database", database, needed, "ALTER DATABASE {database} CONNECTION LIMIT -1;"),
    ]
    for subject, limit, need, remedy in checks:
        if 0 <= limit < need:
            raise Refusal(
                f"{count(need, 'connection')} {subject}",
                f"a limit of {limit}",
                where=place(conn),
                do=sql.SQL(remedy).format(**names).as_string(conn),
            )
    if server < needed:
        raise Refusal(
            f"{count(needed, 'connection')}: {service} of the service while it restarts,"
            f" {TOOLS_CONNECTIONS} of the tools",
            f"{server}",
            where=f"{place(conn)}, max_connections",
            do=f"ALTER SYSTEM SET max_connections = {_raised(conn, needed - server)}; and restart the server.",
        )


def place(conn: Connection) -> str:
    """Return host, port and database name, for messages."""
    return f"{conn.info.host}:{conn.info.port}/{conn.info.dbname}"


def _require_server(conn: Connection) -> None:
    row = conn.execute(FACTS).fetchone()
    assert row is not None
    number, version, recovering = row
    if number < MAJOR * 10_000:
        raise Refusal(
            f"PostgreSQL {MAJOR} or newer",
            f"{version}",
            where=place(conn),
            do=f"Name a database on PostgreSQL {MAJOR} or newer in target and target_direct.",
        )
    if recovering:
        raise Refusal(
            "a server that takes writes",
            "a replica, in recovery",
            where=place(conn),
            do="Name the primary in target and target_direct; or, if this one is to be it: SELECT pg_promote();",
        )
    require_role(conn)


def require_role(conn: Connection) -> None:
    """Check that the session acts as the URL's role. Raises Refusal otherwise.

    Must be the first check: another role may lack the right to read what the other checks read.
    """
    session_role, role = conn.execute("select session_user, current_user").fetchone() or ("", "")
    if session_role != conn.info.user:
        raise Refusal(
            f"the role {conn.info.user} on the server",
            f"the role {session_role}, as which the pooler logs in",
            where=place(conn),
            do="Name that role in target, or have the pooler log in as the client's role.",
        )
    if role != session_role:
        raise _unfit(conn, "role", "none", str(role))


def _require_patience(conn: Connection) -> None:
    """Check the timeouts that the server gives a session first: `reset_val`, for this transaction has set its own."""
    for name, milliseconds in conn.execute(PATIENCE, (list(IMPATIENT),)).fetchall():
        if 0 < milliseconds < LEAST_PATIENCE_MS:
            raise Refusal(
                f"{name} of {LEAST_PATIENCE_MS} ms or more, or none, behind a pooler",
                f"{milliseconds} ms",
                where=place(conn),
                do=_remedy(conn, name, "0"),
            )


def _unfit(conn: Connection, name: str, expected: str, current: str) -> Refusal:
    return Refusal(f"{name} {expected or 'empty'}", f"{current}", where=place(conn), do=_remedy(conn, name, expected))


def _remedy(conn: Connection, name: str, expected: str) -> str:
    """Return the statement that removes the setting at the place where it was set."""
    names = {
        "role": sql.Identifier(str(_value(conn, "select session_user"))),
        "database": sql.Identifier(str(_value(conn, "select current_database()"))),
        "copy": sql.Identifier(f"{_value(conn, 'select current_database()')}_utf8"),
        "name": sql.Identifier(name),
        "value": sql.Literal(expected),
    }
    remedy = _REMEDIES.get(_source(conn, name), _ON_THE_SERVER).format(**names).as_string(conn)
    # Without SET the server would refuse the remedy itself: the session is read-only.
    return f"SET {name} = off; {remedy}" if name == "default_transaction_read_only" else remedy


_ON_THE_SERVER = sql.SQL("ALTER SYSTEM SET {name} = {value}; SELECT pg_reload_conf();")
_REMEDIES: dict[str, sql.SQL] = {
    "encoding": sql.SQL(
        "CREATE DATABASE {copy} ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0; and name it in target and target_direct."
    ),
    "database": sql.SQL("ALTER DATABASE {database} RESET {name};"),
    "user": sql.SQL("ALTER ROLE {role} RESET {name};"),
    "database user": sql.SQL("ALTER ROLE {role} IN DATABASE {database} RESET {name};"),
    "global": sql.SQL("ALTER ROLE ALL RESET {name};"),
    "command line": sql.SQL("Start the server without {name} on its command line."),
    "client": sql.SQL("Take {name} out of PGOPTIONS."),
}
"""By the source of the setting in pg_settings. ALTER SYSTEM overrules what a configuration file says."""


def _source(conn: Connection, name: str) -> str:
    if name == "server_encoding":
        return "encoding"
    return _set_by(conn, name) or str(_value(conn, SOURCE, name))


def _set_by(conn: Connection, name: str) -> str | None:
    """Return where ALTER DATABASE or ALTER ROLE has set it, in the words of pg_settings; None where neither has.

    pg_settings itself shows only the source that wins in this session.
    """
    row = conn.execute(SET_BY, (name,)).fetchone()
    if row is None:
        return None
    return {(True, True): "database user", (False, True): "user", (True, False): "database"}.get(row, "global")


def _raised(conn: Connection, by: int) -> int:
    return int(_value(conn, "select current_setting('max_connections')")) + by


def _value(conn: Connection, query: str, *parameters: object) -> Any:
    row = conn.execute(query, parameters).fetchone()
    return None if row is None else row[0]
