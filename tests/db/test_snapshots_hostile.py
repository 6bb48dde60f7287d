"""Hostile snapshots are refused, or carried without what is hostile; a restore that fails anywhere changes nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from db import environments, fence, migrate, ops, seed, snapshots
from db.environments import Environment, SnapshotPlan
from db.errors import Refusal, ToolError
from db.ops import Phase
from db.servers import Server
from db.signing import SIGNING_KEY
from db.snapshots import Label, Side, Snapshot, manifest
from db.snapshots.manifest import MANIFEST, VERIFIED, Manifest
from game.legacy import cells
from game.legacy import fence as legacy_fence
from harness.databases import Database
from harness.gate import certificate
from harness.moves import snapshots as moves
from tests.fixtures.hostile_json import HOSTILE, refusal_of, with_value

KEY = "a key that nobody will guess"
WRITES_OPS = "update ops.environment set name = 'taken'; update ops.phase set phase = 'returned'"


@pytest.fixture
def env(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An open database of two players, which players play on."""
    monkeypatch.delenv(SIGNING_KEY, raising=False)
    monkeypatch.chdir(tmp_path)  # No .env.
    seed.seed_postgres(database.owner, "test", 2)
    with ops.connect(database.owner) as conn:
        conn.execute("update ops.phase set phase = %s", (Phase.LIVE,))
    return environments.throwaway(
        owner=database.owner, service=database.service, legacy=tmp_path / "gone.db", folder=tmp_path,
        snapshots=SnapshotPlan(tmp_path / "snapshots"),
    )  # fmt: skip


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


def forged(found: Snapshot, data: bytes | None = None, **changes: Any) -> Snapshot:
    """The snapshot with other bytes or another manifest, whose digest fits; nobody signed it."""
    if data is not None:
        found.path.write_bytes(data)
    sizes = {"size": found.path.stat().st_size, "sha256": manifest.digest(found.path)}
    manifest.write(found.folder, dataclasses.replace(found.manifest, **{**sizes, **changes}), None)
    return snapshots.read(found.folder)


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
    found = taken(env, server, *FOREIGN[kind])
    before = state(env)

    for act in (
        lambda: snapshots.restore(env, found, keep_fence=False, replace=True, tools=server.tool),
        lambda: snapshots.verify(env, found, tools=server.tool),
    ):
        with pytest.raises(Refusal, match="a dump of what revision") as caught:
            act()
        assert "\n" not in caught.value.found
    assert any(word in str(caught.value) for word in ("evil", "odd", "quarantine", "===")), str(caught.value)
    assert state(env) == before
    assert not found.verified


def test_once_the_manual_changes_are_taken_back_another_is_taken(env: Environment, server: Server) -> None:
    found = taken(env, server, FUNCTION)
    error = refusal_of(lambda: snapshots.verify(env, found, tools=server.tool))
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
"""What a table of contents does not show, or what is never taken from a dump."""


@pytest.mark.parametrize("kind", CARRIED)
def test_of_a_table_that_we_know_the_rows_alone_are_taken(env: Environment, server: Server, kind: str) -> None:
    found = taken(env, server, *CARRIED[kind])

    snapshots.verify(env, found, tools=server.tool)
    snapshots.restore(env, found, keep_fence=True, replace=True, tools=server.tool)

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
    "cut off": lambda _e, _s, data: data[: len(data) * 3 // 4],
    "cut off in its head": lambda _e, _s, data: data[:40],
    "nothing": lambda *_: b"",
    "noise": lambda *_: bytes(range(256)) * 64,
    "a head and noise": lambda _e, _s, data: data[:100] + b"\xff" * 5000,
    "no schema at all": lambda e, s, _: dumped(e, s, "--format=custom", "--data-only", "--table=game.users"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_that_was_made_by_another_hand_changes_nothing(env: Environment, server: Server, kind: str) -> None:
    found = taken(env, server)
    found = forged(found, ARCHIVES[kind](env, server, found.path.read_bytes()))
    before = state(env)

    with pytest.raises(ToolError) as caught:
        snapshots.restore(env, found, keep_fence=False, replace=True, tools=server.tool)

    assert "\n" not in caught.value.found
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
    found = taken(env, server)
    if "counts" in changes:
        changes = {"counts": {**found.manifest.counts, **changes["counts"]}}
    found = forged(found, **changes)
    before = state(env)

    with pytest.raises(ToolError, match=words):
        snapshots.restore(env, found, keep_fence=False, replace=True, tools=server.tool)

    assert state(env) == before


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
    whole = taken(env, server)
    broken = dumped_after(env, server, CONSTRAINTS, BROKEN[kind])
    counts = {name: count - (name == "users" and kind.startswith("a reference")) for name, count in
              whole.manifest.counts.items()}  # fmt: skip
    counts["alembic_version"] += {"two revisions": 1, "no revision": -1}.get(kind, 0)
    found = forged(whole, broken, counts=counts)
    before = state(env)

    with pytest.raises(ToolError) as caught:
        snapshots.restore(env, found, keep_fence=False, replace=True, tools=server.tool)

    assert "\n" not in caught.value.found
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
    execute, said = psycopg.Connection.execute, []

    def counted(self: psycopg.Connection[Any], query: Any, *arguments: Any, **named: Any) -> Any:
        said.append(str(query))
        if at is not None and len(said) == at:
            raise Stopped(said[-1])
        return execute(self, query, *arguments, **named)

    monkeypatch.setattr(psycopg.Connection, "execute", counted)
    return said


def test_a_restore_that_fails_at_any_statement_leaves_all_as_it_was(
    env: Environment, server: Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    found = taken(env, server)
    with monkeypatch.context() as patch:
        said = stopping(patch, None)
        snapshots.restore(env, found, keep_fence=False, replace=True, tools=server.tool)
    before, last = state(env), len(said)
    begun = next(n for n, one in enumerate(said, 1) if "create schema" in one)
    release = next(n for n, one in enumerate(said, 1) if "delete from ops.lock_holder where" in one)
    every = range(begun, release)
    chosen = every if request.config.getoption("--exhaustive") else [*every[::9], *every[-12::2]]
    assert last > begun

    for at in chosen:
        with monkeypatch.context() as patch:
            stopping(patch, at)
            with pytest.raises(Stopped):
                snapshots.restore(env, found, keep_fence=False, replace=True, tools=server.tool)
        assert state(env) == before, said[at - 1]


def test_a_folder_that_can_not_be_read_is_named_until_it_is_moved_away(env: Environment, tmp_path: Path) -> None:
    seed.seed_legacy(env.legacy.path, 1, oddities=False)
    found = snapshots.take(env, Side.LEGACY)
    (found.folder / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(Refusal, match="levels deep") as caught:
        snapshots.find(env.snapshots.folder, env.name)
    assert str(found.folder) in caught.value.where
    assert "Move this folder out" in caught.value.do

    found.folder.rename(tmp_path / "elsewhere")

    assert snapshots.find(env.snapshots.folder, env.name) == []


BESIDE: dict[str, Callable[[Path, Path], object]] = {
    "verified.json a pipe": lambda folder, _: os.mkfifo(folder / VERIFIED),
    "verified.json a link": lambda folder, other: (folder / VERIFIED).symlink_to(other / "theirs"),
    "a scratch that is a link": lambda folder, other: (folder / ".verify-x").symlink_to(other),
    "a scratch that is a pipe": lambda folder, _: os.mkfifo(folder / ".verify-x"),
    "a partial that is a link": lambda folder, other: (folder.parent / "test-x.partial").symlink_to(other),
    "a partial that is a pipe": lambda folder, _: os.mkfifo(folder.parent / "test-x.partial"),
}


@pytest.mark.parametrize("thing", BESIDE)
def test_what_lies_beside_a_snapshot_is_neither_waited_for_nor_followed(
    env: Environment, tmp_path: Path, thing: str
) -> None:
    seed.seed_legacy(env.legacy.path, 1, oddities=False)
    found = snapshots.take(env, Side.LEGACY)
    other = tmp_path / "other"
    other.mkdir()
    (other / "theirs").write_text("theirs")
    BESIDE[thing](found.folder, other)

    assert not found.verified
    snapshots.verify(env, found)
    assert found.verified
    snapshots.take_verified(env, Side.LEGACY)

    assert (other / "theirs").read_text() == "theirs"


def test_a_note_of_another_file_verifies_nothing(env: Environment) -> None:
    seed.seed_legacy(env.legacy.path, 1, oddities=False)
    found = snapshots.take_verified(env, Side.LEGACY)
    for text in ("", "{}", '{"at": "now", "sha256": "' + "0" * 64 + '"}'):
        (found.folder / VERIFIED).write_text(text)
        assert not found.verified


class TestSigned:
    """A snapshot of staging, signed."""

    @pytest.fixture
    def staging(self, env: Environment, monkeypatch: pytest.MonkeyPatch) -> Environment:
        monkeypatch.setenv(SIGNING_KEY, KEY)
        seed.seed_legacy(env.legacy.path, 3, oddities=False)
        return dataclasses.replace(env, name="staging")

    @pytest.fixture
    def signed(self, staging: Environment) -> Snapshot:
        return snapshots.take_verified(staging, Side.LEGACY)

    def test_it_is_restored(self, staging: Environment, signed: Snapshot, tmp_path: Path) -> None:
        assert signed.manifest.signature
        snapshots.restore(staging, signed, keep_fence=False, into=tmp_path / "back.db")
        assert sorted(path.name for path in tmp_path.glob("*back*")) == ["back.db"]
        with pytest.raises(Refusal, match="--unsigned with an unsigned snapshot; found a signed one"):
            moves.run(staging, "verify", str(signed.folder), "", unsigned=True)
        assert moves.run(staging, "verify", str(signed.folder), "")["users"] == 3

    @pytest.mark.parametrize("field", [one.name for one in dataclasses.fields(Manifest) if one.name != "signature"])
    def test_whatever_of_the_manifest_is_changed_is_noticed(
        self, staging: Environment, signed: Snapshot, tmp_path: Path, field: str
    ) -> None:
        value = getattr(signed.manifest, field)
        others: dict[str, Any] = {
            "side": Side.TARGET, "label": Label.FINAL, "file": "game.dump", "taken_at": "2026-01-01T00:00:00+00:00",
            "sha256": "0" * 64, "counts": {**signed.manifest.counts, "users": 4}, "size": 1,
        }  # fmt: skip
        edited = dataclasses.replace(signed.manifest, **{field: others.get(field, f"{value}0")})
        if field in ("side", "file"):
            edited = dataclasses.replace(edited, side=Side.TARGET, file="game.dump")
            signed.path.rename(signed.folder / "game.dump")
        (signed.folder / MANIFEST).write_bytes(manifest._MANIFESTS.dump_json(edited))
        found = snapshots.read(signed.folder)
        staging = dataclasses.replace(staging, name=found.manifest.environment)

        with pytest.raises(Refusal, match="one that does not fit"):
            snapshots.restore(staging, found, keep_fence=False, into=tmp_path / "back.db", unsigned=True)
        with pytest.raises(Refusal, match="one that does not fit"):
            snapshots.verify(staging, found, unsigned=True)
        assert not (tmp_path / "back.db").exists()
        assert not snapshots.is_admitted(found)

    def test_one_without_a_signature_is_admitted_only_on_purpose(
        self, staging: Environment, signed: Snapshot, tmp_path: Path
    ) -> None:
        bare = forged(signed)
        with pytest.raises(Refusal, match="an unsigned one") as caught:
            snapshots.restore(staging, bare, keep_fence=False, into=tmp_path / "back.db")
        assert "--unsigned" in caught.value.do
        with pytest.raises(Refusal, match="an unsigned one"):
            snapshots.verify(staging, bare)

        snapshots.verify(staging, bare, unsigned=True)
        snapshots.restore(staging, bare, keep_fence=False, into=tmp_path / "back.db", unsigned=True)
        assert (tmp_path / "back.db").exists()

    @pytest.mark.parametrize(
        ("key", "words"),
        [(None, f"no {SIGNING_KEY} to check"), ("another key, as long as it should", "one that does not fit")],
    )
    def test_another_key_or_none_admits_nothing(
        self, staging: Environment, signed: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        key: str | None, words: str,
    ) -> None:  # fmt: skip
        monkeypatch.delenv(SIGNING_KEY)
        if key:
            monkeypatch.setenv(SIGNING_KEY, key)
        with pytest.raises(Refusal, match=words):
            snapshots.restore(staging, signed, keep_fence=False, into=tmp_path / "back.db", unsigned=True)
        monkeypatch.setenv(SIGNING_KEY, KEY)
        snapshots.restore(staging, signed, keep_fence=False, into=tmp_path / "back.db")

    def test_without_a_key_none_is_taken(self, staging: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(SIGNING_KEY)
        with pytest.raises(Refusal, match=f"{SIGNING_KEY}, with which a snapshot of staging is signed") as caught:
            snapshots.take(staging, Side.LEGACY)
        assert not staging.snapshots.folder.exists()
        assert SIGNING_KEY in caught.value.do
        monkeypatch.setenv(SIGNING_KEY, KEY)
        snapshots.take_verified(staging, Side.LEGACY)

    def test_forged_ones_push_none_of_ours_out(self, staging: Environment, signed: Snapshot) -> None:
        for number in range(staging.snapshots.keep + 1):
            copy = shutil.copytree(signed.folder, signed.folder.with_name(f"staging-legacy-manual-9999010{number}"))
            forged(snapshots.read(copy), taken_at=f"9999-01-0{number + 1}T00:00:00+00:00")

        for _ in range(staging.snapshots.keep - 1):
            snapshots.take_verified(staging, Side.LEGACY)

        assert signed.folder.is_dir()

    def test_a_certificate_s_signature_is_none_of_a_manifest(self, signed: Snapshot) -> None:
        fields = dataclasses.asdict(signed.manifest)
        del fields["signature"]
        other = certificate.signature(fields, {}, KEY)
        assert not dataclasses.replace(signed.manifest, signature=other).fits(KEY)


def a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    os.truncate(path, 1 << 30)


PLACES: dict[str, Callable[[Path], None]] = {
    "a link": a_link, "a pipe": a_pipe, "a folder": a_folder, "a device": a_device, "huge": huge, "gone": Path.unlink,
}  # fmt: skip


@pytest.mark.parametrize("which", ["manifest", "file"])
@pytest.mark.parametrize("place", PLACES)
def test_another_thing_in_place_of_a_snapshot_s_file_is_answered_in_one_line(
    env: Environment, tmp_path: Path, place: str, which: str
) -> None:
    seed.seed_legacy(env.legacy.path, 1, oddities=False)
    found = snapshots.take(env, Side.LEGACY)
    PLACES[place](found.folder / MANIFEST if which == "manifest" else found.path)

    with pytest.raises(ToolError) as caught:
        restored(env, found.folder, tmp_path / "back.db")

    assert "\n" not in caught.value.found
    assert not (tmp_path / "back.db").exists()


def restored(env: Environment, folder: Path, into: Path) -> None:
    """Read the snapshot in the folder and restore it."""
    snapshots.restore(env, snapshots.read(folder), keep_fence=False, into=into)


@pytest.mark.parametrize("name", ["../../game.db", "/etc/passwd", "game.dump", "manifest.json", "", ".", "\0", "x\n"])
def test_a_manifest_names_only_its_own_file(env: Environment, name: str) -> None:
    seed.seed_legacy(env.legacy.path, 1, oddities=False)
    found = snapshots.take(env, Side.LEGACY)
    path = found.folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"file": name}))

    with pytest.raises(Refusal, match="a snapshot w"):
        snapshots.read(found.folder)


@pytest.mark.parametrize("field", [*(one.name for one in dataclasses.fields(Manifest)), "counts.users", ""])
def test_whatever_stands_in_a_manifest_is_answered_in_one_line(env: Environment, tmp_path: Path, field: str) -> None:
    seed.seed_legacy(env.legacy.path, 1, oddities=False)
    found = snapshots.take(env, Side.LEGACY)
    path = found.folder / MANIFEST
    text = json.loads(path.read_text())
    for hostile in HOSTILE:
        path.write_text(with_value(text, tuple(filter(None, field.split("."))), hostile))
        error = refusal_of(partial(restored, env, found.folder, tmp_path / "back.db"))
        assert (tmp_path / "back.db").exists() == (error is None)
        assert error is None or (len(error.found) < 400 and "\n" not in error.found)
        (tmp_path / "back.db").unlink(missing_ok=True)


def damaged(statement: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executescript(statement)

    return damage


def fenced(path: Path) -> None:
    with closing(cells.connect(path)) as connection:
        legacy_fence.fence(connection)


def garbled(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size - size % 4096 - 4096 * 3)
        file.write(b"\xff" * 4096)


FILES: dict[str, Callable[[Path], None]] = {
    "no users": damaged("DROP TABLE users"),
    "a row fewer": damaged("DELETE FROM users WHERE rowid = 1"),
    "a table more": damaged("CREATE TABLE more (n)"),
    "a fence": fenced,
    "a schema that can't be read": damaged(
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_master VALUES ('view', 'v', 'v', 0, 'CREATE VIEW v AS SELEKT')"
    ),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 64) and None,
    "nothing": lambda path: path.write_bytes(b"") and None,
    "a garbled page": garbled,
}


@pytest.mark.parametrize("kind", FILES)
def test_a_legacy_file_that_is_not_what_was_taken_is_not_put_in_place(
    env: Environment, tmp_path: Path, kind: str
) -> None:
    seed.seed_legacy(env.legacy.path, 3, oddities=False)
    found = snapshots.take(env, Side.LEGACY)
    FILES[kind](found.path)
    found = forged(found)
    before = sorted(path.name for path in tmp_path.iterdir())

    for keep in (True, False):
        with pytest.raises(ToolError) as caught:
            snapshots.restore(env, found, keep_fence=keep, into=tmp_path / "back.db")
        assert "back.db." not in str(caught.value), "the partial copy is gone"
    assert sorted(path.name for path in tmp_path.iterdir()) == before
