"""The output of a task: progress on standard error, results on standard output, JSON for machines, one exit code."""

from __future__ import annotations

import dataclasses
import io
import os
import shlex
import signal
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Protocol, TextIO, cast

from rich.cells import cell_len
from rich.console import Console

from db import environments
from db.console import defects, layout
from db.console.progress import Progress, for_people
from db.console.wrapping import wrap
from db.errors import Failure, Refusal, ToolError
from db.files import private
from db.processes.interruption import Signals
from game.errors import GameError
from game.printable import cut, escaped, to_json
from game.redaction import redact

DEFECT = 1
MISUSED = 2
INTERRUPTED = 130

LEAST_WIDTH = 20
"""Columns for values on a terminal that is too narrow."""

ERROR_CHARACTERS = 20_000
"""The longest error for people: a server's message may be as long as what a client sent it."""


class Ending(Protocol):
    """The ending of a task; see `db.cutover.ending.RunEnding`."""

    @property
    def line(self) -> str:
        """Return the last line that the task prints."""
        ...


class AtEnd(Protocol):
    """Finds out how a task ended; see `db.cutover.ending.ended`."""

    def __call__(self, outcome: str, todo: str = "") -> Ending:
        """Return the ending of a task with this outcome."""
        ...


class Stream:
    """A standard stream that never raises OSError: a closed terminal or a full disk must not stop a move half way.

    After the first failure it discards what is written, and reports the failure on `errors`, if given. inner: None if
    the shell closed it (`>&-`). A character that its encoding lacks is written as an escape.
    """

    def __init__(self, inner: TextIO | None, errors: Stream | None = None) -> None:
        self._inner = inner or io.StringIO()
        self._errors = errors
        self.broken = inner is None

    def write(self, text: str) -> int:
        """Write the text, and return its length even if it could not be written."""
        encoding = getattr(self._inner, "encoding", None) or "utf-8"
        self._try(lambda: self._inner.write(text.encode(encoding, "backslashreplace").decode(encoding)))
        return len(text)

    def flush(self) -> None:
        """Flush the stream; an error counts as one of writing."""
        self._try(self._inner.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _try(self, act: Callable[[], object]) -> None:
        if self.broken:
            return
        try:
            act()
        except OSError as error:
            self.broken = True
            with suppress(OSError):  # The interpreter would flush the rest of the buffer at its end, and fail again.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._inner.fileno())
            if self._errors is not None:
                self._errors.write(f"the rest can't be printed: {error.strerror}\n")


class Printer(Console):
    """Prints text of files, servers and players: what a terminal would act on is written as an escape."""

    def print(self, *objects: Any, **options: Any) -> None:
        """See Rich. A text is escaped; a table's cells are the caller's to escape."""
        super().print(*(escaped(each) if isinstance(each, str) else each for each in objects), **options)


class Output:
    """The output of a task: text for people and, with --json, one JSON document.

    at_end: called once when the task ends, with the word for how it ended; returns the last line. signals: held from
    then on.
    """

    def __init__(self, json_path: str | None) -> None:
        self._stderr = Stream(sys.stderr)
        self._stdout = Stream(sys.stdout, self._stderr)
        self._json_path = json_path
        self._errors = Printer(file=cast(TextIO, self._stderr), emoji=False)
        self._out = self._errors if json_path == "-" else Printer(file=cast(TextIO, self._stdout), emoji=False)
        self.progress: Progress = for_people(self._errors, quiet=environments.is_exported("CI"))
        self.at_end: AtEnd | None = None
        self.signals: Signals | None = None
        self._ending: Ending | None = None
        self._streams = False

    @property
    def stream(self) -> Callable[[Mapping[str, object]], None] | None:
        """Have `--json -` write lines, and return the function that prints one; None without `--json -`.

        The whole document is then the last line.
        """
        if self._json_path != "-":
            return None
        self._streams = True
        return self._print_line

    def _print_line(self, document: Mapping[str, object]) -> None:
        self._stdout.write(to_json(plain(document)) + "\n")
        self._stdout.flush()

    @property
    def console(self) -> Console:
        """Return the console of results, for a page that renews itself."""
        return self._out

    def end(self, outcome: str, todo: str = "") -> None:
        """Call `at_end` once, with signals held; `last_line` prints its answer.

        todo: what is to be done next, if the task knows better than the stores.
        """
        if self.at_end is not None and self._ending is None:
            if self.signals is not None:
                self.signals.hold("The command is ending; see its last line.", "kill -9 is safe; then: invoke status.")
            self._ending = self.at_end(outcome, todo)

    def last_line(self) -> None:
        """Print the last line, if the task has one."""
        if self._ending is not None:
            line = self._ending.line
            if self._errors.is_terminal:
                line = layout.last_line(line, self._errors.width)
            self._errors.print(line, highlight=False, markup=False, soft_wrap=True)

    def say(self, line: str, *, alarm: bool = False) -> None:
        """Print one line of the result. An alarm is red on a terminal only, so its words must say that it is one."""
        style = "bold red" if alarm else None
        # A text of several lines is a program's: SQL, a block of a test. Its lines stay as they are.
        line = line if "\n" in line else layout.fitted(escaped(line), self._out)
        self._out.print(line, style=style, highlight=False, markup=False, soft_wrap=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a result of several lines; columns of numbers are set to the right."""
        self.say(title)
        numbers = tuple(
            bool(rows) and all(isinstance(row[n], int | float) for row in rows) for n in range(len(columns))
        )
        text = tuple(tuple(map(_cell, row)) for row in rows)
        layout.print_table(self._out, layout.TextTable(tuple(columns), text, numbers))

    def fields(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print names with values. On a terminal values are wrapped; elsewhere each stays on its line."""
        indent = max(cell_len(name) for name, _ in rows) + 2
        width = max(self._out.width - indent, LEAST_WIDTH) if self._out.is_terminal else sys.maxsize
        for name, value in rows:
            for number, line in enumerate(wrap(value, width)):
                self.say(f"{'' if number else name:{indent}}{line}")

    def json(self, result: object) -> None:
        """Write the whole result as JSON where `--json` asked for it."""
        if self._json_path is None:
            return
        document = plain(result)
        if self._ending is not None and isinstance(document, dict):
            document["ending"] = plain(self._ending)
        text = to_json(document, indent=None if self._streams else 2) + "\n"
        if self._json_path == "-":
            self._stdout.write(text)
            self._stdout.flush()
            return
        try:
            self._make_folder()
            private.write(Path(self._json_path), text)
        except OSError as error:
            path, self._json_path = self._json_path, None
            self.say(f"the JSON can't be written to {path} ({error.strerror}), so here it is:")
            self.say(text)
            if self.at_end is None:  # A move's exit code says how the move ended.
                raise Failure(
                    "the JSON in a file",
                    (error.strerror or "nothing").lower(),
                    where=path,
                    do="The work itself is done; the JSON is above.",
                ) from None

    def _make_folder(self) -> None:
        """Make the folder of the JSON, and say so, if it is to be written into one that is missing."""
        if self._json_path is not None and self._json_path != "-":
            private.make_parent(Path(self._json_path))

    def check_json(self) -> None:
        """Check that the JSON can be written. Raises Refusal before the task begins; see `files.require_writable`."""
        if self._json_path is None or self._json_path == "-":
            return
        try:
            private.require_writable(Path(self._json_path), "--json")
        except Refusal:
            self._json_path = None
            raise

    def complain(self, error: ToolError | GameError) -> None:
        """Print the error that stopped the task, in a line or two. Nothing is printed after its remedy."""
        with suppress(OSError):  # `json` reports it.
            self._make_folder()
        verdict = getattr(error, "verdict", "refused")
        text = escaped(cut(redact(str(error)), ERROR_CHARACTERS))
        text = layout.fitted(f"{verdict} {text}", self._errors).removeprefix(verdict)
        self._errors.print(f"[bold red]{verdict}[/]", end="")
        self._errors.print(text, highlight=False, markup=False, soft_wrap=True)

    def trace(self, error: Exception) -> None:
        """Print the traceback of a defect, redacted: the errors of other programs may hold a password."""
        self._stderr.write(escaped(redact("".join(traceback.format_exception(error)))))
        self._stderr.flush()

    def report(self, error: Exception) -> None:
        """Have a defect reported to Sentry, if that is set up; see `db.console.defects`."""
        if why := defects.report(error, command_line()):
            self.progress.say(why)


@contextmanager
def outcome(json_path: str | None) -> Iterator[Output]:
    """Run a task's body. An expected error becomes one or two lines and an exit code, never a traceback.

    A task that sets `at_end` prints its last line in every case, also after the traceback of a defect.
    """
    _open_standard_streams()
    out = Output(json_path)
    try:
        out.check_json()
        with _interruptions(out):
            yield out
        code = 0
    except ToolError as error:
        code = error.exit_code
        out.complain(error)
        out.end(error.verdict)
        out.json(_as_result(error))
    except GameError as error:
        code = MISUSED
        out.complain(error)
        out.end("refused")
        out.json({"verdict": "refused", "found": str(error)})
    except KeyboardInterrupt as error:
        code = INTERRUPTED
        if out.signals is not None:  # Another Ctrl-C would end this handler with a traceback.
            out.signals.hold()
        out.say(f"interrupted{f' by {error}' if str(error) else ''}")
        if out.at_end is None:
            out.say(f"next: {command_line() or 'the same command again'}")
        out.end("interrupted")
        out.json({"verdict": "interrupted"})
    except Exception as error:  # A defect: its traceback is printed, and a move still says who serves the players.
        if out.at_end is None:
            if isinstance(error, OSError) and error.filename is not None:
                raise SystemExit(_end_without(error, out)) from None
            out.report(error)
            raise
        code = DEFECT
        out.trace(error)
        out.report(error)
        out.end("failed")
        out.json({"verdict": "failed", "found": redact(f"{type(error).__name__}: {error}")})
    out.last_line()
    if code:
        raise SystemExit(code)


@contextmanager
def _interruptions(out: Output) -> Iterator[None]:
    """Raise KeyboardInterrupt for the error of a statement of SQLite's that a signal ended.

    The module sqlite3 drops what a signal's handler raises while SQLite calls Python.
    """
    heard = []

    def hear(_number: int, _frame: FrameType | None) -> None:
        heard.append(True)
        raise KeyboardInterrupt

    python_s = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if listens := python_s and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, hear)
    try:
        yield
    except (Failure, Refusal, sqlite3.Error) as error:
        if isinstance(error, sqlite3.Error) or isinstance(error.__cause__, sqlite3.Error):
            if out.signals is not None:
                out.signals.check()
            if heard:
                raise KeyboardInterrupt from error
        raise
    finally:
        if listens:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_without(error: OSError, out: Output) -> int:
    """Report a file that the task could not use, and return the exit code; no defect, so no traceback."""
    failure = Failure(
        "a file, folder or command that can be used",
        (error.strerror or "an error without a description").lower(),
        where=str(error.filename),
        do="Correct or install what the first line names; then run the same command again.",
    )
    out.complain(failure)
    out.json(_as_result(failure))
    return failure.exit_code


def misused(refusal: Refusal, json_path: str | None = None) -> NoReturn:
    """Print why the command can't begin, write it as JSON if that was asked for, and exit with the refusal's code."""
    out = Output(json_path)
    out.complain(refusal)
    out.json(_as_result(refusal))
    raise SystemExit(refusal.exit_code)


def command_line() -> str:
    """Return the command that runs, to be typed again; "" if another program than Invoke's command runs the task."""
    program, *arguments = sys.argv
    # `python -m invoke` has the path of a module here.
    is_invoke = Path(program).stem in ("invoke", "inv") or Path(program).parts[-2:] == ("invoke", "__main__.py")
    return redact(shlex.join(["invoke", *arguments])) if is_invoke else ""


def _open_standard_streams() -> None:
    """Have the null device where the shell closed a stream (`2>&-`): else a database's connection gets its number.

    Whatever a child writes to its standard error would go into that connection.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # The lowest free number is given, so it is this one.
            os.open(os.devnull, os.O_RDWR)


def _as_result(error: ToolError) -> Mapping[str, object]:
    texts = {name: redact(getattr(error, name) or "") for name in ("expected", "found", "where", "do")}
    return {"verdict": error.verdict, **texts}


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escaped(str(value))


def plain(value: Any) -> Any:
    """Return a result as values of JSON: dataclasses are objects, keys of several parts are joined by dots."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_name(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _name(key: object) -> str:
    return ".".join(map(str, key)) if isinstance(key, tuple) else str(key)
