"""Finds drift: what our tables name and the database lacks, and what the database has and our tables do not name.

The expected schema is made in a scratch schema, in a transaction that is rolled back. The same queries read it and the
schema itself, so the server renders types, defaults, checks and definitions of both. It is made from the tables, or
from the revisions: only the latter fit a schema that is not at the head yet.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import psycopg
import sqlalchemy as sa
from psycopg import errors, sql

from db import ops, tables
from db.errors import Refusal
from db.remedies import grant_create
from db.schema.revisions import PASS, Revision
from db.target.extensions import not_an_extensions
from game import tables as game_tables
from game.urls import PostgresUrl

LOCK_TIMEOUT_SECONDS = 5
"""How long to wait for a table that another session alters."""

OWN = not_an_extensions("pg_class", "c.oid")
COLUMNS = f"""
select format(
    'column %%s.%%s %%s%%s%%s%%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
    case when a.attnotnull then ' not null' else '' end,
    coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), ''),
    case when a.attidentity <> '' or a.attgenerated <> '' then ' generated' else '' end
)
from pg_attribute a
join pg_class c on c.oid = a.attrelid
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where c.relnamespace = to_regnamespace(%s) and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
    and {OWN}
"""
RELATIONS = f"""
select format('%%s %%s', case relkind when 'r' then 'table' when 'p' then 'partitioned table' when 'v' then 'view'
    when 'm' then 'materialized view' when 'S' then 'sequence' else 'foreign table' end, relname)
from pg_class c where relnamespace = to_regnamespace(%s) and relkind in ('r', 'p', 'v', 'm', 'S', 'f') and {OWN}
"""
VIEWS = f"""
select format('view %%s as %%s', relname, pg_get_viewdef(oid)) from pg_class c
where relnamespace = to_regnamespace(%s) and relkind in ('v', 'm') and {OWN}
"""
CONSTRAINTS = f"""
select format('constraint %%s on %%s: %%s', o.conname, c.relname, pg_get_constraintdef(o.oid))
from pg_constraint o join pg_class c on c.oid = o.conrelid where c.relnamespace = to_regnamespace(%s) and {OWN}
    and o.contype <> 'n'
"""
"""From PostgreSQL 18 on NOT NULL is a constraint as well (n); the columns tell it on every version."""

INDEXES = f"""
select format('%%sindex %%s', case when i.indisvalid and i.indisready then '' else 'invalid ' end,
    pg_get_indexdef(i.indexrelid, 0, true))
from pg_index i join pg_class c on c.oid = i.indrelid where c.relnamespace = to_regnamespace(%s) and c.relkind <> 't'
    and {OWN}
"""
TRIGGERS = f"""
select format('trigger %%s', pg_get_triggerdef(t.oid, true))
from pg_trigger t join pg_class c on c.oid = t.tgrelid
where c.relnamespace = to_regnamespace(%s) and not t.tgisinternal and {OWN}
"""
FUNCTIONS = f"""
select format('function %%s', p.proname) from pg_proc p
where p.pronamespace = to_regnamespace(%s) and {not_an_extensions("pg_proc", "p.oid")}
"""
TYPES = f"""
select format('type %%s', t.typname) from pg_type t
where t.typnamespace = to_regnamespace(%s) and t.typtype in ('e', 'd', 'r') and {not_an_extensions("pg_type", "t.oid")}
"""
LABELS = f"""
select format('label %%s of type %%s after %%s', e.enumlabel, t.typname,
    coalesce(lag(e.enumlabel) over (partition by t.oid order by e.enumsortorder), 'none'))
from pg_enum e join pg_type t on t.oid = e.enumtypid
where t.typnamespace = to_regnamespace(%s) and {not_an_extensions("pg_type", "t.oid")}
"""
POLICIES = f"""
select format('row security on %%s', relname) from pg_class c
where relnamespace = to_regnamespace(%s) and relrowsecurity and {OWN}
"""
READ = (RELATIONS, COLUMNS, CONSTRAINTS, INDEXES, TRIGGERS, VIEWS, FUNCTIONS, TYPES, LABELS, POLICIES)

SWITCHES = """
select c.relname, t.tgname, t.tgenabled
from pg_trigger t join pg_class c on c.oid = t.tgrelid
where c.relnamespace = to_regnamespace(%s) and t.tgname = any(%s)
"""

OTHERS = f"""
select format('owned by %%s: %%s', pg_get_userbyid(relowner), relname) from pg_class c
where relnamespace = to_regnamespace(%s) and relkind in ('r', 'p', 'v', 'm', 'S', 'f')
    and not pg_has_role(relowner, 'usage') and {OWN}
"""
"""The relations that the role may not alter."""

ALEMBIC_OWN = f" {tables.VERSION_TABLE}"
"""Marks the lines of Alembic's own table and its key, which our tables do not name."""

NAME = re.compile(
    r"(?:invalid )?(index) CREATE (?:UNIQUE )?INDEX (\S+)|(trigger) CREATE TRIGGER (\S+) .* ON (\S+) |"
    r"(constraint) (\S+) on ([^:]+)|(column|table|view|type|function|label) (\S+)"
)


def drift(direct: PostgresUrl) -> list[str]:
    """Return a sorted line for each difference. `missing: …`: only our tables have it. `unexpected: …`: only
    the schema has it.

    A trigger that is switched unlike those of the other tables is drift too. Raises Refusal if the role may not create
    a schema; the owner's may. Changes nothing.
    """
    with ops.connect(direct, application="sudamr drift") as conn:
        return _compared(conn, direct.schema, by_tables(conn))


def against(direct: PostgresUrl, expected: Collection[str], *, wait_seconds: float) -> list[str]:
    """Return such lines against those that `made` returned. Raises Refusal if another session alters a table longer."""
    with ops.connect(direct, application="sudamr drift") as conn:
        return _compared(conn, direct.schema, set(expected), wait_seconds)


@lru_cache(maxsize=1)
def made(direct: PostgresUrl, server_version: int) -> frozenset[str]:
    """Return the lines of `by_tables`, made once a process: to make and roll back every table costs WAL and dead rows.

    server_version: as libpq gives it; another version writes the same catalog otherwise.
    """
    del server_version
    with ops.connect(direct, application="sudamr drift") as conn:
        return frozenset(by_tables(conn))


def since(conn: ops.Connection, schema: str, applied: Sequence[Revision]) -> list[str]:
    """Return such lines against what these revisions make. Raises Refusal if one does not pass on an empty schema."""
    return _compared(conn, schema, by_revisions(conn, applied))


def by_tables(conn: ops.Connection) -> set[str]:
    """Return the lines of a schema made from game/tables.py and db/tables.py."""
    with _scratch(conn) as scratch:
        with _passing("tables that the server takes", "game/tables.py"):
            conn.execute(";\n".join(definitions()).encode())
        return _read(conn, scratch)


def by_revisions(conn: ops.Connection, history: Sequence[Revision]) -> set[str]:
    """Return the lines of a schema made by these revisions. Raises Refusal if one does not pass on an empty schema."""
    with _scratch(conn) as scratch:
        for revision in history:
            conn.execute("; ".join(PASS).encode())  # A revision may write rows, and the tables are made fenced.
            with _passing("a revision that passes on an empty schema", str(revision.path)):
                conn.execute(revision.for_a_copy.encode())
        return _read(conn, scratch)


def unmade(conn: ops.Connection, history: Sequence[Revision]) -> list[str]:
    """Return the columns and tables that the code names and no revision makes."""
    return sorted(_names(by_tables(conn)) - _names(by_revisions(conn, history)))


def require_made(conn: ops.Connection, history: Sequence[Revision]) -> None:
    """Check that a revision makes every column of the code. Raises Refusal naming those that the service would miss."""
    if lacking := unmade(conn, history):
        raise Refusal(
            "a revision for every column of game/tables.py",
            f"none that makes {', '.join(lacking)}",
            do='Make one: invoke revision --env development --message "what it does"',
        )


def name_of(line: str) -> str:
    """Return the kind and name of the object that a line describes: `column users.gold`, `index users_gold_idx`."""
    name = NAME.match(line.removeprefix("missing: ").removeprefix("unexpected: "))
    return " ".join(filter(None, name.groups())) if name else line


def _names(lines: set[str]) -> set[str]:
    return {name.removeprefix("column ") for line in lines if (name := name_of(line)).startswith(("column ", "table "))}


def _compared(
    conn: ops.Connection, schema: str, expected: set[str], wait_seconds: float = LOCK_TIMEOUT_SECONDS
) -> list[str]:
    with _rolled_back(conn, wait_seconds):
        actual = _read(conn, schema)
        lines = [f"missing: {line}" for line in expected - actual]
        lines += [f"unexpected: {line}" for line in actual - expected]
        others = [str(line) for (line,) in conn.execute(OTHERS, (sql.Identifier(schema).as_string(conn),)).fetchall()]
        return sorted(lines) + _switches(conn, schema) + sorted(others)


@contextmanager
def _passing(expected: str, where: str) -> Iterator[None]:
    try:
        yield
    except psycopg.OperationalError:  # A lock that somebody else has, or a server that ends: no fault of the file.
        raise
    except psycopg.DatabaseError as error:
        raise Refusal(
            expected, str(error).partition("\n")[0], where=where, do="Nothing was changed. Correct that file."
        ) from error


@contextmanager
def _rolled_back(conn: ops.Connection, wait_seconds: float = LOCK_TIMEOUT_SECONDS) -> Iterator[None]:
    """Open a transaction and roll it back at its end. Raises Refusal if another session alters the schema too long."""
    try:
        with conn.transaction(force_rollback=True):
            conn.execute("select set_config('lock_timeout', %s, true)", (f"{wait_seconds * 1000:.0f}ms",))
            yield
    except errors.LockNotAvailable:
        raise Refusal(
            f"to read the schema within {wait_seconds:g} s",
            "another session alters it",
            where=ops.place(conn),
            do="Run the same command again when that has ended.",
        ) from None


@contextmanager
def _scratch(conn: ops.Connection) -> Iterator[str]:
    """Make an empty schema on the search path; it is rolled back at the end. Raises Refusal if the role may not."""
    name = f"sudamr_drift_{conn.info.backend_pid}"
    with _rolled_back(conn):
        try:
            conn.execute(sql.SQL("create schema {}").format(sql.Identifier(name)))
        except errors.InsufficientPrivilege:
            raise Refusal(
                "the owner of the database",
                f"the role {conn.info.user}",
                where=ops.place(conn),
                do="Name the owner in target_direct, or run as a superuser: "
                + grant_create(conn.info.dbname, conn.info.user),
            ) from None
        except errors.ReadOnlySqlTransaction:
            raise Refusal(
                "a server that takes writes, to compare the schema on",
                "a read-only one",
                where=ops.place(conn),
                do="Name the primary in target and target_direct.",
            ) from None
        _look_at(conn, name)
        yield name


def definitions() -> list[str]:
    """Return the statements that make every table of ours with its types, indexes and triggers."""
    statements: list[str] = []

    def note(statement: sa.schema.ExecutableDDLElement, *_: object, **__: object) -> None:
        statements.append(str(statement.compile(dialect=engine.dialect)))

    engine = sa.create_mock_engine("postgresql+psycopg://", note)
    for metadata in (game_tables.metadata, tables.metadata):
        metadata.create_all(engine, checkfirst=False)
    return statements + tables.ddl()


def _read(conn: ops.Connection, schema: str) -> set[str]:
    """Return the catalog's lines of the schema, with names as they read when it alone is on the search path."""
    _look_at(conn, schema)
    quoted = sql.Identifier(schema).as_string(conn)
    lines = {" ".join(line.split()) for query in READ for (line,) in conn.execute(query, (quoted,)).fetchall()}
    return {line for line in lines if ALEMBIC_OWN not in line}


def _look_at(conn: ops.Connection, schema: str) -> None:
    conn.execute(sql.SQL("set local search_path = {}").format(sql.Identifier(schema)))


def _switches(conn: ops.Connection, schema: str) -> list[str]:
    names = [tables.FENCE_TRIGGER, tables.APPEND_ONLY_TRIGGER, *tables.LOG_TRIGGERS.values()]
    names += tables.LOG_ROW_TRIGGERS.values()
    rows = conn.execute(SWITCHES, (sql.Identifier(schema).as_string(conn), names)).fetchall()
    return sorted(f"switched off: trigger {name} on {table}" for table, name, enabled in rows if enabled != "A")
