"""Every path that an option or a setting takes: what is wrong with it is said in words, and nothing is begun."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from db import environments, service_file, snapshots, transfer
from db.console.output import Output
from db.conversion.convert import convert
from db.cutover import pointer
from db.environments import Pointer
from db.errors import Refusal
from db.files import paths
from db.samples import seed
from game import settings
from game.errors import BadSettings
from harness import report
from harness.cli.commands import snapshots as snapshot_moves
from harness.cli.commands import transfers
from harness.gate import certificate

NOBODY = 65534

Made = Callable[[Path], Path]
"""Puts something at or beside the path, and returns the path to name."""


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as bound:
        before = Path.cwd()
        os.chdir(path.parent)  # A socket's path may have 107 bytes.
        bound.bind(path.name)
        os.chdir(before)
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _link(target: str) -> Made:
    def made(path: Path) -> Path:
        path.symlink_to(target)
        return path

    return made


def _link_to_a_folder(path: Path) -> Path:
    path.with_name("a folder").mkdir()
    path.symlink_to("a folder")
    return path


def _empty(path: Path) -> Path:
    path.touch()
    return path


def _spaced(path: Path) -> Path:
    return path.with_name("바둑 서버 (복사본).env")


def _below_a_file(path: Path) -> Path:
    path.touch()
    return path / "below"


WRONG: dict[str, tuple[Made, str]] = {
    "missing": (lambda path: path, "no such file"),
    "a missing folder": (lambda path: path.parent / "none" / path.name, "no folder "),
    "a folder": (_folder, "a folder"),
    "a link to a folder": (_link_to_a_folder, "a folder"),
    "a pipe": (_pipe, "a pipe"),
    "a socket": (_socket, "a socket"),
    "a device": (lambda _path: Path(os.devnull), "a device"),
    "a dangling link": (_link("nowhere"), "a link to nowhere, where nothing is"),
    "links in a circle": (_link("named"), "links that lead in a circle"),
    "a name of Korean letters and blanks": (_spaced, "no such file"),
    "a name that is too long": (lambda path: path.with_name("x" * 300), "a name that is too long for a file"),
    "below a file": (_below_a_file, "a file where a folder of the path should be"),
}
READERS: dict[str, Callable[[Path], object]] = {
    "--source of transfer": transfer.check,
    "--source of transfer.profile": lambda path: transfers.profile(str(path)),
    "--source of transfer.convert": lambda path: convert(path, path.parent / "new.db"),
    "--verify of gate, --certificate of cutover": certificate.read,
    "--from of report": report.read,
    "environments.toml": lambda path: environments.load("development", path),
    "pointer.path, for serve": lambda path: service_file.require(path, "DATABASE_URL"),
    "pointer.path, for a move": lambda path: pointer.read(Pointer(path)),
}
EMPTY_IS_SAID = ("--source of transfer", "--source of transfer.profile", "--source of transfer.convert")


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("reader", READERS)
def test_a_path_to_read_that_is_no_file_is_refused_in_words(tmp_path: Path, reader: str, wrong: str) -> None:
    make, result = WRONG[wrong]
    path = make(tmp_path / "named")
    before = listing(tmp_path)

    with pytest.raises(Refusal) as refused:
        READERS[reader](path)

    assert refused.value.found.startswith(result), refused.value
    assert refused.value.where == str(path)
    assert refused.value.do
    assert listing(tmp_path) == before


@pytest.mark.parametrize("reader", EMPTY_IS_SAID)
def test_an_empty_file_is_named_so(tmp_path: Path, reader: str) -> None:
    with pytest.raises(Refusal, match="found an empty file"):
        READERS[reader](_empty(tmp_path / "named"))


@pytest.mark.parametrize("reader", ["--verify of gate, --certificate of cutover", "--from of report"])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"# A page\n", "a file that is not JSON"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"{}", "JSON "),
        (b"[1]", "JSON "),
        (b'{"certificate": {"signature": null}}', ""),
    ],
)
def test_a_file_that_no_gate_wrote_is_told_how_one_is_made(
    tmp_path: Path, reader: str, text: bytes, found: str
) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(text)

    with pytest.raises(Refusal) as refused:
        READERS[reader](path)

    assert refused.value.expected == "the JSON that a gate wrote"
    assert found in refused.value.found
    assert "invoke gate --env NAME --json FILE" in refused.value.do


@pytest.mark.parametrize("wrong", [name for name in WRONG if name not in ("a name of Korean letters and blanks",)])
def test_a_service_s_env_file_that_is_none_is_named(
    tmp_path: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, result = WRONG[wrong]
    path = make(tmp_path / "named")
    monkeypatch.setenv(settings.ENV_FILE, str(path))

    with pytest.raises(BadSettings) as refused:
        settings.load()

    assert f"found {result}" in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_file_that_this_user_may_not_read_is_named_with_every_reader(tmp_path: Path) -> None:
    """As another user, for root may read everything."""
    path = tmp_path / "named"
    path.write_text("secret")
    path.chmod(0)
    with another_user(tmp_path):
        for reader, read in READERS.items():
            with pytest.raises(Refusal) as refused:
                read(path)
            assert refused.value.found == "a file that this user may not read", reader
            assert refused.value.do == "Allow this user to read it.", reader


MAKE_A_SNAPSHOT = """
import sys
from pathlib import Path
from db.snapshots import manifest
with manifest.being_made(Path(sys.argv[1]), "test", manifest.Side.LEGACY, manifest.Label.MANUAL):
    pass
"""

WRITERS: dict[str, Callable[[Path], object]] = {
    "--legacy of seed": lambda path: seed.seed_legacy(path, 1),
    "--into of transfer": paths.require_new,
    "--json": lambda path: Output(str(path)).check_json(),
}
UNWRITABLE = ("a missing folder", "a folder", "a link to a folder", "links in a circle", "a name that is too long")


@pytest.mark.parametrize("wrong", [*UNWRITABLE, "below a file"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_path_to_write_at_which_none_can_be_made_is_refused_before_the_work(
    tmp_path: Path, writer: str, wrong: str
) -> None:
    path = WRONG[wrong][0](tmp_path / "named")
    before = listing(tmp_path)

    with pytest.raises(Refusal) as refused:
        WRITERS[writer](path)

    assert refused.value.found
    assert refused.value.do
    assert listing(tmp_path) == before


@pytest.mark.parametrize("path", ["/dev/null", "/dev/stderr"])
def test_json_may_go_to_a_device(path: str) -> None:
    Output(path).check_json()


@pytest.mark.parametrize("wrong", ["missing", "a folder", "a pipe", "a dangling link", "a missing folder"])
def test_a_snapshot_s_folder_that_is_none_is_refused(tmp_path: Path, wrong: str) -> None:
    path = WRONG[wrong][0](tmp_path / "named")
    with pytest.raises(Refusal) as refused:
        snapshots.read(path)
    assert refused.value.found
    assert "invoke snapshot.take" in refused.value.do


def test_options_that_were_left_out_are_asked_for() -> None:
    env = environments.throwaway  # Nothing of an environment is read before.
    with pytest.raises(Refusal, match="--source FILE"):
        transfers.profile("")
    with pytest.raises(Refusal, match="--path FOLDER"):
        snapshot_moves.run(env, "verify", "", "")  # type: ignore[arg-type]


def test_the_folder_of_snapshots_may_be_no_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MAKE_A_SNAPSHOT, str(_empty(tmp_path / "named"))],
        check=False,
        capture_output=True,
        text=True,
    )
    assert "expected a folder for snapshots; found an empty file" in done.stderr


def listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@contextmanager
def another_user(folder: Path) -> Iterator[None]:
    """Act as nobody, if we are root; the folder and those above it can be entered."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.parents):
        if path != Path("/") and not path.stat().st_mode & 0o005:
            path.chmod(path.stat().st_mode | 0o055)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
