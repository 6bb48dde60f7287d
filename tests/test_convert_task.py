"""`invoke transfer.convert`, run exactly as the refusal of a file in UTF-16 prints it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from db.console.progress import Silent
from db.samples import seed
from tests.db.conversion.encoded_files import contents, make, recoded
from tests.test_tasks import assert_refused, invoke

ODD = (
    "UPDATE users SET nickname = '가' || char(0) || '나' WHERE rowid = 2",
    "UPDATE users SET rowid = -7 WHERE rowid = 3",
    "UPDATE kv SET rowid = -9223372036854775808 WHERE rowid = 1",
    "UPDATE kv SET value = x'00' || value WHERE rowid = 2",
    "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, text)",
    "INSERT INTO counted VALUES (900, char(0) || 'a'), (901, 1.0)",
    "DELETE FROM counted WHERE id = 901",
    "CREATE TABLE by_key (a TEXT, b, PRIMARY KEY (a, b)) WITHOUT ROWID",
    "INSERT INTO by_key VALUES ('😀', 1), ('힣', x'00')",
    "CREATE VIEW rich AS SELECT id FROM users WHERE gold > 3",
    "CREATE TRIGGER counts AFTER INSERT ON users BEGIN INSERT INTO counted(text) VALUES (new.id); END",
    "PRAGMA user_version=41",
    "PRAGMA application_id=-42",
)


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    seed.seed_legacy(tmp_path / "seeded.db", 12, 5, anomalies=False, progress=Silent())
    return recoded(tmp_path / "seeded.db", tmp_path / "the game's.db", *ODD)


def test_what_refuses_a_file_in_utf_16_names_a_command_that_makes_one_which_goes_there_and_comes_back_equal(
    legacy: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    before = legacy.read_bytes()
    done = invoke("transfer", "--env", "test", "--source", str(legacy))
    assert_refused(done, "one in UTF-16le")
    command = re.search(r"invoke (transfer\.convert .*)\.?$", done.stderr.strip())
    assert command is not None, done.stderr
    new, copy, out = tmp_path / "new.db", tmp_path / "copy.db", tmp_path / "out.json"
    arguments = [str(new) if word == "NEW" else word for word in shlex.split(command[1])]
    done = invoke(*arguments, "--json", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(out.read_text())["proven"]["rows"] > 12
    assert contents(new) == contents(legacy)
    assert legacy.read_bytes() == before
    done = invoke(
        "transfer",
        "--env",
        "test",
        "--source",
        str(new),
        "--back",
        "--into",
        str(copy),
        "--json",
        str(out),
        "--postgres",
        pytestconfig.getoption("--postgres") or "local",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(out.read_text())["equal"] is True


@pytest.mark.parametrize("arguments", [(), ("--source", "a.db"), ("--into", "a.db")])
def test_both_names_are_asked_for(arguments: tuple[str, ...]) -> None:
    assert_refused(invoke("transfer.convert", *arguments), "--source FILE and --into NEW")


def test_texts_that_no_utf_8_stands_for_are_named_and_kept_when_asked(tmp_path: Path) -> None:
    source = make(tmp_path / "game.db", "CREATE TABLE users (id)", "INSERT INTO users VALUES (CAST(x'00d8' AS TEXT))")
    arguments = ("transfer.convert", "--source", str(source), "--into", str(tmp_path / "new.db"))
    refused = invoke(*arguments)
    assert refused.returncode == 2, refused.stderr
    assert "users.id, rowid 1.\n" in refused.stderr
    assert "run again with --as-blobs" in refused.stderr
    done = invoke(*arguments, "--as-blobs")
    assert done.returncode == 0, done.stderr
    assert "kept as BLOBs, 1 text" in done.stdout
