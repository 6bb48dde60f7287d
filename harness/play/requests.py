"""A scenario's commands as a client asks them, and how a play ended: what was answered, and every row there is then.

Only whether two ends are the same is judged by this module; the standing checks are the replay's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeAlias, cast

from db.samples import moments
from game.dispatch import Request, dispatch
from game.errors import Refused, StoreUnavailable
from game.rows import Rows
from game.rules.chance import Chance
from game.rules.commands import decode
from game.unit_of_work import Store
from harness.play import defects
from harness.play.aliases import Aliases
from harness.play.differences import Difference, of_rows
from harness.scenarios.model import Scenario, Turn
from harness.scenarios.yaml_reader import Data

SEED = "scenarios"
"""The seed of the draws that no scenario decides."""

ASKED = 6
"""How often a client asks before it gives up; each is up to four attempts of dispatch's."""

UNANSWERED = "no answer"
GRANTED, AGAIN = "granted", "answered again:"
"""The first words of the answer to a command that was carried out, and of one that was answered from its receipt."""

DAY_MS = 24 * 60 * 60 * 1000

Clock: TypeAlias = Callable[[int], Callable[[], int]]
"""Makes the clock of one dispatch from the instant at which it is read first, in epoch milliseconds."""


@dataclass(frozen=True)
class PreparedRequest:
    """One command of a scenario, ready to be asked: at its instant, with its dice, its aliases made ids."""

    turn: Turn
    request: Request
    now_ms: int
    aliases: Aliases

    @property
    def label(self) -> str:
        """Return whose command it is, and which: no two of a scenario have the same."""
        return f"{self.request.player}'s {self.request.request_id} ({'.'.join(map(str, self.turn.path))})"

    def chance(self, request_id: str) -> Chance:
        """Return the draws of one attempt, which the scenario's dice decide where it has any."""
        return Chance(SEED, request_id, self.turn.action.dice)

    def granted(self, outcome: Mapping[str, object], *, replayed: bool) -> str:
        """Return the answer in words, ids as a scenario writes them; the order of keys does not count."""
        named = self.aliases.to_names(cast("dict[str, Data]", dict(outcome)))
        return f"{AGAIN if replayed else GRANTED} {json.dumps(named, ensure_ascii=False, sort_keys=True)}"


@dataclass(frozen=True)
class FinalState:
    """The end of a play: the answer to each command by its label, and all rows."""

    answers: tuple[tuple[str, str], ...]
    rows: Rows


def prepare(turn: Turn, now_ms: int, aliases: Aliases) -> PreparedRequest:
    """Make one command ready to be asked. now_ms: its instant, in epoch milliseconds."""
    fields = aliases.to_ids(dict(turn.action.fields))
    assert isinstance(fields, dict)
    request = Request(turn.action.by, turn.request, decode(turn.action.do, fields))
    return PreparedRequest(turn, request, now_ms, aliases)


def instant(turn: Turn, now_ms: int) -> int:
    """Return when a command is asked: as its step's clock says, else when the one before it was."""
    if turn.step is None or turn.step.clock is None:
        return now_ms
    return moments.moved(now_ms, turn.step.clock)


def prepared_requests(scenario: Scenario, turns: Sequence[Turn] | None = None) -> list[PreparedRequest]:
    """Return the scenario's commands, in the order written or in that of `turns`."""
    aliases = aliases_of(scenario)
    now_ms = moments.absolute(scenario.clock)
    prepared = []
    for turn in scenario.turns if turns is None else turns:
        now_ms = instant(turn, now_ms)
        prepared.append(prepare(turn, now_ms, aliases))
    return prepared


def aliases_of(scenario: Scenario) -> Aliases:
    """Return the ids that a scenario's requests make, and their names."""
    return Aliases(dict.fromkeys(turn.request for turn in scenario.turns))


def moving(now_ms: int) -> Callable[[], int]:
    """Return a clock that a day passes on at each read: a command that reads it twice has two instants."""
    return count(now_ms, DAY_MS).__next__


def standing(now_ms: int) -> Callable[[], int]:
    """Return a clock that stands still, for the run with which others are compared."""
    return lambda: now_ms


def no_sleep(_seconds: float) -> None:
    """Do not wait: for stores that are there again at once."""


def carry_out(
    store: Store,
    prepared: PreparedRequest,
    *,
    sleep: Callable[[float], None] = no_sleep,
    unanswered: Callable[[PreparedRequest], None] = lambda _prepared: None,
    clock: Clock = moving,
) -> str:
    """Return the answer in words. Ask as a client does: again, under the same id, while the store can't answer."""
    for _ in range(ASKED):
        try:
            with defects.naming_the_command(prepared.turn.path, prepared.label):
                answer = dispatch(
                    store, prepared.request, clock=clock(prepared.now_ms), chance=prepared.chance, sleep=sleep
                )
        except Refused as refusal:
            return f"refused {refusal.code}"
        except StoreUnavailable:
            unanswered(prepared)
        else:
            return prepared.granted(answer.outcome, replayed=answer.replayed)
    return UNANSWERED


def answered_again(end: FinalState, label: str) -> FinalState:
    """Return the end in which this command, where it was granted, is answered from its receipt instead."""
    answers = dict(end.answers)
    if answers[label].startswith(GRANTED):
        answers[label] = AGAIN + answers[label].removeprefix(GRANTED)
    return FinalState(tuple(answers.items()), end.rows)


def differences(expected: FinalState, found: FinalState) -> list[Difference]:
    """Return every answer and every value in which the ends differ."""
    answers = dict(found.answers)
    differing = [
        Difference(f"the answer to {label}", answer, answers.get(label, UNANSWERED))
        for label, answer in expected.answers
        if answers.get(label) != answer
    ]
    return [*differing, *of_rows(expected.rows, found.rows)]
