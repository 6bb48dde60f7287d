"""Step 1: what can be known to go wrong is found before anything is changed. Only Refusals come from here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from db import environments, fence, migrate, ops, pooler, requirements, transfer
from db.cutover import ownership, pointer, services, switch
from db.cutover.move import Move
from db.errors import Failure, Refusal
from db.snapshots import postgres
from db.snapshots.tools import installed
from game import session
from game.legacy import cells
from game.urls import LegacyUrl, PostgresUrl

COPY_BYTES_PER_SECOND = 5_000_000
"""Of the legacy file, loaded and proven on one slow core; a rehearsal shows what a machine really does."""

SWITCH_SECONDS = 10.0
"""Fence, restart, smoke and lift, whatever the file's size."""

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


def before_cutover(move: Move) -> None:
    """All of it, each said as it passes."""
    for check in (
        check_pointer_names_the_file, check_hooks, check_legacy, check_services, check_server, check_tools, check_disk,
        check_freeze, check_trials,
    ):  # fmt: skip
        _say(move, check)


def before_rollback(move: Move) -> None:
    """What a way back needs: hooks, a pointer that counts, and a legacy file that can take the writes."""
    for check in (check_pointer_names_a_store, check_hooks, check_integrity, check_server, check_disk):
        _say(move, check)


def check_override(move: Move) -> None:
    """An exported variable wins over the file: the service would go on reading the old store whatever we write."""
    variable = move.env.pointer.variable
    if environments.is_exported(variable):
        raise Refusal(
            f"{variable} in {move.env.pointer.path} alone", "one exported here, which would override it",
            where="the environment of this command", do=f"unset {variable}",
        )  # fmt: skip


def check_pointer_names_a_store(move: Move) -> None:
    """The pointer names a store, and nothing overrides it."""
    check_override(move)
    pointer.url(move.env.pointer)


def check_pointer_names_the_file(move: Move) -> None:
    """The pointer names the legacy file now, and nothing overrides it."""
    check_override(move)
    now = pointer.url(move.env.pointer)
    if not switch.points_at(move, move.env.legacy):
        raise Refusal(
            f"{move.env.pointer.variable} to name {move.env.legacy.redacted}", now.redacted,
            where=str(move.env.pointer.path), do="Correct environments.toml, or the file that the service reads.",
        )  # fmt: skip


def check_hooks(move: Move) -> None:
    """Without a restart no process would read the new pointer; without services nobody could tell."""
    if not move.env.hooks.restart:
        raise Refusal("a hook `restart`", "none", where=f"environments.toml, {move.env.name}", do="Name the command.")
    if not move.env.services:
        raise Refusal(
            "the base URL of each service process", "none", where=f"environments.toml, {move.env.name}",
            do="List them in `services`.",
        )  # fmt: skip


def check_legacy(move: Move) -> None:
    """The file is the game's, whole, and open to writes."""
    transfer.check(move.env.legacy.path)
    if (mark := move.legacy_fence()).state != "open":
        raise Refusal(
            "a legacy file that is open to writes", ownership.said(mark), where=str(move.env.legacy.path),
            do="Another database's move has it: go on with that one, or undo it there; or restore a snapshot.",
        )  # fmt: skip


def check_integrity(move: Move) -> None:
    """SQLite finds nothing wrong with its own pages."""
    with closing(cells.connect(move.env.legacy.path, readonly=True)) as connection:
        answer = str(connection.execute("PRAGMA integrity_check(3)").fetchone()[0])
    if answer != "ok":
        raise Refusal("an integral legacy file", answer, where=str(move.env.legacy.path), do="Repair it first.")


def check_services(move: Move) -> None:
    """Every process serves the legacy file now: so it is known what will have to change."""
    identity = switch.store_identity(move.env.legacy)
    for url in move.env.services:
        ready = services.ask(url)
        if ready is None or not services.serves(ready, move.env.legacy, identity):
            found = f"{ready.status} from {ready.store or ready.engine}" if ready else "no answer"
            raise Refusal(
                f"a process that serves {move.env.legacy.redacted}", found, where=url, do="Start the service."
            )


def check_server(move: Move) -> None:
    """Both roles get in, to one database, which bears the environment's marker and is fit for a move."""
    with pooler.transaction(move.env.target) as service, ops.connect(move.env.target_direct) as connection:
        if _which(service) != _which(connection):
            raise Refusal(
                "one database in target and target_direct", "two", where=move.env.target.redacted,
                do="Correct environments.toml: what is loaded into the one would never be served from the other.",
            )  # fmt: skip
        requirements.require_role(connection)
        ops.require_marker(connection, move.env.name)
        requirements.require(connection, durable=environments.is_durable(move.env.name))
        pooled = not session.is_direct(service)
        requirements.require(service, pooled=pooled)
        # While it restarts, old and new processes are there at once. A pooler has its own pool of them.
        needed = 0 if pooled else 2 * len(move.env.services) * environments.pool_size(move.env)
        requirements.require_connections(connection, move.env.target.user, service=needed)


def check_tools(move: Move) -> None:
    """pg_dump and pg_restore that are not older than the server, and a place to restore into."""
    with ops.connect(move.env.target_direct) as connection:
        if not postgres.may_create_databases(connection):
            raise postgres.no_createdb(move.env.target_direct)
        tools = move.means.tools or installed(postgres.major(connection))
    for name in ("pg_dump", "pg_restore"):
        tools(name)


def check_disk(move: Move) -> None:
    """Twice the file: for the snapshots here, and for the tables where the server is this machine's own."""
    need = 2 * move.env.legacy.path.stat().st_size
    places = [_existing(move.env.snapshots.folder), move.env.legacy.path.parent]
    with ops.connect(move.env.target_direct) as connection:
        places += _data_folder(connection, move.env.target_direct)
    for place in places:
        free = shutil.disk_usage(place).free
        if free < need:
            raise Refusal(
                f"{need / 1e6:,.0f} MB free, twice the legacy file", f"{free / 1e6:,.0f} MB", where=str(place),
                do="Make room.",
            )  # fmt: skip


def check_freeze(move: Move) -> None:
    """Offline, the whole copy is made while players wait."""
    budget = move.env.policy.freeze_budget_seconds
    if (predicted := predicted_freeze(move.env.legacy.path)) > budget:
        raise Refusal(
            f"a freeze within the budget of {budget:g} s", f"{predicted:.0f} s predicted",
            where=str(move.env.legacy.path), do="Raise policy.freeze_budget_seconds, if players can bear it.",
        )  # fmt: skip
    move.means.progress.say(f"     read-only for {predicted:.0f} s, by estimate; {budget:g} s at most")


def predicted_freeze(legacy: Path) -> float:
    """Seconds of read-only that a file of this size will take, offline."""
    return SWITCH_SECONDS + legacy.stat().st_size / COPY_BYTES_PER_SECOND


def check_trials(move: Move) -> None:
    """A process of the service, started here on each URL, opens its store; only one with tables can be ready."""
    with ops.connect(move.env.target_direct) as connection:
        current = migrate.current(connection) == migrate.head() and fence.state(connection) != "moved"
    with ThreadPoolExecutor() as beside:
        target = beside.submit(_check_trial, move.env.target, must_be_ready=current)
        _check_trial(move.env.legacy, must_be_ready=True)
        target.result()


def _check_trial(url: LegacyUrl | PostgresUrl, *, must_be_ready: bool) -> None:
    ready = services.trial(url)
    if ready.engine != services.engine(url) or (must_be_ready and ready.status != services.OK):
        raise Refusal(
            f"a service process that is ready on {services.engine(url)}", f"{ready.status} from {ready.engine}",
            where=url.redacted, do="Start it by hand with DATABASE_URL set so, and see what it says.",
        )  # fmt: skip


def _which(connection: ops.Connection) -> object:
    """The cluster's own number and the database: the same however it was come by."""
    return connection.execute("select system_identifier, current_database() from pg_control_system()").fetchone()


def _data_folder(connection: ops.Connection, url: PostgresUrl) -> list[Path]:
    """Where a server on this machine keeps its data, if the role may know and this is really its disk."""
    if url.host not in LOCAL_HOSTS and not url.host.startswith("/"):
        return []
    row = connection.execute(
        "select case when pg_has_role('pg_read_all_settings', 'usage') then current_setting('data_directory') end"
    ).fetchone()
    folder = Path(row[0]) if row and row[0] else None
    return [folder] if folder is not None and folder.is_dir() else []


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _say(move: Move, check: Callable[[Move], None]) -> None:
    try:
        check(move)
    except Failure as error:
        raise Refusal(error.expected, error.found, where=error.where, do=error.do) from error
    move.means.progress.say(f"     {check.__name__.removeprefix('check_').replace('_', ' ')}: ok")
