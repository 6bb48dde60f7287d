"""The SQL that saves is put together as text: it is what SQLAlchemy makes of the same shapes, for every table."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from game import tables
from game.postgres import statements
from game.postgres.statements import SaveShape

NUMBER = re.compile(r"%\(v(\d+)\)s")


def elements(shape: SaveShape, names: list[str]) -> sa.Insert | sa.Update | sa.Delete:
    """The statement of the shape of SQLAlchemy's own elements; each parameter takes the next name."""
    table = tables.BY_NAME[shape.table]

    def bound(column: sa.Column[object]) -> sa.BindParameter[object]:
        return sa.bindparam(names.pop(0), type_=column.type)

    def one() -> sa.ColumnElement[bool]:
        return sa.and_(*(column == bound(column) for column in table.primary_key))

    match shape.verb:
        case "delete":
            return sa.delete(table).where(sa.or_(*(one() for _ in range(shape.rows))))
        case "update":
            values = {column: bound(table.c[column]) for column in shape.columns}
            return sa.update(table).values(values).where(one())
        case "insert":
            rows = [{column: bound(table.c[column]) for column in shape.columns} for _ in range(shape.rows)]
            return sa.insert(table).values(rows)


def compiled(shapes: tuple[SaveShape, ...]) -> str:
    names = [f"v{n}" for n in range(2_000)]
    parts = [elements(shape, names) for shape in shapes]
    whole = sa.select(sa.literal_column("1")).add_cte(*(part.cte(f"part_{n}") for n, part in enumerate(parts)))
    return statements._compiled(parts[0] if len(parts) == 1 else whole)


def bare(sql: str, table: str) -> str:
    """The SQL without what does not count: white space, parentheses, and the table's name before a column."""
    spaced = re.sub(r"\s*=\s*", " = ", sql.replace(f"{table}.", ""))
    return re.sub(r"[\s()]+", " ", spaced).strip()


def of(table: sa.Table) -> list[SaveShape]:
    columns = tuple(column.name for column in table.columns)
    return [
        SaveShape("insert", table.name, columns),
        SaveShape("insert", table.name, columns, rows=3),
        SaveShape("update", table.name, columns[-2:]),
        SaveShape("delete", table.name, ()),
        SaveShape("delete", table.name, (), rows=2),
    ]


@pytest.mark.parametrize("table", tables.ALL, ids=lambda table: str(table.name))
def test_what_is_put_together_is_what_sqlalchemy_compiles(table: sa.Table) -> None:
    shapes = of(table)
    for chosen in (*((shape,) for shape in shapes), tuple(shapes)):
        sql = statements.save(chosen)
        assert bare(sql, table.name) == bare(compiled(chosen), table.name)
        assert [int(number) for number in NUMBER.findall(sql)] == list(range(len(NUMBER.findall(sql))))
