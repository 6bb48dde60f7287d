"""Checks a selection of `invoke test` before pytest collects, and translates pytest's exit codes to a task's."""

from __future__ import annotations

from _pytest.mark.expression import Expression

from db.errors import Refusal
from game.printable import cut
from game.redaction import redact

SHOWN_CHARACTERS = 200
NONE_COLLECTED = 5
OF_A_TASK = {3: 1, 4: 2}
"""pytest's exit codes that mean something else for a task: an internal error is a failure, a usage error is misuse."""


def check(select: str) -> None:
    """Raise Refusal if pytest can't read the selection. pytest itself says so only after it has collected all tests."""
    try:
        Expression.compile(select)
    except SyntaxError as error:
        raise Refusal(
            "words of tests' names, joined by and, or, not and brackets",
            f"{cut(redact(select), SHOWN_CHARACTERS)!r}: {error.msg}",
            where="--select",
            do="Correct it, as in --select 'forge and not twins'. Nothing was begun.",
        ) from None


def exit_code(code: int, select: str) -> int:
    """Return a task's exit code for pytest's. Raises Refusal if there was no test to run."""
    if code == NONE_COLLECTED:
        raise Refusal(
            "a test to run",
            "none" + (f" whose name matches {cut(redact(select), SHOWN_CHARACTERS)!r}" if select else ""),
            where="--select" if select else "",
            do="Name less: `invoke test --select forge` runs each test with forge in its name.",
        )
    return OF_A_TASK.get(code, code)
