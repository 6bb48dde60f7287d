"""Advises indexes: what costly statements would cost with one that is only imagined, as a revision to review.

pg_stat_statements names the statements, hypopg imagines the indexes, the planner says what each would cost. Nothing is
created: an index slows every write, so a person decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from db import ops
from db.environments import Environment
from db.files import private
from db.schema import new_revision, revisions

FOLDER = Path("var") / "advice"

LEAST_CALLS, LEAST_MS = 20, 1.0
MOST_STATEMENTS = 20
LEAST_GAIN = 0.5
"""An index is advised if the statement costs at most this share with it."""

MOST_COLUMNS = 3

EXTENSIONS = "select extname, extnamespace::regnamespace::text from pg_extension where extname = any(%s)"
COSTLY = """
select query, calls, mean_exec_time from {schema}.pg_stat_statements
where dbid = (select oid from pg_database where datname = current_database())
    and calls >= %s and mean_exec_time >= %s and query ~* '^\\s*(select|update|delete)\\y'
order by total_exec_time desc limit %s
"""
COLUMNS = """
select attname from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
"""
HIDDEN = "<insufficient privilege>"
EQUAL = r"\(?\b{column}\)?(?:::\w+)?\)? (?:= |IS NOT DISTINCT FROM )"
RANGE = r"\(?\b{column}\)?(?:::\w+)?\)? (?:[<>]=?) "


class Unavailable(Exception):
    """No advice can be had; the text says why, in a clause."""


@dataclass(frozen=True, slots=True)
class Advice:
    """An index that a statement lacks: its table and columns, and the statement's cost by the planner."""

    table: str
    columns: tuple[str, ...]
    before: float
    after: float
    query: str

    @property
    def name(self) -> str:
        """Return the name that the index would have."""
        return f"{self.table}_{'_'.join(self.columns)}_idx"[:63]

    def __str__(self) -> str:
        return f"{self.table} ({', '.join(self.columns)}): cost {self.before:,.0f} → {self.after:,.0f}"


def advise(env: Environment) -> list[Advice]:
    """Return an index for each costly statement that one would make at least twice as cheap; the best first.

    Raises Unavailable where an extension or a right is missing.
    """
    schema = env.target_direct.schema
    with ops.connect(env.target_direct, application="sudamr upkeep") as conn:
        statements, hypopg = _extensions(conn)
        query = sql.SQL(COSTLY).format(schema=sql.SQL(statements))
        rows = conn.execute(query, (LEAST_CALLS, LEAST_MS, MOST_STATEMENTS)).fetchall()
        if rows and all(text == HIDDEN for text, _, _ in rows):
            raise Unavailable(f"the role may not see statements of others: GRANT pg_monitor TO {conn.info.user};")
        best_of: dict[tuple[str, tuple[str, ...]], Advice] = {}
        for text, _calls, _mean in rows:
            for advice in _of_statement(conn, schema, hypopg, text):
                best = best_of.get((advice.table, advice.columns))
                if best is None or best.before - best.after < advice.before - advice.after:
                    best_of[advice.table, advice.columns] = advice
    return sorted(best_of.values(), key=lambda each: each.after - each.before)


def write(env: Environment, advices: list[Advice], folder: Path = FOLDER) -> list[Path]:
    """Write each as a revision's file to review, and return the paths; what was written before is replaced."""
    place = folder / env.name
    private.make_folder(place)
    head = revisions.read().head
    return [_written(place, head, advice) for advice in advices]


def _written(place: Path, head: str, advice: Advice) -> Path:
    statement = f"CREATE INDEX CONCURRENTLY {advice.name} ON {advice.table} USING btree ({', '.join(advice.columns)})"
    path = place / f"{int(head) + 1:04}_{advice.name}.py"
    cost = f"{advice.before:,.0f} without it, {advice.after:,.0f} with it"
    note = f"# Advised, not applied. The planner's cost: {cost}.\n"
    text = new_revision.text(path.name[:4], f"Add {advice.name}", head, [statement], alone=True)
    private.write_whole(path, note + text)
    return path


def _extensions(conn: ops.Connection) -> tuple[str, str]:
    """Return the schemas of both extensions. Raises Unavailable naming the one that is missing."""
    schemas: dict[str, str] = dict(conn.execute(EXTENSIONS, [["pg_stat_statements", "hypopg"]]).fetchall())
    for name in ("pg_stat_statements", "hypopg"):
        if name not in schemas:
            raise Unavailable(f"the extension {name} is not created in this database")
    try:
        conn.execute(f"select 1 from {schemas['pg_stat_statements']}.pg_stat_statements limit 1".encode())
    except psycopg.errors.ObjectNotInPrerequisiteState as error:
        raise Unavailable(str(error).splitlines()[0]) from error
    return str(schemas["pg_stat_statements"]), str(schemas["hypopg"])


def _of_statement(conn: ops.Connection, schema: str, hypopg: str, text: str) -> Iterator[Advice]:
    """Yield what a statement lacks; nothing for one that can't be planned again, as with a constant of no type."""
    try:
        with conn.transaction(force_rollback=True):
            before = _plan(conn, text)
            for table, columns in _candidates(conn, schema, before):
                after = _imagined(conn, schema, hypopg, text, table, columns)
                if after <= before["Total Cost"] * LEAST_GAIN:
                    yield Advice(table, columns, before["Total Cost"], after, text)
    except (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError):
        return


def _plan(conn: ops.Connection, text: str) -> dict[str, Any]:
    """Return the plan of a normalized statement, the one for any values of its parameters. Nothing is executed."""
    many = max((int(number) for number in re.findall(r"\$(\d+)", text)), default=0)
    arguments = f"({', '.join(['null'] * many)})" if many else ""
    conn.execute("set local plan_cache_mode = force_generic_plan")
    conn.execute(f"prepare sudamr_advice as {text}".encode())
    try:
        row = conn.execute(f"explain (format json) execute sudamr_advice{arguments}".encode()).fetchone()
    finally:
        if not conn.broken and conn.info.transaction_status != psycopg.pq.TransactionStatus.INERROR:
            conn.execute("deallocate sudamr_advice")
    assert row is not None
    plans = row[0] if isinstance(row[0], list) else json.loads(row[0])
    plan: dict[str, Any] = plans[0]["Plan"]
    return plan


def _candidates(conn: ops.Connection, schema: str, plan: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield a table with the columns that its rows are filtered by: those that must be equal, then one of a range."""
    for node in _nodes(plan):
        table, condition = node.get("Relation Name"), node.get("Filter", "")
        if not table or not condition:
            continue
        qualified = sql.Identifier(schema, table).as_string(conn)
        names = [name for (name,) in conn.execute(COLUMNS, (qualified,)).fetchall()]
        equal = [name for name in names if re.search(EQUAL.format(column=re.escape(name)), condition)]
        ranged = [name for name in names if re.search(RANGE.format(column=re.escape(name)), condition)]
        if columns := (*equal, *ranged[:1])[:MOST_COLUMNS]:
            yield table, columns


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def _imagined(conn: ops.Connection, schema: str, hypopg: str, text: str, table: str, columns: tuple[str, ...]) -> float:
    """Return the statement's cost with an index that only this session's planner knows."""
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    index = sql.SQL("create index on {} ({})").format(sql.Identifier(schema, table), listed).as_string(conn)
    conn.execute(f"select {hypopg}.hypopg_create_index(%s)".encode(), (index,))
    try:
        return float(_plan(conn, text)["Total Cost"])
    finally:
        conn.execute(f"select {hypopg}.hypopg_reset()".encode())
