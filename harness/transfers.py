"""What `invoke transfer` does: a legacy file into an environment's fenced Postgres, out of it again, or both."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from db import environments, fence, ops, servers
from db import transfer as moving
from db.errors import Failure, Refusal
from db.ops import Phase
from db.progress import Progress
from db.transfer import Loaded, Profile, Returned
from game.urls import PostgresUrl
from harness.databases import ENVIRONMENT as THROWAWAY
from harness.databases import Databases

if TYPE_CHECKING:
    from db.console import Outcome

SHOWN_DIFFERENCES = 20


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for. into: where the rebuilt file goes, with `back`; postgres: the throwaway server's kind."""

    environment: str
    source: Path | None
    into: Path | None
    back: bool
    max_held: int | None
    postgres: str | None


@dataclass(frozen=True, slots=True)
class Engine:
    """Which Postgres it was."""

    kind: str
    version: str


@dataclass(frozen=True, slots=True)
class Transferred:
    """What was done. equal: whether source and copy are the same in every table, column and row; None: not compared."""

    verdict: str
    engine: Engine
    loaded: Loaded | None
    returned: Returned | None
    equal: bool | None
    differences: tuple[str, ...]


def run(wish: Wish, progress: Progress) -> Transferred:
    """Load, rebuild, compare, as far as was asked. Refusal, Failure: as the parts say, or where the copy differs."""
    _check(wish)
    if wish.source is not None:
        moving.profile(wish.source)
    with _target(wish, progress) as (target, engine):
        loaded = _load(wish, target, progress) if wish.source is not None else None
        returned = moving.back(target, wish.into, progress=progress) if wish.into is not None else None
    differences: tuple[str, ...] = ()
    if wish.source is not None and wish.into is not None:
        progress.say(f"comparing {wish.source} and {wish.into}")
        differences = tuple(moving.compare_files(wish.source, wish.into))
    if differences:
        few = "; ".join(differences[:SHOWN_DIFFERENCES])
        raise Failure(f"{wish.into} to equal {wish.source}", f"{len(differences)} differences: {few}")
    compared = wish.source is not None and wish.into is not None
    return Transferred("pass", engine, loaded, returned, True if compared else None, differences)


def profile(source: Path) -> Profile:
    """What the file holds; Refusal where it is none of ours."""
    return moving.profile(source)


def _check(wish: Wish) -> None:
    environments.check_name(wish.environment)
    if wish.back and wish.into is None:
        raise Refusal("--into FILE with --back", "none", do="Name the file that is to be made.")
    if wish.source is None and not wish.back:
        raise Refusal("--source FILE to load, or --back --into FILE to rebuild one", "neither")
    if wish.into is not None and wish.into.exists():
        raise Refusal("a new file", "one that exists", where=str(wish.into), do="Name another; nothing is overwritten.")


@contextmanager
def _target(wish: Wish, progress: Progress) -> Iterator[tuple[PostgresUrl, Engine]]:
    """The environment's database; for `test` a fresh one on a throwaway server."""
    if wish.environment != THROWAWAY:
        target = environments.load(wish.environment).target_direct
        with ops.connect(target) as conn:
            ops.require_marker(conn, wish.environment)
            version = conn.info.parameter_status("server_version") or "?"
        yield target, Engine("url", version.split(" ", maxsplit=1)[0])
        return
    with servers.start(wish.postgres) as server:
        progress.say(f"a throwaway Postgres: {server.kind} {server.version}")
        yield Databases(server).clone(fenced=True).owner, Engine(server.kind, server.version)


def _load(wish: Wish, target: PostgresUrl, progress: Progress) -> Loaded:
    run_id, token = secrets.token_hex(4), fence.new_pass()
    source = wish.source
    if source is None:
        raise ValueError("nothing to load")
    with ops.lock(target, run=run_id, why=f"transfer of {source.name}") as held:
        if ops.phase(held.conn) is Phase.EMPTY:
            held.advance(Phase.EMPTY, Phase.LOADING)
        fence.set_on(held.conn, pass_token=token)
        return moving.load(
            source, target, run=run_id, pass_token=token, max_held=wish.max_held, progress=progress
        )  # fmt: skip


def show(done: Transferred, speaks: Outcome) -> None:
    """The result for people."""
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
            ("MB per second", loaded.bytes / 1e6 / loaded.seconds),
            ("seconds", loaded.seconds),
        ]
    if done.equal:
        rows.append(("the rebuilt file", "equal in every table, column and row"))
    speaks.table("transfer", ("what", "found"), rows)
