"""The pointer and the journal: one line of an env file is changed, and a log that survives being cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from dotenv import dotenv_values

from db.cutover import journal as journals
from db.cutover import pointer
from db.cutover.journal import Journal
from db.environments import Pointer
from db.errors import Refusal
from game.urls import LegacyUrl, PostgresUrl

TARGET = PostgresUrl("db.example.net", 5432, "service", "p'a s$\\{x}#1", "sudamr", parameters=(("sslmode", "require"),))

FILES = {
    "plain": "# the store\nA=1\nDATABASE_URL=file:/srv/game.db\nB=2\n",
    "quoted": "DATABASE_URL='file:/srv/game.db'\nB=2\n",
    "double": 'A=1\nDATABASE_URL="file:/srv/game.db"\n',
    "exported, with a comment": "export DATABASE_URL=file:/srv/game.db # today's\nB='x # y'\n",
    "windows": "A=1\r\nDATABASE_URL=file:/srv/game.db\r\nB=2\r\n",
    "no end of line": "A=1\nDATABASE_URL = file:/srv/game.db",
    "a multiline value before it": "KEY='-----\nDATABASE_URL=no\n-----'\nDATABASE_URL=file:/srv/game.db\n",
}


@pytest.fixture
def pointer_file(tmp_path: Path) -> Pointer:
    return Pointer(tmp_path / "service.env")


@pytest.mark.plan(17, 21)
@pytest.mark.parametrize("text", FILES.values(), ids=FILES.keys())
def test_only_the_one_value_changes_and_there_and_back_is_the_same_file(pointer_file: Pointer, text: str) -> None:
    pointer_file.path.write_bytes(text.encode())
    others = {name: value for name, value in dotenv_values(pointer_file.path).items() if name != "DATABASE_URL"}

    pointer.write(pointer_file, TARGET.as_text())

    assert pointer.url(pointer_file) == TARGET
    assert dotenv_values(pointer_file.path) == others | {"DATABASE_URL": TARGET.as_text()}
    assert pointer_file.path.read_bytes().count(b"\r\n") == text.count("\r\n")
    pointer.write(pointer_file, "file:/srv/game.db")
    assert pointer_file.path.read_bytes().decode() == text


def test_a_value_that_needs_quotes_gets_them(pointer_file: Pointer) -> None:
    pointer_file.path.write_text("DATABASE_URL=file:/srv/game.db\n")

    pointer.write(pointer_file, "file:/srv/it's here\\#1.db")

    assert dotenv_values(pointer_file.path) == {"DATABASE_URL": "file:/srv/it's here\\#1.db"}


def test_mode_and_link_stay(pointer_file: Pointer, tmp_path: Path) -> None:
    real = tmp_path / "real.env"
    real.write_text("DATABASE_URL=file:/srv/game.db\n")
    real.chmod(0o640)
    pointer_file.path.symlink_to(real)

    pointer.write(pointer_file, TARGET.as_text())

    assert pointer_file.path.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["real.env", "service.env"]
    assert pointer.url(pointer_file) == TARGET


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A=1\n", "none"),
        ("DATABASE_URL=\n", "none"),
        ("DATABASE_URL=file:/a\nDATABASE_URL=file:/b\n", "2 of them"),
        ("DATABASE_URL=mysql://x\n", "mysql"),
    ],
)
def test_a_pointer_that_names_no_store_is_refused(pointer_file: Pointer, text: str, found: str) -> None:
    pointer_file.path.write_text(text)

    with pytest.raises(Refusal, match=found):
        pointer.url(pointer_file)


def test_a_file_that_is_not_there_is_refused(pointer_file: Pointer) -> None:
    with pytest.raises(Refusal, match=r"service\.env"):
        pointer.read(pointer_file)


def test_the_pointer_names_the_legacy_file(pointer_file: Pointer) -> None:
    pointer_file.path.write_text("DATABASE_URL=file:/srv/game.db\n")

    assert pointer.url(pointer_file) == LegacyUrl(Path("/srv/game.db"))


def test_a_line_that_was_cut_in_two_is_passed_over_and_the_next_one_is_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "20260101_000000_ab12")
    journal.write("run", verb="cutover", environment="test")
    with (journal.folder / journals.JOURNAL).open("ab") as file:
        file.write(b'{"at": 1, "event": "beg')

    journal.write("done", "copy", seconds=1.5)

    assert [(entry.event, entry.step) for entry in journal.entries()] == [("run", ""), ("done", "copy")]
    assert journal.last("done", "copy") is not None


def test_the_newest_run_without_an_end_is_gone_on_with(tmp_path: Path) -> None:
    first, second, other = (Journal(tmp_path / name) for name in ("1", "2", "3"))
    first.write("run", verb="cutover", environment="test")
    first.write("end", verdict="undone")
    assert journals.unfinished(tmp_path, "cutover", "test") is None

    second.write("run", verb="cutover", environment="test")
    other.write("run", verb="cutover", environment="staging")

    assert journals.unfinished(tmp_path, "cutover", "test") == second
    assert journals.unfinished(tmp_path, "rollback", "test") is None


def test_passwords_are_redacted_whole_and_the_line_stays_json(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run")

    journal.write("hook", "deploy", output='DATABASE_URL=postgresql://u:hunter2@h/db PASSWORD="hunter2"', n=[1, "x"])

    assert "hunter2" not in (journal.folder / journals.JOURNAL).read_text()
    assert [entry.facts["n"] for entry in journal.entries()] == [[1, "x"]]


def test_the_old_value_is_kept_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run")

    journal.keep_secret("pointer.before", "first")
    journal.keep_secret("pointer.before", "second")

    assert journal.secret("pointer.before") == "first"
    assert (journal.folder / "pointer.before").stat().st_mode & 0o777 == 0o600
