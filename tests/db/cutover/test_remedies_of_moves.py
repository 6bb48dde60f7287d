"""Remedies of a move's checks, its undo and its end: each is followed, and the check or the command then passes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from db import environments, ops
from db.cutover import ending, hooks, preflight, services
from db.cutover.report import CheckMark
from db.environments import Hooks
from db.errors import Failure, Refusal
from db.ops import locks
from db.schema import migrate
from db.servers import Server
from db.servers.tools import Tool
from game.legacy import sqlite_values
from game.urls import LegacyUrl
from harness.cli.commands import transfers
from tests.db.cutover.cutover_world import World, quiet_world, run_cutover
from tests.remedies.scratch import matches
from tests.remedies.vocabulary import STATEMENT

Patch = pytest.MonkeyPatch
Entry = Callable[[World, Patch], Generator[World | None, str, None]]
CHECKS: dict[str, tuple[str, str, Entry]] = {}
"""By name: the check that refuses, its remedy, and a generator that makes the defect, and then does as it was told."""


def refused(check: str, template: str) -> Callable[[Entry], Entry]:
    """Enter a generator into the table; its name is the refusal in words."""

    def enter(entry: Entry) -> Entry:
        CHECKS[entry.__name__.replace("_", " ")] = (check, template, entry)
        return entry

    return enter


@pytest.fixture(scope="module")
def shared(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with quiet_world(server, tmp_path_factory.mktemp("remedies")) as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: Patch) -> None:
    """No services on trial: they take seconds, and none of these defects is theirs."""
    monkeypatch.setattr(services, "trial", lambda url: services.Ready("", 200, services.engine(url), "", "", 1, ""))


def finding(world: World, check: str) -> Any:
    return next(result for result in world.cutover(dry_run=True).checks if result.name == check)


def follow(remedy: str, world: World) -> None:
    """Run the SQL that the remedy prints."""
    with ops.connect(world.superuser.with_(dbname=world.owner.dbname)) as conn:
        conn.execute(" ".join(STATEMENT.findall(remedy)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every entry of the table, which is filled below."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", CHECKS)


def test_following_the_remedy_of_a_check_helps(name: str, shared: World, monkeypatch: Patch) -> None:
    check, template, entry = CHECKS[name]
    steps = entry(shared, monkeypatch)
    world = next(steps) or shared
    result = finding(world, check)
    try:
        assert result.mark is CheckMark.REFUSED, result
        assert matches(template, result.do), result.do
    finally:
        try:
            mended = steps.send(result.do)
        except StopIteration:
            mended = None
    assert finding(mended or shared, check).mark is CheckMark.OK
    for _ in steps:
        pass
    print(f"refusal: {name}: expected {result.expected}; found {result.found}")
    print(f"remedy:  {result.do}")
    print("was run: what it says, then invoke cutover --env test --dry-run")
    print("result:  the check passes")


@refused("exported variable", "unset {}")
def an_exported_pointer(world: World, monkeypatch: Patch) -> Generator[World | None, str, None]:
    monkeypatch.setenv("DATABASE_URL", "file:/elsewhere.db")
    yield None
    monkeypatch.delenv("DATABASE_URL")


@refused("pointer", "Correct the one that is wrong: `legacy` in {}, or this line, and restart the service.")
def a_pointer_to_another_file(world: World, _: Patch) -> Generator[World | None, str, None]:
    yield world.with_(legacy=LegacyUrl(world.before))
    yield world


@refused("pointer", "Have one line {}= there, with the URL that the service uses today.")
def no_line_of_the_pointer(world: World, _: Patch) -> Generator[World | None, str, None]:
    path = world.env.pointer.path
    text = path.read_text()
    path.write_text(text.replace("DATABASE_URL=", "#"))
    yield None
    path.write_text(text)


@refused(
    "hooks",
    "Name, in {}, the command that has each process of the service read its file: hooks = { restart = 'COMMAND' }",
)
def no_restart_hook(world: World, _: Patch) -> Generator[World | None, str, None]:
    yield world.with_(hooks=Hooks())
    yield world


@refused("hooks", 'List their private ports: services = ["http://HOST:PORT"]')
def no_services(world: World, _: Patch) -> Generator[World | None, str, None]:
    yield world.with_(services=())
    yield world


@refused("hook commands", "Correct that command.")
def a_hook_that_no_shell_reads(world: World, _: Patch) -> Generator[World | None, str, None]:
    yield world.with_(hooks=Hooks(restart="if true; then"))
    yield world


@refused("hook commands", "Correct its name, or install it. A relative path begins at this folder.")
def a_hook_that_is_missing(world: World, _: Patch) -> Generator[World | None, str, None]:
    yield world.with_(hooks=dataclasses.replace(world.env.hooks, deploy="no-such-program --now"))
    yield world.with_(hooks=dataclasses.replace(world.env.hooks, deploy="true"))


@refused("services", "Start the service there: it must read {} (SUDAMR_ENV_FILE). Or correct `services` in {}.")
def a_service_that_is_down(world: World, _: Patch) -> Generator[World | None, str, None]:
    yield world.with_(services=("http://127.0.0.1:1",))
    yield world


@refused(
    "server", "Name one database in both, in {}: what is loaded into the one would never be served from the other."
)
def two_databases(world: World, _: Patch) -> Generator[World | None, str, None]:
    yield world.with_(target=world.env.target.with_(dbname=world.server.maintenance.dbname))
    yield world


@refused("server", "Write a number, such as POOL_SIZE=10.")
def a_pool_without_a_number(world: World, _: Patch) -> Generator[World | None, str, None]:
    path = world.env.pointer.path
    text = path.read_text()
    path.write_text(text + "POOL_SIZE=ten\n")
    yield None
    path.write_text(text + "POOL_SIZE=10\n")
    yield None
    path.write_text(text)


def policy(world: World, **fields: Any) -> World:
    return world.with_(policy=dataclasses.replace(world.env.policy, **fields))


@refused("freeze", "Raise policy.freeze_budget_seconds to {}, if players can bear it, in {}.")
def a_freeze_past_its_budget(world: World, _: Patch) -> Generator[World | None, str, None]:
    remedy = yield policy(world, freeze_budget_seconds=1)
    yield policy(world, **raised(remedy))


def raised(remedy: str) -> dict[str, float]:
    """The field of the policy that the remedy names, with the value that it gives."""
    match = re.search(r"policy\.(\w+) to (\d+)", remedy)
    assert match is not None, remedy
    return {match[1]: float(match[2]) + 5 if "seconds" in match[1] else int(match[2])}


@refused(
    "players held",
    "Mend them in the legacy file, or raise policy.max_held to {} in {}: they can't play until someone decides. To list"
    " them all in a file, as `quarantine`: invoke transfer --env test --source {} --json NEW",
)
def a_player_who_would_be_held(world: World, _: Patch) -> Generator[World | None, str, None]:
    world.write_to_legacy(
        "CREATE TABLE kept AS SELECT rowid AS n, gold FROM users; UPDATE users SET gold = 'many' WHERE rowid = 1;"
    )
    remedy = yield policy(world, max_held=0)
    yield policy(world, **raised(remedy))
    world.write_to_legacy(
        "UPDATE users SET gold = (SELECT gold FROM kept WHERE n = 1) WHERE rowid = 1; DROP TABLE kept;"
    )


@refused("folder of snapshots", "Move that file away: a folder goes there.")
def a_file_where_snapshots_go(world: World, _: Patch) -> Generator[World | None, str, None]:
    file = world.folder / "in the way"
    file.write_text("")
    planted = world.with_(snapshots=dataclasses.replace(world.env.snapshots, folder=file))
    yield planted
    file.unlink()
    yield planted


@refused("file of the pointer", "Remove that folder, or move it away.")
def a_folder_where_the_lock_of_the_hooks_goes(world: World, _: Patch) -> Generator[World | None, str, None]:
    lock = hooks.lock_path(world.env)
    lock.unlink(missing_ok=True)
    lock.mkdir()
    yield None
    lock.rmdir()


@refused("writers of the legacy file", "Another process holds its write lock: find it (lsof {}) and stop it.")
def a_process_that_keeps_the_file_locked(world: World, monkeypatch: Patch) -> Generator[World | None, str, None]:
    monkeypatch.setattr(preflight, "FREE_SECONDS", 0.1)
    with closing(sqlite_values.connect(world.env.legacy.path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield None
        connection.execute("ROLLBACK")


@contextmanager
def session(world: World, statement: str, *parameters: object) -> Iterator[None]:
    with psycopg.connect(world.owner.conninfo, autocommit=True) as conn:
        conn.execute(statement.encode(), parameters)
        yield


@refused("lock", "Wait for it to end, or end it: {}")
def a_session_that_holds_the_lock(world: World, _: Patch) -> Generator[World | None, str, None]:
    with session(world, "select pg_advisory_lock(%s, %s)", locks.LOCK_CLASS, locks.RUN_LOCK):
        remedy = yield None
        follow(remedy, world)
        yield None


@refused("where the move stands", "Run as the owner: CREATE OR REPLACE TRIGGER {}")
def a_fence_with_a_hole(world: World, _: Patch) -> Generator[World | None, str, None]:
    with world.on_another_server() as other:
        migrate.migrate(other.owner, environment="test", service_role=other.env.target.user)
        with ops.connect(world.superuser.with_(dbname=other.owner.dbname)) as conn:
            conn.execute(f"alter table {other.owner.schema}.users disable trigger all".encode())
            conn.execute(f"drop trigger sudamr_fence on {other.owner.schema}.key_values".encode())
        remedy = yield other
        follow(remedy, other)
        yield other


@refused(
    "tables",
    "No move made these rows. Name an empty database in target and target_direct; or, if nobody needs them, empty this"
    " one: invoke transfer.cleanup --env {}",
)
def rows_that_no_move_made(world: World, monkeypatch: Patch) -> Generator[World | None, str, None]:
    with world.on_another_server() as other:
        migrate.migrate(other.owner, environment="test", service_role=other.env.target.user)
        with ops.connect(world.superuser.with_(dbname=other.owner.dbname)) as conn:
            schema = other.owner.schema
            conn.execute(
                f"alter table {schema}.key_values disable trigger all;"
                f" insert into {schema}.key_values (key, value, position) values ('a', 'b', 1);"
                f" alter table {schema}.key_values enable always trigger sudamr_fence".encode()
            )
        remedy = yield other
        assert "invoke transfer.cleanup --env test" in remedy
        monkeypatch.setattr(environments, "load", lambda _name: other.env)
        transfers.cleanup("test")
        yield other


@pytest.mark.parametrize("step", ["fence", "switch"])
def test_an_undo_opens_the_file_though_the_lock_of_the_hooks_cannot_be_opened(
    step: str, server: Server, tmp_path: Path
) -> None:
    with quiet_world(server, tmp_path) as world:
        assert world.dies("after", step, _cutover) == -9
        lock = hooks.lock_path(world.env)
        lock.unlink(missing_ok=True)
        lock.mkdir()
        if step == "fence":  # The pointer names the file still, so nothing is to be switched.
            world.cutover(abort=True)
            assert world.legacy_fence() == "open"
            return
        with pytest.raises(Failure) as stopped:
            world.cutover(abort=True)
        assert world.legacy_fence() == "open", "players can play"
        assert "Remove that folder" in stopped.value.do
        assert stopped.value.do.endswith("invoke cutover --env test --abort")
        lock.rmdir()
        world.cutover(abort=True)
        world.assert_same_as_before()


def _cutover(env: Any, **wish: Any) -> Any:
    return run_cutover(env, evidence=lambda _env: None, **wish)


def test_a_first_snapshot_that_fails_is_in_the_last_line_and_running_again_takes_it(
    server: Server, tmp_path: Path
) -> None:
    with quiet_world(server, tmp_path) as world:

        def tools(name: str) -> Tool:
            if world.phase() == "live":
                raise Refusal("pg_dump", "none", do="Install it.")
            return world.server.tool(name)

        with pytest.raises(Failure) as failed:
            world.cutover(tools=tools)
        assert failed.value.exit_code == 1
        assert failed.value.do == "The move is made. Install it. Then finish it: invoke cutover --env test"
        last = ending.ended(world.env, "failed")
        assert last.serves == "players play on Postgres"
        assert last.next == "invoke cutover --env test (takes the first snapshot of Postgres, and watches)"

        world.cutover()

        assert ending.ended(world.env, "live").next == "no move is under way; to go back: invoke rollback --env test"
