"""Tasks for the development of the game: tests, checks, the development Postgres, the service."""

from __future__ import annotations

import sys

from invoke.context import Context

from harness.cli.framework import Whole, task
from harness.cli.framework.running import checked, leave, root, shown_command
from harness.cli.texts import (
    ENV,
    POSTGRES,
)

SERVED = "development, staging or production; without it development, with sample players on a fresh checkout"
WORKERS = "how many processes share the work; 0: none beside this one"


@task(
    help={
        "postgres": POSTGRES,
        "workers": WORKERS,
        "select": "only tests whose names match, as pytest -k has it, the long ones too",
    }
)
def test(_c: Context, postgres: str = "", workers: int = Whole(2, 0, 64), select: str = "") -> None:
    """Run tests and scenarios on a fresh Postgres: all but the long ones, in minutes."""
    from harness.pytest_plugin import durations

    _pytest(postgres, workers, ["-k", select] if select else [durations.QUICK], select)


@task(help={"postgres": POSTGRES, "workers": WORKERS})
def nightly(_c: Context, postgres: str = "", workers: int = Whole(2, 0, 64)) -> None:
    """Run every test on a fresh Postgres: over an hour; fail if none proves a line of docs/plan.md."""
    from harness.pytest_plugin import deployment_plan

    _pytest(postgres, workers, [deployment_plan.PLAN])


def _pytest(postgres: str, workers: int, choice: list[str], select: str = "") -> None:
    """Run pytest with these options, and end with its exit code as a task's."""
    from db import environments
    from db.console.output import outcome
    from db.processes import children
    from db.servers import needed_secrets
    from harness.pytest_plugin import selecting

    options = [f"--postgres={postgres}"] if postgres else []
    with outcome(None):
        selecting.check(select)
        argv = shown_command("pytest", "-n", str(workers), "--dist", "worksteal", *options, *choice)
        print("collecting all tests and scenarios: it takes a while until the first result", flush=True)
        env = environments.child_variables(secrets=needed_secrets(postgres or None))
        ended = children.attended(argv, ending="the tests end; the failures so far follow.", cwd=root(), env=env)
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
        ["zizmor", "--persona=auditor", "--offline", "--quiet", *_workflows()],
    ]
    with outcome(None):
        failed = [command[0] for command in commands if checked(command, root())]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    leave(1 if failed else 0)


@task
def up(_c: Context) -> None:
    """Start the development Postgres: the one of compose.yaml, or without Docker one of programs on this machine."""
    from db.console.output import outcome
    from harness.cli.commands import development_server

    with outcome(None) as out:
        out.say(development_server.up(root()))


@task
def down(_c: Context) -> None:
    """Stop the development Postgres; its data stays."""
    from db.console.output import outcome
    from harness.cli.commands import development_server

    with outcome(None) as out:
        out.say(development_server.down(root()))


@task(
    help={
        "env": SERVED,
        "port": "the first process's port; by default PORT of the pointer's file, else 8000",
        "processes": "how many; each has a port of its own; by default PROCESSES of the pointer's file, else 1",
    }
)
def serve(_c: Context, env: str = "", port: int = Whole(-1, 1, 65535), processes: int = Whole(-1, 1, 64)) -> None:
    """Run the game's HTTP service: on a fresh checkout it needs no option, and makes players to try it with.

    With --env on the store that the environment's pointer names. SIGHUP restarts it gracefully.
    """
    from db import environments, service_file
    from db.console.output import outcome
    from harness.cli.commands import first_serve

    with outcome(None) as out:
        served = environments.load(env) if env else first_serve.furnish(out.say, out.progress, port)
        pointer = served.pointer
        service_file.require(pointer.path, pointer.variable)
        given = {name: str(value) for name, value in (("PORT", port), ("PROCESSES", processes)) if value > 0}
        environments.become([sys.executable, "-m", "game.service"], {"SUDAMR_ENV_FILE": str(pointer.path), **given})


@task(
    help={
        "env": ENV,
        "player": "the player's id; no store is asked if there is such a player; required",
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

    with outcome(None) as out:
        target = environments.load(env)
        if not player:
            raise Refusal(
                "--player ID", "none", do="Add the id of a player: --player ID. `invoke seed --legacy FILE` prints one."
            )
        out.say(revoking.revoke(target, player) if revoke else tokens.issue(environments.token_secret(target), player))


def _workflows() -> list[str]:
    return [str(path) for path in sorted((root() / ".github" / "workflows").glob("*.yml"))]
