"""A file in UTF-16 is converted to an equal file in UTF-8, or nothing is made and the reason is named."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.conversion.convert import convert
from db.errors import Failure, Refusal
from tests.db.conversion import encoded_files
from tests.db.conversion.converting import encoding, state
from tests.db.conversion.encoded_files import EVERYTHING, contents, literal, make, opened
from tests.db.transfer.transferring import DiesAt

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["db.transfer"])
ENCODINGS = ("UTF-16le", "UTF-16be")


@pytest.mark.parametrize("wanted", ENCODINGS)
@pytest.mark.parametrize(
    "early",
    [(), ("PRAGMA page_size=512", "PRAGMA auto_vacuum=1", "PRAGMA journal_mode=WAL"), ("PRAGMA auto_vacuum=2",)],
)
def test_a_copy_holds_every_value_rowid_statement_and_setting(
    wanted: str, early: tuple[str, ...], tmp_path: Path
) -> None:
    source, copy = make(tmp_path / "game.db", *early, *EVERYTHING, encoding=wanted), tmp_path / "new.db"
    before = state(tmp_path)
    done = convert(source, copy)
    assert state(tmp_path) == before | {"new.db": hashlib.sha256(copy.read_bytes()).hexdigest()}
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert encoding(copy) == "UTF-8"
    assert contents(copy) == contents(source)
    assert done.proven.rows == sum(len(rows) for name, rows in contents(source).items() if name.startswith("rows of "))
    with opened(copy) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.execute("INSERT INTO words(words) VALUES ('integrity-check')")
        assert connection.execute("SELECT body FROM words WHERE words MATCH 'hello'").fetchone() == ("안녕 hello",)
        assert connection.execute("INSERT INTO counted(real) VALUES (1)").lastrowid == 902
        assert connection.execute("SELECT count(*) FROM empty").fetchone() == (0,)
        connection.execute("INSERT INTO users(id) VALUES ('fires')")
        assert connection.execute("SELECT a FROM empty").fetchone() == ("fires",)


CHARACTERS = st.characters(codec="utf-8")
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.binary(max_size=40),
    st.text(CHARACTERS, max_size=40),
    st.text(st.sampled_from("\0a\ufeff\ufffe\uffff\ud7ff\ue000\U00010000\U0010ffff가"), max_size=10),
)
ROWIDS = st.integers(-(2**63), 2**63 - 1)


@given(
    wanted=st.sampled_from(ENCODINGS),
    rows=st.dictionaries(ROWIDS, st.tuples(VALUES, VALUES), max_size=6),
    keyed=st.dictionaries(st.text(CHARACTERS, max_size=8), VALUES, max_size=6),
    declared=st.sampled_from(("", "TEXT", "REAL", "INTEGER", "NUMERIC UNIQUE ON CONFLICT REPLACE", "BLOB")),
)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_under_any_rowid_is_the_same(
    wanted: str,
    rows: dict[int, tuple[object, object]],
    keyed: dict[str, object],
    declared: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    source = make(
        folder / "game.db",
        f"CREATE TABLE t (a {declared}, b)",
        "CREATE TABLE k (a TEXT PRIMARY KEY, b) WITHOUT ROWID",
        encoding=wanted,
    )
    with opened(source) as connection:
        for rowid, values in rows.items():
            texts = [literal(value, wanted) if isinstance(value, str) else "?" for value in values]
            bound = [value for value in values if not isinstance(value, str)]
            connection.execute(f"INSERT INTO t(rowid, a, b) VALUES (?, {', '.join(texts)})", (rowid, *bound))
        for key, value in keyed.items():
            text = literal(value, wanted) if isinstance(value, str) else "?"
            bound = [] if isinstance(value, str) else [value]
            connection.execute(f"INSERT INTO k VALUES ({literal(key, wanted)}, {text})", bound)
    convert(source, folder / "new.db")
    assert contents(folder / "new.db") == contents(source)


ILL_FORMED = {
    "a high surrogate at the end": "610000d8",
    "a high surrogate before another character": "00d86100",
    "a low surrogate": "00dc6100",
    "two high surrogates": "00d800d8",
    "surrogates in the wrong order": "00dc00d8",
    "beyond a piece": "6100" * 700_000 + "00d8",
}


@pytest.mark.parametrize("hexadecimal", [pytest.param(text, id=name) for name, text in ILL_FORMED.items()])
@pytest.mark.parametrize("wanted", ENCODINGS)
def test_a_text_that_is_not_valid_utf_16_is_refused_by_name_or_kept_as_a_blob(
    hexadecimal: str, wanted: str, tmp_path: Path
) -> None:
    data = bytes.fromhex(hexadecimal)
    if wanted == "UTF-16be":
        data = b"".join(data[at : at + 2][::-1] for at in range(0, len(data), 2))
    source = make(
        tmp_path / "game.db",
        "CREATE TABLE users (id TEXT, name TEXT)",
        "CREATE TABLE k (a PRIMARY KEY) WITHOUT ROWID",
        f"INSERT INTO users(rowid, id, name) VALUES (-3, 'user-1', CAST(x'{data.hex()}' AS TEXT))",
        f"INSERT INTO k VALUES (CAST(x'{data.hex()}' AS TEXT))",
        encoding=wanted,
    )
    before = state(tmp_path)
    with pytest.raises(Refusal, match=r"2 that are not: users\.name, rowid -3; k\.a, row 1 .*\n.*--as-blobs"):
        convert(source, tmp_path / "new.db")
    assert state(tmp_path) == before
    done = convert(source, tmp_path / "new.db", as_blobs=True)
    assert (done.kept_as_blobs, done.kept[0]) == (2, "users.name, rowid -3")
    with opened(tmp_path / "new.db") as connection:
        assert connection.execute("SELECT rowid, id, name FROM users").fetchall() == [(-3, "user-1", data)]
        assert connection.execute("SELECT a FROM k").fetchall() == [(data,)]


def test_half_a_character_is_refused_too(tmp_path: Path) -> None:
    source = make(tmp_path / "game.db", "CREATE TABLE users (id)", "INSERT INTO users VALUES (x'6100620063')")
    page = source.read_bytes()
    at = page.rindex(bytes.fromhex("6100620063"))
    assert page[at - 1] == 12 + 2 * 5  # A BLOB of 5 bytes; 13 more than twice the length would be a text.
    source.write_bytes(page[: at - 1] + bytes([13 + 2 * 5]) + page[at:])
    with pytest.raises(Refusal, match=r"users\.id, rowid 1"):
        convert(source, tmp_path / "new.db")
    convert(source, tmp_path / "new.db", as_blobs=True)
    with opened(tmp_path / "new.db") as connection:
        assert connection.execute("SELECT id FROM users").fetchone() == (bytes.fromhex("6100620063"),)


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("sql || ' /* ' || CAST(x'00d8' AS TEXT) || ' */'", "view 'v'"),
        ("sql || CAST(x'00d8' AS TEXT)", r"malformed database schema \(v\)"),
    ],
)
def test_a_schema_that_is_not_valid_utf_16_is_refused(sql: str, found: str, tmp_path: Path) -> None:
    source = make(
        tmp_path / "game.db",
        "CREATE TABLE users (id)",
        "CREATE VIEW v AS SELECT 1",
        "PRAGMA writable_schema=ON",
        f"UPDATE sqlite_master SET sql = {sql} WHERE name = 'v'",
    )
    with pytest.raises(Refusal, match=found):
        convert(source, tmp_path / "new.db")
    assert os.listdir(tmp_path) == ["game.db"]  # noqa: PTH208


CARRIED = {
    "a null where none may be": (
        "CREATE TABLE t (a)",
        "INSERT INTO t VALUES (NULL)",
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_master SET sql = 'CREATE TABLE t (a NOT NULL)'",
    ),
    "a broken check": (
        "PRAGMA ignore_check_constraints=ON",
        "CREATE TABLE t (a CHECK (a > 5))",
        "INSERT INTO t VALUES (1)",
    ),
    "a value of another type than a strict table's": (
        "CREATE TABLE t (a)",
        "INSERT INTO t VALUES ('text')",
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_master SET sql = 'CREATE TABLE t (a INTEGER) STRICT'",
    ),
    "a text where the affinity would make a number": (
        "CREATE TABLE t (a)",
        "INSERT INTO t VALUES ('12')",
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_master SET sql = 'CREATE TABLE t (a INTEGER)'",
    ),
    "a key that is missing": (
        "CREATE TABLE t (a REFERENCES u (b))",
        "CREATE TABLE u (b PRIMARY KEY)",
        "INSERT INTO t VALUES (5)",
    ),
    "a module that is not here": (
        "CREATE TABLE t (a)",
        "PRAGMA writable_schema=ON",
        "INSERT INTO sqlite_master VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING nowhere(a)')",
    ),
    "a collation that is not here": ("CREATE TABLE t (a COLLATE dan)", "INSERT INTO t VALUES ('9단'), ('가')"),
    "a function that is not here": (
        "CREATE TABLE t (a CHECK (dan(a) <> ''), b AS (dan(a)), c AS (dan(a)) STORED, d DEFAULT (dan(1)))",
        "CREATE VIEW v AS SELECT dan(a) FROM t",
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT dan(1); END",
        "INSERT INTO t(a, d) VALUES (9, 8)",
    ),
    "a stored column that looks at a text's bytes": (
        "CREATE TABLE t (a TEXT, b AS (hex(a)) STORED)",
        "INSERT INTO t VALUES ('x')",
    ),
    "a view alone": ("CREATE VIEW v AS SELECT '가'",),
    "nothing": ("CREATE TABLE t (a)", "DROP TABLE t"),
    "statements that break out": (
        'CREATE TABLE "t""; DROP TABLE u; --" ("c"")" PRIMARY KEY, [select] UNIQUE, `x``y`) /* */',
        'INSERT INTO "t""; DROP TABLE u; --" VALUES (1, 2, 3)',
        'CREATE INDEX "i\'"" ON" ON "t""; DROP TABLE u; --" ("select" DESC)',
        'CREATE TRIGGER "g"";" BEFORE DELETE ON "t""; DROP TABLE u; --" BEGIN SELECT \'; END\'; END',
    ),
}


@pytest.mark.parametrize("statements", [pytest.param(made, id=name) for name, made in CARRIED.items()])
def test_what_no_insert_would_take_is_carried(statements: tuple[str, ...], tmp_path: Path) -> None:
    source = make(tmp_path / "game.db", *statements)
    convert(source, tmp_path / "new.db")
    with _with_all_functions():
        assert contents(tmp_path / "new.db") == contents(source)


@contextmanager
def _with_all_functions() -> Iterator[None]:
    """Have the reader's connections know the collation and the function that neither converter nor proof know."""
    connect = sqlite3.connect

    def connecting(*arguments: object, **options: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)  # type: ignore[call-overload]
        encoded_files.extend(connection)
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connecting)
        yield


NEEDED = {
    "an index by a collation": ("CREATE INDEX i ON t (a COLLATE dan)", "DROP INDEX i"),
    "an index by a function": ("CREATE INDEX i ON t (dan(a))", "DROP INDEX i"),
    "an index where a function says so": ("CREATE INDEX i ON t (a) WHERE dan(a) > 5", "DROP INDEX i"),
    "a unique column": ("CREATE TABLE u (a COLLATE dan UNIQUE)", None),
    "a primary key": ("CREATE TABLE u (a COLLATE dan PRIMARY KEY) WITHOUT ROWID", None),
    "a column that is generated and not null": (
        "ALTER TABLE t ADD COLUMN b NOT NULL AS (dan(a))",
        "ALTER TABLE t DROP COLUMN b",
    ),
    "a column that is generated from a text's bytes": (
        "ALTER TABLE t ADD COLUMN b AS (hex(a))",
        "ALTER TABLE t DROP COLUMN b",
    ),
}


@pytest.mark.parametrize(("made", "mended"), [pytest.param(*one, id=name) for name, one in NEEDED.items()])
def test_what_can_not_be_made_here_is_refused_by_name_and_the_advice_holds(
    made: str, mended: str | None, tmp_path: Path
) -> None:
    source = make(tmp_path / "game.db", "CREATE TABLE t (a TEXT)", "INSERT INTO t VALUES ('9'), ('가')", made)
    before = state(tmp_path)
    with pytest.raises((Refusal, Failure), match=r"\bdan\b|t, rowid 1: b") as refused:
        convert(source, tmp_path / "new.db")
    assert state(tmp_path) == before
    if mended is None:
        assert "with a program that has it" in refused.value.do
        return
    assert "copy" in refused.value.do
    copy = tmp_path / "copy.db"
    with (
        closing(sqlite3.connect(source)) as connection,
        closing(sqlite3.connect(copy, isolation_level=None)) as mending,
    ):
        connection.backup(mending)
        mending.execute(mended)
    convert(copy, tmp_path / "new.db")
    assert contents(tmp_path / "new.db") == contents(copy)
    with opened(tmp_path / "new.db") as connection:
        if made.startswith("CREATE INDEX"):
            connection.execute(made)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


class At:
    """A progress that does something, once, when the bar `title` has begun."""

    def __init__(self, title: str, do: Callable[[], object]) -> None:
        self._title = title
        self._do = do

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        if title == self._title:
            self._do()
        yield lambda _more: None

    def say(self, line: str) -> None:
        """Print nothing: a printer for tests."""


@pytest.mark.parametrize("title", ["converting", "indexing", "proving"])
def test_a_source_that_is_written_to_meanwhile_is_refused(title: str, tmp_path: Path) -> None:
    source = make(tmp_path / "game.db", "PRAGMA journal_mode=WAL", "CREATE TABLE users (id)")
    with opened(source) as service, pytest.raises(Refusal, match="written to meanwhile"):
        convert(
            source, tmp_path / "new.db", progress=At(title, lambda: service.execute("INSERT INTO users VALUES (1)"))
        )
    assert not (tmp_path / "new.db").exists()


def test_a_name_that_is_taken_meanwhile_is_never_overwritten(tmp_path: Path) -> None:
    source, into = make(tmp_path / "game.db", "CREATE TABLE users (id)"), tmp_path / "new.db"
    with pytest.raises(Refusal, match="a name that is free"):
        convert(source, into, progress=At("proving", lambda: into.write_text("another's")))
    assert into.read_text() == "another's"


def test_what_lies_in_the_write_ahead_log_of_a_running_service_is_carried(tmp_path: Path) -> None:
    source = make(tmp_path / "game.db", "PRAGMA journal_mode=WAL", "CREATE TABLE users (id)")
    with opened(source) as service:
        service.execute("PRAGMA wal_autocheckpoint=0")
        service.execute("INSERT INTO users VALUES ('committed')")
        service.execute("BEGIN")
        service.execute("INSERT INTO users VALUES ('not committed')")
        convert(source, tmp_path / "new.db")
        service.execute("ROLLBACK")
        assert contents(tmp_path / "new.db") == contents(source)
    assert contents(tmp_path / "new.db")["rows of users"] == [[("rowid", b"1"), ("text", b"committed")]]


def convert_and_die(source: Path, into: Path, title: str, units: int) -> None:
    """For a process of its own."""
    convert(source, into, progress=DiesAt(title, units))


@pytest.mark.parametrize(("title", "units"), [("converting", 0), ("converting", 9), ("indexing", 2), ("proving", 9)])
def test_a_conversion_that_is_killed_leaves_nothing_under_the_new_name(title: str, units: int, tmp_path: Path) -> None:
    source, into = make(tmp_path / "game.db", *EVERYTHING), tmp_path / "new.db"
    before = source.read_bytes()
    process = FORK.Process(target=convert_and_die, args=(source, into, title, units))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not into.exists()
    assert source.read_bytes() == before
    convert(source, into)
    assert contents(into) == contents(source)
