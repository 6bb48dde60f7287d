"""Errors that stop a tool, with its exit code. Each says what was expected, what was found, where, and what to do."""

from __future__ import annotations


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

    def _sentence(self) -> str:
        where = f"{self.where}: " if self.where else ""
        do = f"\n  {self.do}" if self.do else ""
        return f"{where}expected {self.expected}; found {self.found}.{do}"


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
