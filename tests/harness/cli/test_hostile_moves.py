"""A legacy file that was made to harm is refused by a cutover, or carried there and back; `status` answers."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from db.cutover.report import RunReport
from db.environments import Environment, Policy
from db.legacy.comparison import compare_files
from db.servers import Server
from db.transfer import check
from game.errors import StoreUnavailable
from game.legacy.store import LegacyStore
from harness.cli.commands import cutovers, environment_status
from harness.load import scripts
from harness.rehearsal import setup
from tests.db.cutover.cutover_world import World, proven, quiet_smoke, quiet_world, run_cutover, run_rollback
from tests.db.legacy import hostile_child, hostile_files
from tests.db.legacy.hostile_kind import Hostile
from tests.db.legacy.test_hostile_files import MOST_MB, MOST_SECONDS, contents
from tests.fixtures import figures
from tests.fixtures.spawning import SPAWN
from tests.harness.history.playing import Client

DONE, REFUSED = 0, 2
ONE_OF_EACH_KIND = (
    "a trigger that loads a library",
    pytest.param("a pipe", marks=pytest.mark.core),  # `status` waited on it for ever.
    "a log of garbage",
    "documents: deep",
)

PLAYED, ASKED = 4, 3
"""Players who play on a copy of the file, and what each asks for."""

POLICY = Policy(freeze_budget_seconds=86_400, max_held=10**9, watch_seconds=0)
"""Refuses no file for how long it takes: that is not what is asked here."""

Lines = dict[str, dict[str, object]]


@pytest.mark.parametrize("hostile", hostile_files.ALL, ids=lambda hostile: hostile.name)
def test_a_move_refuses_a_hostile_file_or_carries_it_there_and_back(
    hostile: Hostile, server: Server, tmp_path: Path
) -> None:
    with _world(hostile, server, tmp_path) as world:
        _assert_refused_or_carried(hostile, world)


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_status_and_a_dry_run_change_nothing_of_a_hostile_file(name: str, server: Server, tmp_path: Path) -> None:
    (hostile,) = (one for one in hostile_files.ALL if one.name == name)
    with _world(hostile, server, tmp_path) as world:
        before = contents(tmp_path)
        ended = _run(world, ["status", "dry run"])
        shown = json.dumps(list(ended.values()), indent=1, ensure_ascii=False)
        assert not [line["defect"] for line in ended.values() if line["defect"]], shown
        assert ended["status"]["code"] == DONE, shown
        assert ended["dry run"]["code"] == (REFUSED if hostile.end == "refused" else DONE), shown
        kept = _kept(before, tmp_path)
        assert kept["game.db"] == before["game.db"]
        assert hostile.end == "carried" or kept == before  # SQLite itself clears a log that is none.
        assert world.phase() == "empty"


def _assert_refused_or_carried(hostile: Hostile, world: World) -> None:
    before = contents(world.folder)
    ended = _run(world, list(COMMANDS))
    shown = json.dumps(list(ended.values()), indent=1, ensure_ascii=False)
    mb = max(int(str(line["mb"])) for line in ended.values())
    seconds = sum(float(str(line["seconds"])) for line in ended.values())
    figures.show(f"move: {hostile.name}", "refused" if ended["cutover"]["code"] else "carried", mb, seconds)
    assert not [line["defect"] for line in ended.values() if line["defect"]], shown
    assert mb < MOST_MB, shown
    codes = {name: line["code"] for name, line in ended.items()}
    assert codes["status"] == DONE, shown
    if hostile.end == "refused":
        assert {codes[name] for name in ("rehearse", "dry run", "cutover")} == {REFUSED}, shown
        assert _kept(before, world.folder) == before
        assert world.phase() == "empty"
        return
    assert set(codes.values()) == {DONE}, shown
    assert (world.phase(), world.legacy_fence()) == ("returned", "open")
    assert compare_files(world.before, world.env.legacy.path) == []


@contextmanager
def _world(hostile: Hostile, server: Server, folder: Path) -> Iterator[World]:
    """A game whose legacy file is the hostile one; `before` is a second one, made alike."""
    with quiet_world(server, folder) as quiet:
        hostile.write(quiet.env.legacy.path)
        before = quiet.before
        if hostile.end == "carried":
            (folder / "again").mkdir()
            before = hostile.write(folder / "again" / "game.db")
            # A log that is none makes SQLite report the mode of a log until somebody who may write opens the file.
            with closing(sqlite3.connect(before)) as connection:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        yield dataclasses.replace(quiet.with_(policy=POLICY), before=before)


def _kept(before: dict[str, bytes | None], folder: Path) -> dict[str, bytes | None]:
    return {name: content for name, content in contents(folder).items() if name in before}


def _status(env: Environment, _server: Server) -> None:
    assert environment_status.status(env).rows


def _rehearse(env: Environment, _server: Server) -> None:
    """Read the file as a rehearsal does before it starts a service: the check, the copy, the players' plans.

    Some of the plans are carried out on the copy, and the history checker judges what was answered.
    """
    check(env.legacy.path)
    copy = env.legacy.path.with_name("rehearsed.db")
    setup.copy(env.legacy.path, copy)
    planned = scripts.read(copy, players=80, seed=1)
    with closing(LegacyStore(copy)) as store:
        client = Client(store, *planned)
        for player in list(planned)[:PLAYED]:
            for place, asked in enumerate(planned[player][:ASKED]):
                with suppress(StoreUnavailable):  # A trigger of the file's may refuse: then nobody learns more.
                    client.ask(f"r{place}", asked, player=player)
        judged = client.judged()
    assert judged.violations == () or _writes_players(copy)
    assert judged.violations or not _writes_players(copy) or not judged.figures.receipts
    assert judged.figures.requests or not planned


def _writes_players(file: Path) -> bool:
    """Return True if a trigger of the file's changes players: no command gave that, and the history checker says so."""
    query = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%UPDATE users%'"
    with closing(sqlite3.connect(file)) as connection:
        return bool(connection.execute(query).fetchone()[0])


def _dry_run(env: Environment, server: Server) -> None:
    _end(run_cutover(env, evidence=proven, **_config(env, server, dry_run=True)))


def _cutover(env: Environment, server: Server) -> None:
    _end(run_cutover(env, evidence=proven, **_config(env, server)))


def _rollback(env: Environment, server: Server) -> None:
    _end(run_rollback(env, **_config(env, server)))


COMMANDS: dict[str, Callable[[Environment, Server], None]] = {
    "status": _status,
    "rehearse": _rehearse,
    "dry run": _dry_run,
    "cutover": _cutover,
    "rollback": _rollback,
}


def _config(env: Environment, server: Server, **wish: object) -> dict[str, object]:
    return {"smoke": quiet_smoke, "tools": server.tool, "folder": env.legacy.path.parent / "runs", **wish}


def _end(report: RunReport) -> None:
    if code := cutovers.exit_code(report):
        raise SystemExit(code)


def _run(world: World, names: list[str]) -> Lines:
    """Run the commands in a process of their own, so that its peak of memory is theirs; `rollback` after a cutover."""
    receiver, sender = SPAWN.Pipe(duplex=False)
    given = (sender, dict(os.environ), world.env, world.server.handle(), names)
    process = SPAWN.Process(target=_child, args=given)
    process.start()
    sender.close()
    try:
        assert receiver.poll(MOST_SECONDS), f"no end within {MOST_SECONDS} seconds"
        lines: Lines = receiver.recv()
    finally:
        process.kill()
        process.join()
    return lines


def _child(sender: Connection, environ: dict[str, str], env: Environment, handle: str, names: list[str]) -> None:
    os.environ.clear()
    os.environ.update(environ)
    server = Server.attach(handle)
    lines: Lines = {}
    for name in names:
        if name == "rollback" and lines["cutover"]["code"]:
            break
        lines[name] = hostile_child.run(name, lambda act=COMMANDS[name]: act(env, server))  # type: ignore[misc]
    sender.send(lines)
