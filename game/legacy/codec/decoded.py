"""The result of decoding one legacy row: rows, findings, and counts of units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from game.legacy import sqlite_values
from game.legacy.codec.arrays import KnownElement
from game.legacy.codec.document import QuarantineKind
from game.legacy.sqlite_values import Cell
from game.rows import Key, Record, Rows

NOTHING: frozenset[Cell] = frozenset((None, "", "null", "{}", "[]"))
"""The cells that the legacy service writes for "nothing": read alike, and each kept as it is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A source value that could not be loaded as it is, or that disagrees with another. Its bytes are kept in place.

    position: the element's place in its document, from 0; None for a whole cell.
    """

    kind: QuarantineKind
    table: str
    key: str | None
    column: str
    path: str
    position: int | None
    storage: str
    original: bytes
    rule: str
    reason: str


@dataclass(slots=True)
class Decoded:
    """One decoded legacy row. counts: units by column, a cell or each element of a document taken apart.

    known: the records, by table and key, whose element was known and not read again.
    """

    rows: Rows
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    known: dict[tuple[str, Key], KnownElement] = field(default_factory=dict)

    def quarantined(self) -> Counter[str]:
        """Count the units with a finding, by column."""
        return Counter(column for column, _ in {(finding.column, finding.position) for finding in self.findings})


def keep_whole(row: Mapping[str, Cell], rowid: int) -> Decoded:
    """Keep a row whose id is no text that Postgres can hold as a key, as one record of its own."""
    record: Record = {"source": "users", "position": rowid, "key": None, "cells": sqlite_values.encode(row)}
    finding = Finding(
        "held",
        "users",
        None,
        "id",
        "$",
        None,
        sqlite_values.storage(row["id"]),
        sqlite_values.original(row["id"]),
        "users.id",
        "the row's id is no text that Postgres can hold as a key; the whole row is kept",
    )
    return Decoded(Rows({"legacy_rows": {("users", rowid): record}}), [finding], Counter(dict.fromkeys(row, 1)))
