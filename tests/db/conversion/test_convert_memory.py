"""The memory of a conversion does not grow with the file's size, only with its largest value, by a bounded factor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from db import transfer
from tests.db.conversion.encoded_files import make

MB = 1_000_000
PROGRAM = """
import resource, sys
from pathlib import Path
from db.conversion.convert import convert
convert(Path(sys.argv[1]), Path(sys.argv[1] + '.new'))
status = Path('/proc/self/status')
if status.exists():  # ru_maxrss counts what the process was before exec, which is the test's own
    print(next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith('VmHWM')) * 1024)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_bytes(path: Path, *statements: str) -> int:
    """The most memory that a process held which converts a file that the statements made."""
    make(path, "CREATE TABLE users (id TEXT UNIQUE, text TEXT)", *statements)
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(transfer.__file__).parents[2],
    )
    return int(ran.stdout)


@pytest.fixture(scope="module")
def small_peak(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The interpreter, the libraries, and a row."""
    return peak_bytes(tmp_path_factory.mktemp("small") / "game.db", "INSERT INTO users VALUES ('a', '가')")


def test_many_rows_take_no_more_than_one(small_peak: int, tmp_path: Path) -> None:
    rows = (
        "INSERT INTO users SELECT 'user-' || value, replace(hex(zeroblob(2500)), '0', '가')"
        " FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT 6000) SELECT value FROM n)"
    )
    peak = peak_bytes(tmp_path / "game.db", rows)
    assert (tmp_path / "game.db").stat().st_size > 60 * MB
    assert peak - small_peak < 25 * MB


def test_a_large_value_is_held_a_few_times_at_most(small_peak: int, tmp_path: Path) -> None:
    peak = peak_bytes(
        tmp_path / "game.db", "INSERT INTO users VALUES ('a', replace(hex(zeroblob(10000000)), '0', '가'))"
    )
    size = (tmp_path / "game.db.new").stat().st_size
    assert size > 60 * MB
    assert peak - small_peak < 5 * size
