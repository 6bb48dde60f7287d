"""Of which kind each command of a scenario is: a second one of the same kind takes the same path through the game.

A kind is the action, how it ends, and the shape of what it saves: which tables it updates, adds to and takes from.
Commands are carried out in memory, without a database, so a scenario's kinds cost a millisecond or two each.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from game.rows import Rows, compare
from harness.play import arena, requests
from harness.play.memory_store import OPENINGS, MemoryStore
from harness.play.requests import PreparedRequest
from harness.scenarios.model import Scenario
from harness.sweeps import crashes, fault_kinds, legacy_faults
from harness.sweeps.fault_kinds import NO_FAULT

Saved: TypeAlias = frozenset[tuple[str, str]]
"""The change (update, insert, delete) and its table."""

Behaviour: TypeAlias = tuple[str, str, Saved]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=Hashable)

GRANTED = "granted"


def behaviours(scenario: Scenario) -> list[Behaviour]:
    """Return the behaviour of each command, in the order written."""
    store = MemoryStore({player: start.rows for player, start in arena.starts(scenario).items()})
    return [_behaviour(store, prepared) for prepared in requests.prepared_requests(scenario)]


@dataclass(frozen=True)
class _Command:
    """A command of a scenario. key: the scenario's; place: the command's, from 0."""

    key: Hashable
    place: int
    is_asked_again: bool


def select_cases(scenarios: Mapping[K, Scenario]) -> dict[K, dict[str, frozenset[int]]]:
    """Return for each scenario where a gate has each fault strike, by command, in the order of the scenarios.

    A scenario without a kind of its own has only the run without faults. For a fault that ends a process, or is on the
    legacy file, commands differ by how they end; on the wire by all that they save. Of the commands of a kind the first
    is taken that the scenario does not ask again later: a second answer could bring back what the first lost.
    """
    by_path: dict[Behaviour, _Command] = {}
    by_end: dict[tuple[str, str], _Command] = {}
    for key, scenario in scenarios.items():
        for command, behaviour in zip(_commands(key, scenario), behaviours(scenario), strict=True):
            _prefer(by_path, behaviour, command)
            _prefer(by_end, behaviour[:2], command)
    paths, ends = tuple(by_path.values()), tuple(by_end.values())
    chosen = dict.fromkeys(fault_kinds.ON_THE_WIRE, paths)
    chosen |= dict.fromkeys((fault_kinds.Killed.name, crashes.Crashed.name, *legacy_faults.NAMES), ends)
    granted = tuple(command for end, command in by_end.items() if end[1] == GRANTED)
    chosen |= dict.fromkeys((crashes.CrashedAnswered.name, legacy_faults.POWER_CUT), granted)
    return {key: _of_scenario(key, chosen) or {NO_FAULT.name: frozenset()} for key in scenarios}


def _of_scenario(key: Hashable, chosen: Mapping[str, Iterable[_Command]]) -> dict[str, frozenset[int]]:
    places = {name: frozenset(each.place for each in commands if each.key == key) for name, commands in chosen.items()}
    return {name: own for name, own in places.items() if own}


def _commands(key: Hashable, scenario: Scenario) -> Iterator[_Command]:
    asked = [(turn.action.by, turn.request) for turn in scenario.turns]
    yield from (_Command(key, place, each in asked[place + 1 :]) for place, each in enumerate(asked))


def _prefer(chosen: dict[T, _Command], kind: T, command: _Command) -> None:
    """Take the command for its kind, if there is none yet, or only one that is asked again."""
    if kind not in chosen or (chosen[kind].is_asked_again and not command.is_asked_again):
        chosen[kind] = command


def _behaviour(store: MemoryStore, prepared: PreparedRequest) -> Behaviour:
    action, store.saved = prepared.turn.action.do, None
    try:
        answer = requests.carry_out(store, prepared)
    except Exception:  # noqa: BLE001  # a defect of the game's; the scenario's own items show it
        return (action, "broken", frozenset())
    ends = answer if answer.startswith("refused") else "answered again" if store.saved is None else GRANTED
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
