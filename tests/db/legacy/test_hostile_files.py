"""A legacy file that was made to harm is refused in words, or carried: in bounded memory and time, none of it run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.databases import Database, Databases
from tests.db.legacy import hostile_files
from tests.db.legacy.hostile_kind import Hostile
from tests.db.transfer.transferring import give_pass
from tests.fixtures import figures

MOST_MB = 1050
"""The docs promise 250 MB and eight times the largest value, which has 100 MB here."""

MOST_SECONDS = 1800
"""For all commands on one file: the longest took 242 where others took most of the machine."""

READ = ("profile", "check", "snapshot", "transfer", "fence")
DONE, REFUSED = 0, 2


@pytest.fixture(scope="module")
def reused(databases: Databases) -> Iterator[Database]:
    """One fenced database for many files, put back between them."""
    clone = databases.clone(fenced=True)
    yield clone
    databases.drop(clone)


@pytest.mark.parametrize("hostile", hostile_files.ALL, ids=lambda hostile: hostile.name)
def test_a_hostile_file_is_refused_or_carried(
    hostile: Hostile, reused: Database, databases: Databases, tmp_path: Path
) -> None:
    path = hostile.write(tmp_path / "game.db")
    databases.reset(reused)
    give_pass(reused)
    before = contents(tmp_path)
    ended = _run(path, reused)
    shown = json.dumps(list(ended.values()), indent=1, ensure_ascii=False)
    seconds = sum(float(str(line["seconds"])) for line in ended.values())
    mb = max(int(str(line["mb"])) for line in ended.values())
    figures.show(hostile.name, "refused" if ended["transfer"]["code"] else "carried", mb, seconds)
    assert not [line["defect"] for line in ended.values() if line["defect"]], shown
    assert mb < MOST_MB, shown
    codes = {name: line["code"] for name, line in ended.items()}
    assert codes["convert"] == REFUSED  # It is in UTF-8 already.
    if hostile.end == "refused":
        assert REFUSED == codes["check"] == codes["transfer"], shown
        assert {name: content for name, content in contents(tmp_path).items() if name in before} == before
        return
    assert {name: codes[name] for name in READ} == dict.fromkeys(READ, DONE), shown
    assert codes["play"] in (DONE, REFUSED), shown
    if hostile in hostile_files.CELLS:
        assert codes["play"] == DONE, shown  # Whoever else's document is hostile.


def contents(folder: Path) -> dict[str, bytes | None]:
    """The small files of the folder; what is a pipe, a device or a folder is only named."""
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


def _run(path: Path, database: Database) -> dict[str, dict[str, object]]:
    child = [sys.executable, "-m", "tests.db.legacy.hostile_child", str(path)]
    ended = subprocess.run(
        child,
        input=database.owner.as_text(),
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    return {line["command"]: line for line in lines}
