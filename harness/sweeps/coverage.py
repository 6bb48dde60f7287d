"""Of which kind each command of a scenario is: a second one of the same kind takes the same path through the game.

A kind is the action, how it ends, and the shape of what it saves: which tables it updates, adds to and takes from.
Commands are carried out in memory, without a database, so a scenario's kinds cost a millisecond or two each.
"""

from __future__ import annotations

from typing import TypeAlias

from game.rows import Rows, compare
from harness.play import arena, requests
from harness.play.memory_store import OPENINGS, MemoryStore
from harness.play.requests import PreparedRequest
from harness.scenarios.model import Scenario
from harness.sweeps import fault_kinds, legacy_faults
from harness.sweeps.fault_kinds import NO_FAULT

Saved: TypeAlias = frozenset[tuple[str, str]]
"""What is done (update, insert, delete) to which table."""

Behaviour: TypeAlias = tuple[str, str, Saved]


def behaviours(scenario: Scenario) -> list[Behaviour]:
    """Return the behaviour of each command, in the order written."""
    store = MemoryStore({player: start.rows for player, start in arena.starts(scenario).items()})
    return [_behaviour(store, prepared) for prepared in requests.prepared_requests(scenario)]


class Coverage:
    """The faults that a gate tries in each scenario, in the order in which the scenarios are run."""

    def __init__(self) -> None:
        self._seen: set[Behaviour] = set()
        self._ended: set[tuple[str, str]] = set()

    def select_cases(self, scenario: Scenario) -> dict[str, frozenset[int]]:
        """Return where each fault strikes, by command; with no new behaviour, only the run without faults.

        For a fault that ends a process, or is on the legacy file, commands differ by how they end; on the wire by
        all that they save.
        """
        by_path, by_end = self._fresh(scenario)
        if not by_path:
            return {NO_FAULT.name: frozenset()}
        names = (*fault_kinds.NAMES, *legacy_faults.NAMES)
        steps = {name: by_path if name in fault_kinds.ON_THE_WIRE else by_end for name in names}
        return {name: places for name, places in steps.items() if places}

    def _fresh(self, scenario: Scenario) -> tuple[frozenset[int], frozenset[int]]:
        """Return the places of the commands with a new behaviour, and of those with a new ending."""
        by_path, by_end = set(), set()
        for place, behaviour in enumerate(behaviours(scenario)):
            action, ends, _ = behaviour
            by_path |= set() if behaviour in self._seen else {place}
            by_end |= set() if (action, ends) in self._ended else {place}
            self._seen.add(behaviour)
            self._ended.add((action, ends))
        return frozenset(by_path), frozenset(by_end)


def _behaviour(store: MemoryStore, prepared: PreparedRequest) -> Behaviour:
    action, store.saved = prepared.turn.action.do, None
    try:
        answer = requests.carry_out(store, prepared)
    except Exception:  # noqa: BLE001  # a defect of the game's; whoever plays the scenario will show it
        return (action, "broken", frozenset())
    ends = answer if answer.startswith("refused") else "answered again" if store.saved is None else "granted"
    return (action, ends, frozenset() if store.saved is None else _saved(*store.saved))


def _saved(before: Rows, after: Rows) -> Saved:
    """Return the shape of a save. Whatever a player does first writes the opening, so it tells nothing of it."""
    verbs = ("update", "insert", "delete")
    return frozenset(
        (verb, table)
        for table, change in compare(before, after).items()
        for verb, changed in zip(verbs, (change.updates, change.inserts, change.deletes), strict=True)
        if changed and table != OPENINGS
    )
