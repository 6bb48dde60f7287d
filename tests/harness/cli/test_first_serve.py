"""`invoke serve` alone, in a checkout that has nothing: a game with players, and a printed request that is answered."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.harness.cli.running_tasks import Folder


def free_port() -> int:
    """Return a port that is free with the private one above it."""
    for _ in range(50):
        with socket.socket() as one, socket.socket() as private:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            if port + 1000 > 65_535:
                continue
            try:
                private.bind(("127.0.0.1", port + 1000))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


@pytest.mark.plan(11)
def test_one_command_serves_players_and_the_printed_request_is_answered(tmp_path: Path) -> None:
    folder = Folder(tmp_path).make()
    (tmp_path / "service.env").unlink()
    first = _served(folder, tmp_path / "printed")
    assert "made 100 players in a legacy file" in first
    kept = (tmp_path / "service.env").read_text()
    assert (tmp_path / "service.env").stat().st_mode & 0o077 == 0
    again = _served(folder, tmp_path / "printed")
    assert "made" not in again.partition("try it")[0]
    assert (tmp_path / "service.env").read_text() == kept


def _served(folder: Folder, output: Path) -> str:
    """Start it, follow what it prints, end it by Ctrl-C, and return what it printed."""
    with output.open("w") as file:
        process = subprocess.Popen(
            folder.command("serve", "--port", str(free_port())),
            cwd=folder.path,
            env=folder.environment({}),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            coming = Retrying(
                retry=retry_if_exception_type((httpx.HTTPError, AssertionError)),
                stop=stop_after_delay(180),
                wait=wait_fixed(0.1),
                reraise=True,
            )
            coming(_followed, output)
        finally:
            os.kill(process.pid, signal.SIGINT)
            code = process.wait(120)
    assert code == 0
    return output.read_text()


def _followed(output: Path) -> None:
    printed = output.read_text()
    token = re.search(r"^TOKEN=(\S+)$", printed, re.MULTILINE)
    address = re.search(r"^  (http\S+)$", printed, re.MULTILINE)
    assert token is not None
    assert address is not None
    answer = httpx.get(address[1], headers={"Authorization": f"Bearer {token[1]}"}, trust_env=False)
    assert answer.status_code == 200
    assert answer.json()["users"][0]["id"] == address[1].rpartition("/")[2]


def test_a_pointer_that_is_there_is_left_as_it_is_and_nothing_is_made(tmp_path: Path) -> None:
    folder = Folder(tmp_path).make()
    before = (tmp_path / "service.env").read_text()
    ran = folder.run("serve")
    assert ran.code == 2
    assert "CHANCE_SECRET" in ran.errors
    assert (tmp_path / "service.env").read_text() == before
    assert not (tmp_path / "game.db").exists()
