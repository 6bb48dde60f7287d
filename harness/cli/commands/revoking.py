"""Runs `invoke token --revoke`: ends the tokens that a player has, in the file that the service reads."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db import environments
from db.environments import Environment
from db.errors import Refusal
from db.files import private
from db.files.paths import require_file
from game.service import revocations
from game.service.tokens import LEEWAY_MS, now_ms


def revoke(env: Environment, player: str) -> str:
    """Revoke all tokens that the player has by now, and return a sentence about it. Raises Refusal if it can't."""
    path = _file(env)
    # A host whose clock is ahead may have given a token a time of issue that is still to come here.
    until_ms = now_ms() + LEEWAY_MS
    with _alone(path):
        revoked_ms = _read(path)
        revoked_ms[player] = max(until_ms, revoked_ms.get(player, until_ms))
        try:
            private.replace(path, revocations.write(revoked_ms).encode())
        except OSError as error:
            raise Refusal(
                "to write the file of revoked tokens",
                (error.strerror or type(error).__name__).lower(),
                where=str(path),
                do="Run as a user who may write this file and in its folder.",
            ) from None
    return (
        f"{player}: every token issued until {revocations.moment(revoked_ms[player])} is revoked, in {path}."
        " Tokens issued later are good."
    )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other run writes the file."""
    # The folder is locked, for the file itself is replaced.
    folder = os.open(path.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _file(env: Environment) -> Path:
    """Return the file that the service reads. Raises Refusal if it names none, or there is no file."""
    named = environments.of_the_service(env, "REVOKED_TOKENS")
    if not Path(named).is_absolute():
        raise Refusal(
            "REVOKED_TOKENS, the file of revoked tokens by its path from the root",
            "a relative path" if named else "none",
            where=str(env.pointer.path),
            do="Write {} into a file, and the line REVOKED_TOKENS=FILE with its path from the root into this one; then"
            " restart the service.",
        )
    require_file(Path(named), "the file of revoked tokens", do="Write {} into it, and let the service's user read it.")
    return Path(named)


def _read(path: Path) -> dict[str, int]:
    try:
        return revocations.parse(path.read_text("utf-8"))
    except UnicodeDecodeError:
        expected, found = "the file of revoked tokens in UTF-8", "another encoding"
    except ValueError as error:
        expected, found = str(error), "another text"
    raise Refusal(expected, found, where=str(path), do="Correct it; the service goes on with what it said before.")
