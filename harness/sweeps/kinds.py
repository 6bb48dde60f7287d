"""Which commands a gate strikes: of each action, each way in which it ends, in the first file that has it."""

from __future__ import annotations

from harness.scenarios.model import Scenario


class Kinds:
    """The kinds of commands that were seen; files are told in the order in which they are run."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()

    def fresh(self, scenario: Scenario) -> frozenset[int]:
        """The places of those commands in `scenario.turns` whose kind no file before this one had."""
        asked: set[tuple[str, str]] = set()
        places = set()
        for place, turn in enumerate(scenario.turns):
            request = (turn.action.by, turn.request)
            ends = turn.step.refused if turn.step is not None and turn.step.refused else "granted"
            kind = (turn.action.do, "answered again" if request in asked and ends == "granted" else ends)
            places |= set() if kind in self._seen else {place}
            self._seen.add(kind)
            asked.add(request)
        return frozenset(places)
