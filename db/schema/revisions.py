"""Reads the revision files, checks them and renders them as SQL before Alembic runs any of them.

The rules, each with a Refusal that names the file: the files `0002_what_it_does.py` form one line, each with the file
before it as its parent; each renders its SQL without a database; a statement that can't run in a transaction stands
alone in its file.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from db.errors import Refusal

SCRIPTS = Path(__file__).parents[1] / "migrations"
VERSIONS = SCRIPTS / "versions"
_ALEMBIC = threading.RLock()

NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.py")
OUTSIDE = ("COMMIT;", "BEGIN;")
"""Alembic's autocommit_block renders these before and after its statements."""

PLAIN = {"paramstyle": "named"}
"""Options for SQL as text: the driver's own parameter style would double each %."""

PASS = (
    "select set_config('sudamr.fence_pass', gen_random_uuid()::text, true)",
    (
        "insert into ops.fence_passes (schema, pass_sha256) select current_schema(),"
        " encode(sha256(convert_to(current_setting('sudamr.fence_pass'), 'UTF8')), 'hex')"
    ),
)
"""Lets the open transaction pass the fence of the current schema. Only the server knows the pass."""

NO_PASS = (
    (
        "delete from ops.fence_passes where schema = current_schema()"
        " and pass_sha256 = encode(sha256(convert_to(current_setting('sudamr.fence_pass'), 'UTF8')), 'hex')"
    ),
    "select set_config('sudamr.fence_pass', '', true)",
)
"""Removes the pass before the commit, so that no other session can ever use it."""

CONCURRENTLY = re.compile(r"\bconcurrently\b", re.IGNORECASE)
COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
CONTROL = frozenset({"begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "prepare"})
"""First words of the statements that begin or end a transaction."""

QUOTED = re.compile(r"\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'", re.DOTALL)


@dataclass(frozen=True)
class Revision:
    """One revision file. statements: its SQL, in order. outside: they run outside a transaction.

    needs_of_service: what each process of the service must be able to do before it is applied; "" for nothing.
    """

    id: str
    path: Path
    statements: tuple[str, ...]
    outside: bool
    needs_of_service: str = ""

    @property
    def sql(self) -> str:
        """Return all statements as text, for a linter and for the digest."""
        return "".join(f"{statement}\n\n" for statement in self.statements)

    @property
    def digest(self) -> str:
        """Return a hash of the statements without white space, so that reformatting a file does not change it."""
        return hashlib.sha256(" ".join(self.sql.split()).encode()).hexdigest()

    @property
    def for_a_copy(self) -> str:
        """Return the SQL for a schema without rows, in one transaction. No statement needs CONCURRENTLY there."""
        if not self.outside:
            return self.sql
        return "\n".join(CONCURRENTLY.sub("", one) for one in self.statements if one not in OUTSIDE)

    def record(self, schema: str) -> str:
        """Return the SQL that notes in `ops` that the revision was applied to the schema."""
        quoted = schema.replace("'", "''")
        return (
            f"insert into ops.revisions (schema, revision, sha256) values ('{quoted}', '{self.id}', '{self.digest}')"
            " on conflict (schema, revision) do update set sha256 = excluded.sha256, applied_at = now()"
        )


@dataclass(frozen=True)
class History:
    """All revisions, oldest first, and the folders that hold them."""

    revisions: tuple[Revision, ...]
    folders: tuple[Path, ...] = (VERSIONS,)

    @property
    def head(self) -> str:
        """Return the id of the newest revision."""
        return self.revisions[-1].id

    def __contains__(self, revision: str) -> bool:
        return any(one.id == revision for one in self.revisions)

    def applied(self, at: str | None) -> tuple[Revision, ...]:
        """Return the revisions up to and including `at`; none for None."""
        return tuple(one for one in self.revisions if at is not None and one.id <= at)

    def pending(self, at: str | None) -> tuple[Revision, ...]:
        """Return the revisions after `at`; all for None."""
        return self.revisions[len(self.applied(at)) :]


def read(*more: Path) -> History:
    """Read the project's revisions and those of more folders. Raises Refusal naming the file at fault."""
    folders = (VERSIONS, *more)
    files = sorted((path for folder in folders for path in _files(folder)), key=lambda path: path.name)
    before: tuple[Path, ModuleType] | None = None
    revisions = []
    for path in files:
        module = _load(path)
        _require_next(path, module, before, files)
        revisions.append(_revision(path, module))
        before = (path, module)
    return History(tuple(revisions), folders)


@contextmanager
def alembic() -> Iterator[None]:
    """Have Alembic to oneself: its `op` and `context` are global, and another thread would replace them.

    It leaves no bytecode of a revision: a file that is edited within the same second would be taken for unchanged.
    """
    with _ALEMBIC:
        before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            yield
        finally:
            sys.dont_write_bytecode = before


def config(history: History, **attributes: object) -> Config:
    """Make Alembic's configuration for these revisions. attributes: for migrations/env.py."""
    alembic = Config()
    alembic.set_main_option("script_location", _escaped(SCRIPTS))
    alembic.set_main_option("version_locations", os.pathsep.join(map(_escaped, history.folders)))
    alembic.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    alembic.set_main_option("path_separator", "os")
    alembic.attributes.update(attributes)
    return alembic


def _escaped(path: Path) -> str:
    """Escape a path for configparser, which interpolates %."""
    return str(path).replace("%", "%%")


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.glob("*.py"):
        if path.name == "__init__.py":
            continue
        if not NAME.fullmatch(path.name):
            raise Refusal(
                "a revision's file named like 0002_what_it_does.py",
                path.name,
                where=str(folder),
                do="Rename it, or move it elsewhere if it is no revision.",
            )
        yield path


class _FromSource(SourceFileLoader):
    """Compiles the file each time. A cached bytecode counts as fresh if time (whole seconds) and size are the same."""

    def path_stats(self, path: str) -> dict[str, Any]:
        """Raise OSError, by which importlib neither reads nor writes a cache."""
        raise OSError(path)


def _load(path: Path) -> ModuleType:
    name = f"sudamr_revision_{path.stem}"
    loader = _FromSource(name, str(path))
    module = module_from_spec(ModuleSpec(name, loader, origin=str(path)))
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:  # A half-written file can raise anything when it is loaded.
        raise _unreadable("a revision that Python can load", error, path) from error
    if not callable(getattr(module, "upgrade", None)):
        raise Refusal(
            "a revision with a function upgrade()",
            "none",
            where=str(path),
            do="Write it like the one in the file before it.",
        )
    return module


def _require_next(
    path: Path, module: ModuleType, before: tuple[Path, ModuleType] | None, files: Sequence[Path]
) -> None:
    """Check that the file's name, revision and down_revision follow the file before it; Refusal otherwise."""
    number = path.name[:4]
    if getattr(module, "revision", None) != number:
        raise Refusal(
            f"revision = {number!r}, as the file's name says",
            repr(getattr(module, "revision", None)),
            where=str(path),
            do="Change the revision in the file, or rename the file, so that both agree.",
        )
    if before is not None and before[0].name[:4] == number:
        raise Refusal(
            f"one revision {number}",
            f"two: {before[0].name} and {path.name}",
            where=str(path.parent),
            do=f"Rename the one that no database has yet to the next number, with down_revision = {number!r}.",
        )
    parent, expected = getattr(module, "down_revision", None), before and before[1].revision
    if parent != expected:
        known = parent is None or any(one.name.startswith(f"{parent}_") for one in files)
        found = repr(parent) if known else f"{parent!r}, of which there is no file"
        raise Refusal(
            f"down_revision = {expected!r}: each revision follows the one before it",
            found,
            where=str(path),
            do="Write that line; or bring back the file that is missing.",
        )


def _revision(path: Path, module: ModuleType) -> Revision:
    statements = _render(path, module)
    outside = OUTSIDE[0] in statements
    own = [one for one in statements if one not in OUTSIDE]
    for statement in own:
        if control := controls(statement):
            raise Refusal(
                "a revision that leaves its transaction to Alembic",
                f"the statement {min(control)}",
                where=str(path),
                do="Take it out. What can't run in a transaction has a revision of its own, in autocommit_block().",
            )
        if CONCURRENTLY.search(_bare(statement)) and not outside:
            raise Refusal(
                "a statement with CONCURRENTLY outside a transaction",
                "one within",
                where=str(path),
                do="Write: with op.get_context().autocommit_block():",
            )
    if outside and len(own) != 1:
        raise Refusal(
            "one statement alone in a revision that runs outside a transaction",
            f"{len(own)} statements",
            where=str(path),
            do="Give each a revision of its own: what fails half way could not be taken back.",
        )
    return Revision(str(module.revision), path, statements, outside, getattr(module, "needs_of_service", ""))


def controls(statement: str) -> frozenset[str]:
    """Return the words of the text that begin or end a transaction."""
    return CONTROL & {one.split()[0].lower() for one in _bare(statement).split(";") if one.strip()}


def _bare(statement: str) -> str:
    """Return the statement without comments and without quoted text."""
    return COMMENTS.sub("", QUOTED.sub("''", statement))


class _Statements(list[str]):
    """A buffer that collects the statements that Alembic renders offline."""

    def write(self, text: str) -> None:
        self.append(text.strip())

    def flush(self) -> None:
        pass


def _render(path: Path, module: ModuleType) -> tuple[str, ...]:
    """Run upgrade() without a database. Must not run inside an upgrade: leaving this context clears Alembic's `op`."""
    written = _Statements()
    context = MigrationContext.configure(
        dialect_name="postgresql", dialect_opts=PLAIN, opts={"as_sql": True, "output_buffer": written}
    )
    try:
        with alembic(), Operations.context(context):
            module.upgrade()
    except (Exception, SystemExit) as error:  # upgrade() can raise anything, as the file can.
        raise _unreadable("a revision that renders its SQL without a database", error, path) from error
    return tuple(filter(None, written))


def _unreadable(expected: str, error: BaseException, path: Path) -> Refusal:
    line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
    message = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return Refusal(
        expected,
        f"{type(error).__name__}: {message}{line}",
        where=str(path),
        do="Nothing was changed. Correct that file.",
    )
