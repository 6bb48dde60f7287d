"""Lists the mapping for a reviewer: each legacy column and key, where it goes, and what happens if it can't be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from game.legacy.codec.document import Document, DocumentShape, OtherTable, RowMapping
from game.legacy.codec.forms import Field, Fields
from game.legacy.codec.quests import ARRAY
from game.legacy.codec.scalar import Scalar

HELD = "held"
ASIDE = "aside"
WHOLE = "kept"
"""In the cells of its row; nobody is held."""

CELLS = "cells, whole"
PLAIN = "plain columns; a decimal in a number that commands add to holds nobody"

_SHAPES: dict[DocumentShape, str] = {
    "object": "one object; its values are columns of the player",
    "record": "one object, a record of its own",
    "array": "an array of objects, each a record",
    "entries": "an object of objects, each a record",
    "slots": "{slot: item id}, each a record",
    "names": "an array of texts, each a record or a flag of one",
    "periods": "an object of periods, each a record with an array of objects, each a record",
}
_ELEMENT: dict[DocumentShape, str] = {"array": "[].", "entries": "{}."}


@dataclass(frozen=True, slots=True)
class MappingLine:
    """One value: its legacy column and key, the column that it goes to, its type, and what becomes of another value.

    key: the path in the document; empty for a plain column. unreadable: `held` or `aside`, as the quarantine has it.
    """

    source: str
    key: str
    target: str
    type: str
    unreadable: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSection:
    """A legacy column, or the plain columns of a table, with its lines.

    shape: what the document is. unreadable: what happens to the player of a document that can't be read at all.
    refuses: commands on its tables are then refused. remainder: where everything else that it holds is kept.
    """

    source: str
    targets: tuple[str, ...]
    shape: str
    unreadable: str = ""
    refuses: bool = False
    remainder: str = ""
    lines: tuple[MappingLine, ...] = ()


def sections(users: RowMapping, others: dict[str, OtherTable]) -> Iterator[MappingSection]:
    """Yield the plain columns of `users`, each document, and the other tables."""
    plain = [
        MappingLine(f"users.{name}", "", f"users.{scalar.column}", _type(scalar), _unreadable(scalar))
        for name, scalar in users.scalars.items()
    ]
    key = MappingLine("users.id", "", "users.id", "id", HELD)
    yield MappingSection(source="users", targets=("users",), shape=PLAIN, lines=(key, *plain))
    for document in users.documents:
        yield _document(document)
    yield MappingSection(
        source="users.*", targets=("legacy_rows",), shape="every other column", remainder=f"legacy_rows.{CELLS}"
    )
    for name, table in others.items():
        lines = tuple(
            MappingLine(f"{name}.{column}", "", f"{table.name}.{target}", "text", WHOLE)
            for column, target in (table.columns or {table.key: table.key}).items()
        )
        remainder = f"{table.name}.{CELLS}"
        yield MappingSection(
            source=name, targets=(table.name,), shape="plain columns", remainder=remainder, lines=lines
        )
    yield MappingSection(
        source="*", targets=("legacy_rows",), shape="every other table", remainder=f"legacy_rows.{CELLS}"
    )


def _document(document: Document) -> MappingSection:
    table, source = document.table, f"users.{document.column}"
    prefix = _ELEMENT.get(document.shape, "")
    lines: list[MappingLine] = []
    unreadable = document.unreadable if document.shape == "object" else document.elements
    match document.shape:
        case "entries":
            lines.append(MappingLine(source, "{}", f"{table}.{document.key}", "id", unreadable))
        case "slots":
            lines += [
                MappingLine(source, "{}", f"{table}.{document.key}", "id", unreadable),
                MappingLine(source, "{}: item id", f"{table}.item_id", "id of an item of the bag or null", unreadable),
            ]
        case "names":
            lines.append(MappingLine(source, "[]", f"{table}.{document.key}", f"id; sets {document.name}", unreadable))
        case "periods":
            assert document.outer is not None
            inside = f"{{{'|'.join(document.periods)}}}"
            lines.append(MappingLine(source, inside, f"{document.outer_table}.period", "id", unreadable))
            outer = {key: one for key, one in document.outer.fields.items() if key != ARRAY}
            lines += _lines(source, "{}.", document.outer_table, outer, unreadable)
            prefix = f"{{}}.{ARRAY}[]."
        case _:
            pass
    lines += _lines(source, prefix, table, document.fields, unreadable, flag=document.worn)
    lines += [
        MappingLine(f"users.{name}", "", f"{table}.{scalar.column}", _type(scalar), document.unreadable)
        for name, scalar in document.beside.items()
    ]
    tables = tuple(name for name in (table, document.outer_table) if name)
    kept = {"names": "legacy_rows.cells", "slots": f"{table}.kept", "object": "legacy_rows.cells"}
    forms = ", ".join(f"{name}.form" for name in tables)
    return MappingSection(
        source=source,
        targets=tables,
        shape=_shape(document),
        unreadable=document.unreadable,
        refuses=document.refuses,
        remainder=f"{kept.get(document.shape, forms)}, byte for byte",
        lines=tuple(lines),
    )


def _shape(document: Document) -> str:
    named = f" with {document.key} {document.name}" if document.shape == "record" else ""
    number = ", or one number for all" if document.one_number else ""
    return f"{_SHAPES[document.shape]}{named}{number}"


def _lines(
    source: str, prefix: str, table: str, fields: Fields, unreadable: str, flag: str = ""
) -> Iterator[MappingLine]:
    for key, one in fields.items():
        if not isinstance(one, Field):
            yield from _lines(source, f"{prefix}{key}.", table, one, unreadable)
        elif key == flag:
            yield MappingLine(source, prefix + key, f"{table}.{one.column}_flag", f"{one.type}, if it disagrees", ASIDE)
        else:
            yield MappingLine(source, prefix + key, f"{table}.{one.column}", one.type, unreadable)


def _type(scalar: Scalar) -> str:
    if scalar.kind is not int:
        return {str: "text", bool: "flag"}[scalar.kind]
    return f"number ≥ {scalar.low}" if scalar.low >= 0 else "number"


def _unreadable(scalar: Scalar) -> str:
    return HELD if scalar.holds or scalar.added else ASIDE
