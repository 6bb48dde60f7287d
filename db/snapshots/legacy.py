"""Snapshots of the legacy file: SQLite's own backup, so that what is still in the write-ahead log is in it too.

All pages are copied in one go: a backup in steps begins again at every write of the live game and never ends. It costs
one read of the file; a service in WAL mode goes on writing meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import BinaryIO

from db.confirmation import unasked
from db.errors import Failure, Refusal, ToolError
from db.files import paths, private
from db.files.json_files import shown
from db.files.part_file import part_of
from db.legacy import source
from db.snapshots import manifest
from db.snapshots.manifest import FILE_NAMES, Label, Manifest, Side, Snapshot, Unsound
from game import paths as kinds
from game.legacy import draws, fence, sidecars, sqlite_values

_ANOTHER = "Name another snapshot with --path, or take one: invoke snapshot.take --env NAME --of legacy|target"

# A virtual table has no page: its rows are in tables that are counted, and its module may be missing.
TABLES = """
    SELECT name FROM sqlite_master
    WHERE type = 'table' AND rootpage > 0 AND substr(lower(name), 1, 7) <> 'sqlite_' ORDER BY name
"""


def take(path: Path, parent: Path, *, environment: str, label: Label, run: str, key: str | None) -> Snapshot:
    """Copy the file as of one instant, with the rows counted in the same read transaction. key: signs the manifest.

    Raises Refusal and Failure as `transfer` does, before a folder is made.
    """
    with ExitStack() as reading:
        game = reading.enter_context(source.opened(path)).connection
        folder, finish = reading.enter_context(manifest.being_made(parent, environment, Side.LEGACY, label))
        copy = folder / FILE_NAMES[Side.LEGACY]
        counts, state = count(game), fence.state(game)
        _back_up(game, copy)
        # Without a write-ahead log an open reader blocks the game's writers.
        game.execute("COMMIT")
        made = Manifest(
            environment=environment,
            side=Side.LEGACY,
            label=label,
            run=run,
            taken_at=manifest.now().isoformat(),
            file=copy.name,
            size=copy.stat().st_size,
            sha256=manifest.digest(copy),
            counts=counts,
            source=shown(str(path), most=4096),
            fence=state,
            schema="",
            tool=f"SQLite {sqlite3.sqlite_version}",
        )
        made = manifest.write(folder, made, key)
        return Snapshot(finish(), made)


def verify(snapshot: Snapshot) -> dict[str, int]:
    """Restore into a scratch file and count: rows a table. Raises Unsound if anything differs from the manifest."""
    with manifest.scratch(snapshot.folder) as scratch:
        copy = scratch / snapshot.path.name
        _copy(snapshot, copy)
        return _checked(snapshot, copy)


def restore(
    snapshot: Snapshot, into: Path, *, keep_fence: bool, replace: bool = False, confirm: Callable[[], None] = unasked
) -> Path | None:
    """Put the snapshot at `into`, flushed; gives where the file that stood there was moved, if any.

    What is put there is a copy that was checked as `verify` checks it; where that fails, nothing was changed.

    A leftover log of the old file would be played into the new one, so `-wal`, `-shm` and `-journal` move with their
    file. Stop every service on it first: one that has the old file open goes on writing there. Only the draw epoch, and
    the fence if it is lifted, differ from the snapshot; both are set before the file has its name.
    """
    with opened(snapshot):
        pass  # Read whole before anything is asked: a file that was changed is not worth an answer.
    existing = _beside(into)
    if existing and not replace:
        raise Refusal(
            "no file there, nor a log beside it",
            " and ".join(path.name for path in existing),
            where=str(into),
            do="Name a path where no file is yet: --into NEW",
        )
    paths.require_parent(into, "a folder to restore into")
    confirm()
    with ExitStack() as stack:
        try:
            private.make_parent(into)
            partial = stack.enter_context(part_of(into))
        except OSError as error:
            raise _no_room(error, into.parent) from None
        _copy(snapshot, partial)
        _checked(snapshot, partial)
        _put_to_use(partial, keep_fence=keep_fence)
        manifest.fsync_file(partial)
        aside = _move_aside(into)
        private.put(partial, into)
    return aside


def count(connection: sqlite3.Connection) -> dict[str, int]:
    """Count the rows of each table, by SQLite itself."""
    names = [name for (name,) in connection.execute(TABLES).fetchall()]
    return {
        name: connection.execute(f"SELECT count(*) FROM {sqlite_values.quote(name)}").fetchone()[0] for name in names
    }


@contextmanager
def opened(snapshot: Snapshot) -> Iterator[BinaryIO]:
    """Compare the snapshot's file with the manifest, and give it open at its beginning. Raises Unsound.

    What is read from here is what was compared, whatever takes the file's place meanwhile.
    """
    where, expected = str(snapshot.path), "the file of the snapshot"
    try:
        # Not through a link, and without waiting for who writes to a pipe.
        descriptor = os.open(snapshot.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        found = "a link" if snapshot.path.is_symlink() else str(error.strerror)
        raise Unsound(expected, found, where=where, do=_ANOTHER) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise Unsound(expected, kinds.describe(snapshot.path), where=where, do=_ANOTHER)
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size != snapshot.manifest.size:
            raise Unsound(f"{snapshot.manifest.size:,} bytes", f"{status.st_size:,}", where=where, do=_ANOTHER)
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != snapshot.manifest.sha256:
            raise Unsound(f"sha256 {snapshot.manifest.sha256}", found, where=where, do=_ANOTHER)
        file.seek(0)
        yield file


def check_counts(snapshot: Snapshot, counts: dict[str, int]) -> None:
    """Raise Unsound naming the first table whose rows, once restored, are not those that were counted."""
    expected = snapshot.manifest.counts
    for table in sorted({*expected, *counts}):
        if expected.get(table) != counts.get(table):
            raise Unsound(
                f"{expected.get(table, 'no')} rows in {table}",
                f"{counts.get(table, 'none')} once restored",
                where=str(snapshot.path),
                do=f"This one does not hold what it was taken of. {_ANOTHER}",
            )


def _copy(snapshot: Snapshot, to: Path) -> None:
    with opened(snapshot) as file:
        try:
            with private.opened(to, "wb") as copy:
                shutil.copyfileobj(file, copy)
        except OSError as error:
            raise _no_room(error, to.parent) from None


def _no_room(error: OSError, folder: Path) -> Refusal:
    return Refusal(
        "room for a copy of the snapshot",
        str(error.strerror),
        where=str(folder),
        do="Make room there, and allow this user to write there; or name another place: --into NEW",
    )


def _checked(snapshot: Snapshot, copy: Path) -> dict[str, int]:
    """Return rows a table of the copy. Raises Unsound if it is not sound, or its fence or rows are not those taken."""
    where = str(snapshot.path)  # The copy is removed.
    try:
        with source.opened(copy) as reading:
            connection = reading.connection
            answer = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
            if answer != "ok":
                raise Unsound("a sound SQLite file", answer)
            state, counts = fence.state(connection), count(connection)
    except (ToolError, sqlite3.DatabaseError) as error:
        found = error.found if isinstance(error, ToolError) else str(error)
        expected = error.expected if isinstance(error, ToolError) else "a sound SQLite file"
        raise Unsound(expected, found, where=where, do=_ANOTHER) from error
    if state != snapshot.manifest.fence:
        raise Unsound(f"a file that is {snapshot.manifest.fence}", f"one that is {state}", where=where, do=_ANOTHER)
    check_counts(snapshot, counts)
    return counts


def _back_up(game: sqlite3.Connection, copy: Path) -> None:
    private.make(copy)
    try:
        with closing(sqlite3.connect(copy)) as target:
            game.backup(target, pages=-1)
    except sqlite3.OperationalError as error:
        # The error is the copy's: a backup copies the source's pages without looking into them.
        raise Failure("a copy of the file", str(error), where=str(copy.parent.parent), do="Make room there.") from error


def _put_to_use(path: Path, *, keep_fence: bool) -> None:
    """Give the file a new draw epoch: the writes since the snapshot are discarded."""
    with closing(sqlite_values.connect(path)) as connection:
        connection.execute("PRAGMA synchronous=EXTRA")
        connection.execute("BEGIN IMMEDIATE")
        draws.renew(connection)
        connection.execute("COMMIT")
        if not keep_fence:
            fence.lift(connection)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _beside(path: Path) -> list[Path]:
    """List the database's files that exist. A log without its file would be played into the next database."""
    return [file for file in (path, *sidecars.beside(path)) if file.exists()]


def _move_aside(path: Path) -> Path | None:
    existing = _beside(path)
    aside = path.with_name(f"{path.name}.replaced-{manifest.now():%Y%m%dT%H%M%SZ}")
    for file in existing:
        file.replace(aside.with_name(aside.name + file.name.removeprefix(path.name)))
    return aside if existing else None
