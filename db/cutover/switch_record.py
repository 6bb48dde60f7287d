"""The record of the switches, in two files beside the pointer: the store that was switched to, and an undo under way.

A hook's effect may be on other machines, which neither the pointer nor /readyz shows. So a switch is done only if this
record names its store. It names none from before the pointer is written until `deploy` and `restart` have ended with 0
and every process serves the store. It is beside the pointer and not in Postgres, because a failover could bring an
older record back, and every run that writes the pointer can read and write here.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path

from db.environments import Environment
from db.files import json_files, private

StoreAddress = tuple[object, ...]
"""A store without its password; see `switch.address`."""


class Switched(StrEnum):
    """The answer of the record for one store. UNKNOWN: there is no record, or this user may not read it."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


def switched(env: Environment, address: StoreAddress) -> Switched:
    """Return YES if the last switch was to this store and was completed."""
    try:
        content = _path(env, "switched").read_bytes()
    except OSError:
        return Switched.UNKNOWN
    try:
        return Switched.YES if json_files.parse(content) == [*address] else Switched.NO
    except json_files.Unfit:
        return Switched.NO


def begin(env: Environment) -> None:
    """Record that a switch is under way. Call it under the lock of the hooks. Raises OSError that names the file."""
    _write(_path(env, "switched"), None)


def complete(env: Environment, address: StoreAddress) -> None:
    """Record that the switch to this store was completed. Call it under the lock of the hooks. Raises OSError."""
    _write(_path(env, "switched"), [*address])


def undoing(env: Environment) -> bool:
    """Return True if an undo was begun, and has neither ended nor been followed by a run that goes forward."""
    return _path(env, "undo").exists()


def begin_undo(env: Environment, verb: str) -> None:
    """Record that an undo of this verb is under way. Raises OSError that names the file."""
    _write(_path(env, "undo"), verb)


def end_undo(env: Environment) -> None:
    """Record that no undo is under way. Raises OSError."""
    _path(env, "undo").unlink(missing_ok=True)


def _path(env: Environment, what: str) -> Path:
    path = env.pointer.path.resolve()
    return path.with_name(f"{path.name}.{what}")


def _write(path: Path, content: object) -> None:
    private.write_whole(path, json.dumps(content) + "\n")
