"""The Postgres store's SQL, made once for each set of tables to load and each shape of changes to save.

A shape says which columns of how many rows change, and no values: two commands of the same shape share one statement.
The shapes that a game makes are few hundreds; the ones used last are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import count, islice
from typing import Any, Literal, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from game import tables
from game.rows import Key, Record, TableChanges, Value
from game.runs import runs

SHAPES_KEPT = 1024

MOST_ROWS = 256
"""In one statement. One can bind 65,535 values, thousands of rows; but the driver takes longer for each row of a longer
text: for 256 rows of the bag 6 ms of a processor, for 4,000 rows 170.
"""

T = TypeVar("T")

FENCE = sa.table("fence_state", sa.column("state", sa.Text), sa.column("environment", sa.Text))
DRAW_EPOCH = sa.func.to_jsonb(FENCE.table_valued()).op("->>")(sa.literal_column("'draw_epoch'"))
"""The draw epoch by way of the whole row: NULL, and no error, in a schema before the revision 0003."""

FENCE_VIEW = (
    "select state, to_jsonb(f) ->> 'identity' as identity, to_jsonb(f) ->> 'peer' as peer, to_jsonb(f) ->> 'run' as run"
    " from fence_state f"
)
"""The fence, its run and its peer; NULLs, and no error, in a schema older than revision 0011."""

HEAD = sa.table("alembic_version", sa.column("version_num", sa.Text))

USER_COLUMNS = tuple(column.name for column in tables.game_columns(tables.users))
"""The columns that `lock` returns after the fence's state, the draw epoch and the head of the player's receipts, in
order.
"""

_dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy annotates no dialect


@dataclass(frozen=True, slots=True)
class Load:
    """A statement of one row: a JSON array of records for each of the tables, or NULL."""

    sql: str
    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SaveShape:
    """A part of a save without its values: so many rows of a table deleted or inserted, or one updated."""

    verb: Literal["delete", "update", "insert"]
    table: str
    columns: tuple[str, ...]
    rows: int = 1


@dataclass(frozen=True, slots=True)
class SavePart:
    """A part of a save: its shape and, in the order in which the statement binds them, its values."""

    shape: SaveShape
    values: Sequence[Value]

    @classmethod
    def delete(cls, table: str, keys: Sequence[Key]) -> Self:
        """Return the part that deletes the rows of these keys."""
        return cls(SaveShape("delete", table, (), len(keys)), [part for key in keys for part in key])

    @classmethod
    def update(cls, table: str, key: Key, columns: Record) -> Self:
        """Return the part that updates these columns of one row."""
        return cls(SaveShape("update", table, tuple(columns)), [*columns.values(), *key])

    @classmethod
    def insert(cls, table: str, records: Sequence[Record]) -> Self:
        """Return the part that inserts records; all name the columns which the first one names."""
        columns = tuple(records[0])
        values = [record[column] for record in records for column in columns]
        return cls(SaveShape("insert", table, columns, len(records)), values)


@cache
def lock() -> str:
    """Return the fence's state, the draw epoch, and the row of :player, locked; NULLs where there is none.

    The row begins with `seq` and `chain` of the player's newest receipt: NULL before the revision that numbers them.
    """
    users = tables.users
    columns = [users.c.seq, users.c.chain, *tables.game_columns(users)]
    player = sa.select(*columns).where(users.c.id == sa.bindparam("player", type_=sa.Text))
    locked = player.with_for_update().cte("player")
    both = FENCE.outerjoin(locked, sa.true())
    return _compiled(sa.select(FENCE.c.state.label("fence"), DRAW_EPOCH.label("draw_epoch"), locked).select_from(both))


@cache
def lacking() -> str:
    """Return SQL that lists the columns of game.tables missing from the search path's schema: an array of table.column.

    The names stand in the text unquoted and unbound: they come from game.tables.
    """
    wanted = ", ".join(f"('{table.name}', '{column.name}')" for table in tables.ALL for column in table.columns)
    return (
        "select coalesce(array_agg(w.of || '.' || w.name order by w.of, w.name), '{}')"
        f" from (values {wanted}) as w (of, name)"
        " where not exists (select from pg_catalog.pg_attribute a where a.attrelid = to_regclass(quote_ident(w.of))"
        " and a.attname = w.name and not a.attisdropped)"
    )


@cache
def load(names: tuple[str, ...]) -> Load:
    """Return the SQL that loads :player's named tables, receipts and openings; without openings, also the bag.

    Receipts are loaded by :request_id and :other_form, the two forms of one key.
    """
    player = sa.bindparam("player", type_=sa.Text)
    keys = [sa.bindparam(name, type_=sa.Text) for name in ("request_id", "other_form")]
    receipts, openings, bag = tables.action_receipts, tables.player_openings, tables.user_inventory
    columns = [
        array(receipts, receipts.c.user_id == player, receipts.c.request_id.in_(keys)).label(receipts.name),
        array(openings, openings.c.user_id == player).label(openings.name),
    ]
    for name in names:
        table = tables.BY_NAME[name]
        columns.append(array(table, table.c.user_id == player).label(name))
    if bag.name not in names:
        opened = sa.exists().where(openings.c.user_id == player)
        columns.append(sa.case((~opened, array(bag, bag.c.user_id == player))).label(bag.name))
    return Load(_compiled(sa.select(*columns)), tuple(column.name for column in columns))


@cache
def state(names: tuple[str, ...]) -> Load:
    """Return the SQL that reads the fence's state, then :player's named tables."""
    player = sa.bindparam("player", type_=sa.Text)
    named = [tables.BY_NAME[name] for name in names]
    columns = [array(table, table.c[_owner(table)] == player).label(table.name) for table in named]
    return Load(_compiled(sa.select(FENCE.c.state, *columns)), names)


def _owner(table: sa.Table) -> str:
    return "id" if table is tables.users else "user_id"


def array(table: sa.Table, *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    """Return the table's records as one JSON array: so any number of tables is one round trip."""
    records = sa.select(*tables.game_columns(table)).where(*where).subquery(f"of_{table.name}")
    empty: sa.ColumnElement[Any] = sa.literal_column("'[]'::json")
    return sa.select(sa.func.coalesce(sa.func.json_agg(records.table_valued()), empty)).scalar_subquery()


@lru_cache(maxsize=SHAPES_KEPT)
def save(shapes: tuple[SaveShape, ...]) -> str:
    """Return one statement that writes all parts; their values, one after another, are :v0, :v1 and so on.

    It is built as text: a process that is new on this store meets a new shape with most commands, and to build and
    compile SQLAlchemy's elements takes as long as the rest of a command.
    """
    numbers = count()
    parts = [_VERBS[shape.verb](shape, numbers) for shape in shapes]
    if len(parts) == 1:
        return parts[0]
    return f"WITH {', '.join(f'part_{n} AS ({part})' for n, part in enumerate(parts))} SELECT 1"


def few(things: Iterable[T]) -> Iterator[list[T]]:
    """Yield as many of them at a time as are rows of one statement."""
    left = iter(things)
    while together := list(islice(left, MOST_ROWS)):
        yield together


def batches(parts: Iterable[SavePart]) -> Iterator[list[SavePart]]:
    """Split the parts into those of one statement each, in their order."""
    return runs(parts, lambda part: part.shape.rows, MOST_ROWS)


def loses_first(table: str, change: TableChanges) -> bool:
    """Return True if deletes go before inserts: another unique value than the key may stand in one row only."""
    return bool(change.inserts or change.updates) and table in _WITH_UNIQUE


_WITH_UNIQUE = {
    table.name
    for table in tables.ALL
    if any(isinstance(constraint, sa.UniqueConstraint) for constraint in table.constraints)
}


def _delete(shape: SaveShape, numbers: Iterator[int]) -> str:
    rows = " OR ".join(_is(shape.table, numbers) for _ in range(shape.rows))
    return f"DELETE FROM {_quoted(shape.table)} WHERE {rows}"


def _update(shape: SaveShape, numbers: Iterator[int]) -> str:
    columns = ", ".join(_equal(shape.table, column, numbers) for column in shape.columns)
    return f"UPDATE {_quoted(shape.table)} SET {columns} WHERE {_is(shape.table, numbers)}"


def _insert(shape: SaveShape, numbers: Iterator[int]) -> str:
    columns = ", ".join(map(_quoted, shape.columns))
    bound = [_bound(shape.table, column) for column in shape.columns]
    rows = ", ".join(f"({', '.join(one % next(numbers) for one in bound)})" for _ in range(shape.rows))
    return f"INSERT INTO {_quoted(shape.table)} ({columns}) VALUES {rows}"


_VERBS = {"delete": _delete, "update": _update, "insert": _insert}


def _is(table: str, numbers: Iterator[int]) -> str:
    key = tables.BY_NAME[table].primary_key
    return f"({' AND '.join(_equal(table, column.name, numbers) for column in key)})"


def _equal(table: str, column: str, numbers: Iterator[int]) -> str:
    return f"{_quoted(column)} = {_bound(table, column) % next(numbers)}"


@cache
def _quoted(name: str) -> str:
    return _dialect.identifier_preparer.quote(name)


@cache
def _bound(table: str, column: str) -> str:
    """Return the parameter of a column, with its cast, as a template of its number."""
    parameter = _compiled(sa.bindparam("v", type_=tables.BY_NAME[table].c[column].type))
    return parameter.replace("%(v)s", "%%(v%d)s")


def _compiled(statement: sa.ClauseElement) -> str:
    """Return SQL as the driver takes it, bound by name."""
    return str(statement.compile(dialect=_dialect))
