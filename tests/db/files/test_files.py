"""Files that a user names: one that can't be read or written is a refusal of one line, and nothing has changed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import environments
from db.errors import Refusal
from db.files import private
from tests.fixtures.users import unprivileged

FILE = """
[development]
legacy = "file:game.db"
target = "postgresql://u@127.0.0.1/game"
target_direct = "postgresql://u@127.0.0.1/game"
pointer = { path = "service.env" }
snapshots = { folder = "snapshots" }
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any user of the machine may enter, with environments in it."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made)
        path.chmod(0o755)
        (path / "environments.toml").write_text(FILE)
        for name in (".env", ".env.development", "service.env"):
            (path / name).write_text("POOL_SIZE=3\n")
        yield path


def read_all(folder: Path) -> None:
    loaded = environments.load("development", folder / "environments.toml")
    environments.pool_size(loaded)
    environments.secret("NO_SUCH_SECRET", folder)


@pytest.mark.parametrize("name", ["environments.toml", ".env", ".env.development", "service.env"])
@pytest.mark.parametrize("fault", ["unreadable", "folder", "Latin-1"])
def test_a_file_of_settings_that_can_not_be_read_is_named(folder: Path, name: str, fault: str) -> None:
    read_all(folder)
    path = folder / name
    if fault == "unreadable":
        path.chmod(0)
    elif fault == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(b"NAME=\xe9t\xe9\n")
    with unprivileged(), pytest.raises(Refusal) as refused:
        read_all(folder)
    assert refused.value.where == str(path)


def test_a_file_of_settings_that_is_not_there_says_nothing(folder: Path) -> None:
    assert private.variables(folder / "none.env") == {}


def test_what_can_be_written_is_left_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = folder / "kept.json"
    kept.write_text("kept")
    (folder / "link.json").symlink_to(folder / "later.json")
    os.mkfifo(folder / "pipe")
    before = sorted(path.name for path in folder.iterdir())
    for path in (kept, folder / "new.json", folder / "link.json", folder / "pipe", Path("/dev/null")):
        private.require_writable(path, "--json")
    assert (kept.read_text(), sorted(path.name for path in folder.iterdir())) == ("kept", before)
    monkeypatch.chdir(folder)
    later = Path("made/for/it.json")
    private.require_writable(later, "--json")
    assert not Path("made").exists()
    private.make_parent(later)
    private.write(later, "{}")


def test_what_this_user_may_not_write_is_refused(folder: Path) -> None:
    (folder / "closed.json").write_text("closed")
    with unprivileged():
        for path in (folder / "closed.json", folder / "new.json"):
            with pytest.raises(Refusal, match=r"--json; found a f(ile|older) .*that this user may not write"):
                private.require_writable(path, "--json")


def test_a_file_of_another_user_is_refused_whose_owner_could_read_what_is_written(folder: Path) -> None:
    kept = folder / "theirs.json"
    kept.write_text("kept")
    kept.chmod(0o666)
    with unprivileged():
        with pytest.raises(Refusal, match="found a file of another user") as refused:
            private.require_writable(kept, "--json")
        assert "where no file is yet" in refused.value.do
        with pytest.raises(PermissionError):
            private.write(kept, "secret")
        with tempfile.TemporaryDirectory() as own:
            private.require_writable(Path(own) / "new.json", "--json")
            private.write(Path(own) / "new.json", "secret")
    assert kept.read_text() == "kept"
