"""A command that makes the game raise what is neither a refusal nor a failure: a defect of a rule, with its place."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import game
from db.errors import ToolError
from game.errors import GameError
from game.redaction import redact
from harness.scenarios.yaml_reader import Path as YamlPath

ROOT = Path(game.__file__).parent.parent


@dataclass(frozen=True)
class Defect:
    """An exception in a line, its place in our own code, and the traceback without the frames of libraries between."""

    what: str
    where: str
    trace: str

    @classmethod
    def of(cls, error: BaseException) -> Defect:
        """Return the defect that an exception is."""
        trace = traceback.TracebackException.from_exception(error)
        last = next((frame for frame in reversed(trace.stack) if _is_of_the_project(frame)), trace.stack[-1])
        first_line = next(iter(str(error).splitlines()), "")
        what = f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
        where = f"{_shown(last.filename)}:{last.lineno}, in {last.name}"
        return cls(redact(what), where, redact("".join(_lines(trace))).rstrip())


class Raised(Exception):
    """A command of a scenario made the game raise. path: of the command in its document; label: whose and which it is.

    case: the fault under which it did.
    """

    def __init__(self, path: YamlPath, label: str, defect: Defect) -> None:
        super().__init__(f"{label}: {defect.what}, at {defect.where}")
        self.path = path
        self.label = label
        self.defect = defect
        self.case = Case()


@dataclass(frozen=True)
class Case:
    """Under which fault a command raised: its name, at which round trip (None: in the run without one), before what."""

    fault: str = ""
    k: int | None = None
    statement: str = ""


@contextmanager
def naming_the_command(path: YamlPath, label: str) -> Iterator[None]:
    """Raise what the game raises by mistake as Raised; refusals, failures and tool errors pass as they are."""
    try:
        yield
    except (GameError, ToolError, Raised):
        raise
    except Exception as error:  # A defect of the game, which is shown with the command that met it.
        raise Raised(path, label, Defect.of(error)) from error


def _lines(trace: traceback.TracebackException) -> Iterator[str]:
    """Yield the traceback; of a library only the frame that raised: SQLAlchemy alone has a dozen before the driver."""
    shown = [frame for frame in trace.stack if _is_of_the_project(frame) or frame is trace.stack[-1]]
    yield "Traceback (most recent call last):\n"
    yield from traceback.StackSummary.from_list(shown).format()
    yield from trace.format_exception_only()


def _is_of_the_project(frame: traceback.FrameSummary) -> bool:
    path = Path(frame.filename)
    return path.is_relative_to(ROOT) and "site-packages" not in path.parts and path != Path(__file__)


def _shown(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else filename
