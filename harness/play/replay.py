"""A scenario, replayed on a store: each step through the game's own dispatch, every standing check after each step.

A race is run in its two serial orders. Nothing is asserted here: the problems found come back, with what was observed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from db.samples import moments
from db.samples.moments import written
from game.dispatch import dispatch
from game.errors import BadDice, Refused, StoreFailure
from game.rows import Rows, compare, whole_number
from game.rules.chance import Chance
from harness.play import defects, expectations, invariants, requests
from harness.play.arena import PlayedStore, starts
from harness.play.expectations import Changes
from harness.scenarios.model import OK, Scenario, Turn
from harness.scenarios.problems import ScenarioProblem
from harness.scenarios.yaml_reader import Data, Path, flow


@dataclass(frozen=True)
class Taken:
    """The result of a command: an outcome, ids as a scenario writes them, or the code of a refusal."""

    turn: Turn
    outcome: Mapping[str, Data] | None
    refused: str | None = None
    replayed: bool = False

    @property
    def result(self) -> str:
        """Return `ok` or the refusal's code."""
        return self.refused or OK


@dataclass(frozen=True)
class PlayRun:
    """One play from start to end, in one order."""

    taken: tuple[Taken, ...]
    changes: Changes


@dataclass(frozen=True)
class PlayResult:
    """The result of a replay. `standing`: faults that another expectation can't put right."""

    runs: tuple[PlayRun, ...]
    standing: tuple[ScenarioProblem, ...]
    unexpected: tuple[ScenarioProblem, ...]

    @property
    def problems(self) -> tuple[ScenarioProblem, ...]:
        """Return all that is not as it should be; nothing means that the scenario holds."""
        return (*self.standing, *self.unexpected)


def replay(scenario: Scenario, stage: PlayedStore) -> PlayResult:
    """Play the scenario on the stage, with a race once in each of its serial orders, and return all that is wrong."""
    turns_of = orders(scenario)
    plays: list[Play] = []
    runs: list[PlayRun] = []
    for turns in turns_of:
        play = Play(scenario, stage)
        plays.append(play)
        if all(play.take(turn) for turn in turns):
            runs.append(play.end())
            if scenario.after is not None:
                play.unexpected += expectations.after(scenario.after, runs[-1].changes)
    names = [order_of(turns) for turns in turns_of]
    standing = in_orders([play.standing for play in plays], names)
    standing += _never_drawn(set.intersection(*(play.undrawn for play in plays)))
    unexpected = in_orders([play.unexpected for play in plays], names)
    if len(runs) == len(plays):
        unexpected += _outcomes(scenario, runs)
    return PlayResult(tuple(runs), tuple(dict.fromkeys(standing)), tuple(dict.fromkeys(unexpected)))


def order_of(turns: Iterable[Turn]) -> str:
    """Return the requests of the race among the turns, in their order; nothing without a race."""
    return ", then ".join(turn.request for turn in turns if turn.step is None)


def in_orders(problems: Sequence[Sequence[ScenarioProblem]], names: Sequence[str]) -> list[ScenarioProblem]:
    """Return the problems of all orders; one that is not found in each of them says in which."""
    everywhere = set.intersection(*map(set, problems))
    return [
        problem if problem in everywhere else replace(problem, order=name)
        for name, each in zip(names, problems, strict=True)
        for problem in each
    ]


def orders(scenario: Scenario) -> list[tuple[Turn, ...]]:
    """Return the serial orders: one, or with a race two."""
    turns = scenario.turns
    racing = [n for n, turn in enumerate(turns) if turn.step is None]
    if not racing:
        return [turns]
    first, second = racing
    return [turns, (*turns[:first], turns[second], turns[first], *turns[second + 1 :])]


def outcomes(runs: Iterable[PlayRun]) -> list[dict[str, str]]:
    """Return the outcomes of the race, by request: each different one once, in the order of the runs."""
    different: list[dict[str, str]] = []
    for run in runs:
        racing = sorted((t for t in run.taken if t.turn.step is None), key=lambda taken: str(taken.turn.path))
        outcome = {taken.turn.request: taken.result for taken in racing}
        if outcome not in different:
            different.append(outcome)
    return different


def _never_drawn(dice: Iterable[Path]) -> Iterator[ScenarioProblem]:
    """Yield the dice that no order drew: in a race, the order may decide whether there is anything to draw."""
    for path in sorted(dice, key=str):
        yield ScenarioProblem(path, f"a draw named {path[-1]!r}", "no such draw")


def _outcomes(scenario: Scenario, runs: Sequence[PlayRun]) -> Iterator[ScenarioProblem]:
    race = scenario.race
    if race is None:
        return
    expected, found = list(race.outcomes), outcomes(runs)
    if any(one not in found for one in expected) or any(one not in expected for one in found):
        path = ("steps", scenario.steps.index(race), "outcomes")
        yield ScenarioProblem(path, flow([dict(one) for one in expected]), flow([dict(one) for one in found]))


@dataclass
class Play:
    """A scenario under way on one stage: its clock, what was answered, what was found wrong, the dice left undrawn."""

    scenario: Scenario
    stage: PlayedStore
    standing: list[ScenarioProblem] = field(default_factory=list)
    unexpected: list[ScenarioProblem] = field(default_factory=list)
    undrawn: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.aliases = requests.aliases_of(self.scenario)
        self._now = moments.absolute(self.scenario.clock)
        self._taken: list[Taken] = []
        self._granted: dict[tuple[str, str], Taken] = {}
        self.stage.place(starts(self.scenario).values())
        self._start = self.rows = self._read()

    def take(self, turn: Turn) -> Taken | None:
        """Play one command and check all that can be checked at once; None where it could not be answered."""
        self._now = requests.instant(turn, self._now)
        before, taken = self.rows, self._dispatch(turn)
        if taken is None:
            return None
        self.rows = self._read()
        self._check_answer(taken)
        if taken.refused or taken.replayed:
            self._check_unchanged(taken, before)
        else:
            self._granted.setdefault((turn.action.by, turn.request), taken)
            self._check_instant(turn)
        self._taken.append(taken)
        self._check_standing(turn, before)
        return taken

    def end(self) -> PlayRun:
        """Return the play's commands with their answers, and all that changed since its start."""
        order = [request for _, request in self._granted]
        return PlayRun(tuple(self._taken), expectations.changes(self._start, self.rows, self.aliases, order))

    def _read(self) -> Rows:
        rows = Rows()
        for handle in self.scenario.given:
            for table, records in (self.stage.store.read(handle) or Rows()).items():
                rows.table(table).update(records)
        return rows

    def _dispatch(self, turn: Turn) -> Taken | None:
        action = turn.action
        prepared = requests.prepare(turn, self._now, self.aliases)
        drawn: list[Chance] = []

        def chance(request_id: str) -> Chance:
            drawn.append(prepared.chance(request_id))
            return drawn[-1]

        label = f"{action.by}'s {action.do}, request {turn.request}, on {self.stage.name}"
        try:
            with defects.naming_the_command(turn.path, label):
                answer = dispatch(
                    self.stage.store, prepared.request, clock=requests.moving(prepared.now_ms), chance=chance
                )
        except Refused as refusal:
            taken = Taken(turn, None, refused=refusal.code)
        except (BadDice, StoreFailure) as error:
            path = (*turn.path, "dice") if isinstance(error, BadDice) else turn.path
            self.standing.append(ScenarioProblem(path, "an answer", f"{type(error).__name__}, {error}"))
            return None
        else:
            outcome = self.aliases.to_names(cast("dict[str, Data]", answer.outcome))
            assert isinstance(outcome, dict)
            taken = Taken(turn, outcome, replayed=answer.replayed)
        self.undrawn |= {(*turn.path, "dice", name) for name in (drawn[-1].unused() if drawn else action.dice)}
        return taken

    def _check_answer(self, taken: Taken) -> None:
        turn, step = taken.turn, taken.turn.step
        earlier = self._granted.get((turn.action.by, turn.request))
        if earlier and _command(earlier.turn) == _command(turn):
            self._check_retry(taken, earlier)
        elif taken.replayed:
            self.standing.append(ScenarioProblem(turn.path, "a first answer", "one that was given before"))
        if step is None:
            return
        self.standing += expectations.answer(step, turn.path, taken.refused)
        if step.expect is not None and taken.outcome is not None:
            self.unexpected += expectations.outcome((*turn.path, "expect"), step.expect, taken.outcome)

    def _check_retry(self, taken: Taken, earlier: Taken) -> None:
        if not taken.replayed or taken.outcome != earlier.outcome:
            first = "granted" if earlier.outcome is None else flow(dict(earlier.outcome))
            again = expectations.in_words(taken.refused) if taken.outcome is None else flow(dict(taken.outcome))
            second = again if taken.replayed or taken.refused else f"{again}, done once more"
            self.standing.append(ScenarioProblem(taken.turn.path, f"the first answer again, {first}", second))

    def _check_unchanged(self, taken: Taken, before: Rows) -> None:
        """Check that a refusal and a retry change nothing: no row, no line, no receipt."""
        if compare(before, self.rows):
            changes = expectations.changes(before, self.rows, self.aliases).as_data()
            what = "refused" if taken.refused else "retried"
            self.standing.append(
                ScenarioProblem(taken.turn.path, f"nothing changed by a {what} command", flow(changes))
            )

    def _check_instant(self, turn: Turn) -> None:
        """Check that a receipt says when its request was granted; one that is missing is told by another check."""
        receipt = self.rows.get("action_receipts", {}).get((turn.action.by, turn.request), {"at": self._now})
        if (at := whole_number(receipt, "at")) != self._now:
            self.standing.append(
                ScenarioProblem(turn.path, f"a receipt of {written(self._now)}", f"one of {written(at)}")
            )

    def _check_standing(self, turn: Turn, before: Rows) -> None:
        refused = {(t.turn.action.by, t.turn.request) for t in self._taken if t.refused} - set(self._granted)
        order = [request for _, request in self._granted]
        for breach in (
            *invariants.breaches(self.rows, order, opening=self._start),
            *invariants.receipts(self.rows, self._granted, refused),
            *invariants.order_kept(before, self.rows),
            *invariants.still_readable(before, self.rows),
        ):
            expected = f"{breach.player}'s {breach.law}: {breach.expected}"
            self.standing.append(ScenarioProblem(turn.path, self.named(expected), self.named(breach.found)))

    def named(self, text: str) -> str:
        """Return the text with the ids in it as a scenario writes them."""
        return self.aliases.in_text(text)


def _command(turn: Turn) -> tuple[str, dict[str, Data]]:
    return turn.action.do, dict(turn.action.fields)
