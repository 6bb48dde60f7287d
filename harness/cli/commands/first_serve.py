"""`invoke serve` without --env: on a fresh checkout it makes what is missing, and says how to try the game."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable
from contextlib import closing

from db import environments
from db.console.progress import Progress
from db.cutover import pointer
from db.environments import DEVELOPMENT, Environment
from db.files import private
from db.samples import seed
from game.legacy import sqlite_values
from game.service import tokens

PLAYERS, PORT = 100, 8000


def furnish(say: Callable[[str], None], progress: Progress, port: int) -> Environment:
    """Return development, with a pointer and a legacy file of sample players; what is there is left as it is.

    port: the one of --port, or a number below 1. Says what was made and, if the service will serve that file, the
    commands of a first request.
    """
    env = environments.load(DEVELOPMENT)
    path, file = env.pointer.path, env.legacy.path
    fresh = not path.exists()
    if fresh:
        private.make_folder(path.parent)
        lines = (
            f"{env.pointer.variable}={env.legacy.as_text()}",
            f"CHANCE_SECRET={secrets.token_urlsafe(24)}",
            f"TOKEN_SECRET={secrets.token_urlsafe(24)}",
            f"OPERATOR_TOKEN={secrets.token_urlsafe(24)}",
        )
        private.write_whole(path, "\n".join(lines) + "\n")
        say(f"made {path.name}: the settings of the service, with secrets of its own")
    if fresh and not file.exists():
        private.make_folder(file.parent)
        made = seed.seed_legacy(file, PLAYERS, 1, anomalies=False, progress=progress)
        say(f"made {made.players} players in a legacy file")
    if pointer.url(env.pointer) == env.legacy and file.exists():
        _say_first_request(env, say, port if port > 0 else int(private.variables(path).get("PORT") or PORT))
    return env


def _say_first_request(env: Environment, say: Callable[[str], None], port: int) -> None:
    with closing(sqlite_values.connect(env.legacy.path, readonly=True)) as conn:
        row = conn.execute("SELECT id FROM users ORDER BY id LIMIT 1").fetchone()
    if row is None:
        return
    player = str(row[0])
    say("try it in a second terminal:")
    say(f"TOKEN={tokens.issue(environments.token_secret(env), player)}")
    address = shlex.quote(f"http://127.0.0.1:{port}/players/{player}")
    say(f'curl --header "Authorization: Bearer $TOKEN" \\\n  {address}')
    say("every action with its fields: docs/service.md; Ctrl-C ends the service.")
