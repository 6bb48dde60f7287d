"""Runs `invoke prepare`, `migrate`, `seed` and `reset` on an environment's Postgres, once that is confirmed."""

from __future__ import annotations

from functools import partial

from db import environments, ops
from db.confirmation import Change, Confirm, require_own
from db.console.progress import Progress
from db.cutover import services
from db.environments import Environment
from db.errors import Refusal
from db.legacy import receipts
from db.ops import checkout, script, statements
from db.samples import seed
from db.samples.seed import Seeded
from db.schema import migrate
from db.schema.migrate import Migrated
from db.schema.revisions import History
from db.signing import UNSIGNED_STAGES
from db.snapshots import trial
from db.snapshots.tools import Tools


def prepare(env: Environment, confirm: Confirm, *, take_over: bool, sql: bool = False) -> str:
    """Mark the database, and return what was done; sql: only return the script. Raises Refusal as `ops.prepare` does.

    The checks are made in both cases.
    """
    owned = env.name in checkout.OWNED
    if take_over and not owned:
        raise Refusal(
            f"--take-over with --env {' or '.join(checkout.OWNED)}",
            f"--env {env.name}",
            do="Leave it out: no other environment's database belongs to a checkout.",
        )
    with ops.connect(env.target_direct):
        pass  # The checkout writes down its id; not for a server that does not answer.
    this = checkout.current() if owned else None
    url, durable = env.target_direct.redacted, environments.is_durable(env.name)
    run = partial(
        ops.prepare, env.target_direct, env.name, service=env.target, durable=durable, whose=this, take_over=take_over
    )
    run(check=True)
    if sql:
        return script.text(env.target_direct, env.target, env.name, this)
    # `prepare` gives a database to a checkout, so its own checks say whose it is.
    confirm(Change(env, f"marks {url} as the database of {env.name}", database=False))
    run()
    return f"{url} is marked {env.name}{f', of the checkout {this}' if owned else ''}"


def run_migrations(
    env: Environment,
    confirm: Confirm,
    *,
    sql: bool,
    progress: Progress,
    history: History | None = None,
    tools: Tools | None = None,
) -> Migrated:
    """Bring the schema to the head, and number the receipts of the legacy file if it serves the players.

    Where players own the rows, what is pending is first tried on the newest verified snapshot; see `_tried`.
    sql: only return the statements. Errors: as of `db.schema.migrate.migrate`.
    """
    run = partial(
        migrate.migrate,
        env.target_direct,
        environment=env.name,
        service_role=env.target.user,
        history=history,
        unable=partial(services.unable, env.services),
    )
    planned = run(sql=True)
    if sql:
        return planned
    pending = ", ".join(planned.applied) or "no revision, and grants the rights again"
    tried = _tried(env, progress, history, tools) if planned.applied and _has_players(env) else ""
    confirm(Change(env, f"applies {pending}{tried}: {env.target_direct.redacted}"))
    made = run()
    receipts.number_open(env.legacy.path)
    return made


def _has_players(env: Environment) -> bool:
    """Return True where players own rows that a revision may break: not in development and test, nor before a load."""
    if env.name in UNSIGNED_STAGES:
        return False
    with ops.connect(env.target_direct) as conn:
        return migrate.current(conn) is not None and statements.first_filled(conn, ["users"]) is not None


def _tried(env: Environment, progress: Progress, history: History | None, tools: Tools | None) -> str:
    """Try the revisions on the newest verified snapshot, and return the words for it. Raises Refusal if one fails."""
    progress.say("trying the revisions on the newest verified snapshot")
    tried = trial.try_revisions(env, history=history, tools=tools)
    return f", which passed on the snapshot {tried.snapshot.folder.name}"


def fill(env: Environment, confirm: Confirm, *, players: int, number: int, progress: Progress) -> Seeded:
    """Make players. Errors: as of `db.samples.seed.seed_postgres`."""
    # First: a refusal of players that are there would name `reset`, which may not empty another checkout's database.
    require_own(env)
    url = env.target_direct
    asked = partial(confirm, Change(env, f"fills {url.redacted}"))
    return seed.seed_postgres(url, env.name, players, number, progress=progress, confirm=asked)


def empty(env: Environment, confirm: Confirm) -> None:
    """Empty the game's tables. Errors: as of `db.samples.seed.empty_postgres`."""
    seed.empty_postgres(
        env.target_direct, env.name, confirm=partial(confirm, Change(env, f"empties {env.target_direct.redacted}"))
    )
