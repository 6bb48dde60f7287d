"""Tasks that prove a commit: the rehearsal, the gate with its page, the audit."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from invoke.context import Context

from harness.cli.framework import Whole, task
from harness.cli.framework.running import ENDING, KILL, end, judged, root
from harness.cli.texts import (
    ENV_OR_TEST,
    JSON,
    LEGACY,
    PLAYERS,
    POSTGRES,
)


@task(
    help={
        "players": PLAYERS,
        "legacy": LEGACY + " to rehearse with; a copy is used",
        "offline": "move both ways with the game read-only for the whole copy",
        "postgres": POSTGRES,
        "report": "where the page of the way there goes; that of the way back goes beside it",
        "json": JSON,
    },
    ignores={"legacy": ["players"]},
)
def rehearse(
    _c: Context,
    players: int = Whole(200),
    legacy: str = "",
    offline: bool = False,
    postgres: str = "",
    report: str = "",
    json: str = "",
) -> None:
    """Rehearse the whole move and the way back: under load, on a throwaway server."""
    from harness import rehearsal
    from harness.cli.commands import move_pages

    source, recorded = Path(legacy) if legacy else None, move_pages.of_rehearsal(Path(report)) if report else None
    run = partial(rehearsal.rehearse, players, source, postgres or None, offline=offline, recorded=recorded)
    judged(json, run, rehearsal.show)


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
    _c: Context,
    env: str = "",
    legacy: str = "",
    players: int = Whole(100),
    verify: str = "",
    postgres: str = "",
    report: str = "",
    json: str = "",
) -> None:
    """Prove this commit and certify it; on throwaway servers. --verify FILE checks that a certificate admits it."""
    from db.console.output import outcome
    from db.processes.interruption import Signals
    from harness import gate as gates
    from harness import report as reports

    with Signals(ENDING, KILL) as signals, outcome(json or None) as out:
        out.signals = signals
        if verify:
            out.say(f"admitted: {gates.verify(env, Path(verify), root()).commit[:12]} to {env}")
            return
        options = gates.GateOptions(env, Path(legacy) if legacy else None, players, postgres or None)
        finding = gates.run(options, root(), out.progress)
        gates.show(finding, out)
        out.json(finding)
        for path in reports.write(finding, _page(report, json)):
            out.say(f"written: {path}")
        end(finding.verdict)


@task(
    help={
        "from": "the JSON of a gate",
        "run": "make the page of a move instead: the run's id, or its folder",
        "clients": "a rehearsal's JSON, for what clients saw of the move",
        "into": "where the page goes; by default beside --from, with JUnit XML, or into the run's folder",
        "json": JSON,
    },
    needs={"clients": ["run"], "json": ["run"]},
    ignores={"run": ["from"]},
)
def report(
    _c: Context, from_: str = "out/gate.json", run: str = "", clients: str = "", into: str = "", json: str = ""
) -> None:
    """Make the page of a gate, or of a move: one self-contained HTML file."""
    from db.console.output import outcome
    from harness import report as reports

    with outcome(json or None) as out:
        if run:
            from harness.cli.commands import move_pages

            made, path = move_pages.make(run, clients, into)
            out.say(f"written: {path}")
            out.json(made)
            return
        signature = reports.checked(Path(from_))
        for path in reports.write(reports.read(Path(from_)), _page(into, from_), signature):
            out.say(f"written: {path}")
        out.say(f"signature: {signature}")


@task(
    help={
        "select": "only mutations with this in their name",
        "generated": "every guard, comparison and list element of harness/audit/targets.toml instead; hours",
        "shard": "which part of the generated ones to try, such as 1/4",
        "postgres": POSTGRES,
        "json": JSON,
    },
)
def audit(
    _c: Context, select: str = "", generated: bool = False, shard: str = "", postgres: str = "", json: str = ""
) -> None:
    """Break each promise on purpose: one at a time in a copy of the tree; what no test notices is a failure."""
    from harness import audit as audits

    run = partial(audits.run_generated, shard=shard) if generated or shard else audits.run
    judged(json, partial(run, root(), postgres or None, select), audits.show)


def _page(asked: str, json: str) -> Path:
    """Return the page that was asked for, or the one beside the JSON."""
    return Path(asked) if asked else Path(json if json not in {"", "-"} else "out/gate.json").with_suffix(".html")
