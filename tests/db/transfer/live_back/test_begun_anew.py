"""A write-back that is begun anew goes in small transactions: killed anywhere, the file follows nothing and says so."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from db.transfer.live_back import anew
from db.transfer.live_back.file import FileTransactions
from db.transfer.live_back.session import LiveWriteBack
from game.legacy import applied_log, sidecars, sqlite_values
from game.legacy import fence as legacy_fence
from harness.databases import Database
from tests.db.transfer.live_back.carrying import cut_over, differences, play, rows_of, session
from tests.db.transfer.live_back.played import WRITES
from tests.db.transfer.transferring import seeded
from tests.fixtures.spawning import SPAWN

PLAYERS = 150
"""Some 6 MB: SQLite brings a log of 4 MB back by itself."""

LOG_BYTES = 1 << 20
SMALL_PART_BYTES = 200_000
EVERYBODY = ["update users set gold = gold + 1, nickname = nickname || 'x'"]
LOST = ["update ops.fence set log = null"]


class CutOff(Exception):
    """Stands for whatever ends a process between two transactions."""


class Ends:
    """What is done at the end of each part: counted, and at one of them, or at each, something more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.at: int | None = None
        self.act: Callable[[], None] = lambda: None
        end_part = FileTransactions.end_part

        def ended(file: FileTransactions) -> None:
            end_part(file)
            self.count += 1
            if self.at in (None, self.count):
                self.act()

        monkeypatch.setattr(FileTransactions, "end_part", ended)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Ends:
    return Ends(monkeypatch)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anew, "PART_BYTES", SMALL_PART_BYTES)
    monkeypatch.setattr(anew, "PAGE_BYTES", SMALL_PART_BYTES)


@pytest.fixture
def lost(fenced_database: Database, source: Path) -> Iterator[LiveWriteBack]:
    """A live write-back whose log was lost after players played: all kinds of rows differ."""
    cut_over(fenced_database, source)
    changed = (*WRITES["names swapped"], *WRITES["deleted and made again"], *WRITES["new players"])
    play(fenced_database, *changed, *WRITES["other tables"], *WRITES["journals rewritten"], *EVERYBODY, *LOST)
    with session(fenced_database, source) as live:
        yield live


@pytest.mark.usefixtures("small_parts")
def test_it_is_cut_off_at_the_end_of_any_part_and_begun_again(
    lost: LiveWriteBack, ends: Ends, fenced_database: Database, source: Path
) -> None:
    def cut() -> None:
        raise CutOff

    ends.act = cut
    cuts = 0
    while True:
        ends.count, ends.at = 0, cuts + 1
        try:
            lost.begin()
            break
        except CutOff:
            cuts += 1
        file = lost.file.connection
        assert applied_log.has_part(file)
        assert applied_log.read(file) == (applied_log.NO_LOG, 0)
        assert "did not come to its end" in (lost.reason_to_begin_anew() or "")
        assert lost.lag is None
        assert legacy_fence.mark(file).state == "moved"
        if cuts % 2:  # What is in the file already is not written again, so there are less and less parts.
            play(fenced_database, *EVERYBODY)
    assert cuts > 3
    assert not applied_log.has_part(lost.file.connection)
    assert lost.reason_to_begin_anew() is None
    assert differences(fenced_database, source) == ()
    play(fenced_database, *EVERYBODY)
    assert lost.round().players > 0
    assert differences(fenced_database, source) == ()


@pytest.mark.usefixtures("small_parts")
def test_a_file_that_is_whole_but_not_compared_yet_follows_nothing(
    lost: LiveWriteBack, monkeypatch: pytest.MonkeyPatch, fenced_database: Database, source: Path
) -> None:
    def cut(*_whole: object) -> None:
        raise CutOff

    with monkeypatch.context() as patched:
        patched.setattr(anew, "compare", cut)
        with pytest.raises(CutOff):
            lost.begin()
    assert applied_log.has_part(lost.file.connection)
    assert lost.reason_to_begin_anew()
    assert differences(fenced_database, source) == ()
    again = lost.begin()
    assert again is not None
    assert (again.cells, again.inserted, again.deleted, again.lines) == (0, 0, 0, 0)
    assert not applied_log.has_part(lost.file.connection)


def test_a_log_that_began_with_the_lift_is_not_taken_for_one_that_the_file_follows(
    lost: LiveWriteBack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file without a mark follows such a log. One with a part of a write-back has to bear a mark that it does not."""

    def cut(*_whole: object) -> None:
        raise CutOff

    monkeypatch.setattr(anew, "compare", cut)
    with pytest.raises(CutOff):
        lost.begin()
    lost.conn.execute("update ops.change_capture set at_lift = true")
    assert "did not come to its end" in (lost.reason_to_begin_anew() or "")


@pytest.mark.usefixtures("small_parts")
def test_a_process_that_is_killed_in_the_middle_leaves_a_file_that_says_so(
    lost: LiveWriteBack, fenced_database: Database, source: Path
) -> None:
    before = rows_of(source)
    lost.conn.close()
    process = SPAWN.Process(target=_begin_and_die, args=(fenced_database, source, 3))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert rows_of(source) != before
    with session(fenced_database, source) as other:
        assert applied_log.has_part(other.file.connection)
        assert "did not come to its end" in (other.reason_to_begin_anew() or "")
        assert other.begin() is not None
        assert other.reason_to_begin_anew() is None
        assert not applied_log.has_part(other.file.connection)
    assert differences(fenced_database, source) == ()


def _begin_and_die(database: Database, path: Path, at: int) -> None:
    anew.PART_BYTES = anew.PAGE_BYTES = SMALL_PART_BYTES  # type: ignore[misc]  # in a process of its own
    parts: list[int] = []
    end_part = FileTransactions.end_part

    def ended(file: FileTransactions) -> None:
        if file.connection.in_transaction and len(parts) == at:
            os.kill(os.getpid(), signal.SIGKILL)  # With a transaction open: SQLite forgets it.
        end_part(file)
        parts.append(1)

    pytest.MonkeyPatch().setattr(FileTransactions, "end_part", ended)  # In this process alone, which is killed in it.
    with session(database, path) as live:
        live.begin()


@pytest.fixture
def large(fenced_database: Database, tmp_path: Path) -> Iterator[LiveWriteBack]:
    """A lost log, after every player changed, of a file that is larger than what SQLite brings back by itself."""
    source = seeded(tmp_path / "large.db", PLAYERS, anomalies=False)
    cut_over(fenced_database, source)
    play(fenced_database, "update user_inventory set options = null", *EVERYBODY, *LOST)
    with session(fenced_database, source) as live:
        yield live


@pytest.mark.usefixtures("small_parts")
def test_its_log_beside_the_file_is_bounded_while_readers_come_and_go_and_writers_wait_little(
    large: LiveWriteBack, ends: Ends, fenced_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anew, "MOST_LOG_BYTES", LOG_BYTES)
    log, sizes = sidecars.log_of(large.path), list[int]()

    def look() -> None:
        sizes.append(log.stat().st_size)
        with closing(sqlite3.connect(large.path, isolation_level=None, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")  # Nobody waits for a part that is still to come.
            assert other.execute("SELECT count(*) FROM users").fetchone() == (PLAYERS,)
            other.execute("ROLLBACK")

    ends.act = look
    with closing(sqlite3.connect(large.path, isolation_level=None)):  # Else the last to close brings the log back.
        assert large.begin() is not None
    assert ends.count > 5
    assert LOG_BYTES < max(sizes) < LOG_BYTES + 8 * SMALL_PART_BYTES
    assert differences(fenced_database, large.path) == ()


@pytest.mark.usefixtures("small_parts")
def test_a_reader_who_stays_is_named_and_what_was_written_stays(
    large: LiveWriteBack, ends: Ends, fenced_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anew, "MOST_LOG_BYTES", LOG_BYTES)
    large.wait_for_file(0)
    with closing(sqlite3.connect(large.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM users").fetchone()
        with pytest.raises(anew.LogOfFileGrows, match="another process reads the legacy file for long"):
            large.begin()
        assert sidecars.log_of(large.path).stat().st_size < LOG_BYTES + 8 * SMALL_PART_BYTES
        assert applied_log.has_part(large.file.connection)
    written, ends.count = ends.count, 0
    assert large.begin() is not None
    assert ends.count > 0
    assert written > 0
    assert differences(fenced_database, large.path) == ()


@pytest.mark.usefixtures("small_parts")
def test_while_it_reads_no_statement_of_its_own_holds_the_files_log(
    large: LiveWriteBack, ends: Ends, fenced_database: Database
) -> None:
    """All that is read is equal: no part is written, and a checkpoint is never kept from the whole log."""
    assert large.begin() is not None
    play(fenced_database, *LOST)
    pages = [0]
    before_page = anew.PartWriter._end_part

    def look(writer: anew.PartWriter) -> None:
        before_page(writer)
        with closing(sqlite3.connect(large.path, isolation_level=None, timeout=0)) as other:
            assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        pages[0] += 1

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(anew.PartWriter, "_end_part", look)
        ends.count = 0
        assert large.begin() is not None
    assert pages[0] > 20
    assert ends.count == 0


def test_a_row_that_sqlite_changes_is_in_no_part(
    fenced_database: Database, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_over(fenced_database, source)
    play(
        fenced_database,
        'update legacy_rows set cells = regexp_replace(cells, \'"lastLoginAt":[0-9]+\', \'"lastLoginAt":"12"\')'
        " where source = 'users'",
        *LOST,
    )
    before = rows_of(source)
    with session(fenced_database, source) as live:
        with pytest.raises(Exception, match=r"users row \d+, lastLoginAt"):
            live.begin()
        assert not applied_log.has_part(live.file.connection)
    assert rows_of(source) == before


def test_one_that_takes_the_file_over_between_two_parts_ends_it(
    lost: LiveWriteBack, ends: Ends, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anew, "PART_BYTES", 1)

    def take_over() -> None:
        with closing(sqlite_values.connect(source)) as other:
            owner = legacy_fence.mark(other).owner
            legacy_fence.raise_fence(other, state="moved", pass_token="another's", owner=owner)

    ends.at, ends.act = 2, take_over
    with pytest.raises(Exception, match="the pass of the run that fenced the file"):
        lost.begin()
    assert ends.count == 2
    assert applied_log.has_part(lost.file.connection)
