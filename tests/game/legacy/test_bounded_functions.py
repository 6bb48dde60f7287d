"""No call of a function that a legacy file's schema may make takes long, and results within the bounds are SQLite's."""

from __future__ import annotations

import json
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest

from game.legacy.bounded_functions import MOST_PRODUCTS
from game.legacy.guarding import guard

HOUSE = Path(__file__).parents[3]

MOST_TIMES = 200
"""Of the baseline, one reading of a JSON document of the same size. A call without a bound takes over 600 times it."""

MOST_SECONDS = 600
"""For all calls; each takes milliseconds, and one that has no bound hours, on any machine."""

ROWS = 100
"""Each takes a third of a second to be computed."""

TEXTS: list[int | float | str | bytes | None] = [
    None,
    0,
    -12,
    1.0,
    1e300,
    "",
    "a",
    "A",
    "aXa",
    "%",
    "_",
    "a%",
    "%A%",
    "*a*",
    "[^a]",
    "ÄäÖ",
    "ä",
    "가나다",
    "나",
    " a ",
    "\0",
    "a\0b",
    "\0b",
    b"",
    b"a",
    b"\xc3\xa4",
    b"%a",
    "😀a😀",
    "😀",
    "x" * 1500,
    "%" * 999,
    "%" + "a" * 900,
]


@pytest.fixture
def both() -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """A guarded connection, and one with SQLite's own functions."""
    with closing(guard(sqlite3.connect(":memory:"))) as guarded, closing(sqlite3.connect(":memory:")) as plain:
        plain.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000)
        yield guarded, plain


@pytest.mark.parametrize("name", MOST_PRODUCTS)
def test_within_the_bounds_the_result_is_sqlite_s(
    name: str, both: tuple[sqlite3.Connection, sqlite3.Connection]
) -> None:
    queries = [f"SELECT typeof({name}(?1, ?2)), {name}(?1, ?2)"]
    if name == "like":
        queries += ["SELECT ?1 LIKE ?2, NULL", "SELECT ?1 LIKE ?2 ESCAPE 'a', NULL"]
    if name == "glob":
        queries += ["SELECT ?1 GLOB ?2, NULL"]
    for query, first, second in product(queries, TEXTS, TEXTS):
        guarded, plain = (_result(connection, query, first, second) for connection in both)
        assert guarded == plain, (query, first, second)


def _result(connection: sqlite3.Connection, query: str, *values: object) -> object:
    try:
        return connection.execute(query, values).fetchone()
    except sqlite3.Error:
        return "error"


def test_no_function_that_a_schema_may_call_takes_long() -> None:
    """Every function with one argument, with two of the worst together, and with many."""
    child = [sys.executable, "-m", "tests.game.legacy.worst_calls"]
    try:
        ended = subprocess.run(child, capture_output=True, text=True, timeout=MOST_SECONDS, cwd=HOUSE, check=False)
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"no end of {(error.stdout or b'').decode().splitlines()[-1:]}")
    assert ended.returncode == 0, ended.stderr
    (baseline, *calls) = [json.loads(line) for line in ended.stdout.splitlines() if '"seconds"' in line]
    slow = [call for call in calls if call["seconds"] > MOST_TIMES * baseline["seconds"]]
    assert not slow, baseline
    assert len(calls) > 1000


def test_a_signal_ends_a_check_of_a_file_whose_schema_computes_for_long(tmp_path: Path) -> None:
    path = tmp_path / "game.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE users (id TEXT PRIMARY KEY)")
        connection.execute("CREATE TABLE big (h, p)")
        connection.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})"
            " INSERT INTO big SELECT ?, ? FROM n",
            ("a" * 200_000, f"%{'a' * 900}b"),
        )
        connection.execute("ALTER TABLE big ADD COLUMN g AS (h LIKE p)")
    child = [sys.executable, "-m", "tests.game.legacy.checking_child", str(path)]
    one = _cpu_seconds_of_one_row(path)
    before = _cpu_seconds_of_children()
    process = subprocess.Popen(child, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HOUSE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "computing\n"
        process.send_signal(signal.SIGINT)
        _out, shown = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 130, shown
    # The interpreter's start and imports take about a second.
    assert _cpu_seconds_of_children() - before < 2 + ROWS // 2 * one


def _cpu_seconds_of_one_row(path: Path) -> float:
    with closing(sqlite3.connect(path)) as connection:
        began = time.process_time()
        connection.execute("SELECT g FROM big LIMIT 1").fetchall()
        return time.process_time() - began


def _cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
