"""`invoke up` and `down`: the Postgres of compose.yaml, or without Docker one from programs of this machine."""

from __future__ import annotations

from pathlib import Path

from db import environments
from db.environments import DEVELOPMENT
from db.servers import compose, staying


def up(folder: Path) -> str:
    """Start the server, and return what was started and how to stop it."""
    own = staying.of(environments.DEFAULT_PATH.absolute().parent)
    if not own.runs() and compose.is_there(folder):
        compose.run(folder, "up", "--detach", "--wait")
        return "The Postgres of compose.yaml runs. To stop it: invoke down"
    return f"{own.start(environments.load(DEVELOPMENT).target_direct)} To stop it: invoke down"


def down(folder: Path) -> str:
    """Stop the server of this checkout alone, and return what was stopped."""
    own = staying.of(environments.DEFAULT_PATH.absolute().parent)
    if own.runs():
        own.stop()
        return f"The server of {own.data} is stopped; its data stays."
    compose.run(folder, "down")
    return "The Postgres of compose.yaml is stopped; its volume stays."
