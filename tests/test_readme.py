"""The README is run, and the first request of docs/service.md: commands exist, CI calls them, a player acts."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.load.service_processes import free_ports
from tests.fixtures.waiting import until

ROOT = Path(__file__).parents[1]
SERVICE = (ROOT / "docs" / "service.md").read_text()
README = (ROOT / "README.md").read_text("utf-8")


def commands() -> list[str]:
    """The lines of the README's shell blocks."""
    return [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.strip().splitlines()]


def test_the_first_two_commands_set_up_rehearse_and_test() -> None:
    first, second = commands()[:2]
    assert first.startswith("python3 -m venv .venv && ")
    assert first.endswith(".venv/bin/invoke rehearse")
    assert second == ".venv/bin/invoke test"


def test_ci_installs_and_tests_as_the_readme_says() -> None:
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    first, second = commands()[:2]
    for step in [*first.split(" && ")[:-1], second]:
        assert step in ci


def test_every_task_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"`invoke ([a-z.]+)", README))
    for task in sorted(named):
        done = subprocess.run(
            [Path(sys.executable).parent / "invoke", "--help", task],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, task
    assert len(named) > 8


def test_every_file_that_the_readme_points_to_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def run(folder: Path, script: str) -> str:
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        env={**os.environ, "PATH": PATH},
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    """A port that is free, and so is the one 1000 above it, which is the service's private one."""
    while True:
        port = free_ports(1)
        with suppress(OSError), socket.create_server(("127.0.0.1", port + 1000)):
            return port


@contextmanager
def serving(folder: Path, command: str, port: int) -> Iterator[None]:
    """The command at work in the background, its service ready."""
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command} --port {port}"],
        cwd=folder,
        env={**os.environ, "PATH": PATH},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: "" if is_ready(port + 1000) else f"exit code {process.poll()}")
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def documents(text: str) -> list[dict[str, Any]]:
    """The JSON documents of a text, one behind the other."""
    result, at = [], 0
    while at < len(text.rstrip()):
        document, at = json.JSONDecoder().raw_decode(text, at)
        result.append(document)
    return result


@pytest.mark.skipif(shutil.which("curl") is None, reason="the recipe needs curl")
def test_the_first_request_is_answered_as_the_page_says(tmp_path: Path) -> None:
    """Followed to the letter, on other ports: those of the page may be taken."""
    for name in ("tasks.py", "environments.toml"):
        shutil.copy(ROOT / name, tmp_path)
    section = SERVICE.partition("## A first request\n")[2].partition("\n## ")[0]
    settings, first, second = re.findall(r"```(?:sh)?\n(.*?)```", section, re.DOTALL)
    (tmp_path / ".env.service.development").write_text(settings)
    seed, serve = first.strip().splitlines()
    player = re.findall(r"^PLAYER=(.*)$", second, re.MULTILINE)
    assert player[0] in run(tmp_path, seed)
    port = free_port()
    with serving(tmp_path, serve, port):
        script = second.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
        assert script.count(str(port)) == 2
        state, granted = documents(run(tmp_path, script))
        assert state["users"]
        assert (granted["outcome"]["name"], granted["replayed"]) == ("mine", False)
        _, again = documents(run(tmp_path, script))
        assert again == {**granted, "replayed": True}
        assert "save_preset" in run(tmp_path, f"curl http://127.0.0.1:{port + 1000}/openapi.json")
    assert "http://127.0.0.1:9000/openapi.json" in section
