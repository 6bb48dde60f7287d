"""Every command with every schema that a URL may name: `public`, reserved words, capitals, 63 bytes.

An extension has a table, a view, a function and a type in the schema, as it may in `public`. They stay unchanged.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from db import environments, ops, snapshots
from db.console.progress import Silent
from db.environments import Environment
from db.errors import Refusal
from db.ops import fence
from db.samples import seed
from db.schema import migrate
from db.servers import Server
from db.snapshots import Side, postgres
from game.urls import PostgresUrl
from harness.cli.commands import environment_status, quarantine, transfers
from harness.cli.commands import snapshots as tasks
from tests.db.cutover.cutover_world import made

LONGEST = "Schema_" + "x" * 56
SCHEMAS = ("game", "public", "user", "Order", LONGEST)
SHARED = ("public", "Order", "_")
"""Schemas in which an extension has something."""

EXTENSION = """
create table {0}.theirs (id integer primary key, note text);
create view {0}.their_view as select * from {0}.theirs;
create function {0}.their_function() returns integer language sql as 'select 7';
create type {0}.their_type as enum ('a');
alter extension plpgsql add table {0}.theirs;
alter extension plpgsql add view {0}.their_view;
alter extension plpgsql add function {0}.their_function();
alter extension plpgsql add type {0}.their_type;
insert into {0}.theirs values (1, 'kept');
"""


def install_extension(server: Server, url: PostgresUrl) -> None:
    """Put members of an extension into the schema, by a superuser, as an operator installs one."""
    with psycopg.connect(server.maintenance.with_(dbname=url.dbname).conninfo, autocommit=True) as conn:
        schema = sql.Identifier(url.schema)
        if url.schema != "public":
            conn.execute(sql.SQL("create schema {} authorization {}").format(schema, sql.Identifier(url.user)))
        conn.execute(EXTENSION.format(schema.as_string(conn)).encode())


def assert_extension_untouched(server: Server, url: PostgresUrl) -> None:
    with psycopg.connect(server.maintenance.with_(dbname=url.dbname).conninfo) as conn:
        query = sql.SQL("select note, {0}.their_function() from {0}.their_view").format(sql.Identifier(url.schema))
        assert conn.execute(query).fetchall() == [("kept", 7)]


def give_public_away(server: Server, url: PostgresUrl) -> None:
    """Have a superuser own `public`, where anyone may create: as it is on a server that was upgraded from 14."""
    with psycopg.connect(server.maintenance.with_(dbname=url.dbname).conninfo, autocommit=True) as conn:
        conn.execute("alter schema public owner to current_user")
        conn.execute("grant usage, create on schema public to public")


def users(url: PostgresUrl, schema: str = "") -> int:
    with ops.connect(url) as conn:
        query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema or url.schema, "users"))
        row = conn.execute(query).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def development(server: Server, folder: Path, schema: str) -> Iterator[Environment]:
    """An environment of its own with a database that nothing was done to; environments.toml stands in the folder."""
    name = f"{server.mark}{secrets.token_hex(4)}"
    server.create_database(name)
    urls = {role: server.url(name, role).with_(schema=schema).as_text() for role in ("owner", "service")}
    folder.mkdir()
    (folder / "environments.toml").write_text(
        "[development]\n"
        f'legacy = "file:{folder}/game.db"\n'
        f'target = "{urls["service"]}"\n'
        f'target_direct = "{urls["owner"]}"\n'
        'pointer = { path = "service.env" }\n'
        'snapshots = { folder = "snapshots" }\n'
    )
    try:
        yield environments.load("development", folder / "environments.toml")
    finally:
        server.drop_database(name)


@pytest.fixture
def env(
    server: Server, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Environment]:
    """The environment of commands that are run in its folder, with the server's own pg_dump and pg_restore."""
    schema, extension = request.param
    with development(server, tmp_path / "one", schema) as env:
        monkeypatch.chdir(tmp_path / "one")
        monkeypatch.setattr(postgres, "installed", lambda _major: server.tool)
        if extension:
            install_extension(server, env.target_direct)
        yield env


def each(*schemas: str, shared: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Run a test with each schema, and with an extension in each of the shared ones."""
    cases = [(schema, False) for schema in schemas] + [(schema, True) for schema in shared]
    ids = [f"{schema[:8]}{'-shared' if extension else ''}" for schema, extension in cases]
    return pytest.mark.parametrize("env", cases, ids=ids, indirect=True)


@pytest.mark.plan(9)
@each(*SCHEMAS, shared=SHARED)
def test_every_command_but_a_move_works_in_it(
    env: Environment, server: Server, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    owner = env.target_direct
    ops.prepare(owner, env.name)
    migrated = migrate.migrate(owner, environment=env.name, service_role=env.target.user)
    assert migrated.applied
    assert migrate.drift(owner) == []
    assert migrate.migrate(owner, environment=env.name, service_role=env.target.user).applied == []
    seed.seed_legacy(env.legacy.path, 5)
    assert seed.seed_postgres(owner, env.name, 4).bytes > 0
    assert environment_status.status(env).values["schema"] == migrated.head

    taken = Path(str(tasks.run(env, "take", "target", "")["snapshot"]))
    assert tasks.run(env, "verify", str(taken), "")["users"] == 4
    with pytest.raises(Refusal, match=r"no schema .*, or an empty one; found one with"):
        tasks.run(env, "restore", str(taken), "")
    seed.empty_postgres(owner, env.name)
    done = tasks.run(env, "restore", str(taken), "", replace=True)
    assert users(owner) == 4
    assert users(owner, str(done["replaced"]).rpartition(" ")[2]) == 0
    assert users(env.target) == 4
    assert migrate.drift(owner) == []

    seed.empty_postgres(owner, env.name)
    copy = tmp_path / "copy.db"
    wish = transfers.TransferOptions(env.name, env.legacy.path, into=copy, back=True, max_held=None, postgres=None)
    assert transfers.run(wish, Silent()).equal
    assert quarantine.find(env.name).values
    transfers.cleanup(env.name)
    assert users(owner) == 0
    if "shared" in request.node.name:
        assert_extension_untouched(server, owner)


@each("public", shared=("public",))
def test_in_a_public_that_another_role_owns(env: Environment, server: Server) -> None:
    owner = env.target_direct
    give_public_away(server, owner)
    ops.prepare(owner, env.name)
    migrate.migrate(owner, environment=env.name, service_role=env.target.user)
    seed.seed_postgres(owner, env.name, 4)
    taken = snapshots.take_verified(env, Side.TARGET, tools=server.tool)

    aside = snapshots.restore(env, taken, keep_fence=True, replace=True, tools=server.tool)

    assert (users(env.target), users(owner, aside)) == (4, 4)
    assert migrate.drift(owner) == []


@each("game", "public", "Order")
def test_a_snapshot_is_restored_into_a_new_database(env: Environment, server: Server, tmp_path: Path) -> None:
    ops.prepare(env.target_direct, env.name)
    migrate.migrate(env.target_direct, environment=env.name, service_role=env.target.user)
    seed.seed_postgres(env.target_direct, env.name, 4)
    taken = snapshots.take_verified(env, Side.TARGET, tools=server.tool)

    with development(server, tmp_path / "two", env.target.schema) as new:
        ops.prepare(new.target_direct, new.name)
        tasks.run(new, "restore", str(taken.folder), "", unfence=True)

        assert users(new.target) == 4
        assert migrate.migrate(new.target_direct, environment=new.name, service_role=new.target.user).applied == []
        assert migrate.drift(new.target_direct) == []
        with ops.connect(new.target) as conn:
            assert fence.state(conn) == "open"


@each("game", "public", shared=("public", "order"))
def test_a_restore_that_is_refused_leaves_what_was_there(env: Environment, server: Server) -> None:
    owner = env.target_direct
    ops.prepare(owner, env.name)
    migrate.migrate(owner, environment=env.name, service_role=env.target.user)
    seed.seed_postgres(owner, env.name, 4)
    with ops.connect(owner) as conn:  # No revision makes the view.
        conn.execute("create function ops.gone() returns integer language sql as 'select 1'")
        conn.execute("create view stray as select ops.gone() as one")
    taken = snapshots.take(env, Side.TARGET, tools=server.tool)
    with ops.connect(owner) as conn:
        conn.execute(b"drop view stray; drop function ops.gone()")

    with pytest.raises(Refusal, match="a dump of what revision"):
        snapshots.restore(env, taken, keep_fence=True, replace=True, tools=server.tool)

    assert users(env.target) == 4
    assert migrate.drift(owner) == []
    with ops.connect(owner) as conn:
        left = conn.execute("select nspname from pg_namespace where nspname like 'replaced%'").fetchall()
    assert left == []


@each("game", "public")
def test_a_snapshot_of_another_schema_is_verified_and_not_restored(env: Environment, server: Server) -> None:
    ops.prepare(env.target_direct, env.name)
    migrate.migrate(env.target_direct, environment=env.name, service_role=env.target.user)
    taken = snapshots.take(env, Side.TARGET, tools=server.tool)
    other = Environment(**{**vars(env), "target_direct": env.target_direct.with_(schema="another")})

    assert snapshots.verify(other, taken, tools=server.tool)["users"] == 0
    with pytest.raises(Refusal, match=f"of the schema another; found one of the schema {env.target.schema}"):
        snapshots.restore(other, taken, keep_fence=True, replace=True, tools=server.tool)


@pytest.mark.parametrize("schema", ["public", LONGEST], ids=["public-shared", "63 bytes"])
def test_a_game_moves_there_and_back_and_there_again(server: Server, tmp_path: Path, schema: str) -> None:
    with made(server, tmp_path) as plain:
        env = plain.env
        world = plain.with_(
            target=env.target.with_(schema=schema), target_direct=env.target_direct.with_(schema=schema)
        )
        if schema != LONGEST:
            install_extension(server, world.owner)
        assert world.cutover(dry_run=True)
        assert world.cutover().verdict == "live"
        world.assert_whole_on_postgres()
        first = world.act(0, "on-postgres").json()

        report = world.rollback()

        assert report.verdict == "returned"
        assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")
        assert world.act(0, "on-postgres").json() == {"outcome": first["outcome"], "replayed": True}
        assert users(world.owner, f"rolled_back_{report.run}") == 10
        assert world.postgres_refuses()
        assert world.cutover().verdict == "live"
        assert world.act(0, "on-postgres").json()["replayed"] is True
        kept = snapshots.find(world.env.snapshots.folder, "test", side=Side.TARGET)
        assert [(snapshots.is_verified(snapshot), snapshot.players) for snapshot in kept if snapshot.players] == [
            (True, 10)
        ] * 2
        assert environment_status.status(world.env).values["phase"].startswith("live")
        if schema != LONGEST:
            assert_extension_untouched(server, world.owner)
