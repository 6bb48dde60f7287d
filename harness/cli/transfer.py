"""Tasks that carry a legacy file into Postgres and out of it, look at one, and see to what was held."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from invoke.context import Context

from harness.cli.framework import Consent, Whole, task
from harness.cli.framework.running import ENDING, KILL, confirmation, end, judged
from harness.cli.texts import (
    ENV,
    ENV_OR_TEST,
    JSON,
    LEGACY,
    POSTGRES,
)


@task(
    default=True,
    help={
        "env": ENV_OR_TEST,
        "source": LEGACY + " to load; required without --back",
        "back": "rebuild a legacy file from the database alone",
        "into": "where the rebuilt file goes",
        "max-held": "refuse when more players than this would be held; by default any number may be",
        "postgres": "with --env test: " + POSTGRES,
        "json": JSON,
    },
    needs={"into": ["back"], "max-held": ["source"], "postgres": ["env=test"]},
)
def transfer(
    _c: Context,
    env: str = "",
    source: str = "",
    back: bool = False,
    into: str = "",
    max_held: int = Whole(-1, 0),
    postgres: str = "",
    consent: Consent = Consent(),
    json: str = "",
) -> None:
    """Move a legacy file to Postgres with proof; with --back --into FILE, rebuild it from there."""
    from db.console.output import outcome
    from db.processes.interruption import Signals
    from harness.cli.commands import transfers

    options = transfers.TransferOptions(
        environment=env,
        source=Path(source) if source else None,
        into=Path(into) if into else None,
        back=back,
        max_held=None if max_held < 0 else max_held,
        postgres=postgres or None,
    )
    with Signals(ENDING, KILL) as signals, outcome(json or None) as out:
        out.signals = signals
        done = transfers.run(options, out.progress, confirmation(out, env, consent))
        transfers.show(done, out)
        out.json(done)
        end(done.verdict)


@task(help={"source": LEGACY, "json": JSON}, required=["source"])
def profile(_c: Context, source: str = "", json: str = "") -> None:
    """Say what a legacy file holds: tables, columns, storage classes, sizes. Reads only."""
    from db.console.output import outcome
    from harness.cli.commands import transfers

    with outcome(json or None) as out:
        profiled = transfers.profile(source)
        transfers.show_profile(profiled, out)
        out.json(profiled)


@task(help={"json": JSON})
def mapping(_c: Context, json: str = "") -> None:
    """Print where each legacy value goes: by column and key, kept aside or whole. Needs no environment."""
    from db.console.output import outcome
    from harness.cli.commands import mappings

    with outcome(json or None) as out:
        listed = mappings.listed()
        mappings.show(listed, out)
        out.json(listed)


@task(
    help={
        "source": "a SQLite file in UTF-16; it is only read; stop the service first; required",
        "into": "the path of the copy in UTF-8; no file may be there yet; required",
        "as-blobs": "keep a text that is not valid UTF-16 as a BLOB with the same bytes, instead of refusing the file",
        "json": JSON,
    }
)
def convert(_c: Context, source: str = "", into: str = "", as_blobs: bool = False, json: str = "") -> None:
    """Copy a UTF-16 legacy file into UTF-8; prove that nothing is lost."""
    from harness.cli.commands import transfers

    judged(json, partial(transfers.convert, source, into, as_blobs=as_blobs), transfers.show_conversion)


@task(
    help={
        "env": ENV,
        "player": "only this player's values, all of them",
        "rule": "only this rule's values, all of them",
        "number": "with --into: the value of this number",
        "into": "a new file for its original bytes",
        "json": JSON,
    },
    needs={"number": ["into"], "into": ["number"]},
)
def quarantine(
    _c: Context,
    env: str = "",
    player: str = "",
    rule: str = "",
    number: int = Whole(-1, 0),
    into: str = "",
    json: str = "",
) -> None:
    """List the values that could not be loaded: their rule, place and original bytes."""
    from db.console.output import outcome
    from harness.cli.commands import quarantine as quarantines

    with outcome(json or None) as out:
        if into or number >= 0:
            quarantines.export(env, None if number < 0 else number, into, out)
            return
        listed = quarantines.find(env, player, rule, whole=bool(json))
        quarantines.show(listed, out)
        out.json(listed)


@task(
    help={
        "env": ENV,
        "player": "only this player",
        "number": "with --value: the value of this number in the list",
        "value": "a file with what was decided in its place, in UTF-8",
        "dry-run": "say what would be loaded; change nothing",
        "json": JSON,
    },
    needs={"number": ["value"], "value": ["number"]},
)
def replay(
    _c: Context,
    env: str = "",
    player: str = "",
    number: int = Whole(-1, 0),
    value: str = "",
    dry_run: bool = False,
    consent: Consent = Consent(),
    json: str = "",
) -> None:
    """Load again what was held: what this version, or a value decided by hand, allows; also while players play."""
    from db import environments
    from db.confirmation import Change
    from db.console.output import outcome
    from harness.cli.commands import replays

    with outcome(json or None) as out:
        options = replays.ReplayOptions(player, None if number < 0 else number, value, dry_run)
        target = environments.load(env)
        may = confirmation(out, env, consent, dry_run)
        change = Change(target, f"loads what the quarantine holds into {target.target_direct.redacted}")
        done = replays.run(target, options, out.progress, partial(may, change))
        replays.show(done, target.name, out)
        out.json(done)
        end(done.verdict)


@task(help={"env": ENV})
def cleanup(_c: Context, env: str = "", consent: Consent = Consent()) -> None:
    """Empty a target that holds a trial's copy; never one that a cutover fills or that players play on."""
    from db.console.output import outcome
    from harness.cli.commands import transfers

    with outcome(None) as out:
        confirmed = confirmation(out, env, consent)
        out.say(f"{transfers.cleanup(env, confirmed).redacted} is empty")
