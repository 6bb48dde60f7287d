"""Runs a task: to its verdict, with a question before it changes anything, and with programs that it waits for.

Imports stand inside the bodies, so that `invoke --list` answers at once.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from db.confirmation import Confirmation
    from db.console.output import Output
    from db.console.progress import Progress
    from harness.cli.framework.groups import Consent

ENDING = "It is ending and removes what it started; please wait."
KILL = "kill -9 is safe: what it started ends with it."

ResultT = TypeVar("ResultT", bound="Judged")


class Judged(Protocol):
    """A result with a verdict: pass, fail or inconclusive."""

    @property
    def verdict(self) -> str:
        """Return the verdict in one word: pass, fail or inconclusive."""
        ...


def root() -> Path:
    """Return the folder of the tasks.py that runs: a copy of it works on its own folder."""
    return Path(str(sys.modules["tasks"].__file__)).parent


def judged(json: str, run: Callable[[Progress], ResultT], show: Callable[[ResultT, Output], None]) -> None:
    """Run it, show and write what it found, and end with its verdict's exit code."""
    from db.console.output import outcome
    from db.processes.interruption import Signals

    with Signals(ENDING, KILL) as signals, outcome(json or None) as out:
        out.signals = signals
        result = run(out.progress)
        show(result, out)
        out.json(result)
        end(result.verdict)


class CommandTerminal:
    """The terminal of this command, if it has one."""

    def __init__(self, out: Output) -> None:
        self.tell = out.progress.say

    @property
    def can_ask(self) -> bool:
        # A stream is None where the shell closed it.
        return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))

    def ask(self, question: str) -> str:
        # Not by input(question): with --json - that would write the question into the JSON.
        print(question, end="", file=sys.stderr, flush=True)
        try:
            return input()
        except EOFError:  # Ctrl-D: nothing was typed.
            print(file=sys.stderr)
            return ""
        except (OSError, UnicodeDecodeError):  # The terminal is gone, or bytes that are no text were typed.
            return ""


def confirmation(out: Output, env: str, consent: Consent, dry_run: bool = False) -> Confirmation:
    """Return the permission to change an environment. Raises Refusal where Confirmation does."""
    from db.confirmation import Confirmation

    return Confirmation(env, CommandTerminal(out), yes=consent.yes, confirm=consent.confirm, dry_run=dry_run)


def checked(command: Sequence[str], folder: Path) -> int:
    """Run a check in a folder, and return its exit code.

    Raises KeyboardInterrupt if a signal came meanwhile: the checks after it are not run.
    """
    from db.processes import children

    # SIGTERM: at SIGINT some of the checks print a traceback.
    ended = children.attended(shown_command(*command), ending="the check ends.", interrupt=signal.SIGTERM, cwd=folder)
    if ended.signals:
        raise KeyboardInterrupt(ended.signals[0])
    return ended.code


def shown_command(name: str, *arguments: str) -> list[str]:
    """Print the command, and return it with the program of this environment."""
    from game.printable import line
    from game.redaction import redact

    print(f"$ {line(redact(shlex.join([name, *arguments])))}", flush=True)
    return [str(Path(sys.executable).parent / name), *arguments]


def end(verdict: str) -> None:
    leave({"pass": 0, "fail": 1}.get(verdict, 3))


def leave(code: int) -> None:
    if code:
        raise SystemExit(code)
