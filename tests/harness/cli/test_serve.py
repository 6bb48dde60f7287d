"""`invoke serve` takes port and processes from its options, else from the pointer's file; a taken port is named."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness.cli.running_tasks import Folder


@pytest.mark.parametrize(("option", "taken"), [((), 0), (("--port", "1"), 1), (("--processes", "1"), 0)])
def test_what_no_option_says_is_the_files(tmp_path: Path, option: tuple[str, ...], taken: int) -> None:
    folder = Folder(tmp_path).make()
    with ExitStack() as opened:
        held = [opened.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(2)]
        settings = ["DATABASE_URL=file:/nowhere/game.db", "CHANCE_SECRET=0123456789abcdef", f"PORT={held[0]}"]
        settings += ["TOKEN_SECRET=0123456789abcdef", "PRIVATE_PORT=1024", "PROCESSES=2"]
        (tmp_path / "service.env").write_text("\n".join(settings))
        options = [str(held[1]) if word == "1" and "--port" in option else word for word in option]
        ran = folder.run("serve", "--env", "development", *options)
    assert ran.code == 2
    assert ran.last_line.startswith(f"refused: expected 127.0.0.1:{held[taken]} to be free; found: Address already")


def test_the_files_number_of_processes_stands(tmp_path: Path) -> None:
    folder = Folder(tmp_path).make()
    settings = ["DATABASE_URL=file:/nowhere/game.db", "CHANCE_SECRET=0123456789abcdef", "PORT=65535"]
    settings += ["TOKEN_SECRET=0123456789abcdef", "PRIVATE_PORT=60000", "PROCESSES=2"]
    (tmp_path / "service.env").write_text("\n".join(settings))
    ran = folder.run("serve", "--env", "development")
    assert (ran.code, "PRIVATE_PORT: expected PORT and it at most 65534" in ran.last_line) == (2, True)
