"""Runs the operator's own commands (deploy, drain, restart, health) in a shell, with a time limit and a redacted log.

A hook outlives a killed run until its time limit, because half a deploy may be worse than a late one. A hook that ends
late could overwrite what a newer run did. So the process that starts each hook (`db.processes.leash`) holds a lock
while the hook runs, and a run that goes on or undoes waits for that lock. A server that a hook leaves running holds no
lock.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import quote

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from db import service_file
from db.cutover.journal import JOURNAL, Journal
from db.environments import Environment
from db.errors import Failure, Inconclusive, Refusal
from db.files import private
from db.processes import children
from game.redaction import is_secret, redact

KEPT_CHARACTERS = 4_000
SECRET_CHARACTERS = 6
"""Values shorter than this are not hidden: they are no secrets, and may be part of ordinary words."""

ORPHAN_SECONDS = 60.0
"""How long to wait for a hook of another run before a person has to look at it."""

POLL_SECONDS = 0.1

NAMED = re.compile(r"\$\{?(\w+)")
"""Matches a variable that a command names: `$NAME`, `${NAME}`."""

GROUP = re.compile(r"process group (\d+), ")
"""Matches the signature of a hook that has begun."""

FIRST_WORD = re.compile(r"\s*(?:\w+=[\w./:-]*\s+)*([\w./+-]+)(?=[\s;&|)]|$)")
"""Matches the first word of a command after its assignments, if it is plain text."""


def run(
    env: Environment,
    hook: str,
    journal: Journal,
    *,
    engine: str,
    timeout_seconds: float,
    require: Callable[[], None] = lambda: None,
) -> bool:
    """Run the hook. Returns False if the environment has none.

    require: called under the lock of the hooks; raises if the hook must not run any more.
    The hook's environment has the variables of the env files and of this process, without secrets except those that
    the command names, and ENVIRONMENT, ENGINE (the store to switch to: postgres or legacy) and ENV_FILE. Raises Failure
    if the hook exits with a code other than 0, or not in time.
    """
    command: str | None = getattr(env.hooks, hook)
    if not command:
        return False
    known, secrets = _variables(env, command), _secrets(env)
    switch = {"ENVIRONMENT": env.name, "ENGINE": engine, "ENV_FILE": str(env.pointer.path)}
    began = time.monotonic()
    # A file, not a pipe: a server that the hook leaves running would keep a pipe open for ever.
    with tempfile.TemporaryFile() as output, alone(env) as lock:
        require()
        description = f"the {hook} hook of run {journal.run}: {_without_secrets(command, secrets)}"
        _sign(lock, description)
        with children.started(
            ["/bin/sh", "-c", command],
            env={**known, **switch},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[lock.fileno()],
            may_go_on_seconds=timeout_seconds,
        ) as process:
            _sign(lock, f"process group {process.pid}, {description}")
            code = _code(process, timeout_seconds)
        output.seek(0)
        printed = _without_secrets(output.read().decode(errors="replace"), secrets)[-KEPT_CHARACTERS:].strip()
    seconds = round(time.monotonic() - began, 3)
    command = _without_secrets(command, secrets)
    journal.write("hook", hook, command=command, code=code, seconds=seconds, output=printed)
    if code != 0:
        end = f"killed after {timeout_seconds:.0f} s" if code is None else f"code {code}"
        last_line = printed.splitlines()[-1:] or ["it printed nothing"]
        raise Failure(
            f"the {hook} hook to exit with code 0",
            f"{end}: {last_line[0]}",
            where=command,
            do=f"Correct what the hook reports; its whole output is in {journal.folder}/{JOURNAL}.",
        )
    return True


def check(env: Environment, hook: str) -> None:
    """Check that the shell can parse the hook and that its first word is a command. Runs none of it.

    Checks no later word: a hook may itself make what it runs. Raises Refusal.
    """
    command: str | None = getattr(env.hooks, hook)
    if not command:
        return
    where = f"{env.files_read.file_of(f'hooks.{hook}')}, {env.name}, hooks.{hook}"
    secrets = _secrets(env)
    read = children.run(["/bin/sh", "-n", "-c", command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if read.returncode != 0:
        message = _without_secrets(read.stderr.strip(), secrets).splitlines()[-1:] or [f"code {read.returncode}"]
        raise Refusal(f"a {hook} hook that the shell can read", message[0], where=where, do="Correct that command.")
    word = FIRST_WORD.match(command)
    if word and not _is_command(word[1], _variables(env, command)):
        raise Refusal(
            f"a command to run as the {hook} hook",
            f"none that is called {word[1]}",
            where=where,
            do="Correct its name, or install it. A relative path begins at this folder.",
        )


def _is_command(word: str, environ: dict[str, str]) -> bool:
    if "/" in word:
        return Path(word).is_file() and os.access(word, os.X_OK)
    asked = ["/bin/sh", "-c", 'command -v -- "$1"', "sh", word]
    return children.run(asked, env=environ, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def at_work(env: Environment) -> str | None:
    """Return the signature of the hook of another run that is at work now; None if there is none. Makes no file."""
    path = lock_path(env)
    if not path.exists():
        return None
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _signed(path)
    return None


def wait_for_orphan(env: Environment, *, undoing: bool = False) -> None:
    """Wait until no hook of a dead run is at work. Raises Inconclusive naming the hook if it does not end in time.

    undoing: a lock that can't be opened does not stop it: players must be able to play first. The undo's last step
    takes the lock too, and names what is wrong with it.
    """
    try:
        with alone(env):
            pass
    except Refusal:
        if not undoing:
            raise
        with suppress(OSError), lock_path(env).open("rb") as file:  # Another user's, say: it can be waited for still.
            _wait(file, lock_path(env))


@contextmanager
def writing_pointer(env: Environment, journal: Journal, require: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of the hooks while the body writes the pointer. Calls `require` under the lock first.

    A run that is paused between `require` and the write still holds this lock, so a run that undoes waits for it.
    """
    with alone(env) as lock:
        _sign(lock, f"process {os.getpid()} of run {journal.run}, which writes the pointer")
        require()
        yield


@contextmanager
def alone(env: Environment) -> Iterator[BinaryIO]:
    """Hold the lock of hooks and pointer, a file beside the pointer. Raises Inconclusive naming its holder."""
    path = lock_path(env)
    with _opened(path) as file:
        _wait(file, path)
        yield file


def _wait(file: BinaryIO, path: Path) -> None:
    waiting = Retrying(
        retry=retry_if_exception_type(BlockingIOError),
        stop=stop_after_delay(ORPHAN_SECONDS),
        wait=wait_fixed(POLL_SECONDS),
    )
    try:
        waiting(fcntl.flock, file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except RetryError:
        raise Inconclusive(
            "no hook of another run at work",
            _signed(path),
            where=str(path),
            do=f"Nothing more was changed. {to_end(_signed(path))}. Then run again.",
        ) from None


def to_end(signature: str) -> str:
    """Say how a hook with this signature ends, without a full stop."""
    group = GROUP.match(signature)
    return f"Let it end, or end it: kill -- -{group[1]}" if group else "Let it end"


def lock_path(env: Environment) -> Path:
    """Return the path of the environment's lock of the hooks."""
    path = env.pointer.path.resolve()
    return path.with_name(f"{path.name}.hook")


def _opened(path: Path) -> BinaryIO:
    try:
        return cast(BinaryIO, private.opened(path, "a+b"))
    except OSError as error:
        raise no_place(path, str(error.strerror)) from None


def no_place(path: Path, fault: str) -> Refusal:
    """Make the Refusal for a lock of the hooks that can't be written."""
    return Refusal(
        "a place for the lock of the hooks, beside the pointer",
        fault,
        where=str(path),
        do=_place_remedy(path),
    )


def _place_remedy(path: Path) -> str:
    if path.is_dir():
        return "Remove that folder, or move it away."
    if path.parent.is_dir():
        return "Run as the user of the service, or allow this user to write this file and in its folder."
    return "There is no such folder: correct pointer.path where it is set (invoke status --env NAME: settings)."


def _sign(lock: BinaryIO, text: str) -> None:
    """Replace the text in the lock's file."""
    lock.truncate(0)
    lock.write(text.encode())
    lock.flush()


def _signed(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") or "one that did not say which"


def _variables(env: Environment, command: str) -> dict[str, str]:
    """Return the variables that a hook gets. A secret is one by its name or value, or holds the target's password."""
    named = {match[1] for match in NAMED.finditer(command)}
    passwords = _passwords(env)
    return {
        name: value
        for name, value in {**env.variables, **os.environ}.items()
        if name in named or not (is_secret(name, value) or any(_bears(value, password) for password in passwords))
    }


def _bears(value: str, hidden: str) -> bool:
    return value == hidden or (len(hidden) >= SECRET_CHARACTERS and hidden in value)


def _secrets(env: Environment) -> list[str]:
    """Return the values that a hook's output must not show: of the env files, and of what it could find elsewhere."""
    known: dict[str, str | None] = dict(os.environ)
    with suppress(Refusal):  # A pointer's file that can't be read has nothing to show.
        known |= service_file.values(env.pointer.path)
    secret = [value for name, value in known.items() if value and is_secret(name, value)]
    return [*env.variables.values(), *secret, *_passwords(env)]


def _passwords(env: Environment) -> set[str]:
    """Return the passwords of both roles, as they are and as a URL has them."""
    words = {url.password for url in (env.target, env.target_direct)} - {""}
    return words | {quote(word, safe="") for word in words}


def _without_secrets(text: str, secrets: Sequence[str]) -> str:
    """Return the text without anything that looks like a secret, nor any of these values."""
    for value in sorted(secrets, key=len, reverse=True):
        if len(value) >= SECRET_CHARACTERS:
            text = text.replace(value, "***")
    return redact(text)


def _code(process: subprocess.Popen[bytes], timeout_seconds: float) -> int | None:
    """Return the exit code; None if the hook took too long. The hook has ended afterwards, also after Ctrl-C."""
    try:
        return process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        children.kill(process)
