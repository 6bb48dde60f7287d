"""docs/migrations.md is followed, in a copy of the tree: each command is run, and prints what the page says.

`pytest --write-pages` writes what was printed into the page.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import ops
from db.schema import migrate
from db.servers import Server
from game.urls import PostgresUrl

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "migrations.md"
BLOCK = re.compile(r"```(diff|console)\n(.*?)```\n", re.DOTALL)
ENVIRONMENTS = """[development]
legacy = "file:game.db"
target = "{url}"
target_direct = "{url}"
pointer = {{ path = "service.env" }}
snapshots = {{ folder = "snapshots" }}
"""
VARIES = re.compile(
    r"\d+ files already formatted|\d+ passed, \d+ deselected in .*|\[100%\]|^[. ]+$|^postgres: .*|^This applies .*"
)


@pytest.fixture
def development(server: Server) -> Iterator[PostgresUrl]:
    name = f"{server.mark}{secrets.token_hex(4)}"
    server.create_database(name)
    ops.prepare(server.url(name), "development")
    migrate.migrate(server.url(name), environment="development", service_role=None)
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
def tree(tmp_path: Path, development: PostgresUrl) -> Path:
    folder = tmp_path / "tree"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "environments.toml").write_text(ENVIRONMENTS.format(url=development.as_text()))
    run(folder, "invoke prepare --env development")
    return folder


def run(tree: Path, command: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "PYTHONPATH": str(tree), "COLUMNS": "200", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        command,
        shell=True,
        cwd=tree,
        env=variables,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def patched(tree: Path, diff: str) -> None:
    """Put in each added line between the lines that stand around it."""
    target = tree / diff.splitlines()[0].removeprefix("--- a/")
    text = target.read_text()
    for hunk in diff.split("@@\n")[1:]:
        lines = hunk.splitlines()
        before = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
        after = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    target.write_text(text)


def as_printed(output: str) -> list[str]:
    """The lines without what varies, numbered as if the page's first revision were 0002."""
    head = int(migrate.head())
    for n in range(4):
        output = output.replace(f"{head + n:04}", f"{1 + n:04}")
    return [line.rstrip() for line in output.splitlines() if not VARIES.search(line)]


@pytest.mark.plan(3, 31)
def test_the_page_is_what_happens(tree: Path, pytestconfig: pytest.Config) -> None:
    page = text = PAGE.read_text()
    for kind, block in BLOCK.findall(page):
        if kind == "diff":
            patched(tree, block)
            continue
        made: list[str] = []
        for command in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
            numbered = re.sub(r"\b0002_", f"{int(migrate.head()) + 1:04}_", command)
            kind_of_server = pytestconfig.getoption("--postgres") or ""
            numbered += f" --postgres={kind_of_server}" if command.startswith("pytest") and kind_of_server else ""
            made += [f"$ {command}", *as_printed(run(tree, numbered))]
        text = text.replace(f"```console\n{block}```", "```console\n" + "\n".join(made).rstrip() + "\n```")
    if pytestconfig.getoption("--write-pages"):
        PAGE.write_text(text)
    assert page == text
