"""Drift, both ways: what our tables name and the database lacks, and what it has that nobody named.

What should be there is made in a scratch schema, in a transaction that is rolled back, and read with the same queries
as what is there: so the server itself compares types, defaults, checks and definitions. It is made from the tables, or
from the revisions: a schema that is not at the head yet can be compared with those alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
import sqlalchemy as sa
from psycopg import errors, sql

from db import ops, tables
from db.errors import Refusal
from db.extensions import not_an_extensions
from db.revisions import PASS, Revision
from game import tables as game_tables
from game.urls import PostgresUrl

LOCK_TIMEOUT_SECONDS = 5
"""Looking never waits longer for a table that somebody alters."""

OURS = not_an_extensions("pg_class", "c.oid")
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
    and {OURS}
"""
RELATIONS = f"""
select format('%%s %%s', case relkind when 'r' then 'table' when 'p' then 'partitioned table' when 'v' then 'view'
    when 'm' then 'materialized view' when 'S' then 'sequence' else 'foreign table' end, relname)
from pg_class c where relnamespace = to_regnamespace(%s) and relkind in ('r', 'p', 'v', 'm', 'S', 'f') and {OURS}
"""
VIEWS = f"""
select format('view %%s as %%s', relname, pg_get_viewdef(oid)) from pg_class c
where relnamespace = to_regnamespace(%s) and relkind in ('v', 'm') and {OURS}
"""
CONSTRAINTS = f"""
select format('constraint %%s on %%s: %%s', o.conname, c.relname, pg_get_constraintdef(o.oid))
from pg_constraint o join pg_class c on c.oid = o.conrelid where c.relnamespace = to_regnamespace(%s) and {OURS}
"""
INDEXES = f"""
select format('%%sindex %%s', case when i.indisvalid and i.indisready then '' else 'invalid ' end,
    pg_get_indexdef(i.indexrelid, 0, true))
from pg_index i join pg_class c on c.oid = i.indrelid where c.relnamespace = to_regnamespace(%s) and c.relkind <> 't'
    and {OURS}
"""
TRIGGERS = f"""
select format('trigger %%s', pg_get_triggerdef(t.oid, true))
from pg_trigger t join pg_class c on c.oid = t.tgrelid
where c.relnamespace = to_regnamespace(%s) and not t.tgisinternal and {OURS}
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
where relnamespace = to_regnamespace(%s) and relrowsecurity and {OURS}
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
    and not pg_has_role(relowner, 'usage') and {OURS}
"""
"""What the owner of the database may not alter."""

ALEMBIC_OWN = f" {tables.VERSION_TABLE}"
"""Alembic keeps its own table, with its own key."""

NAME = re.compile(r"(?:invalid )?(index) CREATE (?:UNIQUE )?INDEX (\S+)|(trigger) CREATE TRIGGER (\S+) .* ON (\S+) |"
                  r"(constraint) (\S+) on ([^:]+)|(column|table|view|type|function|label) (\S+)")  # fmt: skip


def drift(direct: PostgresUrl) -> list[str]:
    """A line each, sorted: `missing: …` is named by our tables and not there, `unexpected: …` the other way round.

    A trigger that is switched unlike its fellows is drift too. Refusal where the role may not create a schema: it is
    the owner's to look. Nothing is kept.
    """
    with ops.connect(direct, application="sudamr drift") as conn:
        return _compared(conn, direct.schema, by_tables(conn))


def since(conn: ops.Connection, schema: str, applied: Sequence[Revision]) -> list[str]:
    """The same lines against what these revisions make. Refusal where one of them does not pass on an empty schema."""
    return _compared(conn, schema, by_revisions(conn, applied))


def by_tables(conn: ops.Connection) -> set[str]:
    """The lines that game/tables.py and db/tables.py stand for."""
    with _scratch(conn) as scratch:
        with _passing("tables that the server takes", "game/tables.py"):
            conn.execute(";\n".join(definitions()).encode())
        return _read(conn, scratch)


def by_revisions(conn: ops.Connection, history: Sequence[Revision]) -> set[str]:
    """The lines that these revisions stand for. Refusal where one of them does not pass on an empty schema."""
    with _scratch(conn) as scratch:
        for revision in history:
            conn.execute("; ".join(PASS).encode())  # A revision may fill rows, and the tables come fenced.
            with _passing("a revision that passes on an empty schema", str(revision.path)):
                conn.execute(revision.for_a_copy.encode())
        return _read(conn, scratch)


def unmade(conn: ops.Connection, history: Sequence[Revision]) -> list[str]:
    """The columns and tables of the code that no revision makes."""
    return sorted(_names(by_tables(conn)) - _names(by_revisions(conn, history)))


def require_made(conn: ops.Connection, history: Sequence[Revision]) -> None:
    """Refusal naming each column of the tables that no revision makes: the service would ask for it."""
    if lacking := unmade(conn, history):
        raise Refusal(
            "a revision for every column of game/tables.py", f"none makes {', '.join(lacking)}",
            do='Make one: invoke revision --env development --message "what it does"',
        )  # fmt: skip


def name_of(line: str) -> str:
    """What a line is about, without how it is: `column users.gold`, `index users_gold_idx`."""
    found = NAME.match(line.removeprefix("missing: ").removeprefix("unexpected: "))
    return " ".join(filter(None, found.groups())) if found else line


def _names(lines: set[str]) -> set[str]:
    return {name.removeprefix("column ") for line in lines if (name := name_of(line)).startswith(("column ", "table "))}


def _compared(conn: ops.Connection, schema: str, expected: set[str]) -> list[str]:
    with _aside(conn):
        found = _read(conn, schema)
        lines = [f"missing: {line}" for line in expected - found] + [f"unexpected: {line}" for line in found - expected]
        others = [str(line) for (line,) in conn.execute(OTHERS, (sql.Identifier(schema).as_string(conn),)).fetchall()]
        return sorted(lines) + _switches(conn, schema) + sorted(others)


@contextmanager
def _passing(expected: str, where: str) -> Iterator[None]:
    try:
        yield
    except errors.LockNotAvailable:
        raise
    except psycopg.DatabaseError as error:
        raise Refusal(
            expected, str(error).partition("\n")[0], where=where, do="Correct the file; nothing was changed."
        ) from error


@contextmanager
def _aside(conn: ops.Connection) -> Iterator[None]:
    """A transaction that is rolled back. Refusal where the role, or the server, does not let us look."""
    try:
        with conn.transaction(force_rollback=True):
            conn.execute("select set_config('lock_timeout', %s, true)", (f"{LOCK_TIMEOUT_SECONDS}s",))
            yield
    except errors.LockNotAvailable:
        raise Refusal(
            f"to read the schema within {LOCK_TIMEOUT_SECONDS} s", "somebody alters it", where=ops.place(conn),
            do="Run again when that has ended.",
        ) from None  # fmt: skip


@contextmanager
def _scratch(conn: ops.Connection) -> Iterator[str]:
    """An empty schema on the search path, gone afterwards."""
    name = f"sudamr_drift_{conn.info.backend_pid}"
    with _aside(conn):
        try:
            conn.execute(sql.SQL("create schema {}").format(sql.Identifier(name)))
        except errors.InsufficientPrivilege:
            raise Refusal("the owner of the database", f"the role {conn.info.user}", where=ops.place(conn)) from None
        except errors.ReadOnlySqlTransaction:
            raise Refusal(
                "a server that takes writes, to compare the schema on", "a read-only one", where=ops.place(conn)
            ) from None
        _look_at(conn, name)
        yield name


def definitions() -> list[str]:
    """The statements that make every table of ours with its types, indexes and triggers."""
    made: list[str] = []

    def note(statement: sa.schema.ExecutableDDLElement, *_: object, **__: object) -> None:
        made.append(str(statement.compile(dialect=engine.dialect)))

    engine = sa.create_mock_engine("postgresql+psycopg://", note)
    for metadata in (game_tables.metadata, tables.metadata):
        metadata.create_all(engine, checkfirst=False)
    return made + tables.ddl()


def _read(conn: ops.Connection, schema: str) -> set[str]:
    """The catalog's lines, written as one who looks at that schema alone would read them."""
    _look_at(conn, schema)
    quoted = sql.Identifier(schema).as_string(conn)
    lines = {" ".join(line.split()) for query in READ for (line,) in conn.execute(query, (quoted,)).fetchall()}
    return {line for line in lines if ALEMBIC_OWN not in line}


def _look_at(conn: ops.Connection, schema: str) -> None:
    conn.execute(sql.SQL("set local search_path = {}").format(sql.Identifier(schema)))


def _switches(conn: ops.Connection, schema: str) -> list[str]:
    names = [tables.FENCE_TRIGGER, tables.APPEND_ONLY_TRIGGER]
    rows = conn.execute(SWITCHES, (sql.Identifier(schema).as_string(conn), names)).fetchall()
    fences = {table: enabled for table, name, enabled in rows if name == tables.FENCE_TRIGGER}
    odd = [f"switched off: trigger {name} on {table}" for table, name, enabled in rows
           if name == tables.APPEND_ONLY_TRIGGER and enabled != "A"]  # fmt: skip
    if len(set(fences.values())) > 1:
        odd += [f"switched unlike the others: trigger {tables.FENCE_TRIGGER} on {table} ({enabled})"
                for table, enabled in fences.items() if enabled != "A"]  # fmt: skip
    return sorted(odd)
