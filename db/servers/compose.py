"""The development Postgres of compose.yaml, run by Docker Compose.

Compose names a container and its volume by the project, by default the folder's name: two checkouts in folders of one
name would share them, and two in folders of different names want the same port. Both are refused here by name.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from db import environments
from db.errors import Failure, Refusal
from db.remedies import ANOTHER_SERVER

SERVICE = "postgres"
WORKING_DIR = "com.docker.compose.project.working_dir"
LAST_PORT = 65_535


def run(folder: Path, *arguments: str) -> None:
    """Run `docker compose` in the folder. Raises Failure if it fails; what Docker said is printed by then.

    Raises Refusal, before anything is started or stopped, without Docker Compose, if the project's container is another
    folder's, or if `up` would find its port taken.
    """
    _require_compose(folder)
    config = json.loads(_output(folder, "compose", "config", "--format", "json"))
    name = str(config["name"])
    containers = _containers(folder, name)
    port = _published(config)
    _require_own([place for _, place in containers], folder, name, port)
    if arguments[0] == "up" and "running" not in (state for state, _ in containers) and not is_free(port):
        raise taken(port, name)
    done = subprocess.run(
        ["docker", "compose", *arguments], cwd=folder, check=False, env=environments.child_variables()
    )
    if done.returncode:  # Docker has codes of its own, which mean other things than a task's.
        raise Failure(f"docker compose {arguments[0]} to succeed", f"its exit code {done.returncode}")


def is_there(folder: Path) -> bool:
    """Return True if Docker Compose can be run."""
    try:
        _require_compose(folder)
    except Refusal:
        return False
    return True


def taken(port: int, name: str) -> Refusal:
    """Return the refusal of a port where something else listens. name: of the project, for one of its own."""
    return Refusal(
        f"the port 127.0.0.1:{port} to be free",
        "another Postgres there, perhaps of another checkout",
        do=_own(name, port),
    )


def _require_compose(folder: Path) -> None:
    try:
        _output(folder, "compose", "version")
    except Refusal as error:
        raise Refusal(
            "docker with its compose plugin",
            error.found,
            do=f"Install Docker with its Compose plugin.{ANOTHER_SERVER} Tests and rehearsals need neither.",
        ) from None


def _containers(folder: Path, name: str) -> list[tuple[str, str]]:
    """Return the state of each container of the project, and the folder from which it was made. Raises Refusal."""
    wanted = ("--all", "--filter", f"label=com.docker.compose.project={name}")
    listed = _output(folder, "ps", *wanted, "--format", f'{{{{.State}}}} {{{{.Label "{WORKING_DIR}"}}}}')
    lines = [line.partition(" ") for line in listed.splitlines()]
    return [(state, place) for state, _, place in lines]


def _require_own(places: Sequence[str], folder: Path, name: str, port: int) -> None:
    others = sorted(place for place in places if Path(place).resolve() != folder.resolve())
    if others:
        raise Refusal(
            f"the container of this checkout, {folder}",
            f"that of {others[0]}, also called {name}",
            do=_own(name, port),
        )


def _published(config: Mapping[str, Any]) -> int:
    return int(config["services"][SERVICE]["ports"][0]["published"])


def _own(name: str, port: int) -> str:
    """Return what gives a checkout a container, a volume and a port of its own."""
    free = next((each for each in range(port + 1, LAST_PORT + 1) if is_free(each)), LAST_PORT)
    return (
        f"Give this checkout its own: write these two lines into .env, then run this again.\n"
        f"  DEVELOPMENT_PORT={free}\n  COMPOSE_PROJECT_NAME={name}-{free}"
    )


def is_free(port: int) -> bool:
    """Return True if a server could listen on the port of this machine."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as tried:
        # As a server does it: a port whose last connections have just ended is free.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _output(folder: Path, *arguments: str) -> str:
    """Return what docker prints. Raises Refusal with its first line of error."""
    try:
        done = subprocess.run(
            ["docker", *arguments],
            cwd=folder,
            check=False,
            capture_output=True,
            text=True,
            env=environments.child_variables(),
        )
    except OSError as error:
        raise Refusal("docker", error.strerror or "no such command", do="Install Docker.") from None
    if done.returncode:
        message = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
        raise Refusal(f"`docker {arguments[0]}` to work", message, do="See that Docker runs: docker info") from None
    return done.stdout
