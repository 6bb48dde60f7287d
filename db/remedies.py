"""Remedies that several refusals name, and SQL in which every name is quoted, so that capitals are kept."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import LiteralString

from psycopg import sql

RESTORE_FILE = (
    "Restore it from a snapshot, with the service stopped:"
    " invoke snapshot.restore --env NAME --path FOLDER --into NEW --unfence"
)
"""For a damaged legacy file alone: a snapshot lacks what players did since. NEW takes its place by hand."""

LOAD_ANEW = (
    "Move no player with this copy. The file is whole: empty the target (invoke transfer.cleanup --env NAME), and load"
    " it anew."
)

ANOTHER_SERVER = (
    " Or name a Postgres of your own in environments.local.toml (in the file that SUDAMR_ENVIRONMENTS names, if it is"
    " set): target and target_direct of [development]."
)

AS_THE_SERVICE = "Run as the user of the service, or allow this user to read and write it."


def grant_create(database: str, role: str) -> str:
    """Return the SQL that lets the role create schemas in the database."""
    return statement("GRANT CREATE ON DATABASE {database} TO {role};", database=database, role=role)


def statement(template: LiteralString, **names: str | tuple[str, ...]) -> str:
    """Fill in the template's names as quoted identifiers; a tuple is one qualified name, such as schema and table."""
    identifiers = {key: sql.Identifier(*((name,) if isinstance(name, str) else name)) for key, name in names.items()}
    return sql.SQL(template).format(**identifiers).as_string(None)


def seeding(path: Path) -> str:
    """Return the advice that makes the legacy file of development, which is not there yet."""
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"Make one: invoke seed --legacy {shlex.quote(str(shown))}"
