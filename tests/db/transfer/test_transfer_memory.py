"""Memory: what a load takes does not grow with the file, and with its largest value by a bounded multiple."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from db import ops, transfer
from db.legacy.comparison import compare_files
from db.legacy.source import CHUNK_BYTES
from harness.databases import Database
from tests.db.transfer.transferring import PASS, give_pass, load, seeded

MB = 1_000_000
PROMISED = 250 * MB
"""Of a load with its proof, beside four times the largest value."""

PROGRAM = """
import resource, sys
from pathlib import Path
from db import ops, transfer
from db.legacy.source import CHUNK_BYTES
from game import urls
target = urls.read(sys.argv[2])
transfer.load(Path(sys.argv[1]), target, run='run', pass_token=sys.argv[3])
transfer.back(target, Path(sys.argv[1] + '.copy'))
status = Path('/proc/self/status')
if status.exists():  # ru_maxrss counts what the process was before exec, which is this test's own
    peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith('VmHWM'))
    print(peak * 1024)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_bytes(source: Path, database: Database) -> int:
    """The most memory that a process held which loads the file, proves it and writes it back."""
    give_pass(database)
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(source), database.owner.as_text(), PASS],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(transfer.__file__).parents[2],
    )
    assert compare_files(source, Path(f"{source}.copy")) == []
    return int(ran.stdout)


def grown(path: Path, *, megabytes: int) -> Path:
    """A small file that is made so much larger by log entries of its players, half a megabyte each."""
    seeded(path, 40, anomalies=False)
    connection = sqlite3.connect(path, isolation_level=None)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(users)") if row[1] not in ("id", "currencyLogs")]
    names = ", ".join(f'"{name}"' for name in columns if name not in ("username", "nickname"))
    entry = '{"timestamp":1700000000000,"type":"gold_gain","amount":50,"reason":"우편 보상"},'
    log = "[" + entry * (500_000 // len(entry.encode())) + "0]"
    connection.execute("BEGIN")
    for n in range(megabytes * 2):
        connection.execute(
            f"INSERT INTO users (id, currencyLogs, {names}) SELECT ?, ?, {names} FROM users WHERE rowid = ?",
            (f"user-grown-{n}", log, n % 40 + 1),
        )
    connection.execute("COMMIT")
    connection.close()
    return path


@pytest.fixture(scope="module")
def small_peak(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> int:
    """Measure the peak for a file of one chunk: the interpreter, the libraries and that chunk."""
    databases = request.getfixturevalue("databases")
    clone = databases.clone(fenced=True)
    peak = peak_bytes(grown(tmp_path_factory.mktemp("small") / "game.db", megabytes=6), clone)
    databases.drop(clone)
    return peak


def test_a_file_ten_times_as_large_takes_no_more_memory(
    small_peak: int, fenced_database: Database, tmp_path: Path
) -> None:
    source = grown(tmp_path / "game.db", megabytes=60)
    assert source.stat().st_size > 60 * MB
    peak = peak_bytes(source, fenced_database)
    assert peak < PROMISED
    assert peak - small_peak < 25 * MB


@pytest.mark.parametrize(
    "place", ["UPDATE kv SET value = ? WHERE key = 'adminLogs'", "UPDATE users SET currencyLogs = ? WHERE rowid = 3"]
)
def test_a_large_value_is_held_a_few_times_at_most(
    place: str, small_peak: int, fenced_database: Database, tmp_path: Path
) -> None:
    source = seeded(tmp_path / "game.db", anomalies=False)
    large = '{"logs":["' + "관리자가 " * 1_500_000 + '"]}'
    connection = sqlite3.connect(source, isolation_level=None)
    assert connection.execute(place, (large,)).rowcount == 1
    connection.close()
    size = len(large.encode())
    peak = peak_bytes(source, fenced_database)
    assert peak < PROMISED + 4 * size
    assert peak - small_peak < 4 * size


def test_no_transaction_holds_more_than_a_chunk(fenced_database: Database, tmp_path: Path) -> None:
    load(fenced_database, grown(tmp_path / "game.db", megabytes=20))
    with ops.connect(fenced_database.owner) as conn:
        sizes = conn.execute("select bytes from transfer_checkpoints where source_table = 'users'").fetchall()
    assert len(sizes) >= 3
    assert all(0 < size <= CHUNK_BYTES for (size,) in sizes)
