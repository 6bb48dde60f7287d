"""A service that does not answer: the command that is printed starts it where `services` looks for it."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from db import environments
from db.cutover import services
from db.cutover.starting import starts
from db.environments import Environment
from game.settings import PRIVATE_ABOVE
from game.urls import PostgresUrl
from harness.load.service_processes import free_ports
from tests.game.service.running import eventually
from tests.harness.cli.running_tasks import Folder

SERVE = "invoke serve --env development"
SETTINGS = ("CHANCE_SECRET=0123456789abcdef", "TOKEN_SECRET=0123456789abcdef")


def free_port() -> int:
    """Return a free port for the tools; that for players below it is free too."""
    while True:
        port = free_ports(1)
        with suppress(OSError), socket.create_server(("127.0.0.1", port - PRIVATE_ABOVE)):
            return port


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    for name in ("PORT", "PRIVATE_PORT", "PROCESSES"):
        monkeypatch.delenv(name, raising=False)
    nowhere = PostgresUrl("127.0.0.1", 1, "nobody", "", "nothing")
    made = environments.throwaway(owner=nowhere, service=nowhere, legacy=tmp_path / "game.db", folder=tmp_path)
    made.pointer.path.write_text("")
    return replace(made, name="development")


@pytest.mark.parametrize(
    ("settings", "silent", "expected"),
    [
        ("", [9000], [SERVE]),
        ("", [9100], [f"{SERVE} --port 8100"]),
        ("PROCESSES=2", [9000, 9001], [SERVE]),
        ("PROCESSES=2", [9001], [SERVE]),
        ("", [9001, 9000], [SERVE, f"{SERVE} --port 8001"]),
        ("", [9101, 9100, 9300], [f"{SERVE} --port 8100 --processes 2", f"{SERVE} --port 8300"]),
        ("PORT=7000\nPROCESSES=2", [9100], [f"{SERVE} --port 8100 --processes 1"]),
        ("PRIVATE_PORT=7500", [7500], [SERVE]),
        ("PRIVATE_PORT=7500", [7600], [f"PRIVATE_PORT=7600 {SERVE} --port 8100"]),
        ("PORT=words", [9100], [SERVE]),
        ("", [999], [""]),
    ],
)
def test_the_command_names_the_ports_that_the_settings_do_not(
    env: Environment, settings: str, silent: list[int], expected: list[str]
) -> None:
    env.pointer.path.write_text(settings)
    assert [start.command for start in starts(env, map(url, silent))] == expected


def test_of_another_machine_or_environment_no_command_is_known(env: Environment) -> None:
    for other, silent in ((env, "http://10.0.0.7:9000"), (env, "https://127.0.0.1:9000"), (env, "nonsense")):
        assert [start.command for start in starts(other, [silent])] == [""]
    two = starts(replace(env, name="production"), [url(9000), url(9200)])
    assert [start.sentence() for start in two] == [f"start the service at {url(9000)}, {url(9200)}"]
    assert starts(env, []) == ()


@pytest.mark.parametrize("private", [True, False])
def test_what_status_prints_starts_that_very_process(tmp_path: Path, private: bool) -> None:
    folder = Folder(tmp_path).make()
    folder.run("seed", "--legacy", "game.db", "--players", "3", "--clean")
    port = free_port()
    asked = url(port)
    text = (tmp_path / "environments.toml").read_text()
    listed = f'[development]\nservices = ["{asked}"]'
    (tmp_path / "environments.toml").write_text(text.replace("[development]", listed))
    other = [f"PRIVATE_PORT={port - 1}", f"PORT={free_ports(2)}"] if private else [f"PORT={port - PRIVATE_ABOVE - 1}"]
    lines = [f"DATABASE_URL=file:{tmp_path}/game.db", *SETTINGS, *other]
    (tmp_path / "service.env").write_text("\n".join(lines))

    steps = json.loads(folder.run("status", "--env", "development", "--json", "-").output)["next"]
    step = next(step for step in steps if asked in step)
    words = shlex.split(step.partition(": ")[2])
    variables, (task, *options) = words[: words.index("invoke")], words[words.index("invoke") + 1 :]

    given = folder.environment(dict(variable.split("=") for variable in variables))
    with (tmp_path / "log").open("wb") as log:
        started = subprocess.Popen(folder.command(task, *options), cwd=tmp_path, env=given, stdout=log, stderr=log)
    try:
        assert eventually(lambda: services.ask(asked) or _ended(started, tmp_path / "log")).engine == "legacy"
    finally:
        started.terminate()
        started.wait()


def _ended(process: subprocess.Popen[bytes], log: Path) -> services.Ready:
    """Raise AssertionError if the process has ended; LookupError while it starts."""
    assert process.poll() is None, log.read_text()
    raise LookupError("it does not answer yet")
