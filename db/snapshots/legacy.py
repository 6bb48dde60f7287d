"""Snapshots of the legacy file: SQLite's own backup, so that what is still in the write-ahead log is in it too.

All pages are copied in one go: a backup in steps begins again at every write of the live game and never ends. It costs
one read of the file; a service in WAL mode goes on writing meanwhile.
"""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from db import files, paths
from db.confirmation import unasked
from db.errors import Failure, Refusal, ToolError
from db.files import fsync_folder
from db.snapshots import manifest
from db.snapshots.manifest import FILE_NAMES, Label, Manifest, Side, Snapshot
from db.transfer.source import opened
from game.legacy import cells, fence

_ANOTHER = "Name another snapshot with --path, or take one: invoke snapshot.take --env NAME --of legacy|target"

BESIDE = ("-wal", "-shm", "-journal")
# A virtual table has no page: its rows are in tables that are counted, and its module may be missing.
TABLES = """
    SELECT name FROM sqlite_master
    WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name
"""


def take(path: Path, parent: Path, *, environment: str, label: Label, run: str) -> Snapshot:
    """Copy the file as of one instant, with the rows counted in the same read transaction.

    Raises Refusal and Failure as `transfer` does, before a folder is made.
    """
    with ExitStack() as reading:
        source = reading.enter_context(opened(path)).connection
        folder, finish = reading.enter_context(manifest.being_made(parent, environment, Side.LEGACY, label))
        copy = folder / FILE_NAMES[Side.LEGACY]
        counts, state = count(source), fence.state(source)
        _back_up(source, copy)
        # Without a write-ahead log an open reader blocks the game's writers.
        source.execute("COMMIT")
        made = Manifest(
            environment=environment, side=Side.LEGACY, label=label, run=run, taken_at=manifest.now().isoformat(),
            file=copy.name, size=copy.stat().st_size, sha256=manifest.digest(copy), counts=counts,
            source=str(path), fence=state, schema="", tool=f"SQLite {sqlite3.sqlite_version}",
        )  # fmt: skip
        manifest.write(folder, made)
        return Snapshot(finish(), made)


def verify(snapshot: Snapshot) -> dict[str, int]:
    """Restore into a scratch file and count: rows a table. Failure where hash, integrity or counts disagree."""
    check_hash(snapshot)
    with manifest.scratch(snapshot.folder) as scratch:
        copy = scratch / snapshot.path.name
        _copy(snapshot.path, copy)
        try:
            counts = _counted(copy)
        except ToolError as error:  # It names the scratch copy, which is removed.
            raise Failure(error.expected, error.found, where=str(snapshot.path), do=_ANOTHER) from error
    check_counts(snapshot, counts)
    return counts


def restore(
    snapshot: Snapshot, into: Path, *, keep_fence: bool, replace: bool = False, confirm: Callable[[], None] = unasked
) -> Path | None:
    """Put the snapshot at `into`, flushed; gives where the file that stood there was moved, if any.

    A leftover log of the old file would be played into the new one, so `-wal`, `-shm` and `-journal` move with their
    file. Stop every service on it first: one that has the old file open goes on writing there.
    """
    check_hash(snapshot)
    there = _beside(into)
    if there and not replace:
        raise Refusal(
            "no file there, nor a log beside it", " and ".join(path.name for path in there), where=str(into),
            do="Name a path where no file is yet: --into NEW",
        )  # fmt: skip
    paths.require_folder(
        into.parent, "a folder that exists, to restore into", do="Make that folder, or name another place: --into NEW"
    )
    confirm()
    partial = into.with_name(f".{into.name}.{secrets.token_hex(6)}{manifest.PARTIAL}")
    try:
        _copy(snapshot.path, partial)
        if not keep_fence:
            _unfence(partial)
        manifest.fsync_file(partial)
        aside = _move_aside(into)
        partial.replace(into)
    finally:
        partial.unlink(missing_ok=True)
    fsync_folder(into.parent)
    return aside


def count(connection: sqlite3.Connection) -> dict[str, int]:
    """Rows a table, by SQLite itself."""
    names = [name for (name,) in connection.execute(TABLES).fetchall()]
    return {name: connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0] for name in names}


def quoted(name: str) -> str:
    """An identifier of SQLite's."""
    return '"' + name.replace('"', '""') + '"'


def check_hash(snapshot: Snapshot) -> None:
    """Failure where the file is not the one that was taken."""
    try:
        found = manifest.digest(snapshot.path)
    except OSError as error:
        raise Failure("the file of the snapshot", str(error.strerror), where=str(snapshot.path), do=_ANOTHER) from None
    if found != snapshot.manifest.sha256:
        raise Failure(f"sha256 {snapshot.manifest.sha256}", found, where=str(snapshot.path), do=_ANOTHER)


def check_counts(snapshot: Snapshot, found: dict[str, int]) -> None:
    """Failure naming the first table whose rows, once restored, are not those that were counted."""
    expected = snapshot.manifest.counts
    for table in sorted({*expected, *found}):
        if expected.get(table) != found.get(table):
            raise Failure(
                f"{expected.get(table, 'no')} rows in {table}",
                f"{found.get(table, 'none')} once restored",
                where=str(snapshot.path),
                do=f"This one does not hold what it was taken of. {_ANOTHER}",
            )


def _copy(snapshot: Path, to: Path) -> None:
    try:
        files.make(to)
        shutil.copyfile(snapshot, to)
    except OSError as error:
        raise Refusal(
            "room for a copy of the snapshot", str(error.strerror), where=str(to.parent),
            do="Make room there, and allow this user to write there; or name another place: --into NEW",
        ) from None  # fmt: skip


def _counted(copy: Path) -> dict[str, int]:
    with opened(copy) as source:
        answer = str(source.connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
        if answer != "ok":
            raise Failure("a sound SQLite file", answer, where=str(copy))
        return count(source.connection)


def _back_up(source: sqlite3.Connection, copy: Path) -> None:
    files.make(copy)
    try:
        with closing(sqlite3.connect(copy)) as target:
            source.backup(target, pages=-1)
    except sqlite3.OperationalError as error:
        # The error is the copy's: a backup copies the source's pages without looking into them.
        raise Failure("a copy of the file", str(error), where=str(copy.parent.parent), do="Make room there.") from error


def _unfence(path: Path) -> None:
    with closing(cells.connect(path)) as connection:
        fence.lift(connection)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _beside(path: Path) -> list[Path]:
    """What there is of the database: a log that lies there without its file would be played into the next one."""
    return [found for suffix in ("", *BESIDE) if (found := path.with_name(path.name + suffix)).exists()]


def _move_aside(path: Path) -> Path | None:
    there = _beside(path)
    aside = path.with_name(f"{path.name}.replaced-{manifest.now():%Y%m%dT%H%M%SZ}")
    for found in there:
        found.replace(aside.with_name(aside.name + found.name.removeprefix(path.name)))
    return aside if there else None
