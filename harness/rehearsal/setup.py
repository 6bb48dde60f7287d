"""Sets up a rehearsal: copies of the file, a throwaway server, the service, and a reaper over all of it."""

from __future__ import annotations

import secrets
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from db import environments, ops, transfer
from db.console.progress import Progress
from db.environment_plans import Hooks
from db.environments import Environment, Policy
from db.files import private
from db.samples import seed
from db.servers import Server
from db.servers.reaper_client import ReaperClient
from db.servers.vitals import Vitals, lasting
from game.legacy import sqlite_values
from game.urls import LegacyUrl
from harness.load.service_processes import Service

FREEZE_BUDGET_SECONDS = 86_400.0
"""The freeze is measured here, and judged by the policy of the environment that is really moved."""

ANY_NUMBER = 10**9


@dataclass(frozen=True)
class RehearsalSetup:
    """Everything in its place, the service playing on `legacy`. `source`: the same file as it was before anything."""

    folder: Path
    source: Path
    server: Server
    vitals: Vitals
    service: Service
    environment: Environment
    players: int

    @property
    def legacy(self) -> Path:
        """Return the path of the copy that is moved."""
        return self.environment.legacy.path


@contextmanager
def set_up(
    players: int,
    given: Path | None,
    kind: str | None,
    progress: Progress,
    *,
    settings: Mapping[str, str] = {},
    disk: Path | None = None,
) -> Iterator[RehearsalSetup]:
    """Set the stage, with a copy of the file given or with so many made players; nothing of it is left afterwards.

    settings: of the server, beside those of every throwaway one. disk: a folder for the file that is moved, which the
    caller removes; None: it lies beside everything else.

    Raises Lost, in place of what else is raised, if the server is lost.
    """
    if given is not None:
        transfer.check(given)
    folder = Path(tempfile.gettempdir()) / f"sudamr-rehearsal-{secrets.token_hex(6)}"
    with ExitStack() as stack:
        reaper = ReaperClient()
        stack.callback(reaper.close)
        reaper.folder(folder)
        folder.mkdir(mode=0o700)
        progress.say("starting a throwaway Postgres")
        server, vitals = stack.enter_context(lasting(kind, settings=settings))
        progress.say(f"a throwaway Postgres: {server}" + (f" ({server.why})" if server.why else ""))
        source = _source(folder, players, given, progress)
        legacy = (disk or folder) / "game.db"
        copy(source, legacy)
        service = Service(folder, reaper)
        stack.callback(service.stop)
        service.start(LegacyUrl(legacy).as_text())
        environment = _environment(server, service, legacy, folder)
        yield RehearsalSetup(folder, source, server, vitals, service, environment, _count(source))


def _source(folder: Path, players: int, given: Path | None, progress: Progress) -> Path:
    source = folder / "source.db"
    if given is None:
        seed.seed_legacy(source, players, progress=progress)
    else:
        progress.say(f"copying {given}, which stays as it is")
        copy(given, source)
    return source


def copy(source: Path, into: Path) -> None:
    """Copy the file as of one moment, with what is in its write-ahead log; `source` is only read."""
    private.make(into)
    with closing(sqlite_values.connect(source, readonly=True)) as old, closing(sqlite3.connect(into)) as new:
        old.backup(new)


def _count(source: Path) -> int:
    with closing(sqlite_values.connect(source, readonly=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM users").fetchone()[0])


def _environment(server: Server, service: Service, legacy: Path, folder: Path) -> Environment:
    name = f"{server.mark}rehearsal"
    server.create_database(name)
    owner = server.url(name, "owner")
    ops.prepare(owner, environments.THROWAWAY)
    return environments.throwaway(
        owner=owner,
        service=server.url(name, "service"),
        legacy=legacy,
        folder=folder,
        pointer=service.pointer,
        hooks=Hooks(restart=service.restart),
        services=service.urls,
        policy=Policy(freeze_budget_seconds=FREEZE_BUDGET_SECONDS, max_held=ANY_NUMBER, watch_seconds=0),
    )
