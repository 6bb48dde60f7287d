"""Calls each function that a schema may call with the worst arguments, and prints the CPU seconds of each call.

For a process of its own: nothing but its end stops a call of SQLite's that takes hours.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence

from game.legacy.bounded_functions import MOST_PRODUCTS
from game.legacy.guarding import FUNCTIONS, guard, strictly

CHARACTERS = 4_000_000
"""Of each argument. SQLite's limit is forty times as much, so a cost that is linear is too; a square is 1,600 times."""

Values = Sequence[str | bytes]

TEXT = "a" * CHARACTERS
HANGUL = "가" * (CHARACTERS // 3)
LETTERS = "".join(chr(0x4E00 + n % 20_000) for n in range(CHARACTERS // 3)) + "a"
KEYS = "{" + ",".join(f'"k{n}":{n}' for n in range(CHARACTERS // 16)) + "}"
OTHER_KEYS = KEYS.replace('"k', '"z')
NUMBERS = f"[{'0,' * (CHARACTERS // 2)}0]"
ALONE = (TEXT, HANGUL, b"a" * CHARACTERS, "9" * CHARACTERS, KEYS, NUMBERS, "%J" * (CHARACTERS // 2))
PAIRS: tuple[Values, ...] = (
    (TEXT, LETTERS),
    (TEXT, "a" * (CHARACTERS // 2) + "b"),
    ("%" + "a" * 998 + "b", TEXT),
    ("%" + "_" * 998 + "b", TEXT),
    ("*" + "[b-z" * 240 + "]b", TEXT),
    (KEYS, OTHER_KEYS),
    (KEYS, KEYS),
    (KEYS, "$.none"),
    (NUMBERS, "$[#-1]"),
    ("%J" * (CHARACTERS // 2), "now"),
    ("9" * CHARACTERS, "9" * CHARACTERS),
    # As much as the bounds of LIKE, of trim and of instr allow.
    ("%" + "a" * 998 + "b", "a" * (MOST_PRODUCTS["like"] // 1000)),
    ("a" * (MOST_PRODUCTS["trim"] // 5000), "".join(chr(0x4E00 + n) for n in range(4999)) + "a"),
    ("a" * 80_000, "a" * 49_999 + "b"),
)
MORE: tuple[Values, ...] = (
    ("%" + "a" * 998 + "b", TEXT, "!"),
    (KEYS, "$.none", OTHER_KEYS),
    (TEXT, "9", "9"),
    (KEYS, *("$.none",) * 99),
    (KEYS, *(value for n in range(49) for value in (f"$.none{n}", "1"))),
    (*(TEXT,) * 100,),
)


def arguments() -> Iterator[Values]:
    yield from ((value,) for value in ALONE)
    yield from PAIRS
    yield from ((second, first) for first, second in PAIRS)
    yield from MORE


def main() -> None:
    # A cached statement keeps its arguments.
    connection = guard(sqlite3.connect(":memory:", isolation_level=None, cached_statements=0))
    _report(connection, "json_valid", (KEYS,))
    for name in sorted(FUNCTIONS):
        for values in arguments():
            _report(connection, name, values)
    connection.close()


def _report(connection: sqlite3.Connection, name: str, values: Values) -> None:
    named = [name, len(values), *(str(value[:12]) for value in values[:2])]
    print(json.dumps(named), flush=True)
    operator = f"?1 {name} ?2" if name.startswith("-") else f"{name}({', '.join('?' * len(values))})"
    began = time.process_time()
    try:
        with strictly(connection):
            # The result itself is not read: Python would copy it.
            connection.execute(f"SELECT {operator} IS NULL", values).fetchall()
    except (sqlite3.Error, MemoryError) as error:
        named.append(str(error))
    print(json.dumps({"call": named, "seconds": time.process_time() - began}), flush=True)


if __name__ == "__main__":
    main()
