"""Several revisions: applied at once and step by step, failing, edited, faulty, and beside a live service."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg import errors

from db import ops
from db.errors import Failure, Refusal, ToolError
from db.ops import fence
from db.schema import drift, migrate, revisions
from db.servers import Server
from game.errors import FENCE_SQLSTATE
from game.urls import PostgresUrl
from harness.databases import Database
from tests.fixtures.revisions import edit_within_a_second, history, write
from tests.fixtures.waiting import until

ENVIRONMENT = "test"
HEAD = revisions.read().head
SECOND, THIRD, FOURTH = (f"{int(HEAD) + n:04}" for n in (1, 2, 3))
COLUMN = "alter table users add column luck bigint default 0 not null"
FILLED = "update users set luck = 7 where luck = 0"
INDEX = "create index concurrently users_luck_idx on users (luck)"


@pytest.fixture(params=["game", "public", "Season_2's"])
def prepared(request: pytest.FixtureRequest, blank: PostgresUrl) -> PostgresUrl:
    ops.prepare(blank, ENVIRONMENT)
    return blank.with_(schema=request.param)


def run(url: PostgresUrl, folder: Path | None = None, **options: object) -> list[str]:
    made = revisions.read(*([folder] if folder else []))
    settings = {"environment": ENVIRONMENT, "service_role": None, "history": made, **options}
    return migrate.migrate(url, **settings).applied  # type: ignore[arg-type]  # a test names only what matters


def three(folder: Path) -> Path:
    write(folder, SECOND, COLUMN, FILLED)
    write(folder, THIRD, INDEX, outside=True)
    write(folder, FOURTH, "comment on column users.luck is '100%% : luck'")
    return folder


def digests(url: PostgresUrl) -> dict[str, str]:
    with ops.connect(url) as conn:
        rows = conn.execute("select revision, sha256 from ops.revisions where schema = %s", (url.schema,)).fetchall()
    return dict(rows)


def at(url: PostgresUrl) -> str | None:
    with ops.connect(url) as conn:
        return migrate.current(conn)


def lines(url: PostgresUrl, folder: Path) -> list[str]:
    with ops.connect(url) as conn:
        return drift.since(conn, url.schema, history(folder).revisions)


def test_three_on_top_of_the_head_are_applied_at_once(prepared: PostgresUrl, tmp_path: Path) -> None:
    folder = three(tmp_path / "more")
    assert run(prepared, folder) == [*(one.id for one in revisions.read().revisions), SECOND, THIRD, FOURTH]
    assert at(prepared) == FOURTH
    assert digests(prepared) == {one.id: one.digest for one in history(folder).revisions}
    assert lines(prepared, folder) == []
    assert run(prepared, folder) == []


def test_and_one_by_one_with_the_same_end(prepared: PostgresUrl, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    run(prepared)
    steps = ((SECOND, (COLUMN, FILLED), False), (THIRD, (INDEX,), True), (FOURTH, ("select 1",), False))
    for number, statements, outside in steps:
        write(folder, number, *statements, outside=outside)
        assert run(prepared, folder) == [number]
        assert at(prepared) == number
    assert digests(prepared) == {one.id: one.digest for one in history(folder).revisions}
    assert lines(prepared, folder) == []


def test_the_sql_of_a_dry_run_does_the_same(prepared: PostgresUrl, server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    write(folder, SECOND, COLUMN, FILLED)
    write(folder, THIRD, "alter table users add constraint users_luck_check check (luck::text not like '1%') not valid")
    text = migrate.migrate(prepared, environment=ENVIRONMENT, service_role=None, sql=True, history=history(folder)).sql
    # One text on one connection would be one transaction, in which no index is built concurrently.
    options = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
    done = server.tool("psql").run(options, prepared, input=text.encode(), capture_output=True, check=False)
    assert not done.returncode, done.stderr
    assert lines(prepared, folder) == []
    assert run(prepared, folder) == []


@pytest.mark.parametrize("first", [0, 1], ids=["fresh", "on a schema that stands"])
def test_one_that_fails_half_way_leaves_what_was_before_and_runs_again(
    blank: PostgresUrl, tmp_path: Path, first: int
) -> None:
    ops.prepare(blank, ENVIRONMENT)
    folder = tmp_path / "more"
    if first:
        run(blank)
    write(folder, SECOND, COLUMN)
    write(folder, THIRD, "alter table users add column wishes text", "create table omens (id text)")
    with ops.connect(blank) as conn:
        conn.execute("create schema if not exists game")
        conn.execute("create domain game.omens as text")  # In the way of the table; nothing can foresee it.
        if first:
            with pytest.raises(Refusal, match=r"unexpected: type omens"):
                run(blank, folder)
            conn.execute("drop domain game.omens")
            conn.execute("create domain public.anything as text")
            conn.execute("revoke create on schema game from current_user")
            with pytest.raises(Failure, match=f"revision {THIRD} to pass.*\n.*changed nothing; {SECOND} stays"):
                run(blank, folder)
            conn.execute("grant create on schema game to current_user")
        else:
            with pytest.raises(Failure, match=f"revision {THIRD} to pass.*\n.*changed nothing; .*{SECOND} stays"):
                run(blank, folder)
            conn.execute("drop domain game.omens")
        assert migrate.current(conn) == SECOND
        columns = conn.execute("select attname from pg_attribute where attrelid = 'users'::regclass").fetchall()
        assert ("luck",) in columns
        assert ("wishes",) not in columns
        assert set(digests(blank)) == {one.id for one in history(folder).revisions} - {THIRD}
        assert conn.execute("select count(*) from ops.fence_passes").fetchone() == (0,)
    assert run(blank, folder) == [THIRD]
    assert lines(blank, folder) == []


def test_one_that_can_not_pass_anywhere_changes_nothing_not_even_by_those_before_it(
    prepared: PostgresUrl, tmp_path: Path
) -> None:
    folder = tmp_path / "more"
    write(folder, SECOND, COLUMN)
    write(folder, THIRD, "alter table users add column luck bigint")
    with pytest.raises(Refusal, match=f'{THIRD}_what_it_does.py: .*column "luck".* already exists'):
        run(prepared, folder)
    assert at(prepared) is None


def test_one_that_was_edited_within_the_second_of_its_dry_run_is_applied_as_it_is_now(
    blank: PostgresUrl, tmp_path: Path
) -> None:
    ops.prepare(blank, ENVIRONMENT)
    folder = tmp_path / "more"
    write(folder, SECOND, COLUMN)
    assert run(blank, folder, sql=True)[-1] == SECOND
    path = folder / f"{SECOND}_what_it_does.py"
    edit_within_a_second(path, path.read_text().replace("luck", "fate"))
    run(blank, folder)
    with ops.connect(blank) as conn:
        columns = conn.execute("select attname from pg_attribute where attrelid = 'users'::regclass").fetchall()
    assert ("fate",) in columns
    assert ("luck",) not in columns


@pytest.mark.parametrize("number", [SECOND, THIRD, FOURTH])
def test_an_applied_revision_that_was_edited_is_refused_by_name(
    blank: PostgresUrl, tmp_path: Path, number: str
) -> None:
    ops.prepare(blank, ENVIRONMENT)
    folder = three(tmp_path / "more")
    run(blank, folder)
    path = folder / f"{number}_what_it_does.py"
    before = path.read_text()
    edit_within_a_second(path, before.replace("luck", "fate"))
    with pytest.raises(Refusal, match=f"revision {number} as it was applied; found other statements in {path.name}"):
        run(blank, folder)
    path.write_text(before)
    assert run(blank, folder) == []


def crlf(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def bom(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def blanks(path: Path) -> None:
    path.write_text(path.read_text().replace("alter table ", "alter\ttable  "))


@pytest.mark.parametrize("saved", [crlf, bom, blanks])
def test_how_an_editor_saves_a_file_is_no_edit(
    blank: PostgresUrl, tmp_path: Path, saved: Callable[[Path], None]
) -> None:
    ops.prepare(blank, ENVIRONMENT)
    folder = tmp_path / "more"
    path = write(folder, SECOND, COLUMN)
    run(blank, folder)
    saved(path)
    assert run(blank, folder) == []
    saved(write(folder, THIRD, FILLED))
    assert run(blank, folder) == [THIRD]


def broken(folder: Path, number: str, text: str | bytes, name: str = "what_it_does") -> None:
    path = write(folder, number)
    made = path.with_name(f"{number}_{name}.py")
    path.rename(made)
    made.write_bytes(text.encode() if isinstance(text, str) else text)


AT_FAULT: dict[str, tuple[Callable[[Path], object], str]] = {
    "a syntax error": (lambda f: broken(f, SECOND, "def upgrade(:\n"), r"_does\.py: .*SyntaxError: .*, line 1"),
    "no text": (lambda f: broken(f, SECOND, b"\0\xff"), r"_does\.py: .*Error"),
    "an import of nothing": (lambda f: broken(f, SECOND, "import nothing_there"), "ModuleNotFoundError"),
    "a file that ends the process": (lambda f: broken(f, SECOND, "raise SystemExit(0)"), "SystemExit"),
    "an empty file": (lambda f: broken(f, SECOND, ""), r"a function upgrade\(\)"),
    "another number within": (
        lambda f: write(f, SECOND).rename(f / f"{THIRD}_x.py"),
        f"revision = '{THIRD}'.*found '{SECOND}'",
    ),
    "another kind of name": (lambda f: write(f, SECOND).rename(f / "luck.py"), "named like 0002.*found luck.py"),
    "two heads": (lambda f: (write(f, SECOND), write(f, THIRD, parent=HEAD)), f"'{SECOND}': each.*found '{HEAD}'"),
    "one number twice": (
        lambda f: (write(f, SECOND).rename(f / f"{SECOND}_also.py"), write(f, SECOND)),
        f"one revision {SECOND}; found two: {SECOND}_also.py and {SECOND}_what",
    ),
    "a missing parent": (lambda f: write(f, THIRD), f"found '{SECOND}', of which there is no file"),
    "two beginnings": (lambda f: write(f, SECOND, parent=None), f"down_revision = '{HEAD}'.*found None"),
    "a database that is asked": (
        lambda f: broken(f, SECOND, write(f, SECOND).read_text() + "    op.get_bind().scalar('select 1')\n"),
        "renders its SQL without a database",
    ),
    "nothing written yet": (
        lambda f: broken(f, SECOND, write(f, SECOND).read_text() + "    raise NotImplementedError\n"),
        "NotImplementedError",
    ),
    "a commit of its own": (lambda f: write(f, SECOND, COLUMN, "commit"), "the statement commit"),
    "a commit hidden in another": (
        lambda f: write(f, SECOND, f"{COLUMN}; -- so\n COMMIT; select 1"),
        "the statement commit",
    ),
    "concurrently within": (lambda f: write(f, SECOND, INDEX), "CONCURRENTLY outside a transaction; found one within"),
    "two outside": (
        lambda f: broken(
            f, SECOND, write(f, SECOND, INDEX, outside=True).read_text() + f"        op.execute({COLUMN!r})\n"
        ),
        "alone in a revision.*found 2",
    ),
    "a table that is not there": (lambda f: write(f, SECOND, "drop table nowhere"), 'table "nowhere" does not exist'),
}


@pytest.mark.parametrize("fault", AT_FAULT)
@pytest.mark.parametrize("stands", [False, True], ids=["fresh", "on a schema that stands"])
def test_a_file_at_fault_is_refused_in_a_line_with_a_remedy(
    blank: PostgresUrl, tmp_path: Path, fault: str, *, stands: bool
) -> None:
    ops.prepare(blank, ENVIRONMENT)
    if stands:
        run(blank)
    make, message = AT_FAULT[fault]
    make(tmp_path)
    with pytest.raises(Refusal, match=message) as refused:
        run(blank, tmp_path)
    assert refused.value.do
    assert len(str(refused.value).splitlines()) == 2
    assert at(blank) == (HEAD if stands else None)


def test_a_word_of_a_transaction_in_a_text_or_a_function_is_none() -> None:
    bare = "do $$ begin perform 1; commit; end $$; insert into key_values (key) values ('commit; begin;')"
    assert not revisions.controls(bare)


def test_a_database_from_the_future_is_refused(blank: PostgresUrl, tmp_path: Path) -> None:
    ops.prepare(blank, ENVIRONMENT)
    run(blank, three(tmp_path / "more"))
    with pytest.raises(Refusal, match=f"found the revision {FOURTH}.*\n.*A newer version"):
        run(blank)
    assert at(blank) == FOURTH


def test_a_database_of_two_heads_is_refused(prepared: PostgresUrl) -> None:
    run(prepared)
    with ops.connect(prepared) as conn:
        conn.execute("insert into alembic_version values ('0777')")
    with pytest.raises(Refusal, match=f"one revision in alembic_version; found {HEAD}, 0777"):
        run(prepared)


def test_a_table_that_somebody_holds_is_waited_for_no_longer_than_allowed_and_named(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT_SECONDS", 1)
    write(tmp_path, SECOND, COLUMN)
    with ops.connect(database.owner, application="a report") as other, other.transaction():
        other.execute("lock table users in row exclusive mode")
        with pytest.raises(Refusal, match=f"revision {SECOND} within 1 s; found locked by a report .*\n.*run again"):
            run(database.owner, tmp_path)
    assert at(database.owner) == HEAD
    assert run(database.owner, tmp_path) == [SECOND]


def test_two_at_once_end_as_one(blank: PostgresUrl, tmp_path: Path) -> None:
    ops.prepare(blank, ENVIRONMENT)
    folder = three(tmp_path / "more")
    ends: list[list[str] | ToolError] = []

    def one() -> None:
        try:
            ends.append(run(blank, folder))
        except ToolError as error:
            ends.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, ends)) == sorted(["[]", str([one.id for one in history(folder).revisions])])


def test_where_players_play_a_new_table_is_open_and_where_they_do_not_it_is_fenced(
    database: Database, fenced_database: Database, tmp_path: Path
) -> None:
    wishes = (
        "create table user_wishes (id text primary key)",
        (
            "create trigger sudamr_fence before insert or update or delete or truncate on user_wishes"
            " for each statement execute function ops.refuse_fenced()"
        ),
        "alter table user_wishes enable always trigger sudamr_fence",
    )
    write(tmp_path, SECOND, *wishes, "insert into user_wishes values ('first')")
    for place in (database.owner, fenced_database.owner):
        run(place, tmp_path)
        with ops.connect(place) as conn:
            assert fence.inconsistent_tables(conn, fence.recorded_state(conn)) == ()
            assert conn.execute("select count(*) from user_wishes").fetchone() == (1,)
    with ops.connect(database.owner) as conn:
        conn.execute("insert into user_wishes values ('second')")
    with ops.connect(fenced_database.owner) as conn, pytest.raises(errors.DatabaseError) as refused:
        conn.execute("insert into user_wishes values ('second')")
    assert refused.value.sqlstate == FENCE_SQLSTATE


def test_an_index_waits_for_a_transaction_of_players_and_nobody_behind_it(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    write(folder, SECOND, COLUMN)
    run(database.owner, folder)
    write(folder, THIRD, INDEX, outside=True)
    done: list[list[str]] = []
    with ops.connect(database.service) as player, ops.connect(database.service) as other:
        with player.transaction():
            player.execute("insert into users (id) values ('hana')")
            thread = threading.Thread(target=lambda: done.append(run(database.owner, folder)))
            thread.start()
            until(lambda: [] if waits(other) else ["the index, which does not wait for the transaction yet"])
            other.execute("insert into users (id) values ('bora')")
            assert done == []
        thread.join()
    assert done == [[THIRD]]
    assert lines(database.owner, folder) == []


def waits(conn: ops.Connection) -> bool:
    return conn.execute(
        "select exists (select from pg_stat_progress_create_index where datname = current_database())"
    ).fetchone() == (True,)


def test_an_index_that_fails_leaves_none_and_one_that_a_killed_run_left_is_made_anew(
    database: Database, tmp_path: Path
) -> None:
    write(tmp_path, SECOND, "create unique index concurrently key_values_value_idx on key_values (value)", outside=True)
    with ops.connect(database.owner) as conn:
        conn.execute("insert into key_values (key, value) values ('a', 'same'), ('b', 'same')")
        with pytest.raises(Failure, match="could not create unique index"):
            run(database.owner, tmp_path)
        assert migrate.drift(database.owner) == []
        with pytest.raises(errors.UniqueViolation):
            conn.execute("create unique index concurrently key_values_value_idx on key_values (value)")
        conn.execute("update key_values set value = key")
    assert run(database.owner, tmp_path) == [SECOND]
    assert lines(database.owner, tmp_path) == []


def test_a_proven_copy_is_to_be_proven_again(fenced_database: Database, tmp_path: Path) -> None:
    write(tmp_path, SECOND, COLUMN)
    with ops.connect(fenced_database.owner) as conn:
        conn.execute("update ops.phase set phase = 'loading', run = 'r1'")
        conn.execute("insert into ops.proven (run) values ('r1')")
        run(fenced_database.owner)
        assert ops.is_proven(conn, "r1")
        run(fenced_database.owner, tmp_path)
        assert not ops.is_proven(conn, "r1")
