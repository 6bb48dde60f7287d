"""A disk that loses, with its power, whatever was not synced: SQLite's own files of one process, copied at each sync.

SQLite itself says when it syncs: its file system layer is replaced, in the process, by one that does the same and takes
a copy. What a kill leaves is then put back to the copies; a file that was removed comes back, unless its folder was
synced. A sync costs the copy, some 0.1 ms for a file of one player.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from db.errors import Refusal
from game.legacy import sidecars

_POINTER = ctypes.c_void_p
# A name is a pointer here, for SQLite keeps it: ctypes would hand on a text of its own, which does not last.
_OPEN = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, _POINTER, _POINTER, ctypes.c_int, _POINTER)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, _POINTER, ctypes.c_int)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_int)


class _Layer(ctypes.Structure):
    """SQLite's struct sqlite3_vfs, version 3, as far as it is read or changed here."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("bytes_of_file", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("next", _POINTER),
        ("name", ctypes.c_char_p),
        ("data", _POINTER),
        ("open", _OPEN),
        ("delete", _DELETE),
        ("after", _POINTER * 14),
    )


class _Methods(ctypes.Structure):
    """SQLite's struct sqlite3_io_methods, version 3; only xSync is changed."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("before", _POINTER * 4),
        ("sync", _SYNC),
        ("after", _POINTER * 13),
    )


class _File(ctypes.Structure):
    """SQLite's struct sqlite3_file: the head of each VFS's own struct for an open file."""

    _fields_ = (("methods", ctypes.POINTER(_Methods)),)


class SyncedCopies:
    """Copies each file that this process's SQLite syncs into a folder, from `install` on.

    It must live as long as the process: SQLite keeps no reference to what it calls, and crashes without it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._layer = _Layer()
        self._files: dict[int, tuple[str, int]] = {}
        self._methods: dict[int, _Methods] = {}

    def install(self) -> None:
        """Let every connection opened from now on copy what it syncs. Raises Refusal if this SQLite exports no VFS."""
        library = ctypes.CDLL(_sqlite3.__file__)
        try:
            find, register = library.sqlite3_vfs_find, library.sqlite3_vfs_register
        except AttributeError as error:
            raise Refusal(
                "a Python whose sqlite3 uses a library of its own, such as libsqlite3.so",
                str(error),
                do="Run the fault legacy-power-cut with the Python of Debian or of pyenv.",
            ) from None
        find.restype, find.argtypes = _POINTER, [ctypes.c_char_p]
        register.argtypes = [_POINTER, ctypes.c_int]
        real = _Layer.from_address(find(None))
        ctypes.memmove(ctypes.byref(self._layer), ctypes.byref(real), ctypes.sizeof(_Layer))
        self._layer.name = b"synced-copies"
        self._layer.open = _OPEN(self._opening(real.open))
        self._layer.delete = _DELETE(self._deleting(real.delete))
        register(ctypes.byref(self._layer), 1)

    def _opening(self, real_open: Any) -> Callable[..., int]:
        def opened(layer: int, name: int | None, file: int, flags: int, flags_out: int) -> int:
            code = int(real_open(layer, name, file, flags, flags_out))
            if code == 0 and name is not None:
                # Never closed: to close a file is to release all locks that the process has on it, SQLite's too.
                path = _path(name)
                self._files[file] = path.name, os.open(path, os.O_RDONLY)
                self._watch(_File.from_address(file))
            return code

        return opened

    def _deleting(self, real_delete: Any) -> Callable[..., int]:
        def deleted(layer: int, name: int, sync_folder: int) -> int:
            code = int(real_delete(layer, name, sync_folder))
            if sync_folder:  # Otherwise the file may be there again after a loss of power.
                (self._folder / _path(name).name).unlink(missing_ok=True)
            return code

        return deleted

    def _watch(self, file: _File) -> None:
        """Give the file methods of ours: SQLite shares one table of them among many files, and it can't be written."""
        real = file.methods.contents
        place = ctypes.addressof(real)
        if place not in self._methods:
            own = _Methods()
            ctypes.memmove(ctypes.byref(own), ctypes.byref(real), ctypes.sizeof(_Methods))
            own.sync = _SYNC(self._syncing(real.sync))
            self._methods[place] = own
        file.methods = ctypes.pointer(self._methods[place])

    def _syncing(self, real_sync: Any) -> Callable[..., int]:
        def synced(file: int, flags: int) -> int:
            code = int(real_sync(file, flags))
            name, descriptor = self._files[file]
            (self._folder / name).write_bytes(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
            return code

        return synced


def _path(name: int) -> Path:
    return Path(os.fsdecode(ctypes.string_at(name)))


def lose_unsynced(path: Path, synced: Path) -> None:
    """Put a SQLite file, and what SQLite keeps beside it, back to the copies in `synced`; nobody has it open."""
    for file in (path, *sidecars.beside(path)):
        file.unlink(missing_ok=True)
        if (copy := synced / file.name).exists():
            shutil.copyfile(copy, file)
