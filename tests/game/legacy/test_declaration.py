"""One more field, column or document in the declaration alone: decode, encode, counts and the listing follow."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import replace

import pytest

from game.json_text import dumps
from game.legacy import codec, sqlite_values
from game.legacy.codec import homes, listing, readers
from game.legacy.codec.document import Document, DocumentShape, Elements, RowMapping
from game.legacy.codec.forms import Field
from game.legacy.codec.mapping import ITEM, MAIL, OTHERS, USERS
from game.legacy.codec.scalar import Scalar
from game.legacy.sqlite_values import Cell
from game.rows import Record, Value

TABLE = "user_trophies"
NAME = Field("title", readers.key, dumps, None, "id")
WINS = Field("wins", readers.integer(0, 9, 0), dumps, 0, "number 0 to 9")
FIELDS = {"title": NAME, "wins": WINS}
KEYS: Record = {"wins": 3}

FURTHER: dict[DocumentShape, tuple[Document, str, str, Record]] = {
    "object": (
        Document(column="trophies", table="users", shape="object", fields={"wins": WINS}),
        '{"wins":3,"x":[1]}',
        '{"wins":4,"x":[1]}',
        KEYS,
    ),
    "record": (
        Document(
            column="trophies",
            table=TABLE,
            shape="record",
            key="kind",
            name="cup",
            fields={"state": Field("state", readers.text_or_nothing, dumps, None), "wins": WINS},
            status="state",
        ),
        '{"state":"won","wins":3,"x":[1]}',
        '{"state":"won","wins":4,"x":[1]}',
        {"kind": "cup", "state": "won", **KEYS},
    ),
    "array": (
        Document(column="trophies", table=TABLE, shape="array", key="title", fields=FIELDS, needs=("title",)),
        '[{"title":"a","wins":3,"x":[1]}, {"title":"b"}]',
        '[{"title":"a","wins":4,"x":[1]}, {"title":"b"}]',
        {"title": "a", **KEYS},
    ),
    "entries": (
        Document(column="trophies", table=TABLE, shape="entries", key="title", fields={"wins": WINS}),
        '{"a":{"wins":3,"x":[1]}, "b":{}}',
        '{"a":{"wins":4,"x":[1]}, "b":{}}',
        {"title": "a", **KEYS},
    ),
    "names": (
        Document(column="trophies", table=TABLE, shape="names", key="title", name="won", fields={}),
        '["a", "b"]',
        '["b"]',
        {"title": "a", "won": True},
    ),
    "periods": (
        Document(
            column="trophies",
            table=TABLE,
            shape="periods",
            key="title",
            fields=FIELDS,
            needs=("title",),
            periods=("spring",),
            outer=Elements(fields={"quests": Field("quests", readers.source_text, readers.write_text, None)}),
            outer_table="user_seasons",
        ),
        '{"spring":{"quests":[{"title":"a","wins":3,"x":[1]}]},"y":2}',
        '{"spring":{"quests":[{"title":"a","wins":4,"x":[1]}]},"y":2}',
        {"period": "spring", "title": "a", **KEYS},
    ),
}
"""A further document of each shape: its legacy text, the text once a command has changed it, and its first record."""


def with_document(document: Document) -> RowMapping:
    return RowMapping(USERS.scalars, (*USERS.documents, document))


def counted(mapping: RowMapping, cell: str) -> int:
    """Return the units of the cell as SQLite counts them."""
    with sqlite3.connect(":memory:") as connection:
        query = f"SELECT {codec.source_units('trophies', mapping)} FROM (SELECT ? AS trophies)"
        return int(connection.execute(query, (cell,)).fetchone()[0])


def lines(mapping: RowMapping) -> dict[tuple[str, str], listing.MappingLine]:
    return {(line.source, line.key): line for part in listing.sections(mapping, OTHERS) for line in part.lines}


@pytest.mark.parametrize("shape", FURTHER)
def test_a_further_document_is_one_declaration(shape: DocumentShape) -> None:
    document, text, written, expected = FURTHER[shape]
    mapping = with_document(document)
    row: dict[str, Cell] = {"id": "hana", "gold": 5, "trophies": text, "stats": "{}"}
    assert "trophies" not in codec.columns_for((), row)
    assert "trophies" in codec.columns_for((document.table,), row, mapping)

    decoded = codec.decode_row(row, rowid=1, units={"trophies": counted(mapping, text)}, mapping=mapping)

    assert decoded.findings == []
    assert decoded.counts["trophies"] == counted(mapping, text) == (2 if document.counted else 1)
    key, record = next(iter(decoded.rows[document.table].items()))
    assert {name: record[name] for name in expected} == expected
    assert codec.encode_row(decoded.rows, tuple(row), mapping) == row
    after = decoded.rows.copy()
    if shape == "names":
        del after[document.table][key]
    else:
        after[document.table][key]["wins"] = 4
    assert codec.changed(row, decoded.rows, after, mapping) == {"trophies": written}
    assert mapping.declared["trophies"] == "TEXT"
    new = {place: line for place, line in lines(mapping).items() if place[0] == "users.trophies"}
    assert new
    assert {line.target.partition(".")[0] for line in new.values()} <= set(document.tables)


@pytest.mark.parametrize(("shape", "broken"), [(shape, "{[") for shape in FURTHER])
def test_what_is_declared_about_trouble_is_done(shape: DocumentShape, broken: str) -> None:
    document, text, _written, _expected = FURTHER[shape]
    row: dict[str, Cell] = {"id": "hana", "trophies": broken}
    for kind in ("held", "aside"):
        mapping = with_document(replace(document, unreadable=kind))
        decoded = codec.decode_row(row, rowid=1, mapping=mapping)
        assert [(one.kind, one.column, one.path) for one in decoded.findings] == [(kind, "trophies", "$")]
        assert decoded.rows["users"]["hana",]["held"] == (kind == "held")
        assert codec.encode_row(decoded.rows, tuple(row), mapping) == row
    columns = {
        held: codec.columns_for(
            (), ("id", "trophies"), with_document(replace(document, elements=held, unreadable=held))
        )
        for held in ("held", "aside")
    }
    assert columns["held"] == ("id", "trophies")
    assert columns["aside"] == (("id", "trophies") if shape == "object" else ("id",)), "read for its table alone"
    assert text


def test_commands_are_refused_by_the_record_that_is_declared() -> None:
    document, *_ = FURTHER["array"]
    decoded = codec.decode_row(
        {"id": "u", "trophies": "7"}, rowid=1, mapping=with_document(replace(document, refuses=True))
    )
    assert decoded.rows[TABLE] == {("u", ""): {"user_id": "u", "position": 0, "title": "", "wins": 0, "form": None}}


def test_an_element_may_be_set_aside_in_a_document_that_holds() -> None:
    document, *_ = FURTHER["array"]
    row: dict[str, Cell] = {"id": "u", "trophies": '[{"title":"a"},{"title":"b","wins":10}]'}
    for kind in ("held", "aside"):
        decoded = codec.decode_row(row, rowid=1, mapping=with_document(replace(document, elements=kind)))
        assert [(one.kind, one.path, one.rule) for one in decoded.findings] == [(kind, "$[1]", "trophies.out_of_range")]


@pytest.mark.parametrize(
    ("column", "fields", "text", "table"),
    [
        ("inventory", ITEM, '[{"id":"i","name":"n","type":"material","colour":"red"}]', "user_inventory"),
        ("mail", MAIL, '[{"id":"m","colour":"red","from":"system"}]', "user_mail"),
    ],
)
def test_a_further_field_is_one_declaration(column: str, fields: Mapping[str, Field], text: str, table: str) -> None:
    colour = Field("colour", readers.text_or_nothing, dumps, None, "text or null")
    further = replace(USERS.by_column[column], fields={**fields, "colour": colour})
    documents = tuple(further if one.column == column else one for one in USERS.documents)
    mapping = RowMapping(USERS.scalars, documents)
    row: dict[str, Cell] = {"id": "hana", column: text}

    decoded = codec.decode_row(row, rowid=1, mapping=mapping)

    (record,) = decoded.rows[table].values()
    assert record["colour"] == "red"
    assert codec.encode_row(decoded.rows, tuple(row), mapping) == row
    after = decoded.rows.copy()
    next(iter(after[table].values()))["colour"] = "blue"
    assert codec.changed(row, decoded.rows, after, mapping) == {column: text.replace("red", "blue")}
    new: dict[str, Value] = {"user_id": "hana", "position": 1024, **further.absent, "id": "new", "colour": "green"}
    after[table]["hana", "new"] = new | {"name": "n", "type": "material", "worn_flag": None}
    assert '"colour":"green"' in str(codec.changed(row, decoded.rows, after, mapping)[column])
    assert lines(mapping)[f"users.{column}", "[].colour"].target == f"{table}.colour"


def test_a_further_plain_column_is_one_declaration() -> None:
    mapping = RowMapping({**USERS.scalars, "luck": Scalar("luck", int, 7, low=0, holds=True)}, USERS.documents)
    row: dict[str, Cell] = {"id": "hana", "luck": 3}
    decoded = codec.decode_row(row, rowid=1, mapping=mapping)
    assert decoded.rows["users"]["hana",]["luck"] == 3
    assert codec.encode_row(decoded.rows, tuple(row), mapping) == row
    assert "luck" in codec.columns_for((), row, mapping)
    assert mapping.declared["luck"] == "INTEGER"
    assert lines(mapping)["users.luck", ""] == listing.MappingLine("users.luck", "", "users.luck", "number ≥ 0", "held")


def test_every_table_of_the_declaration_has_a_record_in_the_row_of_examples() -> None:
    example = codec.decode_row(homes.one_of_each(USERS), rowid=1).rows
    named = {name for document in USERS.documents for name in document.tables}
    assert named == {name for name, records in example.items() if records} - {"legacy_rows"}


def test_the_listing_names_every_modelled_column_and_key_once() -> None:
    sources = [(line.source, line.key) for part in listing.sections(USERS, OTHERS) for line in part.lines]
    assert len(sources) == len(set(sources))
    columns = {source.removeprefix("users.") for source, _key in sources if source.startswith("users.")}
    assert columns == {"id", *codec.MODELLED}
    assert sqlite_values.same(codec.encode_row(codec.decode_row({"id": "u"}, rowid=1).rows)["gold"], 0)
