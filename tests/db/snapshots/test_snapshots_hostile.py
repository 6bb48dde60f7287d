"""Hostile snapshots are refused, or carried without what is hostile; a restore that fails anywhere changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import errors

from db import ops, snapshots
from db.environments import Environment
from db.ops import fence
from db.schema import migrate
from db.servers import Server
from db.snapshots import Side, Snapshot, dump
from tests.db.snapshots.forging import forged
from tests.fixtures import figures
from tests.fixtures.figures import Ended
from tests.fixtures.hostile_json import refusal_of

MOST_MB = 200
"""For one restore or verification of any of these, by the process that runs it; its imports take half of that."""

WRITES_OPS = "update ops.environment set name = 'taken'; update ops.phase set phase = 'returned'"


STATE = """
select 'schema', n.nspname || ' ' || coalesce(n.nspacl::text, '') from pg_namespace n
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
union all select 'relation', c.oid::regclass::text || ' ' || coalesce(c.relacl::text, '') from pg_class c
    join pg_namespace n on n.oid = c.relnamespace where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
union all select 'function', p.oid::regprocedure::text from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
union all select 'trigger', format('%s %s %s', tgrelid::regclass, tgname, tgenabled) from pg_trigger
    where not tgisinternal
union all select 'event trigger', evtname from pg_event_trigger
union all select 'environment', e::text from ops.environment e
union all select 'phase', f::text from ops.phase f
union all select 'fence', f.schema || f.state from ops.fence f
union all select 'pass', f::text from ops.fence_passes f
union all select 'revision', f.schema || f.revision || f.sha256 from ops.revisions f
union all select 'player', u::text from users u
order by 1, 2
"""


def state(env: Environment) -> list[Any]:
    """All that a restore could change in the database."""
    with ops.connect(env.target_direct) as conn:
        return conn.execute(STATE).fetchall()


def taken(env: Environment, server: Server, *statements: str) -> Snapshot:
    """A snapshot of the database after these statements."""
    with ops.connect(env.target_direct) as conn:
        for statement in statements:
            conn.execute(statement.encode())
    return snapshots.take(env, Side.TARGET, tools=server.tool)


def restored(kind: str, env: Environment, server: Server, snapshot: Snapshot, *, keep_fence: bool = False) -> Ended:
    """Restore the snapshot in a process of its own, in bounded memory."""
    ended = figures.measured(f"restore: {kind}", _restore, env, snapshot, server.handle(), keep_fence)
    assert ended.mb < MOST_MB, ended
    return ended


def verified(kind: str, env: Environment, server: Server, snapshot: Snapshot) -> Ended:
    """Verify the snapshot in a process of its own, in bounded memory."""
    ended = figures.measured(f"verify: {kind}", _verify, env, snapshot, server.handle())
    assert ended.mb < MOST_MB, ended
    return ended


def _restore(env: Environment, snapshot: Snapshot, handle: str, keep_fence: bool) -> None:
    snapshots.restore(env, snapshot, keep_fence=keep_fence, replace=True, tools=Server.attach(handle).tool)


def _verify(env: Environment, snapshot: Snapshot, handle: str) -> None:
    snapshots.verify(env, snapshot, tools=Server.attach(handle).tool)


FUNCTION = f"create function game.evil() returns boolean language plpgsql as $$ begin {WRITES_OPS}; return true; end $$"
AS_TRIGGER = (
    f"create function game.evil() returns trigger language plpgsql as $$ begin {WRITES_OPS}; return new; end $$"
)
FOREIGN: dict[str, tuple[str, ...]] = {
    "a function": (FUNCTION,),
    "a check with a function": (FUNCTION, "alter table game.users add check (game.evil()) not valid"),
    "a check of no function, not valid": ("alter table game.users add constraint odd check (gold >= 0) not valid",),
    "a default with a function": (
        FUNCTION,
        "alter table game.users add column evil boolean",
        "alter table game.users alter column evil set default game.evil()",
    ),
    "a trigger": (
        AS_TRIGGER,
        "create trigger evil after insert on game.users for each row execute function game.evil()",
    ),
    "a trigger with our function": (
        "create trigger evil before update on game.users for each statement execute function ops.refuse_fenced()",
    ),
    "a rule": ("create rule evil as on insert to game.users do also delete from ops.phase",),
    "a view": ("create view game.evil as select * from ops.fence_passes",),
    "a materialized view": ("create materialized view game.evil as select 1 as one",),
    "a policy": ("create policy evil on game.users using (true)", "alter table game.users enable row level security"),
    "an index with a function": (
        "create function game.evil(text) returns text language sql immutable as $$ select $1 $$",
        "create index evil on game.users (game.evil(id))",
    ),
    "an index": ("create index evil on game.users (gold)",),
    "a table": ("create table game.evil (id text)",),
    "a column": ("alter table game.users add column evil text",),
    "a column fewer": ("alter table game.quarantine drop column reason",),
    "a sequence": ("create sequence game.evil",),
    "a type": ("create type game.evil as enum ('one')",),
    "a domain": ("create domain game.evil as text check (value <> '')",),
    "an aggregate": ("create aggregate game.evil (integer) (sfunc = int4pl, stype = integer, initcond = '0')",),
    "an operator": ("create operator game.=== (leftarg = integer, rightarg = integer, function = int4eq)",),
    "statistics": ("create statistics game.evil on id, gold from game.users",),
    "a collation": ('create collation game.evil (locale = "C")',),
    "a search configuration": ("create text search configuration game.evil (copy = pg_catalog.simple)",),
    "a child of a table": ("create table game.evil () inherits (game.users)",),
    "a name with a line break": ('create table game."evil\n; drop schema ops cascade; --" (id text)',),
    "a name with a quote": ("""create table game."evil"" (id) FROM stdin;" (id text)""",),
}
"""Schemas that no revision makes: named, and nothing of them is ever run."""


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_no_revision_makes_is_refused_by_name_and_nothing_is_changed(
    env: Environment, server: Server, kind: str
) -> None:
    taken_snapshot = taken(env, server, *FOREIGN[kind])
    before = state(env)

    for act in (restored, verified):
        ended = act(kind, env, server, taken_snapshot)
        assert (ended.outcome, "a dump of what revision" in ended.error) == ("refused", True), ended
        assert "\n" not in ended.found
        assert any(word in ended.error for word in ("evil", "odd", "quarantine", "===")), ended
    assert state(env) == before
    assert not snapshots.is_verified(taken_snapshot)


def test_once_the_manual_changes_are_taken_back_another_is_taken(env: Environment, server: Server) -> None:
    taken_snapshot = taken(env, server, FUNCTION)
    error = refusal_of(lambda: snapshots.verify(env, taken_snapshot, tools=server.tool))
    assert error is not None
    assert "take the manual changes back" in error.do

    other = taken(env, server, "drop function game.evil()")

    snapshots.verify(env, other, tools=server.tool)
    snapshots.restore(env, other, keep_fence=False, replace=True, tools=server.tool)


CARRIED: dict[str, tuple[str, ...]] = {
    "another default": ("alter table game.users alter column gold set default 1000000",),
    "another check": ("alter table game.users add constraint users_gold_check2 check (gold < 0 or gold >= 0)",),
    "rights for others": ("grant all on game.users to public", "grant all on schema game to public"),
    "default rights": ("alter default privileges in schema game grant all on tables to public",),
    "a fence that is off": ("alter table game.users disable trigger sudamr_fence",),
    "storage": ("alter table game.users set (fillfactor = 50)",),
}
"""Parts that a table of contents does not show, or that are never taken from a dump."""


@pytest.mark.parametrize("kind", CARRIED)
def test_of_a_table_that_we_know_the_rows_alone_are_taken(env: Environment, server: Server, kind: str) -> None:
    taken_snapshot = taken(env, server, *CARRIED[kind])

    assert verified(kind, env, server, taken_snapshot).outcome == "carried"
    assert restored(kind, env, server, taken_snapshot, keep_fence=True).outcome == "carried"

    assert migrate.drift(env.target_direct) == []
    with ops.connect(env.target_direct) as conn:
        assert fence.state(conn) == "fenced"
        public = (
            "select has_schema_privilege('public', 'game', 'usage') or has_table_privilege('public', 'users', 'insert')"
        )
        assert conn.execute(public).fetchone() == (False,)
        assert conn.execute("select count(*) from users").fetchone() == (2,)


def dumped(env: Environment, server: Server, *options: str) -> bytes:
    """A dump by pg_dump with these options."""
    return bytes(server.tool("pg_dump").run(options, env.target_direct, capture_output=True, check=True).stdout)


def in_place_of(old: bytes, new: bytes) -> Callable[[Environment, Server, bytes], bytes]:
    """The dump with one text of its table of contents replaced by another of the same length."""

    def change(_env: Environment, _server: Server, data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new.ljust(len(old)))

    return change


SEARCH_PATH = b"SELECT pg_catalog.set_config('search_path', '', false);\n"
ARCHIVES: dict[str, Callable[[Environment, Server, bytes], bytes]] = {
    "what COPY runs": in_place_of(b"COPY game.users (", b"DELETE FROM ops."),
    "rows into ops": in_place_of(b"COPY game.users (", b"COPY ops.phase  ("),
    "the search path": in_place_of(SEARCH_PATH, b"DELETE FROM ops.phase;\n"),
    "a comment of two lines": in_place_of(SEARCH_PATH, b"-- no harm\nDELETE FROM ops.phase;\n"),
    "the encoding": in_place_of(b"SET client_encoding = 'UTF8';", b"SET client_encoding = 'BIG5';"),
    "rows as statements": lambda e, s, _: dumped(e, s, "--format=custom", '--schema="game"', "--inserts"),
    "the whole database": lambda e, s, _: dumped(e, s, "--format=custom"),
    "the schema ops": lambda e, s, _: dumped(e, s, "--format=custom", "--schema=ops"),
    "plain SQL": lambda e, s, _: dumped(e, s, "--format=plain", '--schema="game"'),
    "plain SQL that acts": lambda *_: b"\\! touch /tmp/sudamr-was-here\nDROP SCHEMA ops CASCADE;\n",
    # In its rows: of 18's pg_dump, without compression, the last two fifths hold none.
    "cut off": lambda _e, _s, data: data[: len(data) // 2],
    "cut off in its head": lambda _e, _s, data: data[:40],
    "nothing": lambda *_: b"",
    "noise": lambda *_: bytes(range(256)) * 64,
    "a head and noise": lambda _e, _s, data: data[:100] + b"\xff" * 5000,
    "no schema at all": lambda e, s, _: dumped(e, s, "--format=custom", "--data-only", "--table=game.users"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_that_was_made_by_another_hand_changes_nothing(env: Environment, server: Server, kind: str) -> None:
    taken_snapshot = taken(env, server)
    taken_snapshot = forged(taken_snapshot, ARCHIVES[kind](env, server, taken_snapshot.path.read_bytes()))
    before = state(env)

    ended = restored(kind, env, server, taken_snapshot)

    assert ended.outcome == "refused", ended
    assert "\n" not in ended.found
    assert state(env) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"counts": {"users": 1}}, "1 rows in users; found more"),
        ({"schema": "0001"}, "revision 0001 makes, and nothing else"),
        ({"schema": "9999"}, "one of 9999"),
        ({"schema": ""}, "one of none"),
        ({"source": "file:game.db"}, "one whose manifest names none"),
        ({"source": "\n"}, "one whose manifest names none"),
        ({"source": "postgresql://a@b/c?schema=ops"}, "one whose manifest names none"),
        ({"environment": "production"}, "one of production"),
    ],
)
def test_a_manifest_that_says_otherwise_than_its_dump_changes_nothing(
    env: Environment, server: Server, changes: dict[str, Any], words: str
) -> None:
    taken_snapshot = taken(env, server)
    if "counts" in changes:
        changes = {"counts": {**taken_snapshot.manifest.counts, **changes["counts"]}}
    taken_snapshot = forged(taken_snapshot, **changes)
    before = state(env)

    ended = restored(f"a manifest: {words}", env, server, taken_snapshot)

    assert ended.outcome == "refused", ended
    assert words in ended.error
    assert state(env) == before


def test_an_error_that_is_not_of_the_rows_says_nothing_against_a_dump() -> None:
    of_rows = [
        errors.CharacterNotInRepertoire,
        errors.CheckViolation,
        errors.StatementTooComplex,
        errors.RaiseException,
    ]
    others = [errors.DiskFull, errors.QueryCanceled, errors.AdminShutdown, errors.InsufficientPrivilege]
    assert [dump.is_of_the_rows(kind()) for kind in (*of_rows, *others)] == [True] * 4 + [False] * 4


CONSTRAINTS = """
do $$ declare one record; begin
    for one in select conrelid::regclass::text as of, quote_ident(conname) as name from pg_constraint
        where connamespace = 'game'::regnamespace and contype in ('c', 'f')
    loop execute format('alter table %s drop constraint %s', one.of, one.name); end loop;
end $$
"""
BROKEN = {
    "a reference to nobody": "delete from game.users where id = (select user_id from game.user_inventory limit 1)",
    "a value that a check refuses": "update game.users set gold = -5",
    "two revisions": "insert into game.alembic_version values ('0001')",
    "no revision": "delete from game.alembic_version",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_rows_that_no_game_could_have_are_not_restored(env: Environment, server: Server, kind: str) -> None:
    sound = taken(env, server)
    broken = dumped_after(env, server, CONSTRAINTS, BROKEN[kind])
    counts = {
        name: count - (name == "users" and kind.startswith("a reference"))
        for name, count in sound.manifest.counts.items()
    }
    counts["alembic_version"] += {"two revisions": 1, "no revision": -1}.get(kind, 0)
    taken_snapshot = forged(sound, broken, counts=counts)
    before = state(env)

    ended = restored(kind, env, server, taken_snapshot)

    assert ended.outcome == "refused", ended
    assert "\n" not in ended.found
    assert state(env) == before


def dumped_after(env: Environment, server: Server, *statements: str) -> bytes:
    with ops.connect(env.target_direct) as conn:
        for statement in statements:
            conn.execute(statement.encode())
    return dumped(env, server, "--format=custom", '--schema="game"')


class Stopped(BaseException):
    """Neither a fault of the database nor one that anything expects."""


def stopping(monkeypatch: pytest.MonkeyPatch, at: int | None) -> list[str]:
    """Have the statement of this number raise; every statement is noted."""
    execute, queries = psycopg.Connection.execute, []

    def counted(self: psycopg.Connection[Any], query: Any, *arguments: Any, **named: Any) -> Any:
        queries.append(str(query))
        if at is not None and len(queries) == at:
            raise Stopped(queries[-1])
        return execute(self, query, *arguments, **named)

    monkeypatch.setattr(psycopg.Connection, "execute", counted)
    return queries


def test_a_restore_that_fails_at_any_statement_leaves_all_as_it_was(
    env: Environment, server: Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    taken_snapshot = taken(env, server)
    with monkeypatch.context() as patch:
        queries = stopping(patch, None)
        snapshots.restore(env, taken_snapshot, keep_fence=False, replace=True, tools=server.tool)
    before, last = state(env), len(queries)
    begun = next(n for n, one in enumerate(queries, 1) if "create schema" in one)
    release = next(n for n, one in enumerate(queries, 1) if "delete from ops.lock_holder where" in one)
    every = range(begun, release)
    chosen = every if request.config.getoption("--exhaustive") else [*every[::9], *every[-12::2]]
    assert last > begun

    for at in chosen:
        with monkeypatch.context() as patch:
            stopping(patch, at)
            with pytest.raises(Stopped):
                snapshots.restore(env, taken_snapshot, keep_fence=False, replace=True, tools=server.tool)
        assert state(env) == before, queries[at - 1]
