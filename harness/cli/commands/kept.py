"""Runs `invoke snapshot.kept`: lists the schemas that a restore or rollback kept, puts one back, or drops one."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from db import ops
from db.environments import Environment
from db.errors import Refusal
from db.snapshots import kept, postgres
from db.snapshots.kept import Kept

if TYPE_CHECKING:
    from db.console.output import Output


@dataclass(frozen=True, slots=True)
class Done:
    """The change that was made, in a sentence, and the schemas that are kept now."""

    done: str
    kept: tuple[Kept, ...]


def run(env: Environment, put_back: str, drop: str, *, unfence: bool, confirmed: Callable[[], None]) -> Done:
    """List the kept schemas, put one back, or drop one. Raises Refusal for an unknown name or both requests."""
    if put_back and drop:
        raise Refusal("--put-back NAME or --drop NAME", "both", do="Nothing was changed. Leave one of them out.")
    if unfence and not put_back:
        raise Refusal(
            "--unfence with --put-back NAME",
            "--unfence alone",
            do="Nothing was changed. Leave it out, or add --put-back NAME.",
        )
    done = ""
    if put_back or drop:
        with ops.connect(env.target_direct) as conn:
            ops.require_marker(conn, env.name)
            kept.require(conn, put_back or drop)
        confirmed()
        with ops.lock(env.target_direct, run=f"kept-{secrets.token_hex(4)}", why="snapshot.kept") as held:
            done = _put_back(env, held.conn, put_back, unfence=unfence) if put_back else _drop(held.conn, drop)
    with ops.connect(env.target_direct) as conn:
        ops.require_marker(conn, env.name)
        return Done(done, tuple(kept.find(conn)))


def _put_back(env: Environment, conn: ops.Connection, name: str, *, unfence: bool) -> str:
    if unfence:
        postgres.require_no_other_store(conn, env.legacy.path)
    schema = env.target_direct.schema
    aside = kept.put_back(conn, schema, name, service_role=env.target.user, keep_fence=not unfence)
    state = "open to writes" if unfence else "read-only"
    return f"{name} is the schema {schema} again, {state}" + (f"; what stood there is kept as {aside}" if aside else "")


def _drop(conn: ops.Connection, name: str) -> str:
    kept.drop(conn, name)
    return f"{name} is dropped"


def show(done: Done, out: Output) -> None:
    """Print what was done, and what is kept."""
    if done.done:
        out.say(done.done)
    if done.kept:
        rows = [(one.schema, one.players, f"{one.bytes / 1e6:,.1f}") for one in done.kept]
        out.table("kept", ("schema", "players", "MB"), rows)
    else:
        out.say("no schema is kept")
