"""Runs `invoke transfer`: a legacy file into an environment's fenced Postgres, out of it again, or both."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from db import environments, ops, servers
from db import transfer as moving
from db.confirmation import Change, Confirm, unasked
from db.console.progress import Progress
from db.conversion import convert as conversion
from db.conversion.convert import Conversion
from db.counts import count, counted, few
from db.errors import Failure, Refusal
from db.legacy.comparison import compare_files
from db.ops import Phase, RunLock, fence
from db.schema import in_use, migrate
from db.transfer import LoadResult, Profile, Returned
from db.transfer.rebuild import refuse_taken
from game.urls import PostgresUrl
from harness.cli.commands import quarantine
from harness.cli.commands.quarantine import Original
from harness.databases import ENVIRONMENT as THROWAWAY
from harness.databases import Databases

if TYPE_CHECKING:
    from db.console.output import Output

SHOWN_DIFFERENCES = 20


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """The options of a transfer. into: the place of the rebuilt file, with `back`; postgres: the kind of throwaway."""

    environment: str
    source: Path | None
    into: Path | None
    back: bool
    max_held: int | None
    postgres: str | None


@dataclass(frozen=True, slots=True)
class Engine:
    """The Postgres that a transfer used: its kind and version."""

    kind: str
    version: str


@dataclass(frozen=True, slots=True)
class Transferred:
    """The result of a transfer. equal: source and copy are the same in every table, column and row; None: not compared.

    quarantine: on a throwaway server, what could not be loaded; elsewhere it stays in the database.
    """

    verdict: str
    engine: Engine
    loaded: LoadResult | None
    returned: Returned | None
    equal: bool | None
    differences: tuple[str, ...]
    quarantine: tuple[Original, ...] = ()


def run(options: TransferOptions, progress: Progress, confirm: Confirm = unasked) -> Transferred:
    """Load, rebuild, compare, as far as was asked. Refusal, Failure: as the parts say, or where the copy differs."""
    _check(options)
    if options.source is not None:
        moving.check(options.source)
    with _target(options, progress, confirm) as (target, engine):
        loaded = _load(options, options.source, target, progress) if options.source is not None else None
        returned = moving.back(target, options.into, progress=progress) if options.into is not None else None
        kept = _quarantine(options, target)
    differences: tuple[str, ...] = ()
    if options.source is not None and options.into is not None:
        progress.say(f"comparing {options.source} and {options.into}")
        differences = tuple(compare_files(options.source, options.into))
    if differences:
        raise Failure(
            f"{options.into} to equal {options.source}",
            f"{count(len(differences), 'difference')}: {few(differences, SHOWN_DIFFERENCES, between='; ')}",
            do="Move no player with this version: keep both files, and report it.",
        )
    compared = options.source is not None and options.into is not None
    return Transferred("pass", engine, loaded, returned, True if compared else None, differences, kept)


def _quarantine(options: TransferOptions, target: PostgresUrl) -> tuple[Original, ...]:
    if options.environment != THROWAWAY or options.source is None:
        return ()
    with ops.connect(target) as conn:
        return quarantine.listed(conn, options.environment, whole=True).values


def profile(source: str) -> Profile:
    """Return what the file holds. Raises Refusal if no file is named, or it is none of ours."""
    if not source:
        raise Refusal("--source FILE", "none", do="Name the legacy file to look into; it is only read.")
    return moving.profile(Path(source))


def convert(source: str, into: str, progress: Progress, *, as_blobs: bool) -> Conversion:
    """Make a copy in UTF-8 of a file in UTF-16. Raises Refusal if a path is empty, and as `transfer.convert` does."""
    if not source or not into:
        raise Refusal(
            "--source FILE and --into NEW",
            f"no {'--into' if source else '--source'}",
            do="Add it: --source is the file in UTF-16, --into NEW the copy to make.",
        )
    return conversion.convert(Path(source), Path(into), as_blobs=as_blobs, progress=progress)


def _check(options: TransferOptions) -> None:
    environments.check_name(options.environment)
    if options.back and options.into is None:
        raise Refusal("--into FILE with --back", "none", do="Name the file to make: --into NEW")
    if options.source is None and not options.back:
        raise Refusal(
            "--source FILE to load, or --back --into FILE to rebuild one",
            "neither",
            do="Name the file. To make one to try with: invoke seed --legacy game.db",
        )
    if options.source is None and options.environment == THROWAWAY:
        raise Refusal(
            f"--source FILE with --env {THROWAWAY}",
            "none",
            do=f"The database of {THROWAWAY} is made for one command, so it is empty before a file is loaded. Add"
            " --source FILE, or name the environment that holds the game.",
        )
    if options.into is not None and not options.back:
        raise Refusal("--back with --into FILE", "--into alone", do="Add --back to rebuild a file from the database.")
    if options.into is not None:
        refuse_taken(options.into)


@contextmanager
def _target(options: TransferOptions, progress: Progress, confirm: Confirm) -> Iterator[tuple[PostgresUrl, Engine]]:
    """Yield the environment's database; for `test` a fresh one on a throwaway server."""
    if options.environment != THROWAWAY:
        env = environments.load(options.environment)
        target = env.target_direct
        with ops.connect(target) as conn:
            ops.require_marker(conn, options.environment)
            migrate.require_current(conn)
            if options.source is not None:
                in_use.require_unused(conn)
            version = conn.info.parameter_status("server_version") or "?"
        confirm(Change(env, _does(options, target), database=options.source is not None))
        yield target, Engine("url", version.split(" ", maxsplit=1)[0])
        return
    progress.say("starting a throwaway Postgres")
    with servers.start(options.postgres) as server:
        progress.say(f"a throwaway Postgres: {server.kind} {server.version}")
        yield Databases(server).clone(fenced=True).owner, Engine(server.kind, server.version)


def _does(options: TransferOptions, target: PostgresUrl) -> str:
    does = [f"loads {options.source} into {target.redacted}"] if options.source is not None else []
    does += [f"writes all players of {target.redacted} into {options.into}"] if options.into is not None else []
    return " and ".join(does)


def _load(options: TransferOptions, source: Path, target: PostgresUrl, progress: Progress) -> LoadResult:
    with _lock(target, f"transfer of {_printable(source.name)}") as (held, token):
        return moving.load(source, target, run=held.run, pass_token=token, max_held=options.max_held, progress=progress)


def _printable(name: str) -> str:
    """Return the file's name as text that Postgres can hold: a file's name may be any bytes."""
    return os.fsencode(name).decode(errors="replace")


def cleanup(environment: str, confirm: Confirm = unasked) -> PostgresUrl:
    """Empty a target that no cutover has begun to fill; Refusal where one has, or where players play on it."""
    env = environments.load(environment)
    target = env.target_direct
    with ops.connect(target) as conn:
        ops.require_marker(conn, environment)
        migrate.require_current(conn)
        in_use.require_unused(conn)
    confirm(Change(env, f"empties {target.redacted}"))
    with _lock(target, "transfer.cleanup") as (_, token):
        moving.clear(target, pass_token=token)
    return target


@contextmanager
def _lock(target: PostgresUrl, why: str) -> Iterator[tuple[RunLock, str]]:
    """Yield the run's lock and a pass. The phase is `aborted` all along: a cutover empties what a trial left.

    The run's id says that it was a trial, so that `status` tells of no move that was aborted.
    In `loading` a cutover would take the copy for its own, and go on without its preflight.
    """
    token = fence.new_pass()
    with ops.lock(target, run=f"{ops.TRIAL}{secrets.token_hex(4)}", why=why) as held:
        phase = in_use.require_unused(held.conn)
        with held.conn.transaction():
            if phase is not Phase.ABORTED:
                held.advance(phase, Phase.LOADING)
                held.advance(Phase.LOADING, Phase.ABORTED)
        fence.raise_fence(held.conn, pass_token=token)
        yield held, token


def show(done: Transferred, out: Output) -> None:
    """Print the result of a transfer for people."""
    rows: list[tuple[str, object]] = [("server", f"{done.engine.kind} {done.engine.version}")]
    if done.loaded is not None:
        loaded = done.loaded
        rows += [
            ("players", loaded.players),
            ("values at the source", loaded.source),
            ("loaded", loaded.loaded),
            ("quarantined", loaded.quarantined),
            ("set aside", loaded.aside),
            ("players held", loaded.held),
            ("mismatches", loaded.mismatches),
            ("columns compared by figures", loaded.independent.compared),
            ("left out of that", loaded.independent.left_out),
            ("MB per second", loaded.bytes / 1e6 / loaded.seconds),
            ("seconds", loaded.seconds),
        ]
    if done.equal:
        rows.append(("the rebuilt file", "equal in every table, column and row"))
    out.table("transfer", ("what", "found"), rows)
    if done.quarantine:
        kept = [(kind, quarantine.shown(rule), count) for kind, rule, count in quarantine.by_rule(done.quarantine)]
        out.table("quarantine (--json has every value)", ("kind", "rule", "values"), kept)


def show_conversion(done: Conversion, out: Output) -> None:
    """Print the result of a conversion for people."""
    proven = done.proven
    out.say(f"{done.into}: {done.source} in UTF-8 instead of {done.encoding}, in {done.seconds:,.1f} s")
    out.say(
        f"equal: schema, settings, {count(proven.tables, 'table')}, {count(proven.rows, 'row')},"
        f" {count(proven.values, 'value')}"
    )
    if done.kept_as_blobs:
        out.say(f"kept as BLOBs, {counted(done.kept_as_blobs, 'texts')} in invalid UTF-16: {'; '.join(done.kept)}")
    if proven.unread:
        out.say(f"not compared, generated by a function that this SQLite lacks: {'; '.join(proven.unread)}")


def show_profile(shown: Profile, out: Output) -> None:
    """Print the profile for people: a table of columns for each table of the file that has rows."""
    holder, column, largest = shown.largest
    out.say(
        f"{shown.path}: {shown.bytes / 1e6:,.1f} MB, {shown.journal_mode} mode, {count(shown.players, 'player')};"
        f" largest value {count(largest, 'byte')} in {holder}.{column}"
    )
    columns = ("column", "stored as", "bytes", "largest", "JSON", "broken")
    for table in shown.tables:
        if table.rows:
            out.table(f"{table.name}: {counted(table.rows, 'rows')}", columns, [*table.lines()])
