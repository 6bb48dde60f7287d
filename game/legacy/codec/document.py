"""Declares the parts of the legacy row's mapping: documents, and all that follows from them.

Decode, encode, SQLite's own counts, the columns that are read and the printed mapping read these objects alone, so a
field or a document is added by one edit of mapping.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, zip_longest
from typing import Literal, TypeAlias

from game.json_text import Json, dumps
from game.legacy.codec.forms import MARK, Field, Fields, by_column, top_keys
from game.legacy.codec.scalar import Scalar
from game.rows import Record, Value
from game.rules.json_columns import UNREADABLE_KEY

QuarantineKind = Literal["aside", "held"]
"""`held`: the player's commands are refused until someone decides; `aside`: the player plays on."""

DocumentShape = Literal["object", "record", "array", "entries", "slots", "names", "periods"]
"""object: one JSON object, whose values become columns of `users`.
record: one JSON object, whose values become a record of their own, with plain columns beside.
array: an array of objects, each a record. entries: an object of objects, each a record.
slots: {slot: item id}, each a record. names: an array of texts, each a record or a flag of one.
periods: {period: {…, quests: [object]}}: a record for each period, and for each object of its array.
"""

ElementCheck: TypeAlias = Callable[[Json, Record], None]
"""Takes an element as it was parsed, and its record; raises Unreadable."""

_COUNTED: Mapping[DocumentShape, str] = {"array": "array", "names": "array", "entries": "object", "slots": "object"}


def absent(fields: Fields) -> dict[str, Value]:
    """Return what each column reads as where the document is missing."""
    return {column: one.absent for column, one in by_column(fields).items()}


def plain_form(fields: Fields) -> str:
    """Return the form of an object that holds these values alone, as the legacy service writes it."""
    entries = (f"{dumps(key)}:{MARK}{column}{MARK}" for column, key in top_keys(fields).items())
    return "{" + ",".join(entries) + "}"


def form_like(template: Mapping[str, object], fields: Fields) -> str:
    """Return the template as a form: each text that is the name of a column becomes that column's mark."""
    form = dumps(template)
    for column in by_column(fields):
        form = form.replace(f':"{column}"', f":{MARK}{column}{MARK}")
    return form


@dataclass(frozen=True, kw_only=True)
class Elements:
    """Objects of one kind: their fields, those that one needs to be read, and a new one as the service writes it."""

    fields: Fields
    needs: tuple[str, ...] = ()
    """Columns without which an object can't be read; the first is its key."""
    template: Mapping[str, object] | None = None
    """A new object, with a column's name in the place of its value. Without one it has the fields alone."""

    @cached_property
    def columns(self) -> dict[str, Field]:
        return by_column(self.fields)

    @cached_property
    def keys(self) -> dict[str, str]:
        return top_keys(self.fields)

    @cached_property
    def absent(self) -> dict[str, Value]:
        return absent(self.fields)

    @cached_property
    def plain_form(self) -> str:
        return plain_form(self.fields)

    @cached_property
    def new_form(self) -> str:
        return self.plain_form if self.template is None else form_like(self.template, self.fields)


@dataclass(frozen=True, kw_only=True)
class Document(Elements):
    """One legacy column that holds a JSON document, and where its values go."""

    column: str
    table: str
    shape: DocumentShape
    key: str = ""
    """array, entries, slots, names: the table's column that holds an element's key. record: its value is `name`."""
    elements: QuarantineKind = "held"
    """The effect on the player of an element that can't be read."""
    unreadable: QuarantineKind = "held"
    """The effect on the player of a document that can't be read at all."""
    refuses: bool = False
    """A document that can't be read makes commands on its table refused, even after a held player is let go."""
    check: ElementCheck | None = None
    """May refuse an element that was read."""
    used: Container[str | None] = ()
    """entries: the keys that commands write. One of them that can't be read makes commands refused."""
    declared: str = "TEXT"
    """The type to declare where an older file lacks the column."""
    one_number: bool = False
    """object: a whole number in its place is the value of each column."""
    name: str = ""
    """names: the column of the flag. record: the value of the key."""
    beside: Mapping[str, Scalar] = field(default_factory=dict)
    """record: plain legacy columns that belong to the record."""
    status: str = ""
    """record: the column that is NULL without a document, and says it where the document can't be read."""
    worn_by: str = ""
    """array: the column of the document of slots that names some of the elements."""
    worn: str = ""
    """array: the JSON key of an element's flag for being named there. slots: the column that names the array."""
    periods: tuple[str, ...] = ()
    outer: Elements | None = None
    """periods: the object of one period."""
    outer_table: str = ""
    """periods: the table of the records of periods."""
    others: tuple[str, ...] = ()
    """Tables of other documents that are written together with this one."""

    @property
    def tables(self) -> tuple[str, ...]:
        """Return the tables of which a change may be written to this document."""
        return tuple(name for name in (self.table, self.outer_table, *self.others) if name)

    @property
    def legacy_columns(self) -> tuple[str, ...]:
        return (self.column, *self.beside)

    @property
    def counted(self) -> str | None:
        """Return SQLite's name of the JSON type whose elements are the units; None where the cell is the unit."""
        return _COUNTED.get(self.shape)

    @property
    def empty(self) -> str:
        """Return the document without any element, as it is written plainly."""
        return "[]" if self.counted == "array" else "{}"

    @property
    def holds(self) -> bool:
        return "held" in (self.elements, self.unreadable)

    @cached_property
    def flags(self) -> tuple[str, str]:
        """Return an array's column of the flag as it is read, and the one that keeps the flag if it disagrees."""
        flag = self.fields[self.worn]
        assert isinstance(flag, Field)
        return flag.column, f"{flag.column}_flag"

    @cached_property
    def refusing(self) -> Record | None:
        """Return the record that makes commands on the table refused."""
        if not self.refuses:
            return None
        if self.shape == "slots":
            return {self.key: UNREADABLE_KEY, "item_id": None, "kept": "null"}
        return {**self.absent, self.key: UNREADABLE_KEY, "form": None}


@dataclass(frozen=True, kw_only=True)
class Group:
    """Documents that share tables: they are read, decoded and written together."""

    documents: tuple[Document, ...]

    @cached_property
    def tables(self) -> frozenset[str]:
        return frozenset(chain.from_iterable(document.tables for document in self.documents))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Return the legacy columns: first those of the documents, then those beside them."""
        rows = zip_longest(*(document.legacy_columns for document in self.documents))
        return tuple(column for row in rows for column in row if column is not None)

    @property
    def holds(self) -> bool:
        return any(document.holds for document in self.documents)


@dataclass(frozen=True)
class RowMapping:
    """Everything that the game models of a row of the legacy `users`; `id` besides."""

    scalars: Mapping[str, Scalar]
    documents: tuple[Document, ...]

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Return the documents in groups, without those whose values are columns of `users`."""
        groups: list[list[Document]] = []
        for document in self.documents:
            if document.shape == "object":
                continue
            near = next((group for group in groups if _shares_a_table(group, document)), None)
            if near is None:
                groups.append([document])
            else:
                near.append(document)
        return tuple(Group(documents=tuple(group)) for group in groups)

    @cached_property
    def objects(self) -> tuple[Document, ...]:
        return tuple(document for document in self.documents if document.shape == "object")

    @cached_property
    def plain(self) -> tuple[str, ...]:
        """Return the columns whose values are columns of `users`."""
        return (*self.scalars, *(document.column for document in self.objects))

    @cached_property
    def declared(self) -> dict[str, str]:
        """Return the legacy columns that commands may write, with the type to declare where an older file lacks one."""
        types = {column: scalar.declared for column, scalar in self.scalars.items()}
        for document in self.documents:
            types[document.column] = document.declared
            types |= {column: scalar.declared for column, scalar in document.beside.items()}
        return {column: types[column] for column in (*self.plain, *chain(*(group.columns for group in self.groups)))}

    @cached_property
    def by_column(self) -> dict[str, Document]:
        return {document.column: document for document in self.documents}

    @cached_property
    def counted(self) -> dict[str, str]:
        """Return the columns whose units are the elements of their document, with the document's JSON type."""
        return {one.column: one.counted for one in self.documents if one.counted is not None}

    @cached_property
    def flags(self) -> dict[str, Record]:
        """Return the flags of a record that no array of names lists yet, by table."""
        named = [one for one in self.documents if one.shape == "names"]
        return {of.table: {one.name: False for one in named if one.table == of.table} for of in named}

    def wanted(self, tables: Collection[str]) -> Iterator[str]:
        """Yield the columns to read for these tables, and every column that may hold a player."""
        yield "id"
        yield from self.plain
        for group in self.groups:
            if group.holds or not group.tables.isdisjoint(tables):
                yield from group.columns

    def written_with(self, tables: set[str]) -> set[str]:
        """Return the tables with those that are written to the same documents."""
        return tables.union(*(group.tables for group in self.groups if not group.tables.isdisjoint(tables)))


def _shares_a_table(group: list[Document], document: Document) -> bool:
    return any(not set(one.tables).isdisjoint(document.tables) for one in group)


@dataclass(frozen=True, slots=True)
class OtherTable:
    """Another legacy table: the table that its rows go to, their key, and the column of each plain text.

    Without columns the whole row is kept, under its key.
    """

    name: str
    key: str
    columns: Mapping[str, str]
