"""How a task speaks: progress on standard error, results on standard output, JSON for machines, one exit code."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from db.errors import Refusal, ToolError
from db.progress import Progress, for_people
from game.errors import GameError

MISUSED = 2
INTERRUPTED = 130


class Outcome:
    """What a task gives to people and, where asked, to a machine."""

    def __init__(self, json_path: str | None) -> None:
        self._json_path = json_path
        self._errors = Console(stderr=True)
        self._out = self._errors if json_path == "-" else Console()
        self.progress: Progress = for_people(self._errors)

    def say(self, line: str) -> None:
        """One line of the result."""
        self._out.print(line, highlight=False, markup=False, soft_wrap=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A result of several lines; columns of numbers are set to the right."""
        self.say(title)
        table = Table(header_style="bold")
        for index, column in enumerate(columns):
            numbers = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
            table.add_column(column, justify="right" if numbers else "left", overflow="fold")
        for row in rows:
            table.add_row(*(_cell(value) for value in row))
        self._out.print(table)

    def json(self, result: object) -> None:
        """The whole result, where `--json` asked for it."""
        if self._json_path is None:
            return
        text = json.dumps(plain(result), ensure_ascii=False, indent=2) + "\n"
        if self._json_path == "-":
            sys.stdout.write(text)
        else:
            Path(self._json_path).write_text(text, encoding="utf-8")

    def check_json(self) -> None:
        """Refusal where the result could not be written, before anything is done that it would tell of.

        A folder under the working one is made; anywhere else it has to be there.
        """
        if self._json_path is None or self._json_path == "-":
            return
        path = Path(self._json_path)
        if not path.is_absolute():
            path.parent.mkdir(parents=True, exist_ok=True)
        found = "no such folder" if not path.parent.is_dir() else "a folder" if path.is_dir() else None
        if found is None and not os.access(path if path.exists() else path.parent, os.W_OK):
            found = "one that may not be written"
        if found is not None:
            self._json_path = None
            raise Refusal("a file to write for --json", found, where=str(path), do="Nothing was begun. Name another.")

    def complain(self, error: ToolError | GameError) -> None:
        """What stopped the task, in a line or two."""
        self._errors.print(f"[bold red]{getattr(error, 'verdict', 'refused')}[/]", end=" ")
        self._errors.print(str(error), highlight=False, markup=False, soft_wrap=True)


@contextmanager
def outcome(json_path: str | None) -> Iterator[Outcome]:
    """Runs a task's body; what stops it on purpose becomes one or two lines and an exit code, never a traceback."""
    speaks = Outcome(json_path)
    try:
        speaks.check_json()
        yield speaks
    except ToolError as error:
        speaks.complain(error)
        speaks.json(_as_result(error))
        raise SystemExit(error.exit_code) from None
    except GameError as error:
        speaks.complain(error)
        speaks.json({"verdict": "refused", "found": str(error)})
        raise SystemExit(MISUSED) from None
    except KeyboardInterrupt:
        speaks.say("interrupted")
        raise SystemExit(INTERRUPTED) from None


def misused(refusal: Refusal) -> NoReturn:
    """Say why the command can't even begin, and end with its exit code."""
    Outcome(None).complain(refusal)
    raise SystemExit(refusal.exit_code)


def _as_result(error: ToolError) -> Mapping[str, object]:
    said = {name: getattr(error, name) for name in ("expected", "found", "where", "do")}
    return {"verdict": error.verdict, **said}


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def plain(value: Any) -> Any:
    """A result as the values that JSON has: dataclasses are objects, keys of several parts are joined by dots."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_name(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _name(key: object) -> str:
    return ".".join(map(str, key)) if isinstance(key, tuple) else str(key)
