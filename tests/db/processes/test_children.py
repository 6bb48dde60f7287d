"""Programs that a tool starts end with the tool, even if it is killed. Programs that a hook leaves running stay."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from fixtures.waiting import until

from db.processes import children

SLEEPS = "sleep 600"
FRAME = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from db import environments
from db.cutover import hooks, services
from db.cutover.journal import Journal
from db.environments import Hooks
from db.console.progress import Silent
from db.samples import seed
from db.servers.reaper_client import ReaperClient
from db.servers.tools import Tool
from game.urls import LegacyUrl, PostgresUrl
from harness.audit.copies import Copy
from harness.gate import suite
from harness.load.service_processes import Service

folder = Path(sys.argv[1])
nowhere = PostgresUrl("127.0.0.1", 1, "nobody", "", "nothing")

def hook(command, limit):
    env = environments.throwaway(
        owner=nowhere, service=nowhere, legacy=folder / "game.db", folder=folder, hooks=Hooks(restart=command)
    )
    hooks.run(env, "restart", Journal(folder / "run"), engine="legacy", timeout_seconds=limit)

def slow_test(named):
    (folder / named).mkdir()
    (folder / named / "test_slow.py").write_text("import time\\ndef test_slow():\\n    time.sleep(600)\\n")

"""
TRIAL = """
seed.empty_legacy(folder / "game.db")
services.ask = lambda url: time.sleep(600)
services.trial(LegacyUrl(folder / "game.db"))
"""
REHEARSAL = """
seed.empty_legacy(folder / "game.db")
Service(folder, ReaperClient()).start(LegacyUrl(folder / "game.db").as_text())
time.sleep(600)
"""
GATE = "slow_test('scenarios')\nsuite.run(folder, None, Silent(), 1, sweeps=(), workers=1)"
AUDIT = "slow_test('tests')\nCopy(folder, SimpleNamespace(maintenance=nowhere)).pytest(['tests'])"
KINDS = {
    "trial service": (TRIAL, "game.service.child"),
    "pg_dump": ("Tool('pg_dump', ('/bin/sh', '-c', 'sleep 600; :'), ('', 0), ('', 0)).run([], nowhere)", SLEEPS),
    "hook, within its limit": ("hook('sleep 600; :', 1.0)", SLEEPS),
    "pytest of the gate": (GATE, "import sys;exec"),
    "pytest of the audit": (AUDIT, "audit/preloaded.py"),
    "service of a rehearsal": (REHEARSAL, "game.service.child"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_runs_on_when_the_tool_is_killed(kind: str, tmp_path: Path) -> None:
    code, under_way = KINDS[kind]
    with tool(code, tmp_path) as process:
        until(lambda: [] if running(tmp_path, under_way) else [f"no {under_way} yet"])
        process.kill()
        process.wait()
        until(lambda: running(tmp_path))


def test_a_program_that_refuses_to_end_is_killed(tmp_path: Path) -> None:
    stubborn = "import subprocess as s; s.run(['/bin/sh', '-c', 'trap : TERM INT HUP; while :; do sleep 0.1; done'])"
    with tool(
        f"from db.processes import children; children.run([sys.executable, '-c', {stubborn!r}])", tmp_path
    ) as process:
        until(lambda: [] if running(tmp_path, "trap : TERM") else ["not begun"])
        process.kill()
        process.wait()
        until(lambda: running(tmp_path))


def test_a_server_that_a_hook_left_running_outlives_the_tool(tmp_path: Path) -> None:
    with tool("hook('nohup sleep 600 & :', 20.0)\nprint('over', flush=True)\ntime.sleep(600)", tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "over\n"
        process.kill()
        process.wait()
        (left,) = running(tmp_path)
        assert SLEEPS in left


def test_a_hook_of_a_killed_tool_is_let_end_by_itself(tmp_path: Path) -> None:
    """Half a deploy may be worse than a late one."""
    with tool(
        f"hook('until [ -e {tmp_path}/go ]; do sleep 0.02; done; touch {tmp_path}/whole', 60.0)", tmp_path
    ) as process:
        until(lambda: [] if running(tmp_path, "until") else ["not begun"])
        process.kill()
        process.wait()
        (tmp_path / "go").touch()
        until(lambda: running(tmp_path))
    assert (tmp_path / "whole").exists()


def test_a_program_is_run_as_subprocess_runs_it(tmp_path: Path) -> None:
    shell = ["/bin/sh", "-c"]
    done = children.run([*shell, "cat; echo wrong >&2; exit 3"], input="text", capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "text", "wrong\n")
    assert children.run([*shell, "kill -9 $$"]).returncode == -signal.SIGKILL
    missing = children.run([str(tmp_path / "none")], capture_output=True, text=True)
    assert (missing.returncode, missing.stderr) == (127, f"{tmp_path / 'none'}: No such file or directory\n")
    with pytest.raises(subprocess.TimeoutExpired):
        children.run([*shell, f"sleep 600 & echo $! > {tmp_path}/pid; wait"], timeout=1)
    until(lambda: ["it"] if is_running(int((tmp_path / "pid").read_text())) else [])


SAYS_NICENESS = """
import os, subprocess, sys
print(os.getpriority(os.PRIO_PROCESS, 0), flush=True)
if len(sys.argv) == 1:
    subprocess.run([sys.executable, __file__, "once"], check=True)
"""


@pytest.mark.parametrize("options", [{}, {"nicer": 3}], ids=["by default", "nicer"])
def test_a_program_and_what_it_starts_are_so_much_nicer(tmp_path: Path, options: dict[str, int]) -> None:
    script = tmp_path / "says.py"
    script.write_text(SAYS_NICENESS)
    said = children.run([sys.executable, str(script)], capture_output=True, text=True, **options).stdout
    own = psutil.Process().nice()
    assert said.split() == [str(min(19, own + options.get("nicer", 0)))] * 2
    assert psutil.Process().nice() == own


@contextmanager
def tool(code: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of its own session that runs the code; what it leaves is ended by the test."""
    environ = {**os.environ, "HOME": str(folder)}
    with subprocess.Popen(
        [sys.executable, "-c", FRAME + code, str(folder)],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            for left in marked(folder):
                left.kill()


def marked(folder: Path) -> list[psutil.Process]:
    """Processes that bear the folder as their HOME: what the tool started, directly or not, and the tool itself."""
    processes = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
        except psutil.Error:
            continue
    return processes


def running(folder: Path, words: str = "") -> list[str]:
    """The command lines of those that have the words in it."""
    lines = []
    for process in marked(folder):
        try:
            lines.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return [line for line in lines if words in line and FRAME not in line]


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


STARTS = {"subprocess.run", "subprocess.Popen", "subprocess.check_output", "os.system", "os.popen"}
INHERIT = {
    ("db/processes/children.py", "started"): "its options have an environment without secrets by default",
    ("db/processes/leash.py", "main"): "has what the program that it runs may have",
    ("db/servers/reaper.py", "do_run"): "each request names the environment",
    ("db/servers/reaper.py", "do_spawn"): "each request names the environment",
    ("game/service/process.py", "__init__"): "a process of the service needs what its supervisor has",
}


def test_no_program_is_started_with_whatever_this_process_has() -> None:
    root = Path(__file__).parents[3]
    paths = [path for top in ("db", "game", "harness") for path in (root / top).rglob("*.py")]
    inheriting = []
    for path in [root / "tasks.py", *paths]:
        name = str(path.relative_to(root))
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef) and (name, function.name) not in INHERIT:
                inheriting += [f"{name}:{call.lineno}" for call in ast.walk(function) if _inherits(call)]
    assert inheriting == []


def _inherits(call: ast.AST) -> bool:
    if not isinstance(call, ast.Call) or ast.unparse(call.func) not in STARTS:
        return False
    return "env" not in {word.arg for word in call.keywords}
