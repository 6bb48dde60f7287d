"""Of which kind each command of a scenario is: a second one of the same kind takes the same path through the game.

A kind is the action, how it ends, and the shape of what it saves: which tables it updates, adds to and takes from.
Commands are carried out in memory, without a database, so a scenario's kinds cost a millisecond or two each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, TypeAlias

from game import idempotency
from game.chain import Head
from game.rows import Rows, compare, text, whole_number
from game.unit_of_work import Engine, LoadedPlayer, StoreStatus
from harness.play import arena, requests
from harness.play.arena import StartingPlayer
from harness.play.requests import PreparedRequest
from harness.scenarios.model import Scenario
from harness.sweeps import fault_kinds, legacy_faults
from harness.sweeps.fault_kinds import NO_FAULT

Saved: TypeAlias = frozenset[tuple[str, str]]
"""What is done (update, insert, delete) to which table."""

Behaviour: TypeAlias = tuple[str, str, Saved]

OPENINGS = "player_openings"
"""Whatever a player does first writes them, so they tell nothing of it."""


def behaviours(scenario: Scenario) -> list[Behaviour]:
    """Return the behaviour of each command, in the order written."""
    store = MemoryStore(arena.starts(scenario))
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
    return (action, ends, store.saved or frozenset())


class MemoryStore:
    """A store of one thread that keeps its players in memory, and its only unit of work. `saved`: by the last one."""

    engine: ClassVar[Engine] = "postgres"

    def __init__(self, starts: Mapping[str, StartingPlayer]) -> None:
        self.saved: Saved | None = None
        self._players = {player: start.rows.copy() for player, start in starts.items()}
        self._player = ""
        self._before = self._after = Rows()

    @contextmanager
    def begin(self, fence_pass: str | None = None) -> Iterator[MemoryStore]:
        """Begin a unit of work. Takes no lock: one thread plays."""
        del fence_pass
        yield self

    def load(self, player: str, request_id: str, tables: object) -> LoadedPlayer | None:
        """Return all of the player's rows, of receipts the request's own. More than was asked for does no harm."""
        del tables
        if player not in self._players:
            return None
        self._player = player
        rows = self._players[player].copy()
        own = [(player, form) for form in idempotency.forms(request_id)]
        rows["action_receipts"] = {key: row for key, row in rows.get("action_receipts", {}).items() if key in own}
        numbers = [row for row in self._players[player].get("action_receipts", {}).values() if row["seq"] is not None]
        newest = max(numbers, key=lambda row: whole_number(row, "seq"), default=None)
        head = Head() if newest is None else Head(whole_number(newest, "seq"), text(newest, "chain"))
        return LoadedPlayer(rows, "open", head)

    def save(self, before: Rows, after: Rows) -> None:
        """Keep both in memory until the commit."""
        self._before, self._after = before, after
        self.saved = _saved(before, after)

    def commit(self) -> None:
        """Write what was saved into the store's memory."""
        kept = self._players[self._player]
        for table, change in compare(self._before, self._after).items():
            rows = kept.table(table)
            for key in change.deletes:
                del rows[key]
            rows.update({key: self._after[table][key] for key in (*change.updates, *change.inserts)})

    def state(self, player: str) -> Rows | None:
        """Return a copy of the player's rows without journals; see `Store`."""
        return self.read(player)

    def read(self, player: str) -> Rows | None:
        """Return a copy of all of the player's rows; see `Store`."""
        return self._players.get(player)

    def status(self) -> StoreStatus:
        """Return the status of a store that no environment has."""
        return StoreStatus(self.engine, "memory", None, None, "open")

    def close(self) -> None:
        """Do nothing: this store holds no resource."""


def _saved(before: Rows, after: Rows) -> Saved:
    verbs = ("update", "insert", "delete")
    return frozenset(
        (verb, table)
        for table, change in compare(before, after).items()
        for verb, changed in zip(verbs, (change.updates, change.inserts, change.deletes), strict=True)
        if changed and table != OPENINGS
    )
