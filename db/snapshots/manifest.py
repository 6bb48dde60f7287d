"""A snapshot on disk: a folder with one file and its manifest, whole or not there at all.

The folder gets its final name only when file and manifest are flushed, so what a killed run leaves behind bears another
name and is never taken for a snapshot. Players' password hashes are inside: folders are 0700, files 0600.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, NonNegativeInt, TypeAdapter

from db import signing
from db.errors import Failure, Refusal
from db.files import json_files, private
from db.files.json_files import Instant, OneLine
from db.files.paths import require_file, require_folder
from db.files.private import fsync_folder
from game import paths

MANIFEST = "manifest.json"
VERIFIED = "verified.json"
PARTIAL = ".partial"
SCRATCH = ".verify-"


class Side(StrEnum):
    """The store that a snapshot is of."""

    LEGACY = "legacy"
    TARGET = "target"


class Label(StrEnum):
    """The purpose of a snapshot; retention counts each label by itself."""

    MANUAL = "manual"
    BEFORE = "before"
    FINAL = "final"
    FIRST = "first"
    SCHEDULED = "scheduled"


FILE_NAMES = {Side.LEGACY: "legacy.sqlite", Side.TARGET: "game.dump"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of a snapshot's file, and how to recognize that they are unchanged.

    `counts` are rows a table, read in the same transaction as the file; `size` is in bytes; `fence` is the state of the
    store's fence when it was taken, which the file carries; `schema` is the head of the migrations, or "". `signature`
    is of all the rest; None where the environment has no key.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    environment: OneLine
    side: Side
    label: Label
    run: OneLine
    taken_at: Instant
    file: OneLine
    size: NonNegativeInt
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    counts: dict[str, NonNegativeInt]
    source: str
    fence: OneLine
    schema: OneLine
    tool: OneLine
    signature: OneLine | None = None

    def signed(self, key: str | None) -> Manifest:
        """Return the manifest with its signature, or without one if there is no key."""
        return replace(self, signature=signing.sign(self._document(), key) if key else None)

    def fits(self, key: str) -> bool:
        """Return True if the signature is that of this manifest by this key."""
        return signing.fits(self._document(), self.signature or "", key)

    def _document(self) -> dict[str, object]:
        fields = asdict(self)
        del fields["signature"]
        return {"snapshot": fields}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole snapshot and where it lies."""

    folder: Path
    manifest: Manifest

    @property
    def path(self) -> Path:
        """Return the path of the snapshot's file."""
        return self.folder / self.manifest.file

    @property
    def players(self) -> int:
        """Return how many players the store had."""
        return self.manifest.counts.get("users", 0)


@dataclass(frozen=True, slots=True)
class Note:
    """Holds the text of `verified.json`: when a snapshot was verified, signed together with its manifest."""

    at: str
    sha256: str
    signature: str | None = None

    def signed(self, manifest: Manifest, key: str | None) -> Note:
        """Return the note with its signature, or without one if there is no key."""
        return replace(self, signature=signing.sign(self._document(manifest), key) if key else None)

    def fits(self, manifest: Manifest, key: str) -> bool:
        """Return True if the signature is that of this note beside this manifest by this key."""
        return signing.fits(self._document(manifest), self.signature or "", key)

    def _document(self, manifest: Manifest) -> dict[str, object]:
        # All of the manifest: else a note of other counts of the same bytes would fit.
        return {"verified": {"at": self.at, "sha256": self.sha256, "manifest": asdict(manifest)}}


class Unsound(Refusal):
    """A snapshot that is not what its manifest says. Nothing was changed: what is read is the snapshot alone."""


_MANIFESTS = TypeAdapter(Manifest)
_NOTES = TypeAdapter(Note)
NAME_ANOTHER = "Nothing was changed. Name another snapshot with --path."
_NAME_ONE = "Name a folder that `invoke snapshot.take --env NAME` printed; `invoke status --env NAME` lists the newest."


@contextmanager
def being_made(parent: Path, environment: str, side: Side, label: Label) -> Iterator[tuple[Path, Callable[[], Path]]]:
    """Make a folder to fill, and give the function that makes it a snapshot. Removes a folder left unfinished.

    Raises Refusal if no folder can be made there, Failure if the block can't write.
    """
    try:
        private.make_folder(parent)
    except OSError as error:
        description = paths.describe(parent)
        raise Refusal(
            "a folder for snapshots",
            str(error.strerror) if description == paths.NOTHING else description,
            where=str(parent),
            do="Let this user make it, or correct snapshots.folder; invoke status --env NAME says where it is set.",
        ) from None
    name = f"{environment}-{side}-{label}-{now():%Y%m%dT%H%M%S.%fZ}"
    partial = parent / (name + PARTIAL)
    with ExitStack() as held:
        with _locked(parent):
            clear_abandoned(parent, environment)
            partial.mkdir(mode=0o700)
            held.enter_context(_locked(partial))
        try:
            yield partial, lambda: partial.rename(parent / name)
            fsync_folder(parent)
        except OSError as error:
            raise Failure(
                "a snapshot to be written",
                str(error.strerror),
                where=str(parent),
                do="Make room there; nothing was kept.",
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Make a folder within the snapshot's own to restore into, removed afterwards; one of a killed run goes first."""
    with _locked(folder):
        for left in folder.glob(f"{SCRATCH}*"):
            if _is_folder(left):
                shutil.rmtree(left)
            else:
                left.unlink()
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder) as made:
            yield Path(made)


def clear_abandoned(parent: Path, environment: str) -> int:
    """Remove what killed runs had begun, copies of all that players own, and return how many there were."""
    removed = 0
    for left in filter(_is_folder, parent.glob(f"{environment}-*{PARTIAL}")):
        with suppress(BlockingIOError), _locked(left, wait=False):
            shutil.rmtree(left)
            removed += 1
    return removed


def _is_folder(path: Path) -> bool:
    """Return False for a link to one too: what it leads to is not ours to remove."""
    return path.is_dir() and not path.is_symlink()


@contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Lock the folder until this process ends. Without `wait`, raises BlockingIOError if another holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def write(folder: Path, manifest: Manifest, key: str | None) -> Manifest:
    """Sign the manifest and put it beside its file, both flushed to disk. Return it as it was written."""
    manifest = manifest.signed(key)
    fsync_file(folder / manifest.file)
    path = folder / MANIFEST
    private.write(path, _MANIFESTS.dump_json(manifest, indent=2) + b"\n")
    fsync_file(path)
    fsync_folder(folder)
    return manifest


def read(folder: Path) -> Snapshot:
    """Return the snapshot in this folder. Raises Refusal if it holds none."""
    require_folder(folder, "the folder of a snapshot", do=_NAME_ONE)
    require_file(folder / MANIFEST, f"a snapshot with {MANIFEST}", where=str(folder), do=_NAME_ONE)
    manifest = json_files.load_json(
        folder / MANIFEST,
        _MANIFESTS,
        f"a snapshot with {MANIFEST}",
        do=_NAME_ONE,
        most_bytes=json_files.MOST_BYTES_OF_A_NOTE,
        follow=False,
    )
    if manifest.file != FILE_NAMES[manifest.side]:  # Else a manifest could name any file of the machine.
        raise Refusal(
            f"a snapshot whose file is {FILE_NAMES[manifest.side]}",
            json_files.shown(manifest.file),
            where=str(folder),
            do=_NAME_ONE,
        )
    return Snapshot(folder, manifest)


def note(snapshot: Snapshot) -> Note | None:
    """Return the note that this very file was restored and counted; None without one. Checks no signature."""
    try:
        read_note = json_files.load_json(
            snapshot.folder / VERIFIED,
            _NOTES,
            "a note",
            do="",
            most_bytes=json_files.MOST_BYTES_OF_A_NOTE,
            follow=False,
        )
    except Refusal:
        return None
    return read_note if read_note.sha256 == snapshot.manifest.sha256 else None


def note_verified(snapshot: Snapshot, key: str | None) -> None:
    """Note beside the manifest, signed if there is a key, that the snapshot was restored and counted."""
    path = snapshot.folder / VERIFIED
    verified = Note(now().isoformat(), snapshot.manifest.sha256).signed(snapshot.manifest, key)
    # Not to write through a link, nor into a pipe, that somebody put there.
    private.write_whole(path, _NOTES.dump_json(verified) + b"\n")


def forget_verified(snapshot: Snapshot) -> None:
    """Remove the note that the snapshot was verified. Harmless if there is none."""
    (snapshot.folder / VERIFIED).unlink(missing_ok=True)


def find(parent: Path, environment: str, *, side: Side | None = None, label: Label | None = None) -> list[Snapshot]:
    """Return the environment's snapshots, oldest first."""
    folders = [path.parent for path in parent.glob(f"{environment}-*/{MANIFEST}") if path.parent.suffix != PARTIAL]
    fitting = [s for s in map(_read_listed, folders) if s.manifest.environment == environment]
    fitting = [s for s in fitting if side in (None, s.manifest.side) and label in (None, s.manifest.label)]
    return sorted(fitting, key=lambda s: s.manifest.taken_at)


def _read_listed(folder: Path) -> Snapshot:
    """Read a snapshot that nobody named. Raises Refusal if it can't be read: it may be the one that is needed."""
    try:
        return read(folder)
    except Refusal as error:
        raise Refusal(
            error.expected,
            error.found,
            where=error.where,
            do="Move this folder out of snapshots.folder: this version can't read it as a snapshot.",
        ) from None


def retain(
    parent: Path,
    environment: str,
    keep: int,
    *,
    is_admitted: Callable[[Snapshot], bool],
    is_verified: Callable[[Snapshot], bool],
    taken: Path | None = None,
) -> list[Path]:
    """Remove all but the newest `keep` of each side and label, verified or not. Return the removed folders.

    taken: the one just taken, which stays: where the clock was set back, older ones have later times.
    is_admitted: others are neither counted nor removed, so that a forged one pushes out none of ours. Also kept: the
    newest `keep` verified ones, which unverified ones must not push out; the newest verified one with players, even if
    many snapshots of an empty store follow it; the newest verified one of each of the last two days that have one.
    """
    gone: list[Path] = []
    for side in Side:
        snapshots = [s for s in find(parent, environment, side=side) if is_admitted(s) and is_verified(s)]
        of_days = {s.manifest.taken_at[:10]: s for s in snapshots}
        days = list(of_days.values())[-2:]
        for label in Label:
            snapshots = [s for s in find(parent, environment, side=side, label=label) if is_admitted(s)]
            verified = [s for s in snapshots if is_verified(s)]
            with_players = [s for s in verified if s.players]
            safe = snapshots[-keep:] + verified[-keep:] + with_players[-1:] + days
            gone += [s.folder for s in snapshots if s not in safe and s.folder != taken and _is_folder(s.folder)]
    for folder in gone:
        shutil.rmtree(folder)
    return gone


def digest(path: Path) -> str:
    """Return the file's sha256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def now() -> datetime:
    """Return this instant, in UTC."""
    return datetime.now(UTC)


def fsync_file(path: Path) -> None:
    """Have the file's bytes on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
