"""Errors that stop a tool, with its exit code. Each says what was expected, what was found, where, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

_Result = TypeVar("_Result")

MOST_LISTED = 20
"""A longer list of faults is folded: nobody mends more at once."""


class ToolError(Exception):
    """Base of all that ends a task on purpose; printed in one or two lines, never with a traceback."""

    exit_code = 1
    verdict = "failed"

    def __init__(self, expected: str, found: str, *, where: str = "", do: str = "") -> None:
        self.expected = expected
        self.found = found
        self.where = where
        self.do = do
        super().__init__(self._sentence())

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle every attribute: by default an exception is made anew from its text alone."""
        return _rebuilt, (type(self), self.args, self.__dict__)

    def _sentence(self) -> str:
        where = f"{self.where}: " if self.where else ""
        do = f"\n  {self.do}" if self.do else ""
        return f"{where}expected {self.expected}; found {self.found}.{do}"


def _rebuilt(kind: type[ToolError], args: tuple[object, ...], state: dict[str, object]) -> ToolError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class Failure(ToolError):
    """It was tried and did not work; what was changed is said in the message. Exit code 1."""


class Refusal(ToolError):
    """Not started, or stopped before anything changed. Exit code 2."""

    exit_code = 2
    verdict = "refused"


class Inconclusive(ToolError):
    """The state can't be known from here, so nothing more was changed. Exit code 3."""

    exit_code = 3
    verdict = "inconclusive"


class Undone(ToolError):
    """It was begun and has been undone, wholly. Exit code 4."""

    exit_code = 4
    verdict = "undone"


def folded(lines: Iterable[str]) -> list[str]:
    """Return the lines; of more than MOST_LISTED the first, and how many there are beside them."""
    listed = list(lines)
    unlisted = len(listed) - MOST_LISTED
    return [*listed[:MOST_LISTED], f"and {unlisted:,} more"] if unlisted > 0 else listed


def together(refusals: Iterable[Refusal]) -> Refusal:
    """Return one refusal for all: the first, with the others in its remedy, so that all are mended in one go.

    A line that several of them have, such as a remedy, is there once.
    """
    first, *others = refusals
    if not others:
        return first
    lines = "\n".join([first.do, *map(str, others)]).splitlines()
    remedies = folded(dict.fromkeys(line.strip() for line in lines))
    return Refusal(first.expected, first.found, where=first.where, do="\n  ".join(remedies))


def all_of(steps: Iterable[Callable[[], _Result]]) -> list[_Result]:
    """Run every step and return what they return. Raises one Refusal for all steps that refuse."""
    results, refusals = [], []
    for step in steps:
        try:
            results.append(step())
        except Refusal as refusal:
            refusals.append(refusal)
    if refusals:
        raise together(refusals)
    return results
