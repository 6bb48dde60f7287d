"""Legacy files that somebody made to harm whoever opens them, by name. Each begins as a seeded file of six players."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from tests.db.legacy.hostile_kind import PLAYERS, Hostile, statements
from tests.db.legacy.hostile_schemas import ACTS, SCHEMAS, SLOW

MB = 1_000_000


def _cells(columns: Iterable[str], value: Callable[[], str | bytes]) -> Callable[[Path], None]:
    """Write the value into each of the columns, of another player each while there are some."""

    def make(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            for place, column in enumerate(columns):
                # The second player is the one who plays.
                row = (1, 3, 4, 5, 6)[place % (PLAYERS - 1)]
                connection.execute(f'UPDATE users SET "{column}" = ? WHERE rowid = ?', (value(), row))

    return make


def _beside(suffix: str, make_it: Callable[[Path], object]) -> Callable[[Path], None]:
    return lambda path: make_it(path.with_name(path.name + suffix)) and None


def _bytes(change: Callable[[bytearray], None]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        content = bytearray(path.read_bytes())
        change(content)
        path.write_bytes(content)

    return make


def _encrypt(content: bytearray) -> None:
    content[:] = bytes(byte ^ 0xA5 for byte in content)


def _cut(content: bytearray) -> None:
    del content[len(content) // 3 :]


def _reserve(content: bytearray) -> None:
    content[20] = 0xFF  # Of each page's bytes so many are not used.


def _super_journal(path: Path) -> None:
    """A hot journal that names another file, which SQLite would read and remove."""
    victim = path.with_name("victim")
    victim.write_text("kept", encoding="utf-8")
    name = os.fsencode(victim)
    pages = (path.stat().st_size // 4096).to_bytes(4, "big")
    head = bytes.fromhex("d9d505f920a163d7") + b"\0" * 8 + pages + b"\0\0\2\0" + b"\0\0\x10\0"
    tail = (
        name
        + len(name).to_bytes(4, "big")
        + (sum(name) & 0xFFFFFFFF).to_bytes(4, "big")
        + bytes.fromhex("d9d505f920a163d7")
    )
    path.with_name(f"{path.name}-journal").write_bytes(head.ljust(512, b"\0") + (1).to_bytes(4, "big") + tail)


def _is_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _is_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _is_link_to(target: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return make


def _is_link(path: Path) -> None:
    real = path.with_name("real ?mode=rw&vfs=none#%00.db")
    path.rename(real)
    path.symlink_to(real)


def _pages(size: int, mode: str) -> Callable[[Path], None]:
    return statements(f"PRAGMA page_size={size}", "VACUUM", f"PRAGMA journal_mode={mode}")


DOCUMENTS = (
    "inventory",
    "equipment",
    "equipmentPresets",
    "mail",
    "quests",
    "singlePlayerMissions",
    "clearedSinglePlayerStages",
    "actionPoints",
    "lastWorldTournament",
    "currencyLogs",
)


def _deep() -> str:
    return "[" * 100_000 + "]" * 100_000


BOMBS: dict[str, Callable[[], str]] = {
    "deep": _deep,
    "deep in its place": lambda: '[{"id":"a","name":"b","x":' + _deep() + "}]",
    "objects in objects": lambda: '{"a":' * 100_000 + "1" + "}" * 100_000,
    "a million digits": lambda: '[{"id":"a","name":"b","quantity":' + "9" * MB + "}]",
    "a number without bounds": lambda: '[{"id":"a","name":"b","quantity":1e999999}]',
    "a key twice": lambda: '{"daily":{"quests":[]},"daily":{"quests":1},"current":1,"current":2,"max":3}',
    "surrogates": lambda: '[{"id":"\\ud800","name":"\\udfff\\ud800","from":"\\u0000"}]',
    "NaN": lambda: '[{"id":"a","name":"b","quantity":NaN}]',
}
LARGE_BOMBS: dict[str, Callable[[], str]] = {
    "ten million numbers": lambda: "[" + "0," * 9_999_999 + "0]",
    "ten million objects": lambda: "[" + "{}," * 9_999_999 + "{}]",
    "a million objects": lambda: "[" + "{}," * 999_999 + "{}]",
    "a hundred thousand keys": lambda: "{" + ",".join(f'"{n}":{n}' for n in range(100_000)) + "}",
    "a hundred thousand names": lambda: "[" + ",".join(f'"{n}"' for n in range(100_000)) + "]",
}


def _crowd(path: Path) -> None:
    """Many players whose bags have as many broken items as are read one by one: each becomes a finding."""
    bag = "[" + "0," * 49_998 + "0]"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO users (id, username, nickname, inventory) VALUES (?, ?, ?, ?)",
            [(f"user-{n}", f"name-{n}", f"nick-{n}", bag) for n in range(4)],
        )


CELLS = (
    *(Hostile(f"documents: {name}", _cells(DOCUMENTS, bomb), "carried") for name, bomb in BOMBS.items()),
    *(
        Hostile(f"documents: {name}", _cells(DOCUMENTS[:1] + DOCUMENTS[5:7], bomb), "carried")
        for name, bomb in LARGE_BOMBS.items()
    ),
    Hostile("a crowd with broken items", _crowd, "carried"),
    Hostile("a text of 100 MB", _cells(["appSettings"], lambda: "가" * (100 * MB // 3)), "carried"),
    Hostile("a blob of 100 MB", _cells(["appSettings"], lambda: bytes(100 * MB)), "carried"),
    Hostile("a bag of 100 MB", _cells(["inventory"], lambda: "[" + " " * 100 * MB + "]"), "carried"),
    Hostile("a text beyond the limit", _cells(["appSettings"], lambda: "x" * 200 * MB), "refused"),
)

FILES = (
    Hostile("a folder", _is_folder, "refused"),
    Hostile("a pipe", _is_pipe, "refused"),
    Hostile("a device without an end", _is_link_to("/dev/zero"), "refused"),
    Hostile("a link to itself", _is_link_to("game.db"), "refused"),
    Hostile("a link to a name full of marks", _is_link, "carried"),
    Hostile("encrypted", _bytes(_encrypt), "refused"),
    Hostile("cut off", _bytes(_cut), "refused"),
    Hostile("bytes reserved in each page", _bytes(_reserve), "refused"),
    Hostile("a log of garbage", _beside("-wal", lambda log: log.write_bytes(b"\x37\x7f\x06\x82" * 10_000)), "carried"),
    Hostile("a log that is a pipe", _beside("-wal", os.mkfifo), "refused"),
    Hostile("a log that is a link", _beside("-wal", lambda log: log.symlink_to("/etc/passwd")), "refused"),
    Hostile("a journal that is a pipe", _beside("-journal", os.mkfifo), "refused"),
    Hostile("a journal that is a folder", _beside("-journal", lambda journal: journal.mkdir()), "refused"),
    Hostile("a journal that removes another file", _super_journal, "refused"),
    Hostile("the smallest pages", _pages(512, "PERSIST"), "carried"),
    Hostile("the largest pages", _pages(65536, "TRUNCATE"), "carried"),
)

ALL = (*ACTS, *SLOW, *SCHEMAS, *CELLS, *FILES)
