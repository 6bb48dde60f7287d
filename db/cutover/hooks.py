"""The operator's own commands: deploy, drain, restart, health. Run in a shell, bounded in time, logged redacted.

A hook outlives a run that is killed, for half a deploy may be worse than a late one, but not the time that it had. One
that ends late would undo what was done since, so the process that holds each hook (`db.leash`) holds a lock for as long
as the hook runs: whoever goes on or undoes waits for it. What a hook leaves running, such as a server, holds no lock.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from db import children
from db.cutover.journal import Journal
from db.environments import Environment
from db.errors import Failure, Inconclusive, Refusal
from db.redaction import redact

KEPT_CHARACTERS = 4_000
SECRET_CHARACTERS = 6
"""A value shorter than this is no secret, and would tear holes into the words around it."""

ORPHAN_SECONDS = 60.0
"""How long a hook that another run left behind may take to end before a person has to look at it."""

POLL_SECONDS = 0.1

FIRST_WORD = re.compile(r"\s*(?:\w+=[\w./:-]*\s+)*([\w./+-]+)(?=[\s;&|)]|$)")
"""The first word of a command after its assignments, where it is written plainly."""


def run(
    env: Environment, hook: str, journal: Journal, *, engine: str, timeout_seconds: float,
    require: Callable[[], None] = lambda: None,
) -> bool:  # fmt: skip
    """Run the hook; False where the environment has none. Failure where it ends with another code than 0, or not.

    require: asked once the lock of the hooks is held, and raises where the hook must not run any more.

    In its environment it finds what the env files hold, ENVIRONMENT, ENGINE (the store that is switched to: postgres or
    legacy) and ENV_FILE.
    Its output goes to a file, not to a pipe: a hook that leaves a server running would keep a pipe open for ever.
    """
    command: str | None = getattr(env.hooks, hook)
    if not command:
        return False
    given = {"ENVIRONMENT": env.name, "ENGINE": engine, "ENV_FILE": str(env.pointer.path)}
    began = time.monotonic()
    with tempfile.TemporaryFile() as output, alone(env) as lock:
        require()
        what = f"the {hook} hook of run {journal.run}: {_without_secrets(command, env)}"
        _sign(lock, what)
        with children.started(
            ["/bin/sh", "-c", command], env={**env.variables, **os.environ, **given}, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, pass_fds=[lock.fileno()], may_go_on_seconds=timeout_seconds,
        ) as process:  # fmt: skip
            _sign(lock, f"process group {process.pid}, {what}")
            code = _code(process, timeout_seconds)
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


def check(env: Environment, hook: str) -> None:
    """Refusal where the shell can't read the hook, or there is no such command as its first word. Runs none of it.

    What stands behind the first word can't be known: a hook may make what it runs.
    """
    command: str | None = getattr(env.hooks, hook)
    if not command:
        return
    where = f"environments.toml, {env.name}, hooks.{hook}"
    read = children.run(["/bin/sh", "-n", "-c", command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if read.returncode != 0:
        said = _without_secrets(read.stderr.strip(), env).splitlines()[-1:] or [f"code {read.returncode}"]
        raise Refusal(f"a {hook} hook that the shell can read", said[0], where=where, do="Correct the command.")
    word = FIRST_WORD.match(command)
    if word and not _is_command(word[1], {**env.variables, **os.environ}):
        raise Refusal(
            f"a command to run as the {hook} hook", f"none that is called {word[1]}", where=where,
            do="Correct its name, or install it; a relative path is looked for from this folder.",
        )  # fmt: skip


def _is_command(word: str, environ: dict[str, str]) -> bool:
    if "/" in word:
        return Path(word).is_file() and os.access(word, os.X_OK)
    asked = ["/bin/sh", "-c", 'command -v -- "$1"', "sh", word]
    return children.run(asked, env=environ, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def at_work(env: Environment) -> str | None:
    """The hook of another run that is at work now, as it signed itself; None where there is none. Makes nothing."""
    path = lock_path(env)
    if not path.exists():
        return None
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _signed(path)
    return None


def wait_for_orphan(env: Environment) -> None:
    """See that no hook of a run that died is still at work; Inconclusive naming it where it does not end in time."""
    with alone(env):
        pass


@contextmanager
def writing_pointer(env: Environment, journal: Journal, require: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of the hooks while the pointer is written, once `require` has been asked under it.

    A run that is stopped between the question and the write holds this lock, so whoever undoes waits for it.
    """
    with alone(env) as lock:
        _sign(lock, f"process {os.getpid()} of run {journal.run}, which writes the pointer")
        require()
        yield


@contextmanager
def alone(env: Environment) -> Iterator[BinaryIO]:
    """Hold the lock of hooks and pointer: a file beside the pointer, for the pointer is what a move changes."""
    path = lock_path(env)
    with _opened(path) as file:
        waiting = Retrying(
            retry=retry_if_exception_type(BlockingIOError), stop=stop_after_delay(ORPHAN_SECONDS),
            wait=wait_fixed(POLL_SECONDS),
        )  # fmt: skip
        try:
            waiting(fcntl.flock, file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except RetryError:
            raise Inconclusive(
                "no hook of another run at work", _signed(path), where=str(path),
                do="Nothing more was changed. Let it end, or end its process group (kill -- -GROUP); then run again.",
            ) from None  # fmt: skip
        yield file


def lock_path(env: Environment) -> Path:
    """Where the lock of the environment's hooks is."""
    path = env.pointer.path.resolve()
    return path.with_name(f"{path.name}.hook")


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("a+b")
    except OSError as error:
        raise Refusal(
            "a place for the lock of the hooks, beside the pointer", str(error.strerror), where=str(path),
            do="Correct pointer.path in environments.toml." if isinstance(error, FileNotFoundError)
            else "Allow this user to write there, as the pointer itself needs.",
        ) from None  # fmt: skip


def _sign(lock: BinaryIO, text: str) -> None:
    lock.truncate(0)
    lock.write(text.encode())
    lock.flush()


def _signed(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") or "one that did not say which"


def _without_secrets(text: str, env: Environment) -> str:
    """The text without anything that looks like a secret, nor any value that the env files hold."""
    for value in sorted(env.variables.values(), key=len, reverse=True):
        if len(value) >= SECRET_CHARACTERS:
            text = text.replace(value, "***")
    return redact(text)


def _code(process: subprocess.Popen[bytes], timeout_seconds: float) -> int | None:
    """The exit code; None where the hook took too long. However the wait ends, Ctrl-C included, the hook has ended."""
    try:
        return process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        children.kill(process)
