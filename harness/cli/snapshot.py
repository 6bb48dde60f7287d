"""Tasks for snapshots of both stores."""

from __future__ import annotations

from functools import partial

from invoke.context import Context

from harness.cli.framework import Consent, task
from harness.cli.framework.running import confirmation
from harness.cli.texts import (
    ENV,
    JSON,
    SNAPSHOT,
    UNSIGNED,
)


@task(help={"env": ENV, "of": "legacy or target", "json": JSON})
def take(_c: Context, env: str = "", of: str = "target", json: str = "") -> None:
    """Take a snapshot of a store; verify it by restoring and counting."""
    _snapshot("take", env, of, json)


@task(help={"env": ENV, "path": SNAPSHOT, "unsigned": UNSIGNED, "json": JSON}, required=["path"])
def verify(_c: Context, env: str = "", path: str = "", unsigned: bool = False, json: str = "") -> None:
    """Verify a snapshot: restore it into a scratch place, and count."""
    _snapshot("verify", env, path, json, unsigned=unsigned)


@task(
    help={
        "env": ENV,
        "path": SNAPSHOT,
        "into": "a new file, for one of the legacy store",
        "unfence": "leave the restored store open to writes",
        "replace": "move the target's tables to another schema first, where they are kept",
        "unsigned": UNSIGNED,
        "json": JSON,
    },
    required=["path"],
)
def restore(
    _c: Context,
    env: str = "",
    path: str = "",
    into: str = "",
    unfence: bool = False,
    replace: bool = False,
    unsigned: bool = False,
    consent: Consent = Consent(),
    json: str = "",
) -> None:
    """Restore a snapshot: read-only unless --unfence; nothing that exists is overwritten."""
    from db import environments
    from db.console.output import outcome
    from harness.cli.commands import snapshots

    with outcome(json or None) as out:
        confirmed = confirmation(out, env, consent)
        target = environments.load(env)
        done = snapshots.run(
            target, "restore", path, into, unfence=unfence, replace=replace, unsigned=unsigned, confirm=confirmed
        )
        out.table("snapshot restore", ("what", "found"), list(done.items()))
        out.json(done)


@task(
    help={
        "env": ENV,
        "put-back": "swap the schema of this name with the one in use, in one transaction",
        "unfence": "with --put-back: leave it open to writes",
        "drop": "drop the schema of this name for good",
        "json": JSON,
    },
    needs={"unfence": ["put-back"]},
)
def kept(
    _c: Context,
    env: str = "",
    put_back: str = "",
    unfence: bool = False,
    drop: str = "",
    consent: Consent = Consent(),
    json: str = "",
) -> None:
    """List kept schemas: those that a restore or a rollback kept in Postgres; put one back, or drop one."""
    from db import environments
    from db.confirmation import Change
    from db.console.output import outcome
    from harness.cli.commands import kept as keeping

    with outcome(json or None) as out:
        target = environments.load(env)
        what = "replaces what players own by a schema that was kept" if put_back else "drops a schema that was kept"
        what += f" in {target.target_direct.redacted}"
        may = confirmation(out, env, consent, dry_run=not (put_back or drop))
        done = keeping.run(target, put_back, drop, unfence=unfence, confirmed=partial(may, Change(target, what)))
        keeping.show(done, out)
        out.json(done)


def _snapshot(verb: str, env: str, what: str, json: str, *, unsigned: bool = False) -> None:
    from db import environments
    from db.console.output import outcome
    from harness.cli.commands import snapshots

    with outcome(json or None) as out:
        done = snapshots.run(environments.load(env), verb, what, "", unsigned=unsigned)
        out.table(f"snapshot {verb}", ("what", "found"), list(done.items()))
        out.json(done)
