"""docs/cutover.md shows what is really printed, and its sample hooks work: a whole cutover and rollback run them.

`pytest --write-pages` writes what was printed into the page.
"""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from db.environments import Environment, Hooks
from db.errors import Undone
from harness.cli.commands import environment_status
from tests.db.cutover.cutover_world import World, run_cutover, run_rollback, wait_until, world

__all__ = ["world"]

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "cutover.md"
HOOKS = ROOT / "docs" / "hooks"
LEFT_OUT = ("settings", "certificate", "snapshots")
"""Rows whose values are paths, dates and digests."""

NAMES = ("deploy", "drain", "restart", "health")
BLOCK = re.compile(r"```text ([a-z-]+)\n(.*?)```\n", re.DOTALL)
RUN = re.compile(r"\d{8}_\d{6}_[0-9a-f]{4}")


def test_status_is_printed_in_each_phase_as_the_page_shows(world: World, pytestconfig: pytest.Config) -> None:
    hooked = with_sample_hooks(world)
    shown = {"before": status(hooked)}
    assert hooked.dies("after", "copy", run_cutover) == -signal.SIGKILL
    shown["read-only"] = status(hooked)
    hooked.cutover(abort=True)
    shown["aborted"] = status(hooked)
    hooked.cutover()
    shown["live"] = status(hooked)
    assert hooked.dies("after", "fence Postgres", run_rollback) == -signal.SIGKILL
    shown["going-back"] = status(hooked)
    hooked.rollback()
    shown["returned"] = status(hooked)

    page = PAGE.read_text()
    if pytestconfig.getoption("--write-pages"):
        PAGE.write_text(BLOCK.sub(lambda block: f"```text {block[1]}\n{shown[block[1]]}```\n", page))
        return
    assert dict(BLOCK.findall(page)) == shown
    log = hooked.journals()
    assert [name for name in ("deploy", "drain", "restart") if f'"step": "{name}"' not in log] == []


def test_a_sample_of_each_hook_is_there_and_the_shell_reads_it() -> None:
    assert sorted(path.name for path in HOOKS.iterdir()) == sorted(f"{name}.sh" for name in NAMES)
    for name in NAMES:
        path = HOOKS / f"{name}.sh"
        assert os.access(path, os.X_OK), name
        subprocess.run(["/bin/sh", "-n", str(path)], check=True)
        assert f"[{name}.sh](hooks/{name}.sh)" in PAGE.read_text()


def test_the_sample_of_health_fails_where_a_page_does_not_answer(world: World) -> None:
    assert run("health", HEALTH_URLS=f"{world.env.services[0]}/readyz").returncode == 0
    assert "does not answer 200" in run("health", HEALTH_URLS="http://127.0.0.1:1/").stderr
    assert "HEALTH_URLS: is not set" in run("health").stderr


def test_a_breach_of_the_sample_of_health_ends_the_watch(world: World) -> None:
    sick = with_sample_hooks(world, HEALTH_URLS="http://127.0.0.1:1/")
    policy = dataclasses.replace(world.env.policy, watch_seconds=0.1, on_breach="rollback")

    with pytest.raises(Undone, match="does not answer 200"):
        sick.with_(policy=policy).cutover()


def test_the_sample_of_drain_waits_until_the_worker_has_flushed(tmp_path: Path) -> None:
    pidfile, flushed = tmp_path / "pid", tmp_path / "flushed"
    code = (
        "import pathlib, signal, sys\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(flushed)!r}).touch(), sys.exit()))\n"
        f"pathlib.Path({str(pidfile)!r}).write_text(str(__import__('os').getpid()))\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as worker:
        reaper = threading.Thread(target=worker.wait)  # A process that nobody waits for still has its id.
        reaper.start()
        wait_until(lambda: pidfile.exists() and pidfile.read_text() != "")
        done = run("drain", WORKER_PIDFILE=str(pidfile))
        reaper.join()

    assert (done.returncode, flushed.exists()) == (0, True), done.stderr
    assert run("drain", WORKER_PIDFILE=str(pidfile)).returncode == 0  # Once more, after a kill of the run.
    assert run("drain").stdout == "nothing to drain\n"


def test_the_sample_of_deploy_brings_the_file_to_each_machine(tmp_path: Path) -> None:
    env_file = tmp_path / "service.env"
    env_file.write_text("DATABASE_URL=file:game.db\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, line in (("scp", 'echo "$3" >> $LOG; cp "$2" "$ENV_FILE.new"'), ("ssh", 'shift; "$@"')):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)

    done = run(
        "deploy",
        ENV_FILE=str(env_file),
        ENGINE="legacy",
        SERVICE_HOSTS="app1 app2",
        LOG=str(tmp_path / "log"),
        PATH=f"{programs}:{os.environ['PATH']}",
    )

    assert done.stdout == "app1 has the file for legacy\napp2 has the file for legacy\n", done.stderr
    assert (tmp_path / "log").read_text() == f"app1:{env_file}.new\napp2:{env_file}.new\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "log", "service.env"]


def test_the_sample_of_restart_says_when_no_supervisor_runs(tmp_path: Path) -> None:
    env_file = tmp_path / "service.env"
    env_file.write_text(f"PIDFILE={tmp_path}/none\n")

    done = run("restart", ENV_FILE=str(env_file))

    assert done.returncode == 1
    assert done.stdout.startswith("no supervisor runs")


def with_sample_hooks(world: World, **variables: str) -> World:
    given = {"HEALTH_URLS": f"{world.env.services[0]}/readyz", **variables}
    hooks = Hooks(**{name: str(HOOKS / f"{name}.sh") for name in NAMES})
    return world.with_(hooks=hooks, variables=given)


def status(world: World) -> str:
    """Return what `invoke status` prints, without what differs by machine, with an example's names for the test's."""
    env = world.env
    rows = [(name, shown(env, value)) for name, value in environment_status.status(env).rows if name not in LEFT_OUT]
    width = max(len(name) for name, _ in rows)
    lines = [(name if not n else "", line) for name, value in rows for n, line in enumerate(value.split("\n"))]
    return "".join(f"{name:<{width}}  {line}\n" for name, line in lines)


def shown(env: Environment, text: str) -> str:
    for mine, example in (
        (env.target_direct.redacted, "postgresql://sudamr_owner@db.example.net:5432/sudamr?schema=game"),
        (env.target.redacted, "postgresql://sudamr_service@db.example.net:5432/sudamr?schema=game"),
        (str(env.legacy.path), "/srv/sudamr/production.db"),
        (env.services[0], "http://127.0.0.1:9000"),
        ("--env test", "--env production"),
    ):
        text = text.replace(mine, example)
    text = RUN.sub("20260117_023000_a1b2", re.sub(r"^test$", "production", text))
    return re.sub(r"process \d+", "process 4711", text)


def run(hook: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the sample with these variables alone, and PATH."""
    variables = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run(
        ["/bin/sh", "-c", str(HOOKS / f"{hook}.sh")], env=variables, check=False, capture_output=True, text=True
    )
