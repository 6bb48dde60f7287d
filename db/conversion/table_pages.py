"""Reads rowids from the pages of a SQLite file, for tables whose columns take each name that SQL has for the rowid.

The format is that of https://sqlite.org/fileformat2.html, 1.6. The file must have no write-ahead log.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_INTERIOR, _LEAF = 5, 13
_FILE_HEADER_BYTES = 100


def rowids(path: Path, root: int) -> Iterator[int]:
    """Yield the rowids of the table with root page `root`, in ascending order. Raises ValueError if it is no table."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(18)[16:18])
        yield from _walk(file, 65_536 if size == 1 else size, root)


def _walk(file: BinaryIO, size: int, number: int) -> Iterator[int]:
    file.seek((number - 1) * size)
    page = file.read(size)
    at = _FILE_HEADER_BYTES if number == 1 else 0
    kind = page[at]
    cells = [
        int.from_bytes(page[start : start + 2])
        for start in range(at + (12 if kind == _INTERIOR else 8), len(page), 2)[: int.from_bytes(page[at + 3 : at + 5])]
    ]
    if kind == _INTERIOR:
        for cell in cells:
            yield from _walk(file, size, int.from_bytes(page[cell : cell + 4]))
        yield from _walk(file, size, int.from_bytes(page[at + 8 : at + 12]))
    elif kind == _LEAF:
        for cell in cells:
            _payload, after = _varint(page, cell)
            yield _varint(page, after)[0]
    else:
        raise ValueError(f"page {number} is of kind {kind}, not of a table")


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """Read a signed integer of one to nine bytes. Return it and the place after it."""
    value = 0
    for place in range(8):
        byte = page[at + place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + place + 1
    value = value << 8 | page[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9
