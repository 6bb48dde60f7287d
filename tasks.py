"""The tasks: each parses, wires, calls one function, prints, and ends with its exit code.

0 done, 1 failed, 2 refused or misused, 3 inconclusive, 4 undone, 130 interrupted. Imports stand inside the bodies, so
that `invoke --list` answers at once.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context

from harness.cli.framework import Whole, check, task
from harness.cli.framework.running import ENDING, KILL, checked, confirmation, end, judged, leave, told

PYTHON = sys.executable
ROOT = Path(__file__).parent

ENV = "development, staging or production, as environments.toml names them"
ENV_OR_TEST = f"test, on a throwaway server; or {ENV}"
DEVELOPMENT = "development alone: players own what is in the others"
JSON = "write the result as JSON to this path; - is standard output"
POSTGRES = "docker, local, embedded or a URL, its password in PGPASSWORD; by default the first that the machine has"
YES = "do not ask; production needs --confirm production too"
CONFIRM = "the environment's name, typed once more"
ASKED = {"yes": YES, "confirm": CONFIRM}
DRY_RUN = "make every check, list the findings and the plan, and change nothing"
PLAYERS = "how many players to make"
LEGACY = "a legacy SQLite file"
SNAPSHOT = "the snapshot's folder, as `invoke snapshot.take` printed it; `invoke status` lists the newest"
UNSIGNED = "admit a snapshot that nobody signed, which staging and production refuse"


@task(
    help={"postgres": POSTGRES, "workers": "how many processes share the work; 0: none beside this one",
          "select": "only tests whose names match, as pytest -k has it"}
)  # fmt: skip
def test(_c: Context, postgres: str = "", workers: int = Whole(2, 0, 64), select: str = "") -> None:
    """Run tests and scenarios on a fresh Postgres."""
    from db import environments
    from db.console.output import outcome
    from db.processes import children
    from db.servers import needed_secrets
    from harness.pytest_plugin import selecting

    options = [f"--postgres={postgres}"] if postgres else []
    options += ["-k", select] if select else []
    with outcome(None):
        selecting.check(select)
        argv = told("pytest", "-n", str(workers), "--dist", "worksteal", *options)
        print("collecting all tests and scenarios: it takes a while until the first result", flush=True)
        env = environments.beside(secrets=needed_secrets(postgres or None))
        ended = children.attended(argv, ending="the tests end; the failures so far follow.", cwd=ROOT, env=env)
        leave(selecting.exit_code(ended.code, select))


@task
def lint(_c: Context) -> None:
    """Check style, types, imports and workflows; the tests check the migrations' SQL."""
    from db.console.output import outcome

    commands = [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["lint-imports"],
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *_workflows()],
        ["zizmor", "--offline", "--quiet", *_workflows()],
    ]
    with outcome(None):
        failed = [command[0] for command in commands if checked(command, ROOT)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    leave(1 if failed else 0)


@task
def up(_c: Context) -> None:
    """Start the development Postgres: the one of compose.yaml."""
    _compose("up", "--detach", "--wait")


@task
def down(_c: Context) -> None:
    """Stop the development Postgres; its volume stays."""
    _compose("down")


@task(
    help={
        "env": ENV,
        "port": "the first process's port; by default PORT of the pointer's file, else 8000",
        "processes": "how many; each has a port of its own; by default PROCESSES of the pointer's file, else 1",
    }
)
def serve(_c: Context, env: str = "", port: int = Whole(-1, 1, 65535), processes: int = Whole(-1, 1, 64)) -> None:
    """Run the game's HTTP service: on the store that the environment's pointer names; SIGHUP restarts it gracefully."""
    from db import environments, service_file
    from db.console.output import outcome

    with outcome(None):
        pointer = environments.load(env).pointer
        service_file.require(pointer.path, pointer.variable)
        given = {name: str(value) for name, value in (("PORT", port), ("PROCESSES", processes)) if value > 0}
        environments.become([PYTHON, "-m", "game.service"], {"SUDAMR_ENV_FILE": str(pointer.path), **given})


@task(
    help={
        "env": ENV,
        "player": "the player's id; no store is asked if there is such a player",
        "revoke": "end every token that the player has, and print none",
    }
)
def token(_c: Context, env: str = "", player: str = "", revoke: bool = False) -> None:
    """Print a player's bearer token; whoever has it acts as the player. Or revoke those that there are."""
    from db import environments
    from db.console.output import outcome
    from db.errors import Refusal
    from game.service import tokens
    from harness.cli.commands import revoking

    with outcome(None) as speaks:
        target = environments.load(env)
        if not player:
            raise Refusal(
                "--player ID", "none", do="Add the id of a player: --player ID. `invoke seed --legacy FILE` prints one."
            )
        speaks.say(
            revoking.revoke(target, player) if revoke else tokens.issue(environments.token_secret(target), player)
        )


@task(help={"env": ENV, "take-over": "make another checkout's development database this one's", **ASKED})
def prepare(_c: Context, env: str = "", take_over: bool = False, yes: bool = False, confirm: str = "") -> None:
    """Mark the environment's Postgres as its own: make the schema ops, or add what an older version lacks."""
    from db import environments
    from db.console.output import outcome
    from harness.cli.commands import preparing

    with outcome(None) as speaks:
        confirmed = confirmation(speaks, env, yes, confirm)
        speaks.say(preparing.prepare(environments.load(env), confirmed, take_over=take_over))


@task(help={"env": ENV, "sql": "print the SQL, and change nothing", **ASKED, "json": JSON})
def migrate(
    _c: Context, env: str = "", sql: bool = False, yes: bool = False, confirm: str = "", json: str = ""
) -> None:
    """Bring the schema to its head; a new one is fenced from its first moment."""
    from db import environments
    from db.console.output import outcome
    from harness.cli.commands import preparing

    with outcome(json or None) as speaks:
        confirmed = confirmation(speaks, env, yes, confirm, dry_run=sql)
        target = environments.load(env)
        done = preparing.run_migrations(target, confirmed, sql=sql)
        applied = ", ".join(done.applied) or "nothing, it was there"
        speaks.say(done.sql if sql else f"{target.name} is at {done.head}; applied: {applied}")
        speaks.json(done)


@task(
    help={"env": ENV, "message": "what the revision does, in a few words; they name the file; required", "json": JSON}
)
def revision(_c: Context, env: str = "", message: str = "", json: str = "") -> None:
    """Make the next revision's file: what game/tables.py has and the schema lacks; see docs/migrations.md."""
    from db import environments
    from db.console.output import outcome
    from harness.cli.commands import revisions

    with outcome(json or None) as speaks:
        made = revisions.make(environments.load(env), message)
        revisions.show(made, speaks)
        speaks.json(made)


@task(
    help={"env": DEVELOPMENT, "legacy": "make a legacy file at this path instead", "players": PLAYERS,
          "seed": "the number that all made players follow from", "clean": "without the anomalies that real files have",
          **ASKED, "json": JSON},
    needs={"clean": ["legacy"]}, ignores={"legacy": ["env"]}, writes=["legacy"],
)  # fmt: skip
def seed(
    _c: Context,
    env: str = "",
    legacy: str = "",
    players: int = Whole(100),
    seed: int = Whole(1, 0),
    clean: bool = False,
    yes: bool = False,
    confirm: str = "",
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

    with outcome(json or None) as speaks:
        require_same_name(env, confirm)
        if legacy:
            path = Path(legacy)
            made = seeds.seed_legacy(path, players, seed, anomalies=not clean, progress=speaks.progress)
        elif not env:
            raise Refusal("--legacy FILE, or --env NAME", "neither", do=seeds.WHERE)
        else:
            environments.guard_destructive(env)
            target = environments.load(env)
            confirmed = confirmation(speaks, env, yes, confirm)
            made = preparing.fill(target, confirmed, players=players, number=seed, progress=speaks.progress)
        speaks.say(f"{count(made.players, 'player')} in {legacy or env}, {made.bytes / 1e6:,.1f} MB, seed {seed}")
        speaks.say(f"a player to begin with: {made.playable or 'none without an anomaly'}")
        speaks.json(made)


@task(help={"env": DEVELOPMENT, **ASKED})
def reset(_c: Context, env: str = "", yes: bool = False, confirm: str = "") -> None:
    """Empty the game's tables; development alone, while nobody plays on them."""
    from db import environments
    from db.console.output import outcome
    from harness.cli.commands import preparing

    with outcome(None) as speaks:
        environments.guard_destructive(env)
        target = environments.load(env)
        preparing.empty(target, confirmation(speaks, env, yes, confirm))
        speaks.say(f"{target.name} is empty")


@task(
    help={
        "players": PLAYERS,
        "legacy": LEGACY + " to rehearse with; a copy is used",
        "postgres": POSTGRES,
        "json": JSON,
    },
    ignores={"legacy": ["players"]},
)
def rehearse(_c: Context, players: int = Whole(200), legacy: str = "", postgres: str = "", json: str = "") -> None:
    """Rehearse the whole move and the way back: under load, on a throwaway server."""
    from harness import rehearsal

    source = Path(legacy) if legacy else None
    judged(json, partial(rehearsal.rehearse, players, source, postgres or None), rehearsal.show)


@task(
    default=True,
    help={
        "env": ENV_OR_TEST,
        "source": LEGACY + " to load",
        "back": "rebuild a legacy file from the database alone",
        "into": "where the rebuilt file goes",
        "max-held": "refuse when more players than this would be held; by default any number may be",
        "postgres": "with --env test: " + POSTGRES,
        **ASKED,
        "json": JSON,
    },
    needs={"into": ["back"], "max-held": ["source"], "postgres": ["env=test"]},
)
def transfer(
    _c: Context, env: str = "", source: str = "", back: bool = False, into: str = "", max_held: int = Whole(-1, 0),
    postgres: str = "", yes: bool = False, confirm: str = "", json: str = "",
) -> None:  # fmt: skip
    """Move a legacy file to Postgres with proof; with --back --into FILE, rebuild it from there."""
    from db.console.output import outcome
    from db.processes.interruption import Signals
    from harness.cli.commands import transfers

    wish = transfers.Wish(
        environment=env, source=Path(source) if source else None, into=Path(into) if into else None,
        back=back, max_held=None if max_held < 0 else max_held, postgres=postgres or None,
    )  # fmt: skip
    with Signals(ENDING, KILL) as signals, outcome(json or None) as speaks:
        speaks.signals = signals
        found = transfers.run(wish, speaks.progress, confirmation(speaks, env, yes, confirm))
        transfers.show(found, speaks)
        speaks.json(found)
        end(found.verdict)


@task(help={"source": LEGACY, "json": JSON}, required=["source"])
def profile(_c: Context, source: str = "", json: str = "") -> None:
    """Say what a legacy file holds: tables, columns, storage classes, sizes. Reads only."""
    from db.console.output import outcome
    from harness.cli.commands import transfers

    with outcome(json or None) as speaks:
        found = transfers.profile(source)
        transfers.show_profile(found, speaks)
        speaks.json(found)


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

    with outcome(json or None) as speaks:
        if into or number >= 0:
            quarantines.export(env, None if number < 0 else number, into, speaks)
            return
        found = quarantines.find(env, player, rule, whole=bool(json))
        quarantines.show(found, speaks)
        speaks.json(found)


@task(
    help={
        "env": ENV,
        "player": "only this player",
        "number": "with --value: the value of this number in the list",
        "value": "a file with what was decided in its place, in UTF-8",
        "dry-run": "say what would be loaded; change nothing",
        "yes": YES,
        "confirm": CONFIRM,
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
    yes: bool = False,
    confirm: str = "",
    json: str = "",
) -> None:
    """Load again what was held: what this version, or a value decided by hand, allows; also while players play."""
    from db import environments
    from db.confirmation import Change
    from db.console.output import outcome
    from harness.cli.commands import replays

    with outcome(json or None) as speaks:
        wish = replays.Wish(player, None if number < 0 else number, value, dry_run)
        target = environments.load(env)
        may = confirmation(speaks, env, yes, confirm, dry_run)
        change = Change(target, f"loads what the quarantine holds into {target.target_direct.redacted}")
        done = replays.run(target, wish, speaks.progress, partial(may, change))
        replays.show(done, target.name, speaks)
        speaks.json(done)
        end(done.verdict)


@task(help={"env": ENV, **ASKED})
def cleanup(_c: Context, env: str = "", yes: bool = False, confirm: str = "") -> None:
    """Empty a target that holds a trial's copy; never one that a cutover fills or that players play on."""
    from db.console.output import outcome
    from harness.cli.commands import transfers

    with outcome(None) as speaks:
        confirmed = confirmation(speaks, env, yes, confirm)
        speaks.say(f"{transfers.cleanup(env, confirmed).redacted} is empty")


_MOVE = {
    "env": ENV, "offline": "copy while read-only; the only way so far", "dry-run": DRY_RUN,
    "abort": "undo what was begun, wholly", **ASKED, "json": JSON,
}  # fmt: skip


@task(
    help={**_MOVE, "certificate": "the gate's report; out/certificate-ENV.json by default"},
    ignores={"abort": ["certificate"]},
)
def cutover(
    _c: Context, env: str = "", offline: bool = True, dry_run: bool = False, abort: bool = False, yes: bool = False,
    confirm: str = "", certificate: str = "", json: str = "",
) -> None:  # fmt: skip
    """Move the live game to Postgres: named steps, each safe to be killed at; run again to go on, --abort to undo."""
    from db import environments
    from db.confirmation import require_same_name
    from db.console.output import outcome
    from db.processes.interruption import Signals
    from harness.cli.commands import cutovers

    with Signals() as signals, outcome(json or None) as speaks:
        require_same_name(env, confirm)
        target = environments.load(env)
        cutovers.end_with(target, speaks, signals, dry_run=dry_run)
        cutovers.show_settings(target, speaks)
        confirmed = confirmation(speaks, env, yes, confirm, dry_run)
        wish = cutovers.Wish(target, offline=offline, dry_run=dry_run, abort=abort)
        proof = Path(certificate or f"out/certificate-{target.name}.json")
        report = cutovers.cutover(wish, proof, speaks.progress, signals, cutovers.asked(wish, "to Postgres", confirmed))
        cutovers.show(report, speaks)
        speaks.json(report)
    leave(cutovers.exit_code(report))


@task(
    help={
        **_MOVE,
        "discard-writes": "leave on Postgres what players did; alone, it says how many to --accept-loss",
        "accept-loss": "how many writes are given up; must equal what is counted",
    },
    needs={"accept-loss": ["discard-writes"]},
    ignores={"abort": ["discard-writes", "accept-loss"]},
)
def rollback(
    _c: Context, env: str = "", offline: bool = True, dry_run: bool = False, abort: bool = False, yes: bool = False,
    confirm: str = "", discard_writes: bool = False, accept_loss: int = Whole(-1, 0), json: str = "",
) -> None:  # fmt: skip
    """Move the live game back to SQLite: with everything that players did on Postgres."""
    from db import environments
    from db.confirmation import require_same_name
    from db.console.output import outcome
    from db.processes.interruption import Signals
    from harness.cli.commands import cutovers

    with Signals() as signals, outcome(json or None) as speaks:
        require_same_name(env, confirm)
        target = environments.load(env)
        cutovers.end_with(target, speaks, signals, dry_run=dry_run)
        cutovers.show_settings(target, speaks)
        confirmed = confirmation(speaks, env, yes, confirm, dry_run)
        wish = cutovers.Wish(target, offline=offline, dry_run=dry_run, abort=abort)
        loss = None if accept_loss < 0 else accept_loss
        report = cutovers.roll_back(
            wish, speaks.progress, signals, cutovers.asked(wish, "back to SQLite", confirmed),
            discard_writes=discard_writes, accept_loss=loss,
        )  # fmt: skip
        cutovers.show(report, speaks)
        speaks.json(report)
    leave(cutovers.exit_code(report))


@task(help={"env": ENV, "json": JSON})
def status(_c: Context, env: str = "", json: str = "") -> None:
    """Say where the environment stands: marker, schema, phase, fences, services."""
    from db import environments
    from db.console.output import outcome
    from harness.cli.commands import environment_status

    with outcome(json or None) as speaks:
        status = environment_status.status(environments.load(env))
        speaks.fields(status.rows)
        speaks.json(status.found)
        end("pass" if status.whole else "inconclusive")


@task(
    help={
        "env": ENV_OR_TEST + "; whom the certificate is for, the gate itself runs on throwaway servers",
        "legacy": LEGACY + " to rehearse with",
        "players": PLAYERS + " where no file is given",
        "verify": "check a certificate instead",
        "postgres": POSTGRES,
        "report": "where the page goes, JUnit XML beside it; by default beside --json",
        "json": JSON,
    },
    ignores={"verify": ["legacy", "players", "postgres", "report", "json"]},
)
def gate(
    _c: Context, env: str = "", legacy: str = "", players: int = Whole(100), verify: str = "", postgres: str = "",
    report: str = "", json: str = "",
) -> None:  # fmt: skip
    """Prove this commit and certify it; on throwaway servers. --verify FILE checks that a certificate admits it."""
    from db.console.output import outcome
    from db.processes.interruption import Signals
    from harness import gate as gates
    from harness import report as reports

    with Signals(ENDING, KILL) as signals, outcome(json or None) as speaks:
        speaks.signals = signals
        if verify:
            speaks.say(f"admitted: {gates.verify(env, Path(verify), ROOT).commit[:12]} to {env}")
            return
        wish = gates.Wish(env, Path(legacy) if legacy else None, players, postgres or None)
        found = gates.run(wish, ROOT, speaks.progress)
        gates.show(found, speaks)
        speaks.json(found)
        for path in reports.write(found, _page(report, json)):
            speaks.say(f"written: {path}")
        end(found.verdict)


@task(help={"from": "the JSON of a gate", "into": "where the page goes, JUnit XML beside it; by default beside --from"})
def report(_c: Context, from_: str = "out/gate.json", into: str = "") -> None:
    """Make a gate's page again from its JSON: a self-contained HTML file."""
    from db.console.output import outcome
    from harness import report as reports

    with outcome(None) as speaks:
        signature = reports.checked(Path(from_))
        for path in reports.write(reports.read(Path(from_)), _page(into, from_), signature):
            speaks.say(f"written: {path}")
        speaks.say(f"signature: {signature}")


@task(help={"select": "only mutations with this in their name", "postgres": POSTGRES, "json": JSON})
def audit(_c: Context, select: str = "", postgres: str = "", json: str = "") -> None:
    """Break each promise on purpose: one at a time in a copy of the tree; what no test notices is a failure."""
    from harness import audit as audits

    judged(json, partial(audits.run, ROOT, postgres or None, select), audits.show)


def _page(asked: str, json: str) -> Path:
    """The page that was asked for, or the one beside the JSON."""
    return Path(asked) if asked else Path(json if json not in {"", "-"} else "out/gate.json").with_suffix(".html")


@task(help={"env": ENV, "of": "legacy or target", "json": JSON})
def take(_c: Context, env: str = "", of: str = "target", json: str = "") -> None:
    """Take a snapshot of a store; verify it by restoring and counting."""
    _snapshot("take", env, of, json)


@task(help={"env": ENV, "path": SNAPSHOT, "unsigned": UNSIGNED, "json": JSON}, required=["path"])
def verify(_c: Context, env: str = "", path: str = "", unsigned: bool = False, json: str = "") -> None:
    """Verify a snapshot: restore it into a scratch place, and count."""
    _snapshot("verify", env, path, json, unsigned=unsigned)


@task(
    help={"env": ENV, "path": SNAPSHOT, "into": "a new file, for one of the legacy store",
          "unfence": "leave the restored store open to writes",
          "replace": "move the target's tables to another schema first, where they are kept",
          "unsigned": UNSIGNED, **ASKED, "json": JSON},
    required=["path"],
)  # fmt: skip
def restore(
    _c: Context, env: str = "", path: str = "", into: str = "", unfence: bool = False, replace: bool = False,
    unsigned: bool = False, yes: bool = False, confirm: str = "", json: str = "",
) -> None:  # fmt: skip
    """Restore a snapshot: read-only unless --unfence; nothing that exists is overwritten."""
    from db import environments
    from db.console.output import outcome
    from harness.cli.commands import snapshots

    with outcome(json or None) as speaks:
        confirmed = confirmation(speaks, env, yes, confirm)
        target = environments.load(env)
        done = snapshots.run(
            target, "restore", path, into, unfence=unfence, replace=replace, unsigned=unsigned, confirm=confirmed
        )
        speaks.table("snapshot restore", ("what", "found"), list(done.items()))
        speaks.json(done)


@task(
    help={
        "env": ENV,
        "put-back": "swap the schema of this name with the one in use, in one transaction",
        "unfence": "with --put-back: leave it open to writes",
        "drop": "drop the schema of this name for good",
        "yes": YES,
        "confirm": CONFIRM,
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
    yes: bool = False,
    confirm: str = "",
    json: str = "",
) -> None:
    """List kept schemas: those that a restore or a rollback kept in Postgres; put one back, or drop one."""
    from db import environments
    from db.confirmation import Change
    from db.console.output import outcome
    from harness.cli.commands import kept as keeping

    with outcome(json or None) as speaks:
        target = environments.load(env)
        what = "replaces what players own by a schema that was kept" if put_back else "drops a schema that was kept"
        what += f" in {target.target_direct.redacted}"
        may = confirmation(speaks, env, yes, confirm, dry_run=not (put_back or drop))
        found = keeping.run(target, put_back, drop, unfence=unfence, confirmed=partial(may, Change(target, what)))
        keeping.show(found, speaks)
        speaks.json(found)


@task(
    name="actions",
    help={"rounds": "how often each side has its turn", "requests": "how many a side carries out in one turn",
          "postgres": POSTGRES, "json": JSON},
)  # fmt: skip
def bench_actions(
    _c: Context, rounds: int = Whole(5), requests: int = Whole(600), postgres: str = "", json: str = ""
) -> None:
    """Measure commands through dispatch and HTTP: beside the bare driver and pgbench with the same SQL."""
    from harness.bench import actions

    judged(json, partial(actions.run, rounds, requests, postgres or None), actions.show)


@task(
    name="databases",
    help={"rounds": "how many databases each way makes", "containers": "how many containers are started",
          "postgres": POSTGRES, "json": JSON},
)  # fmt: skip
def bench_databases(
    _c: Context, rounds: int = Whole(100), containers: int = Whole(3, 0, 100), postgres: str = "", json: str = ""
) -> None:
    """Measure clones and resets of databases: beside the ways that others take."""
    from harness.bench import databases

    judged(json, partial(databases.run, rounds, containers, postgres or None), databases.show)


def _snapshot(verb: str, env: str, what: str, json: str, *, unsigned: bool = False) -> None:
    from db import environments
    from db.console.output import outcome
    from harness.cli.commands import snapshots

    with outcome(json or None) as speaks:
        done = snapshots.run(environments.load(env), verb, what, "", unsigned=unsigned)
        speaks.table(f"snapshot {verb}", ("what", "found"), list(done.items()))
        speaks.json(done)


def _compose(*arguments: str) -> None:
    from db.console.output import outcome
    from db.servers import compose

    with outcome(None):
        compose.run(ROOT, *arguments)


def _workflows() -> list[str]:
    return [str(path) for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))]


namespace = Collection(
    test,
    lint,
    up,
    down,
    serve,
    token,
    prepare,
    migrate,
    revision,
    seed,
    reset,
    rehearse,
    cutover,
    rollback,
    status,
    gate,
    report,
    audit,
)
namespace.add_collection(Collection("transfer", transfer, profile, convert, quarantine, replay, cleanup))
namespace.add_collection(Collection("snapshot", take, verify, restore, kept))
namespace.add_collection(Collection("bench", bench_actions, bench_databases))
check(namespace)
