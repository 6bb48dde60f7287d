"""Tests part files: one of a killed process is removed by the next one; a living process's part stays."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from db.files.part_file import part_of
from db.samples import seed

ROOT = Path(__file__).parents[3]

MAKES = """
import sys
from pathlib import Path
from db.files.part_file import part_of
with part_of(Path(sys.argv[1])) as part:
    part.write_text("half")
    part.with_name(part.name + "-wal").write_text("a log")
    print(part, flush=True)
    sys.stdin.read()
"""


def maker(path: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that is making the file, and its part."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAKES, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("name", ["new.db", "[a]*.db", "한글 이름.db"])
def test_what_a_killed_process_left_is_removed_by_the_next(name: str, tmp_path: Path) -> None:
    process, left = maker(tmp_path / name)
    kill(process)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([left.name, f"{left.name}-wal"])
    with part_of(tmp_path / name) as part:
        assert list(tmp_path.iterdir()) == [part]
        part.rename(tmp_path / name)
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_the_part_of_a_process_that_lives_and_parts_of_other_files_stay(tmp_path: Path) -> None:
    process, alive = maker(tmp_path / "new.db")
    other, left = maker(tmp_path / "new.db.db")
    kill(other)
    with part_of(tmp_path / "new.db"):
        pass
    assert alive.read_text() == "half"
    assert left.exists()
    process.communicate("")
    assert process.returncode == 0
    assert not alive.exists()


def fail_half_way(path: Path) -> None:
    with part_of(path) as part:
        assert part.stat().st_mode & 0o777 == 0o600
        raise ValueError("half way")


def test_a_part_is_its_owners_alone_and_goes_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="half way"):
        fail_half_way(tmp_path / "new.db")
    assert list(tmp_path.iterdir()) == []


def test_a_seed_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    process, _ = maker(tmp_path / "game.db")
    kill(process)
    seed.seed_legacy(tmp_path / "game.db", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["game.db"]


def test_no_other_module_makes_a_hidden_file_beside_another() -> None:
    hidden = re.compile(r"""with_name\(\s*f["']\.""")
    modules = {
        path.relative_to(ROOT)
        for folder in ("db", "harness")
        for path in (ROOT / folder).rglob("*.py")
        if hidden.search(path.read_text("utf-8"))
    }
    assert modules == {Path("db/files/part_file.py")}
