"""The operator's own commands: deploy, drain, restart, health. Run in a shell, bounded in time, logged redacted.

A hook outlives a run that is killed, and a deploy that ends an hour later would undo what was done since. So each
hook holds a lock for as long as it runs, and whoever goes on or undoes waits for it: nothing is done beside an orphan.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

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

SHELL = ("/bin/sh", "-c", '/bin/sh -c "$1" </dev/null; exit $?', "hook")
"""The outer shell's standard input is the lock, and the inner one's is not: what the hook leaves running, such as a
server, does not hold it. The lock goes when the outer shell ends, whatever became of the run that started it."""


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
        process = subprocess.Popen(
            [*SHELL, command], env={**env.variables, **os.environ, **given}, stdin=lock, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        code = _ended(process, timeout_seconds, lambda: _sign(lock, f"process group {process.pid}, {what}"))
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
    path = _lock_path(env)
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


def _lock_path(env: Environment) -> Path:
    path = env.pointer.path.resolve()
    return path.with_name(f"{path.name}.hook")


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("a+b")
    except OSError as error:
        raise Refusal(
            "a place for the lock of the hooks, beside the pointer", str(error.strerror), where=str(path),
            do="Allow this user to write there, as the pointer itself needs.",
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


def _ended(process: subprocess.Popen[bytes], timeout_seconds: float, begun: Callable[[], None]) -> int | None:
    """The code; None where it took too long. However the wait ends, an interrupt included, the hook has ended too."""
    try:
        begun()
        return process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
