"""Drift, both ways: what our tables name and the database lacks, and what it has that nobody named.

What should be there is made from the tables in a scratch schema, in a transaction that is rolled back, and read with
the same queries as what is there: so the server itself compares types, defaults, checks and definitions.
"""

from __future__ import annotations

from psycopg import errors, sql
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from db import ops, tables
from db.errors import Refusal
from db.extensions import not_an_extensions
from game import tables as game_tables
from game.urls import PostgresUrl

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
POLICIES = f"""
select format('row security on %%s', relname) from pg_class c
where relnamespace = to_regnamespace(%s) and relrowsecurity and {OURS}
"""
READ = (RELATIONS, COLUMNS, CONSTRAINTS, INDEXES, TRIGGERS, VIEWS, FUNCTIONS, TYPES, POLICIES)

SWITCHES = """
select c.relname, t.tgname, t.tgenabled
from pg_trigger t join pg_class c on c.oid = t.tgrelid
where c.relnamespace = to_regnamespace(%s) and t.tgname = any(%s)
"""

ALEMBIC_OWN = f" {tables.VERSION_TABLE}"
"""Alembic keeps its own table, with its own key."""


def drift(direct: PostgresUrl) -> list[str]:
    """A line each, sorted: `missing: …` is named by our tables and not there, `unexpected: …` the other way round.

    A trigger that is switched unlike its fellows is drift too. Refusal where the role may not create a schema: it is
    the owner's to look. Nothing is kept.
    """
    with ops.connect(direct, application="sudamr drift") as conn, conn.transaction(force_rollback=True):
        scratch = f"sudamr_drift_{conn.info.backend_pid}"
        expected = _expected(conn, scratch, direct)
        found = _read(conn, direct.schema)
        lines = [f"missing: {line}" for line in expected - found] + [f"unexpected: {line}" for line in found - expected]
        return sorted(lines) + _switches(conn, direct.schema)


def _expected(conn: ops.Connection, scratch: str, direct: PostgresUrl) -> set[str]:
    try:
        conn.execute(sql.SQL("create schema {}").format(sql.Identifier(scratch)))
    except errors.InsufficientPrivilege:
        raise Refusal("the owner of the database", f"the role {direct.user}", where=direct.redacted) from None
    _look_at(conn, scratch)
    for statement in _definitions():
        conn.execute(statement)
    return _read(conn, scratch)


def _definitions() -> list[str]:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy
    all_tables = [*game_tables.metadata.sorted_tables, *tables.metadata.sorted_tables]
    made = [str(CreateTable(table).compile(dialect=dialect)) for table in all_tables]
    made += [str(CreateIndex(index).compile(dialect=dialect)) for table in all_tables for index in table.indexes]
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
