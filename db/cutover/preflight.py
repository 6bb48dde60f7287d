"""Step 1: lists the checks that a cutover or a rollback makes before it changes anything. They raise only Refusal.

A run and its dry run make the same checks, so a new reason to refuse belongs in these lists.
"""

from __future__ import annotations

import math
import shlex
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cached_property, partial
from pathlib import Path

from db import environments, ops, transfer
from db.counts import count, counted, few
from db.cutover import fence_owner, hooks, places, pointer, services, switch, target_checks
from db.cutover.checks import Checks, PreflightCheck
from db.cutover.context import RunContext
from db.cutover.ports import Demand
from db.errors import Refusal, all_of
from db.legacy.read_errors import unreadable
from db.legacy.source import opened, untouched
from db.ops import fence
from db.schema import migrate
from db.snapshots import postgres
from db.snapshots.tools import installed
from db.target import pooler, requirements
from game import session
from game.legacy import sqlite_values
from game.urls import LegacyUrl, PostgresUrl

LOAD_PER_DECODE = 4.0
"""Loading and proving took 1.5 to 3.7 times as long as decoding, with a local server; a remote one takes longer."""

SWITCH_SECONDS = 10.0
"""Time for fence, restart, smoke and lift; it does not depend on the file's size."""

SNAPSHOTS, FREEZE = "folder of snapshots", "freeze"
HOOKS = ("deploy", "drain", "restart", "health")
FOR_AN_UNDO = frozenset({"exported variable", "server", "lock", "file of the pointer", "folder of the runs", "hooks"})
"""Checks that an undo needs too: it writes the pointer and runs `deploy` and `restart`."""

DEMAND_NEEDS = {"certificate": ("server",)}
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

FREE_SECONDS = 5.0
"""How long to wait for another process to end its write; the fence waits as long."""


def before_cutover(context: RunContext, demands: Sequence[Demand] = ()) -> Checks:
    """Return the checks of a cutover, the quick and the fundamental first."""
    contents = Contents(context)
    check = partial(_check, context)
    return (
        check("exported variable", check_override, begins=False),
        check("legacy file", check_legacy),
        check("server", check_server, begins=False),
        check("lock", target_checks.check_lock, "server", begins=False),
        *_demands(context, demands),
        *_places(context),
        check("pointer", check_pointer_names_the_file, "legacy file", "file of the pointer"),
        check("hooks", check_hooks, begins=False),
        check("hook commands", check_hook_commands, "hooks", begins=False),
        check("services", check_services, "hooks", "legacy file", "pointer"),
        check("fence of the legacy file", check_fence, "legacy file"),
        check("writers of the legacy file", check_writers, "legacy file"),
        check("rights", partial(target_checks.check_rights, puts_away=False), "server", begins=False),
        check("tables", target_checks.check_schema, "server", "lock", "rights"),
        check("transactions", target_checks.check_blockers, "server"),
        check("tools", check_tools, "server", begins=False),
        check("room", check_room, "legacy file", begins=False),
        check("room of the server", check_server_room, "legacy file", "server", begins=False),
        PreflightCheck("players held", contents.check_held, ("legacy file",)),
        PreflightCheck(FREEZE, contents.check_freeze, ("legacy file",)),
        check("a service on the legacy file", check_legacy_trial, "legacy file"),
        check("a service on Postgres", check_target_trial, "server", "a service on the legacy file"),
    )


def before_rollback(context: RunContext, demands: Sequence[Demand] = (), *, carries: bool = True) -> Checks:
    """Return the checks of a rollback: above all hooks, a pointer that counts, and a legacy file that takes writes.

    carries: what players did is written back to the file, not discarded.
    """
    check = partial(_check, context)
    return (
        check("exported variable", check_override, begins=False),
        check("legacy file", check_integrity),
        check("server", check_server, begins=False),
        check("lock", target_checks.check_lock, "server", begins=False),
        *_demands(context, demands),
        *(place for place in _places(context) if place.name != SNAPSHOTS),
        check("pointer", check_pointer_names_a_store, "file of the pointer"),
        check("hooks", check_hooks, begins=False),
        check("hook commands", check_hook_commands, "hooks", begins=False),
        check("writers of the legacy file", check_writers, "legacy file"),
        *([check("players", target_checks.check_players, "legacy file", "server")] if carries else []),
        check("rights", partial(target_checks.check_rights, puts_away=True), "server", begins=False),
        check("transactions", target_checks.check_blockers, "server"),
        check("room", check_room, "legacy file", begins=False),
        check("room of the server", check_server_room, "legacy file", "server", begins=False),
        check("a service on the legacy file", check_moved_trial, "legacy file"),
    )


def _check(
    context: RunContext, name: str, run: Callable[[RunContext], str | None], *needs: str, begins: bool = True
) -> PreflightCheck:
    return PreflightCheck(name, partial(run, context), needs, begins)


def _demands(context: RunContext, demands: Sequence[Demand]) -> Iterator[PreflightCheck]:
    for name, demand in demands:
        yield PreflightCheck(name, partial(demand, context.env), DEMAND_NEEDS.get(name, ()))


def _places(context: RunContext) -> Iterator[PreflightCheck]:
    for name, run, *needs in (
        ("file of the pointer", places.check_pointer),
        ("folder of the runs", places.check_run_folder),
        (SNAPSHOTS, places.check_snapshots),
        ("folder of the legacy file", places.check_legacy, "legacy file"),
    ):
        yield PreflightCheck(name, partial(run, context), tuple(needs), begins=False)


class Contents:
    """Decodes the legacy file once for two checks: how many players would be held, and how long the freeze would be."""

    def __init__(self, context: RunContext) -> None:
        self._move = context

    @cached_property
    def _assessed(self) -> transfer.Assessed:
        return transfer.assess(self._move.env.legacy.path, self._move.paced)

    def check_held(self) -> str:
        """Check that no more players would be held than the policy allows."""
        most, assessed, path = self._move.env.policy.max_held, self._assessed, self._move.env.legacy.path
        if assessed.held > most:
            raise Refusal(
                f"at most {count(most, 'player')} held",
                f"{assessed.held} ({few(assessed.named, len(assessed.named), between='; ', total=assessed.held)})",
                where=str(path),
                do=f"Mend them in the legacy file, or raise policy.max_held to {assessed.held} in"
                f" {self._move.env.files_read.operators}: they can't play until"
                " someone decides. To list them all in a file, as `quarantine`: invoke transfer --env test --source"
                f" {shlex.quote(str(path))} --json NEW",
            )
        held = f"{assessed.held} of {assessed.players:,}, {most:,} at most"
        return f"{held}; {counted(assessed.aside, 'findings')} set aside"

    def check_freeze(self) -> str:
        """Check that the predicted freeze is within the budget: offline, players wait while the whole copy is made."""
        budget = self._move.env.policy.freeze_budget_seconds
        predicted = predicted_freeze(self._assessed)
        self._move.predicted_seconds = round(predicted, 3)
        if predicted > budget:
            raise Refusal(
                f"a freeze within the budget of {budget:g} s",
                f"{predicted:.0f} s predicted",
                where=str(self._move.env.legacy.path),
                do=f"Raise policy.freeze_budget_seconds to {math.ceil(predicted)}, if players can bear it, in"
                f" {self._move.env.files_read.operators}.",
            )
        return f"read-only for {predicted:.0f} s, by the time that decoding took; {budget:g} s at most"


def predicted_freeze(assessed: transfer.Assessed) -> float:
    """Return the predicted seconds of read-only, offline, from the time that decoding the file took on this machine."""
    return SWITCH_SECONDS + LOAD_PER_DECODE * assessed.seconds


def check_override(context: RunContext) -> None:
    """Check that no exported variable overrides the pointer's file: the service would ignore what we write there."""
    variable = context.env.pointer.variable
    if environments.is_exported(variable):
        raise Refusal(
            f"{variable} in {context.env.pointer.path} alone",
            "one exported here, which would override it",
            where="the environment of this command",
            do=f"unset {variable}",
        )


def check_pointer_names_a_store(context: RunContext) -> None:
    """Check that the pointer names a store."""
    pointer.url(context.env.pointer)


def check_pointer_names_the_file(context: RunContext) -> None:
    """Check that the pointer names the legacy file now."""
    now = pointer.url(context.env.pointer)
    if not switch.points_at(context, context.env.legacy):
        raise Refusal(
            f"{context.env.pointer.variable} to name {context.env.legacy.redacted}",
            now.redacted,
            where=str(context.env.pointer.path),
            do=f"Correct the one that is wrong: `legacy` in {context.env.files_read.file_of('legacy')}, or this line,"
            " and restart the service.",
        )


def check_hooks(context: RunContext) -> None:
    """Check that the environment has a restart hook, to make processes read the pointer, and services, to ask them."""
    all_of((partial(_check_restart, context), partial(_check_listed, context)))


def _check_restart(context: RunContext) -> None:
    if not context.env.hooks.restart:
        raise Refusal(
            "a hook `restart`",
            "none",
            where=f"{context.env.files_read.file_of('hooks.restart')}, {context.env.name}",
            do=f"Name, in {context.env.files_read.operators}, the command that has each process of the service read its"
            " file: hooks = { restart = 'COMMAND' }",
        )


def _check_listed(context: RunContext) -> None:
    if not context.env.services:
        raise Refusal(
            "the base URL of each service process",
            "none",
            where=f"{context.env.files_read.file_of('services')}, {context.env.name}",
            do='List their private ports: services = ["http://HOST:PORT"]',
        )


def check_hook_commands(context: RunContext) -> None:
    """Check that the shell can parse each hook, and its first word is a command."""
    all_of(partial(hooks.check, context.env, name) for name in HOOKS)


def check_legacy(context: RunContext) -> None:
    """Check that the file is the game's, sound, and can be moved there and back."""
    transfer.check(context.env.legacy.path)


def check_fence(context: RunContext) -> None:
    """Check that the file is open to writes, so that no other move has it."""
    if (mark := context.legacy_fence()).state != "open":
        raise Refusal(
            "a legacy file that is open to writes",
            fence_owner.describe(mark),
            where=str(context.env.legacy.path),
            do=fence_owner.remedy(mark, context.env.name),
        )


def check_writers(context: RunContext) -> None:
    """Check that no process keeps the file locked, by taking the write lock and releasing it. Writes nothing."""
    path = context.env.legacy.path
    # `opened` keeps a reader open until the writer has closed: when its last user closes the file, SQLite would write
    # the write-ahead log into it.
    with opened(path), closing(sqlite_values.connect(path, timeout_seconds=FREE_SECONDS)) as writer:
        try:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY"):  # A disk, a right: no process is to be stopped.
                raise unreadable(path, error) from error
            raise Refusal(
                "a legacy file that no process keeps locked",
                str(error),
                where=str(path),
                do=f"Another process holds its write lock: find it (lsof {shlex.quote(str(path))}) and stop it.",
            ) from None


def check_integrity(context: RunContext) -> None:
    """Check that the file is sound, and its rows keep the rules of its schema."""
    transfer.check_sound(context.env.legacy.path)


def check_services(context: RunContext) -> None:
    """Check that every process serves the legacy file now, so that a switch of each can be observed."""
    identity = switch.store_identity(context.env.legacy)
    all_of(partial(_check_service, context, url, identity) for url in context.env.services)


def _check_service(context: RunContext, url: str, identity: str) -> None:
    ready = services.ask(url)
    if ready is None or not services.serves(ready, context.env.legacy, identity):
        answer = f"{ready.status} from {ready.store or ready.engine}" if ready else "no answer"
        start = "Restart it: it" if ready else "Start the service there: it"
        raise Refusal(
            f"a process that serves {context.env.legacy.redacted}",
            answer,
            where=url,
            do=f"{start} must read {context.env.pointer.path} (SUDAMR_ENV_FILE). Or correct `services`"
            f" in {context.env.files_read.file_of('services')}.",
        )


def check_server(context: RunContext) -> None:
    """Check that both roles can connect to one database, with the environment's marker, that is fit for a move."""
    with pooler.transaction(context.env.target) as service, ops.connect(context.env.target_direct) as connection:
        if _which(service) != _which(connection):
            raise Refusal(
                "one database in target and target_direct",
                "two",
                where=context.env.target.redacted,
                do=f"Name one database in both, in {context.env.files_read.file_of('target')}: what is loaded into the"
                " one would never be served from the other.",
            )
        requirements.require_role(connection)
        ops.require_marker(connection, context.env.name)
        ops.require_prepared(connection)
        requirements.require(connection, durable=environments.is_durable(context.env.name))
        pooled = not session.is_direct(service)
        requirements.require(service, pooled=pooled)
        # During a restart old and new processes run at once. A pooler limits its own connections.
        needed = 0 if pooled else 2 * len(context.env.services) * environments.pool_size(context.env)
        requirements.require_connections(connection, context.env.target.user, service=needed)


def check_tools(context: RunContext) -> None:
    """Check that pg_dump and pg_restore are not older than the server, and the owner may make a database."""
    with ops.connect(context.env.target_direct) as connection:
        if not postgres.may_create_databases(connection):
            raise postgres.no_createdb(context.env.target_direct)
        tools = context.config.tools or installed(postgres.major(connection))
    for name in ("pg_dump", "pg_restore"):
        tools(name)


def check_room(context: RunContext) -> None:
    """Check for free space of twice the file, for the snapshots on this machine."""
    _require_room(context, [places.existing(context.env.snapshots.folder), context.env.legacy.path.parent])


def check_server_room(context: RunContext) -> None:
    """Check for free space of twice the file for the tables, if the server runs on this machine."""
    with ops.connect(context.env.target_direct) as connection:
        _require_room(context, _data_folder(connection, context.env.target_direct))


def _require_room(context: RunContext, folders: Sequence[Path]) -> None:
    need = 2 * context.env.legacy.path.stat().st_size
    for place in folders:
        free = shutil.disk_usage(place).free
        if free < need:
            raise Refusal(
                f"{need / 1e6:,.0f} MB free, twice the legacy file",
                f"{free / 1e6:,.0f} MB",
                where=str(place),
                do="Make room on the disk of that folder.",
            )


def check_legacy_trial(context: RunContext) -> None:
    """Check that a service process, started here on the legacy file, is ready."""
    with untouched(context.env.legacy.path):
        _check_trial(context, context.env.legacy, must_be_ready=True)


def check_moved_trial(context: RunContext) -> None:
    """Check that a service process, started here, opens the legacy file. It can't be ready: the file says moved."""
    with untouched(context.env.legacy.path):
        _check_trial(context, context.env.legacy, must_be_ready=False)


def check_target_trial(context: RunContext) -> None:
    """Check that a service process, started here, opens Postgres; ready, if the schema is at the head."""
    with ops.connect(context.env.target_direct) as connection:
        current = migrate.current(connection) == migrate.head() and fence.state(connection) != "moved"
    _check_trial(context, context.env.target, must_be_ready=current)


def _check_trial(context: RunContext, url: LegacyUrl | PostgresUrl, *, must_be_ready: bool) -> None:
    ready = services.trial(url)
    if ready.engine != services.engine(url) or (must_be_ready and ready.status != services.OK):
        raise Refusal(
            f"a service process that is ready on {services.engine(url)}",
            f"{ready.status} from {ready.engine}",
            where=url.redacted,
            do="Start one by hand, and mend what it logs:"
            f" SUDAMR_ENV_FILE={context.env.pointer.path} DATABASE_URL=URL python -m game.service",
        )


def _which(connection: ops.Connection) -> object:
    """Return the cluster's identifier and the database, which are the same by whatever address it was reached."""
    return connection.execute("select system_identifier, current_database() from pg_control_system()").fetchone()


def _data_folder(connection: ops.Connection, url: PostgresUrl) -> list[Path]:
    """Return the data folder of a server on this machine; nothing if the role may not read it or it is not here."""
    if url.host not in LOCAL_HOSTS and not url.host.startswith("/"):
        return []
    row = connection.execute(
        "select case when pg_has_role('pg_read_all_settings', 'usage') then current_setting('data_directory') end"
    ).fetchone()
    folder = Path(row[0]) if row and row[0] else None
    return [folder] if folder is not None and folder.is_dir() else []
