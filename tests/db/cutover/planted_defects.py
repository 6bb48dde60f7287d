"""Defects of an environment that the checks of a move must find, by name: how each is planted."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import shutil
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import psycopg
import pytest

from db import ops
from db.cutover import hooks, places, preflight
from db.environments import Environment, Hooks, Pointer
from db.errors import Refusal
from db.ops import locks
from db.schema import migrate
from db.snapshots.tools import installed
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values
from game.legacy.fence_schema import Owner
from game.urls import LegacyUrl
from tests.db.cutover.cutover_world import World, wait_until

Planted = tuple[World, dict[str, Any]]
"""A world with a defect, and what is given to the run."""
Plant = Callable[[World, pytest.MonkeyPatch], AbstractContextManager[Planted]]
TRIALS = ("a service on the legacy file", "a service on Postgres")
DEFECTS: dict[str, tuple[str, Plant]] = {}
ON_THE_WAY_BACK: dict[str, tuple[str, Plant]] = {}


def changes(check: str, name: str, to: Callable[[World], dict[str, Any]], *tables: dict[str, Any]) -> None:
    """A defect of the environment's section."""

    @contextmanager
    def plant(world: World, _: pytest.MonkeyPatch) -> Iterator[Planted]:
        yield world.with_(**to(world)), {}

    for table in tables or (DEFECTS,):
        table[name] = (check, plant)


def given(check: str, name: str, wish: Callable[[World], dict[str, Any]], *tables: dict[str, Any]) -> None:
    """A defect of what the run is given."""

    @contextmanager
    def plant(world: World, _: pytest.MonkeyPatch) -> Iterator[Planted]:
        yield world, wish(world)

    for table in tables or (DEFECTS,):
        table[name] = (check, plant)


def defect(check: str, name: str, *tables: dict[str, Any]) -> Callable[[Callable[..., Iterator[Any]]], None]:
    """A defect that is planted and taken back; it yields None, or a world."""

    def decorate(plant: Callable[..., Iterator[Any]]) -> None:
        @contextmanager
        def planted(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Planted]:
            planting = plant(world, monkeypatch)
            other = next(planting)
            try:
                yield other or world, {}
            finally:  # Taken back after a test that failed too: the world is shared.
                next(planting, None)

        for table in tables or (DEFECTS,):
            table[name] = (check, planted)

    return decorate


BOTH = (DEFECTS, ON_THE_WAY_BACK)


def policy(world: World, **fields: Any) -> dict[str, Any]:
    return {"policy": dataclasses.replace(world.env.policy, **fields)}


def made_file(world: World, name: str, text: str) -> LegacyUrl:
    (world.folder / name).write_text(text)
    return LegacyUrl(world.folder / name)


def no_evidence(env: Environment) -> None:
    raise Refusal("a certificate of a gate that passed", "none", do="invoke gate")


def no_token(env: Environment) -> None:
    raise Refusal("the OPERATOR_TOKEN that the service takes", "another: 401")


changes("legacy file", "no legacy file", lambda w: {"legacy": LegacyUrl(w.folder / "none.db")})
changes("legacy file", "an empty legacy file", lambda w: {"legacy": made_file(w, "empty.db", "")})
changes("legacy file", "a legacy file of another kind", lambda w: {"legacy": made_file(w, "text.db", "no database")})
changes("pointer", "a pointer to another file", lambda w: {"legacy": LegacyUrl(w.before)})
changes("pointer", "no line of the pointer", lambda w: {"pointer": Pointer(w.env.pointer.path, "STORE")}, *BOTH)
changes("file of the pointer", "no file of the pointer", lambda w: {"pointer": Pointer(w.folder / "x.env")}, *BOTH)
changes("hooks", "no restart hook", lambda w: {"hooks": Hooks()}, *BOTH)
changes("hooks", "no services", lambda w: {"services": ()}, *BOTH)
changes("hook commands", "a hook that is no shell", lambda _: {"hooks": Hooks(restart="if true; then")}, *BOTH)
changes("hook commands", "a hook that is missing", lambda _: {"hooks": Hooks(restart="x=1 ./no-such-hook now")}, *BOTH)
changes(
    "hook commands",
    "a program that is missing",
    lambda w: {"hooks": Hooks(restart=w.env.hooks.restart, deploy="no-such-program --now")},
    *BOTH,
)
changes("services", "a service that is down", lambda _: {"services": ("http://127.0.0.1:1",)})
changes("server", "a server that is away", lambda w: {"target_direct": w.env.target_direct.with_(port=1)})
changes("server", "a service's URL that is away", lambda w: {"target": w.env.target.with_(port=1)}, *BOTH)
changes("server", "two databases", lambda w: {"target": w.env.target.with_(dbname=w.server.maintenance.dbname)}, *BOTH)
changes("server", "another environment's database", lambda _: {"name": "staging"}, *BOTH)
changes("freeze", "a freeze past its budget", lambda w: policy(w, freeze_budget_seconds=1))
changes(
    "folder of snapshots",
    "snapshots beneath a file",
    lambda w: {"snapshots": dataclasses.replace(w.env.snapshots, folder=w.before / "snapshots")},
)
given("certificate", "no certificate", lambda _: {"evidence": no_evidence})
given("smoke", "a token that the service does not take", lambda _: {"demands": (("smoke", no_token),)}, *BOTH)
given("tools", "a pg_dump that is too old", lambda _: {"tools": installed(99)})


@defect("exported variable", "an exported pointer", *BOTH)
def _exported(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DATABASE_URL", "file:/elsewhere.db")
    yield


@defect("a service on the legacy file", "a service that can't start", *BOTH)
def _no_start(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("POOL_SIZE", "none")
    yield


@defect("room", "no room", *BOTH)
def _no_room(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(places, "RUN_BYTES", 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 10**9 - 1000, 1000))
    yield


@defect("room of the server", "no room on the server's disk", *BOTH)
def _no_room_of_the_server(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    disk, usage, elsewhere = world.folder / "disk", namedtuple("usage", "total used free"), shutil.disk_usage
    disk.mkdir()
    monkeypatch.setattr(preflight, "_data_folder", lambda _connection, _url: [disk])
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000) if path == disk else elsewhere(path)
    )
    yield
    disk.rmdir()


@defect("folder of the legacy file", "a legacy file that this user may not write", *BOTH)
def _not_to_be_written(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    file, access = world.env.legacy.path.resolve(), os.access  # As root every file may be written.

    def may(path: Any, mode: int, **options: Any) -> bool:
        return (path, mode) != (file, os.W_OK) and access(path, mode, **options)

    monkeypatch.setattr(os, "access", may)
    yield


@defect("folder of the runs", "a file where the runs go", *BOTH)
def _runs(world: World, _: pytest.MonkeyPatch) -> Iterator[None]:
    moved = world.folder / "runs.kept"
    if world.runs.exists():
        world.runs.rename(moved)
    world.runs.write_text("")
    yield
    world.runs.unlink()
    if moved.exists():
        moved.rename(world.runs)


@defect("file of the pointer", "a folder where the hooks' lock goes", *BOTH)
def _hook_lock(world: World, _: pytest.MonkeyPatch) -> Iterator[None]:
    lock = hooks.lock_path(world.env)
    lock.unlink(missing_ok=True)
    lock.mkdir()
    yield
    lock.rmdir()


@defect("no hook of another run", "a hook of a run that died", *BOTH)
def _orphan(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hooks, "ORPHAN_SECONDS", 0.1)
    lock = hooks.lock_path(world.env)
    with lock.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    lock.unlink()


@defect("fence of the legacy file", "another database's fence")
def _fenced(world: World, _: pytest.MonkeyPatch) -> Iterator[None]:
    with closing(sqlite_values.connect(world.env.legacy.path)) as connection:
        legacy_fence.raise_fence(connection, owner=Owner("another", "another/1"))
    yield
    world.lift_legacy()


@defect("writers of the legacy file", "a process that keeps the file locked", *BOTH)
def _locked(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(preflight, "FREE_SECONDS", 0.1)
    with closing(sqlite_values.connect(world.env.legacy.path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def written(check: str, name: str, plant: str, back: str) -> None:
    """A defect that somebody writes to the legacy file."""

    @defect(check, name)
    def _written(world: World, _: pytest.MonkeyPatch) -> Iterator[None]:
        world.write_to_legacy(plant)
        yield
        world.write_to_legacy(back)


written(
    "players held",
    "a player who would be held",
    "CREATE TABLE kept AS SELECT rowid AS n, gold FROM users; UPDATE users SET gold = 'many' WHERE rowid = 1;",
    "UPDATE users SET gold = (SELECT gold FROM kept WHERE n = 1) WHERE rowid = 1; DROP TABLE kept;",
)
written(
    "legacy file",
    "a name that the fence takes",
    "CREATE TABLE sudamr_fence_of_mine (x);",
    "DROP TABLE sudamr_fence_of_mine;",
)
written(
    "legacy file",
    "a journal that is none of ours",
    "CREATE TABLE sudamr_action_receipts (x);",
    "DROP TABLE sudamr_action_receipts;",
)


def locked(check: str, name: str, key: int, *tables: dict[str, Any]) -> None:
    @defect(check, name, *tables)
    def _advisory(world: World, _: pytest.MonkeyPatch) -> Iterator[None]:
        with ops.connect(world.owner) as conn:
            conn.execute("SELECT pg_advisory_lock(%s, %s)", (locks.LOCK_CLASS, key))
            yield


locked("lock", "another run", locks.RUN_LOCK, *BOTH)
locked("lock", "a migration under way", locks.MIGRATION_LOCK, *BOTH)
locked("lock", "a transfer under way", locks.TRANSFER_LOCK, *BOTH)
NOTES = "create table {schema}.notes (x int); alter table {schema}.notes owner to {owner}"


def on_target(check: str, name: str, *, migrated: bool, statement: str) -> None:
    """A defect of a target of its own."""

    @defect(check, name)
    def _on_target(world: World, _: pytest.MonkeyPatch) -> Iterator[World]:
        with world.on_another_server() as other:
            if migrated:
                migrate.migrate(other.owner, environment="test", service_role=other.env.target.user)
            names = {"db": other.owner.dbname, "owner": other.owner.user, "schema": other.owner.schema}
            names |= {"service": other.env.target.user}
            with ops.connect(world.superuser.with_(dbname=other.owner.dbname)) as conn:
                conn.execute(statement.format(**names))
            yield other


on_target(
    "tables",
    "a foreign table",
    migrated=False,
    statement=f"create schema if not exists {{schema}} authorization {{owner}}; {NOTES}",
)
on_target(
    "rights",
    "a role that may not make the schema",
    migrated=False,
    statement='drop schema if exists {schema} cascade; revoke create on database "{db}" from {owner}',
)
on_target(
    "rights",
    "a schema of another role",
    migrated=False,
    statement="create schema if not exists {schema}; alter schema {schema} owner to current_user;"
    " revoke all on schema {schema} from {owner}, public",
)
on_target(
    "rights", "a table of another role", migrated=True, statement="alter table {schema}.users owner to current_user"
)
on_target(
    "server",
    "a server that takes no writes",
    migrated=False,
    statement='alter database "{db}" set default_transaction_read_only = on',
)
on_target(
    "tables",
    "a revision that is not known",
    migrated=True,
    statement="update {schema}.alembic_version set version_num = 'zzzz'",
)
on_target(
    "tables", "a revision that was edited", migrated=True, statement="update ops.revisions set sha256 = 'another'"
)
on_target("tables", "drift", migrated=True, statement="alter table {schema}.users add column notes text")
on_target(
    "tables",
    "a foreign table beside ours",
    migrated=True,
    statement="create table {schema}.notes (x int); alter table {schema}.notes owner to {owner}",
)
on_target(
    "where the move stands",
    "a fence with a hole",
    migrated=True,
    statement="alter table {schema}.users disable trigger all",
)
on_target("server", "a database of an older version", migrated=False, statement="drop table ops.proven")
on_target(
    "tables",
    "somebody's rows",
    migrated=True,
    statement="set session_replication_role = replica; alter table {schema}.key_values disable trigger all;"
    " insert into {schema}.key_values (key, value, position) values ('a', 'b', 1);"
    " alter table {schema}.key_values enable always trigger sudamr_fence",
)


on_target(
    "a service on Postgres",
    "a service that may not read the schema's head",
    migrated=True,
    statement="revoke all on {schema}.alembic_version from {service}",
)


@defect("transactions", "a transaction that keeps a table")
def _transaction(world: World, _: pytest.MonkeyPatch) -> Iterator[World]:
    with world.on_another_server() as other:
        migrate.migrate(other.owner, environment="test", service_role=other.env.target.user)
        with keeping(other.owner.conninfo):
            yield other


@contextmanager
def keeping(conninfo: str) -> Iterator[None]:
    with psycopg.connect(conninfo, application_name="a forgotten session") as conn:
        conn.execute("lock table users in row exclusive mode")
        old = "SELECT clock_timestamp() > now() + interval '1.1 s'"
        wait_until(lambda: conn.execute(old).fetchone() == (True,))
        yield
        conn.rollback()
