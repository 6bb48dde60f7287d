"""`invoke revision`: makes the next revision's file from what game/tables.py has and [development] lacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from db.environments import DEVELOPMENT, Environment
from db.errors import Refusal
from db.schema import new_revision
from db.schema.new_revision import NewRevision
from game.legacy.codec import homes

if TYPE_CHECKING:
    from db.console.output import Output


def make(env: Environment, message: str) -> NewRevision:
    """Write the file. Raises Refusal for any environment but development, and as db.schema.new_revision.make does."""
    if env.name != DEVELOPMENT:
        raise Refusal(
            f"--env {DEVELOPMENT}",
            f"--env {env.name}",
            do="Make it there: --env development",
        )
    return new_revision.make(env.target_direct, environment=env.name, message=message)


def show(made: NewRevision, out: Output) -> None:
    """Print what was written, and what is left to do."""
    if made.path is None:
        out.say("nothing to do: the revisions make all that game/tables.py has")
        return
    out.say(f"written: {_shown(made.path)}")
    for statement in made.statements:
        out.say(f"  {' '.join(statement.split())}")
    for statement in made.later:
        out.say(f"in a revision of its own, once this one is applied: {statement}")
    for line in made.by_hand:
        out.say(f"to be written by hand: {line}")
    for column in homes.homeless():
        out.say(f"to be given a place in the legacy file, in game/legacy: {column}")
    out.say("next: invoke lint, invoke test --select linter_of_migrations, invoke migrate --env development")


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
