"""The parts of a gate beside the scenarios: migrations, a backup, and strikes; on throwaway servers of their own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from psycopg import sql

from db import environments, ops, snapshots
from db.console.progress import Progress, Silent
from db.counts import count
from db.environments import Environment
from db.errors import Inconclusive, Refusal, ToolError
from db.ops import fence, fence_proof
from db.samples import seed
from db.schema import drift, migrate, revisions
from db.servers import Server
from db.servers.settings import decisive
from db.servers.vitals import Vitals, lasting, lost
from db.snapshots import Side
from db.target import pooler
from game.urls import PostgresUrl
from harness.gate.report import Ended, GatePart
from harness.strikes import sweep

SEED = 1
STRIKES_A_MOVE = 1
"""Each night all of them are tried. One takes some 2 s, and to begin from four states and to watch four moves 15."""

STRAY_COLUMN = "alter table users add column gate_stray text"
LOST_CONSTRAINT = "alter table user_inventory drop constraint {}"
A_CHECK = """
select quote_ident(conname) from pg_constraint
where conrelid = 'user_inventory'::regclass and contype = 'c' order by conname limit 1
"""

DUMMY = '''"""A revision that the gate makes."""

from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    """Add a column with a value in every row."""
    op.execute("alter table users add column gate_dummy_{revision} bigint default {revision}::int not null")
'''

PartResult = tuple[Mapping[str, object], tuple[str, ...]]


def run(kind: str | None, players: int, progress: Progress) -> tuple[tuple[GatePart, ...], dict[str, str]]:
    """Try both parts. Returns them, and the server's decisive settings as the service's role sees them. Raises Lost."""
    with lasting(kind) as (server, vitals), tempfile.TemporaryDirectory(prefix="sudamr-gate-") as folder:
        environment = _environment(server, Path(folder), players)
        progress.say(f"     on {server}")
        migrations = attempt("migrations", lambda: _migrations(environment), vitals)
        backup = attempt("backup", lambda: _backup(environment, server, players), vitals)
        with pooler.transaction(environment.target) as conn:
            return (migrations, backup), decisive(conn)


def strike(kind: str | None, folder: Path) -> GatePart:
    """Strike every move inside its decisive steps, see harness.strikes; on a server of its own. Raises Lost."""
    with lasting(kind) as (server, vitals):

        def struck() -> PartResult:
            sampled = sweep.sample(server, folder, STRIKES_A_MOVE)
            return sampled.figures, sampled.problems

        return attempt("strikes", struck, vitals)


def attempt(name: str, act: Callable[[], PartResult], vitals: Vitals | None = None) -> GatePart:
    """Return what the act finds; an error that stops it is its verdict, for what could not be tried proves nothing.

    Raises Lost if it was stopped because the server was lost.
    """
    began = time.monotonic()
    try:
        figures, problems = act()
    except ToolError as error:
        if vitals is not None and (cause := vitals.cause(error)):
            raise lost(cause) from error
        ended = Ended.INCONCLUSIVE if isinstance(error, Inconclusive | Refusal) else Ended.FAIL
        return GatePart(name, ended, round(time.monotonic() - began, 3), {}, (str(error),))
    ended = Ended.FAIL if problems else Ended.PASS
    return GatePart(name, ended, round(time.monotonic() - began, 3), figures, problems)


def _environment(server: Server, folder: Path, players: int) -> Environment:
    name = f"{server.mark}gate"
    server.create_database(name)
    legacy = folder / "game.db"
    seed.seed_legacy(legacy, players, SEED, progress=Silent())
    return environments.throwaway(
        owner=server.url(name, "owner"), service=server.url(name, "service"), legacy=legacy, folder=folder
    )


def _migrations(env: Environment) -> PartResult:
    """Migrate an empty database twice, and check the fence and that drift is found where there is some, and only there.

    Then apply revisions of the gate's own on top of the head, to a new schema and to an existing one.
    """
    owner, role = env.target_direct, env.target.user
    ops.prepare(owner, env.name)
    first = migrate.migrate(owner, environment=env.name, service_role=role)
    again = migrate.migrate(owner, environment=env.name, service_role=role)
    refused = fence_proof.prove(env.target)
    drifted = migrate.drift(owner)
    seen = _drift_seen(owner)
    dummies, problems = _dummies(env)
    figures = {
        "head": first.head,
        "applied": first.applied,
        "writes refused": refused,
        "drift": drifted,
        "on top": dummies,
    }
    return figures, (*_migration_problems(again.applied, drifted, seen), *problems)


def _dummies(env: Environment) -> tuple[list[str], list[str]]:
    """Apply two revisions on top of the head, to one schema together and to another one after the other.

    Returns their ids and the problems. The next real revision must not be the first that anybody applies on the head.
    """
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="sudamr-gate-revisions-") as folder:
        for url, steps in (
            (env.target_direct.with_(schema="gate_fresh"), (2,)),
            (env.target_direct.with_(schema="gate_steps"), (0, 1, 2)),
        ):
            for count in steps:
                history = _with_dummies(Path(folder), count)
                migrate.migrate(url, environment=env.name, service_role=env.target.user, history=history)
            problems += _as_made(url, history)
    return [revision.id for revision in history.revisions[-2:]], problems


def _with_dummies(folder: Path, count: int) -> revisions.History:
    """Return the project's revisions with `count` dummies on top, written into the folder."""
    versions = folder / str(count)
    versions.mkdir(exist_ok=True)
    head = int(migrate.head())
    for number in range(head, head + count):
        before, revision = f"{number:04}", f"{number + 1:04}"
        (versions / f"{revision}_gate_dummy.py").write_text(DUMMY.format(revision=revision, before=before))
    return revisions.read(versions)


def _as_made(url: PostgresUrl, history: revisions.History) -> Iterator[str]:
    """Yield what is not as these revisions make it; then drop the schema."""
    with ops.connect(url) as conn:
        if (current := migrate.current(conn)) != history.head:
            yield f"expected {url.schema} at {history.head}; found {current}"
        rows = conn.execute("select revision, sha256 from ops.revisions where schema = %s", (url.schema,)).fetchall()
        if dict(rows) != {revision.id: revision.digest for revision in history.revisions}:
            yield f"expected a digest of each revision of {url.schema}; found {sorted(dict(rows))}"
        yield from (f"{url.schema}, {line}" for line in drift.since(conn, url.schema, history.revisions))
        conn.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(url.schema)))
        for table in ("ops.fence", "ops.revisions"):
            conn.execute(sql.SQL("delete from {} where schema = %s").format(sql.SQL(table)), (url.schema,))


def _migration_problems(again: list[str], drifted: list[str], seen: list[str]) -> Iterator[str]:
    if again:
        yield f"expected a second migration to do nothing; it applied {', '.join(again)}"
    yield from (f"drift: {line}" for line in drifted)
    for way in ("missing: constraint", "unexpected: column"):
        if not any(line.startswith(way) for line in seen):
            yield f"expected drift that was made on purpose to be seen ({way}); it was not"


def _drift_seen(owner: PostgresUrl) -> list[str]:
    """Return the drift that is reported of a schema that lost a check and gained a column; both are put back."""
    with ops.connect(owner) as conn:
        row = conn.execute(A_CHECK).fetchone()
        definition = conn.execute(
            "select conname, pg_get_constraintdef(oid) from pg_constraint"
            " where conrelid = 'user_inventory'::regclass and quote_ident(conname) = %s",
            row,
        ).fetchone()
        assert row is not None, "the bag has checks"
        assert definition is not None
        conn.execute(STRAY_COLUMN)
        conn.execute(LOST_CONSTRAINT.format(row[0]).encode())
        try:
            return migrate.drift(owner)
        finally:
            conn.execute("alter table users drop column gate_stray")
            conn.execute(f"alter table user_inventory add constraint {row[0]} {definition[1]}".encode())


def _backup(env: Environment, server: Server, players: int) -> PartResult:
    """Dump both stores, restore them elsewhere and count; put the game's schema also back in its own place."""
    seed.seed_postgres(env.target_direct, env.name, players, SEED, progress=Silent())
    rows: dict[str, int] = {}
    for side in Side:
        taken = snapshots.take_verified(env, side, tools=server.tool)
        rows[side] = sum(taken.manifest.counts.values())
    snapshots.restore(env, taken, keep_fence=True, replace=True, tools=server.tool)
    with ops.connect(env.target_direct) as conn:
        counts = snapshots.postgres.count(conn, env.target_direct.schema)
        state = fence.state(conn)
    problems = [f"expected the restored schema to be fenced; it is {state}"] if state != "fenced" else []
    if counts != taken.manifest.counts:
        problems.append(f"expected {taken.manifest.counts} rows once restored; found {counts}")
    if counts.get("users") != players:
        problems.append(f"expected {count(players, 'player')} once restored; found {counts.get('users')}")
    drifted = migrate.drift(env.target_direct)
    problems += [f"drift once restored: {line}" for line in drifted]
    return {"tables": len(counts), "players": players, "rows": rows[Side.TARGET], "legacy rows": rows[Side.LEGACY]}, (
        *problems,
    )
