"""Compares a case under a fault with the run without faults: once the struck command is answered, and at the end.

A comparison at the end alone would miss a loss that a later retry of the scenario makes up for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from game.rows import Rows
from harness.play import requests
from harness.play.differences import Difference
from harness.play.requests import FinalState, PreparedRequest
from harness.scenarios.yaml_reader import Path


class CaseComparison:
    """One case under way. ends: how things stood without faults after each command; read: returns all rows.

    begun: how many commands are behind it as it begins, with the answers and the rows of the run without faults.
    """

    def __init__(
        self,
        todo: Sequence[PreparedRequest],
        ends: Sequence[FinalState],
        read: Callable[[], Rows],
        *,
        begun: int = 0,
    ) -> None:
        self._todo = todo
        self._ends = ends
        self._read = read
        self._answers: list[tuple[str, str]] = list(ends[begun - 1].answers) if begun else []
        self._struck: PreparedRequest | None = None
        self._is_kept = False
        self._early: list[Difference] = []
        self.rows = Rows()
        """The rows as they were read last."""

    @property
    def struck(self) -> bool:
        """Return True once the fault has struck."""
        return self._struck is not None

    @property
    def path(self) -> Path:
        """Return the place of the command that was struck; of the one answered last, if none was."""
        return (self._struck or self._todo[len(self._answers) - 1]).turn.path

    @property
    def asked(self) -> tuple[Sequence[PreparedRequest], list[str]]:
        """Return the commands so far, those that are behind it as it began among them, and the answer to each."""
        return self._todo[: len(self._answers)], [answer for _label, answer in self._answers]

    def answered(self, answer: str) -> None:
        """Note the answer to the next command."""
        self._answers.append((self._todo[len(self._answers)].label, answer))

    def strike(self, *, is_kept: bool) -> None:
        """Compare: the command that was answered last is the one that the fault struck.

        is_kept: it was committed before its client was answered at all, so its receipt must have answered.
        """
        place = len(self._answers) - 1
        self._struck, self._is_kept = self._todo[place], is_kept
        if place + 1 < len(self._todo):
            self._early = self._differences(self._ends[place])

    def end(self) -> list[Difference]:
        """Compare at the end. Returns the differences, those at the answer to the struck command first."""
        end = self._ends[len(self._answers) - 1]
        late = [each for each in self._differences(end) if each not in self._early]
        label = self._struck.label if self._struck is not None else ""
        return [*(replace(each, what=f"once {label} was answered: {each.what}") for each in self._early), *late]

    def _differences(self, end: FinalState) -> list[Difference]:
        if self._struck is not None and self._is_kept:
            end = requests.answered_again(end, self._struck.label)
        self.rows = self._read()
        return requests.differences(end, FinalState(tuple(self._answers), self.rows))
