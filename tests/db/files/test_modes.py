"""Whatever the tools write is for its owner alone, under every umask; and nothing writes a file in another way."""

from __future__ import annotations

import ast
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from db import snapshots
from db.console.progress import Silent
from db.conversion.convert import convert
from db.cutover import report as cutover_report
from db.cutover.journal import Journal
from db.cutover.report import RunReport, RunVerdict
from db.files import private
from db.samples import seed
from db.snapshots import Side
from db.transfer.rebuild import made
from game.service import supervisor

ROOT = Path(__file__).parents[3]

WRITERS = {
    *("write_text", "write_bytes", "touch", "mkdir", "makedirs", "mkdtemp", "mkstemp", "NamedTemporaryFile"),
    *("copyfile", "copy", "copy2", "copytree", "copystat", "chmod", "fchmod", "umask"),
}
WRITING = set("wax+")

ALLOWED = {
    ("db/files/private.py", "opened"): "the one function that opens a file to write it",
    ("db/files/private.py", "make_folder"): "the one function that makes folders",
    ("db/files/private.py", "_private"): "opens it with its mode",
    ("db/files/private.py", "_narrow"): "takes the rights of others from a file that was there",
    ("db/files/part_file.py", "_locked_part"): "0600; locked as it is made",
    ("db/files/private.py", "_try"): "makes a file of mode 0600 and removes it, to see that it can",
    ("db/schema/new_revision.py", "_write"): "a source file of the checkout, which git gives to others",
    ("db/servers/reaper.py", "_log"): "a script that imports nothing of the project",
    ("db/servers/binaries.py", "make_folder"): "0700; alone if it must not be there yet",
    ("db/servers/embedded.py", "copied"): "programs, which the server's account has to run",
    ("db/snapshots/manifest.py", "being_made"): "0700; alone if it must not be there yet",
    (
        "db/files/private.py",
        "write_whole",
    ): "the pointer keeps the mode that its operator gave it: others may run the service",
    ("harness/bench/versions.py", "newer"): "a copy of the tree, as git gives it to others",
    ("db/console/output.py", "_try"): "the null device",
    ("db/console/output.py", "_open_standard_streams"): "the null device",
    **dict.fromkeys(
        [
            ("db/monitor/samples.py", "opened"),
            ("db/samples/seed.py", "_new_file"),
            ("db/snapshots/legacy.py", "_back_up"),
            ("db/conversion/proof.py", "_both"),
            ("db/conversion/convert.py", "_write"),
            ("db/conversion/encoded_rows.py", "_under_another_name"),
            ("harness/play/arena.py", "copy_to"),
        ],
        "SQLite writes into a file that files.make() made",
    ),
    ("db/conversion/proof.py", "prove"): "only read",
    ("game/legacy/sqlite_values.py", "connect"): "a file that is there",
    ("game/service/supervisor.py", "_locked"): "0600; the game's package does not know db",
    ("harness/audit/copies.py", "*"): "a copy of the checkout, in a folder that mkdtemp makes: 0700",
    ("harness/audit/probe.py", "*"): "in that copy",
    ("harness/audit/run.py", "started_copies"): "mkdtemp: 0700",
    ("harness/audit/coverage.py", "record"): "mkdtemp: 0700",
    ("harness/audit/preloaded.py", "_become"): "0600; it loads nothing of the project",
    ("harness/audit/tracing/sitecustomize.py", "_write"): "0600; it loads nothing of the project",
    ("harness/pytest_plugin/traced_lines.py", "pytest_runtest_logreport"): "in that folder: 0700",
    ("harness/bench/round.py", "_fill_bags"): "a file that is there",
    ("harness/strikes/tool.py", "_streams_to"): "0600",
    ("harness/strikes/world.py", "*"): "in a temporary folder: 0700",
    ("harness/sweeps/legacy_faults.py", "_power_cut"): "in a temporary folder: 0700",
    ("harness/sweeps/power_loss.py", "*"): "in a temporary folder: 0700",
    ("harness/bench/actions.py", "_service"): "0700; alone if it must not be there yet",
    ("harness/pytest_plugin/scenario_items.py", "legacy_stage"): "mkdtemp: 0700",
    ("harness/pytest_plugin/session.py", "note_kept_database"): "mkdtemp: 0700",
    ("harness/gate/parts.py", "_with_dummies"): "revisions without data, in a temporary folder: 0700",
    ("harness/play/arena.py", "_copy"): "copies into a file that files.make() made",
    ("harness/play/update.py", "_write"): "a scenario of the checkout, which git gives to others",
    ("harness/rehearsal/setup.py", "*"): "0700; alone if it must not be there yet",
    ("harness/report/files.py", "add_to_summary"): "GitHub's own file, which its runner reads",
    ("harness/scenarios/schema.py", "*"): "a source file of the checkout",
}
"""Where else a file or folder is made, and why: by file and function."""


def sites() -> Iterator[tuple[str, str, int]]:
    for path in [
        ROOT / "tasks.py",
        *sorted(p for top in ("db", "game", "harness") for p in (ROOT / top).rglob("*.py")),
    ]:
        name = str(path.relative_to(ROOT))
        for function, call in calls(ast.parse(path.read_text("utf-8"))):
            if writes(call):
                yield name, function, call.lineno


def calls(tree: ast.AST, function: str = "") -> Iterator[tuple[str, ast.Call]]:
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, ast.FunctionDef) else function
        if isinstance(node, ast.Call):
            yield function, node
        yield from calls(node, inner)


def writes(call: ast.Call) -> bool:
    """Return True if the call makes a file or a folder, or changes a mode."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = call.func.value.id if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) else ""
    if name in WRITERS:
        # A dictionary's or a row's copy(), fields.write_text: no files.
        return name not in {"copy", "write_text"} or owner in {"shutil", "path", "beside", "FILE", "text"}
    if (owner, name) == ("os", "open"):
        return any(getattr(one, "attr", "") in {"O_WRONLY", "O_CREAT", "O_RDWR"} for one in ast.walk(call))
    if (owner, name) == ("sqlite3", "connect"):
        return not (isinstance(call.args[0], ast.Constant) and call.args[0].value == ":memory:")
    if name == "open":
        modes = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        return any(WRITING & set(mode) and len(mode) <= 3 for mode in modes)
    return False


@pytest.mark.core
def test_nothing_writes_a_file_but_by_the_function_that_gives_it_its_mode() -> None:
    writers = list(sites())
    assert len(writers) > 20
    others = [
        f"{file}:{line} in {function}"
        for file, function, line in writers
        if (file, function) not in ALLOWED and (file, "*") not in ALLOWED
    ]
    assert others == []


def _json(folder: Path) -> None:
    private.make_folder(folder / "out" / "deep")
    private.write(folder / "out" / "deep" / "page.json", "{}")


def _wide(folder: Path) -> None:
    path = folder / "was-wide.json"
    path.write_text("of another day")
    path.chmod(0o666)
    private.write(path, "{}")


def _appended(folder: Path) -> None:
    path = folder / "was-wide.jsonl"
    path.write_text("a line\n")
    path.chmod(0o644)
    with private.opened(path, "a") as file:
        file.write("another\n")
    assert path.read_text() == "a line\nanother\n"


def _journal(folder: Path) -> None:
    journal = Journal(folder / "var" / "moves" / "run")
    journal.write("run", verb="cutover")
    journal.keep_secret("pointer.before", "postgresql://u:words@h/d")
    cutover_report.save(
        RunReport("run", "cutover", "test", RunVerdict.LIVE, "15", (), None),
        journal,
    )


def _legacy(folder: Path) -> None:
    seed.seed_legacy(folder / "game.db", 2, anomalies=False, progress=Silent())
    with closing(sqlite3.connect(folder / "game.db")) as connection:
        connection.execute("UPDATE users SET gold = 1")  # Leaves -wal and -shm while it is open.
        modes(folder)


def _utf_16(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "wide.db")) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16le'")
        connection.execute("CREATE TABLE t (rowid, oid, _rowid_, a TEXT)")
        connection.execute("INSERT INTO t VALUES (1, 2, 3, '가')")
        connection.commit()
    (folder / "wide.db").chmod(0o600)
    convert(folder / "wide.db", folder / "narrow.db", progress=Silent())


def _part(folder: Path) -> None:
    with made(folder / "whole.db") as part:
        modes(folder)
        private.write(part, b"bytes")


def _pidfile(folder: Path) -> None:
    with supervisor._pidfile(folder / "service.pid"):
        modes(folder)


WAYS = [_json, _wide, _appended, _journal, _legacy, _utf_16, _part, _pidfile]


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("write", WAYS, ids=[way.__name__.strip("_") for way in WAYS])
def test_a_file_is_its_owners_alone_under_every_umask(
    write: Callable[[Path], None], umask: int, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    folder.mkdir(mode=0o700)
    write(folder)
    modes(folder)


def modes(folder: Path) -> None:
    """Fail for a file that others may read, or a folder that others may enter."""
    for path in [folder, *folder.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), f"{path.relative_to(folder)}: {mode:o}"


def test_a_snapshot_is_its_owners_alone_even_while_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0)
    try:
        (tmp_path / "of").mkdir(mode=0o700)
        seed.seed_legacy(tmp_path / "of" / "game.db", 2, anomalies=False, progress=Silent())
        copy = snapshots.legacy.shutil.copyfileobj

        def watched(source: IO[bytes], to: IO[bytes]) -> None:
            copy(source, to)
            modes(tmp_path / "snapshots")

        monkeypatch.setattr(snapshots.legacy.shutil, "copyfileobj", watched)
        file, manual = tmp_path / "of" / "game.db", snapshots.manifest.Label.MANUAL
        taken = snapshots.legacy.take(file, tmp_path / "snapshots", environment="test", label=manual, run="r", key=None)
        snapshots.legacy.verify(taken)
        snapshots.manifest.note_verified(taken, None)
        assert taken.manifest.side is Side.LEGACY
        modes(tmp_path / "snapshots")
    finally:
        os.umask(before)
