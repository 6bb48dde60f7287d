"""Tasks for the Postgres of an environment: prepare it, bring its schema to the head, fill it, say where it stands."""

from __future__ import annotations

from pathlib import Path

from invoke.context import Context

from harness.cli.framework import Consent, Whole, task
from harness.cli.framework.running import confirmation, end
from harness.cli.texts import (
    DEVELOPMENT,
    ENV,
    JSON,
    PLAYERS,
)


@task(
    help={
        "env": ENV,
        "take-over": "make another checkout's development database this one's",
        "sql": "make the checks, print the SQL for psql with the roles, and change nothing",
    }
)
def prepare(
    _c: Context, env: str = "", take_over: bool = False, sql: bool = False, consent: Consent = Consent()
) -> None:
    """Mark the environment's Postgres as its own: make the schema ops, or add what an older version lacks."""
    from db import environments
    from db.console.output import outcome
    from harness.cli.commands import preparing

    with outcome(None) as out:
        confirmed = confirmation(out, env, consent, dry_run=sql)
        out.say(preparing.prepare(environments.load(env), confirmed, take_over=take_over, sql=sql))


@task(help={"env": ENV, "sql": "print the SQL, and change nothing", "json": JSON})
def migrate(_c: Context, env: str = "", sql: bool = False, consent: Consent = Consent(), json: str = "") -> None:
    """Bring the schema to its head; a new one is fenced from its first moment."""
    from db import environments
    from db.console.output import outcome
    from harness.cli.commands import preparing

    with outcome(json or None) as out:
        confirmed = confirmation(out, env, consent, dry_run=sql)
        target = environments.load(env)
        done = preparing.run_migrations(target, confirmed, sql=sql, progress=out.progress)
        applied = ", ".join(done.applied) or "nothing, it was there"
        out.say(done.sql if sql else f"{target.name} is at {done.head}; applied: {applied}")
        out.json(done)


@task(
    help={"env": ENV, "message": "what the revision does, in a few words; they name the file; required", "json": JSON}
)
def revision(_c: Context, env: str = "", message: str = "", json: str = "") -> None:
    """Make the next revision's file: what game/tables.py has and the schema lacks; see docs/migrations.md."""
    from db import environments
    from db.console.output import outcome
    from harness.cli.commands import revisions

    with outcome(json or None) as out:
        made = revisions.make(environments.load(env), message)
        revisions.show(made, out)
        out.json(made)


@task(
    help={
        "env": DEVELOPMENT,
        "legacy": "make a legacy file at this path instead",
        "players": PLAYERS,
        "seed": "the number that all made players follow from",
        "clean": "without the anomalies that real files have",
        "json": JSON,
    },
    needs={"clean": ["legacy"]},
    ignores={"legacy": ["env"]},
    writes=["legacy"],
)
def seed(
    _c: Context,
    env: str = "",
    legacy: str = "",
    players: int = Whole(100),
    seed: int = Whole(1, 0),
    clean: bool = False,
    consent: Consent = Consent(),
    json: str = "",
) -> None:
    """Make deterministic players: in Postgres, or with --legacy FILE a legacy file of them."""
    from db import environments
    from db.confirmation import require_same_name
    from db.console.output import outcome
    from db.counts import count
    from db.errors import Refusal
    from db.samples import seed as seeds
    from harness.cli.commands import preparing

    with outcome(json or None) as out:
        require_same_name(env, consent.confirm)
        if legacy:
            path = Path(legacy)
            made = seeds.seed_legacy(path, players, seed, anomalies=not clean, progress=out.progress)
        elif not env:
            raise Refusal("--legacy FILE, or --env NAME", "neither", do=seeds.WHERE)
        else:
            environments.guard_destructive(env)
            target = environments.load(env)
            confirmed = confirmation(out, env, consent)
            made = preparing.fill(target, confirmed, players=players, number=seed, progress=out.progress)
        out.say(f"{count(made.players, 'player')} in {legacy or env}, {made.bytes / 1e6:,.1f} MB, seed {seed}")
        out.say(f"a player to begin with: {made.playable or 'none without an anomaly'}")
        out.json(made)


@task(help={"env": DEVELOPMENT + "; required"})
def reset(_c: Context, env: str = "", consent: Consent = Consent()) -> None:
    """Empty the game's tables; development alone, while nobody plays on them."""
    from db import environments
    from db.console.output import outcome
    from harness.cli.commands import preparing

    with outcome(None) as out:
        environments.guard_destructive(env)
        target = environments.load(env)
        preparing.empty(target, confirmation(out, env, consent))
        out.say(f"{target.name} is empty")


@task(help={"env": ENV, "json": JSON})
def status(_c: Context, env: str = "", json: str = "") -> None:
    """Say where the environment stands: marker, schema, phase, fences, services."""
    from db import environments
    from db.console.output import outcome
    from harness.cli.commands import environment_status

    with outcome(json or None) as out:
        status = environment_status.status(environments.load(env))
        out.fields(status.rows)
        out.json(status.values)
        end("pass" if status.whole else "inconclusive")
