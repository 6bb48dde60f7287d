"""The operator's own commands: deploy, drain, restart, health. Run in a shell, bounded in time, logged redacted."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time

from db.cutover.journal import Journal
from db.environments import Environment
from db.errors import Failure
from db.redaction import redact

KEPT_CHARACTERS = 4_000
SECRET_CHARACTERS = 6
"""A value shorter than this is no secret, and would tear holes into the words around it."""


def run(env: Environment, hook: str, journal: Journal, *, engine: str, timeout_seconds: float) -> bool:
    """Run the hook; False where the environment has none. Failure where it ends with another code than 0, or not.

    In its environment it finds what the env files hold, ENVIRONMENT, ENGINE (the store that is switched to: postgres or
    legacy) and ENV_FILE.
    Its output goes to a file, not to a pipe: a hook that leaves a server running would keep a pipe open for ever.
    """
    command: str | None = getattr(env.hooks, hook)
    if not command:
        return False
    given = {"ENVIRONMENT": env.name, "ENGINE": engine, "ENV_FILE": str(env.pointer.path)}
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command], env={**env.variables, **os.environ, **given}, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        code = _ended(process, timeout_seconds)
        output.seek(0)
        said = _without_secrets(output.read().decode(errors="replace"), env)[-KEPT_CHARACTERS:].strip()
    seconds = round(time.monotonic() - began, 3)
    command = _without_secrets(command, env)
    journal.write("hook", hook, command=command, code=code, seconds=seconds, output=said)
    if code != 0:
        found = f"no end in {timeout_seconds:.0f} s" if code is None else f"code {code}"
        last = said.splitlines()[-1:] or ["it said nothing"]
        raise Failure(
            f"the {hook} hook to end with 0", f"{found}: {last[0]}", where=command,
            do=f"The whole of its output is in {journal.folder}.",
        )  # fmt: skip
    return True


def _without_secrets(text: str, env: Environment) -> str:
    """The text without anything that looks like a secret, nor any value that the env files hold."""
    for value in sorted(env.variables.values(), key=len, reverse=True):
        if len(value) >= SECRET_CHARACTERS:
            text = text.replace(value, "***")
    return redact(text)


def _ended(process: subprocess.Popen[bytes], timeout_seconds: float) -> int | None:
    try:
        return process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None
