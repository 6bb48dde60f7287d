"""Identifies this checkout of the project, and keeps in a development database to which checkout it belongs.

Two checkouts on one machine reach the same database if both use the port of compose.yaml; without the mark, `reset` in
one would empty the other's. The id stands in var/checkout.json, which no commit holds: it moves with the folder, and
stays when a container gets another host name.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from psycopg import sql
from pydantic import ConfigDict, TypeAdapter

from db import environments
from db.errors import Refusal
from db.files import private
from db.files.json_files import MOST_BYTES_OF_A_NOTE, load_json
from db.target.requirements import place

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

OWNED = ("development",)
"""Environments whose database belongs to one checkout. Staging and production are moved from several machines."""

FILE = Path("var") / "checkout.json"

# Read through to_jsonb: a schema `ops` that an older version made has no such column.
_MARK = "select to_jsonb(e) -> 'checkout' from ops.environment e"


@dataclass(frozen=True, slots=True)
class Checkout:
    """A folder on a host, with an id that stays when the folder is moved."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    id: str
    host: str
    folder: str

    def __str__(self) -> str:
        return f"{self.host}:{self.folder}"

    def is_same(self, other: Checkout) -> bool:
        """Return True if both are one checkout: a moved one keeps its id, one whose var/ was removed its place."""
        return self.id == other.id or (self.host, self.folder) == (other.host, other.folder)


_CHECKOUTS = TypeAdapter(Checkout)


def current(folder: Path | None = None) -> Checkout:
    """Return the checkout of the folder, by default of the one with environments.toml. Writes its file if need be.

    Raises Refusal if the file holds something else.
    """
    path = (folder or environments.DEFAULT_PATH.absolute().parent).resolve()
    host, file = socket.gethostname(), path / FILE
    stored = _read(file)
    if stored is None or _is_copy(stored, host, path):
        return _write(Checkout(str(uuid.uuid4()), host, str(path)), file)
    checkout = Checkout(stored.id, host, str(path))
    return checkout if checkout == stored else _write(checkout, file)


def of(conn: Connection) -> Checkout | None:
    """Return the checkout that a prepared database belongs to; None if `prepare` has named none yet."""
    row = conn.execute(_MARK).fetchone()
    return Checkout(**row[0]) if row and row[0] else None


def describe(conn: Connection) -> str:
    """Say for `status` whose the database is."""
    owner, own = of(conn), current()
    if owner is None:
        return "no checkout yet; invoke prepare makes it this one's"
    return f"this checkout, {own}" if owner.is_same(own) else f"another checkout, {owner}"


def require_own(conn: Connection, environment: str) -> None:
    """Check that the database is this checkout's. Raises Refusal naming the owner."""
    owner, own = of(conn), current()
    if owner is None:
        raise Refusal(
            "a database that names its checkout",
            "one that an older version prepared",
            where=place(conn),
            do=f"Run: invoke prepare --env {environment}",
        )
    _require_same(conn, owner, own, environment)


def require_claimable(conn: Connection, environment: str, own: Checkout) -> None:
    """Check that the database is this checkout's or nobody's. Raises Refusal naming the owner."""
    if (owner := of(conn)) is not None:
        _require_same(conn, owner, own, environment)


def claiming(own: Checkout) -> sql.Composed:
    """Return the statement that gives the database to a checkout; also its own: one that was moved has a new place."""
    return sql.SQL("update ops.environment set checkout = {}::jsonb").format(json.dumps(asdict(own)))


def _require_same(conn: Connection, owner: Checkout, own: Checkout, environment: str) -> None:
    if not owner.is_same(own):
        raise Refusal(
            f"a database of this checkout, {own}",
            f"one that belongs to {owner}",
            where=place(conn),
            do=f"To make it this one's, with what is in it: invoke prepare --env {environment} --take-over"
            "\n  For a Postgres of this checkout's own: README.md, Two checkouts on one machine.",
        )


def _is_copy(kept: Checkout, host: str, path: Path) -> bool:
    """Return True if var/ was copied from a checkout that still stands where the file says."""
    if kept.host != host or kept.folder == str(path):
        return False
    original = _read(Path(kept.folder) / FILE)
    return original is not None and original.id == kept.id


def _read(file: Path) -> Checkout | None:
    if not os.access(file, os.R_OK):
        return None
    return load_json(file, _CHECKOUTS, "what `invoke prepare` writes", do=f"rm {file}", most_bytes=MOST_BYTES_OF_A_NOTE)


def _write(made: Checkout, file: Path) -> Checkout:
    """Keep the checkout in its file. Where nothing can be written, its place alone identifies it."""
    try:
        private.make_folder(file.parent)
        private.write_whole(file, json.dumps(asdict(made)) + "\n")
    except OSError:
        return Checkout(str(uuid.uuid5(uuid.NAMESPACE_URL, str(made))), made.host, made.folder)
    return made
