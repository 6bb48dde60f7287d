"""Keys under which the plugin's modules share things in pytest's session, and notes of what --keep leaves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from shlex import quote
from typing import Protocol

import pytest
from psycopg.conninfo import conninfo_to_dict

from db.errors import ToolError
from db.files import private
from db.servers import ProviderChoice, Server
from harness.databases import Database

PLAN = pytest.StashKey[ProviderChoice]()
"""The kind of server that was chosen, before any is started."""
NONE = pytest.StashKey[ToolError]()
"""Why no server can be had, where none was asked for by --postgres."""
SERVER = pytest.StashKey[Server]()
"""The server, once a test has asked for it."""
OWN = pytest.StashKey[list[Server]]()
"""The servers that this process crashes on purpose."""
KEPT = pytest.StashKey[list[str]]()
"""A line for the end of the run for each database and file that was left."""
FAILED = pytest.StashKey[bool]()
"""On an item: whether one of its phases failed."""

KEEP = "--keep"
UPDATE = "--update-scenarios"
SERVICE = "kept"


def keeps(request: pytest.FixtureRequest) -> bool:
    """Return whether a fixture is to leave what its test worked on: the test failed, and --keep was given."""
    return bool(request.config.getoption(KEEP)) and request.node.stash.get(FAILED, False)


class WorkerDatabase(Protocol):
    """A database that a worker uses for one test after the other."""

    def leave(self) -> Database:
        """Leave the database as it is and take another. Returns the one that was left."""
        ...


def leave_after_failure(request: pytest.FixtureRequest, used: WorkerDatabase) -> bool:
    """Leave a failed test's database if --keep was given, and note it. Returns True if it was left."""
    if not keeps(request):
        return False
    note_kept_database(request, used.leave())
    return True


def note_kept(request: pytest.FixtureRequest, what: str, command: str) -> None:
    """Have the end of the run say what a failed test left, and the command to look at it."""
    request.config.stash[KEPT].append(f"{request.node.nodeid}: {what}: {command}")


def note_kept_database(request: pytest.FixtureRequest, database: Database) -> None:
    """Note a database that a failed test left. Its password goes into a file that only its owner can read."""
    folder = Path(tempfile.mkdtemp(prefix="sudamr-kept-"))
    file = folder / "db"
    settings = conninfo_to_dict(database.owner.conninfo)
    private.write(file, f"[{SERVICE}]\n" + "".join(f"{name}={value}\n" for name, value in settings.items()))
    command = f"PGSERVICEFILE={quote(str(file))} psql service={SERVICE}"
    request.config.stash[KEPT].append(f"{request.node.nodeid}: database {database.name}:\n{command}")
