"""A scenario's commands as a client asks them, and how a play ended: what was answered, and every row there is then.

Nothing is judged here but whether two ends are the same; the standing checks are the replay's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from game.dispatch import Request, dispatch
from game.errors import Refused, StoreUnavailable
from game.rows import Key, Rows, Value, compare
from game.rules.chance import Chance
from game.rules.commands import decode
from game.unit_of_work import Store
from harness.play import defects
from harness.play.expectations import Aliases
from harness.play.replay import SEED
from harness.scenarios import moments
from harness.scenarios.model import Scenario, Turn
from harness.scenarios.yaml_reader import Data, flow

ASKED = 6
"""How often a client asks before it gives up; each is up to four attempts of dispatch's."""

UNANSWERED = "no answer"


@dataclass(frozen=True)
class PreparedRequest:
    """One command of a scenario, ready to be asked: at its instant, with its dice, its aliases made ids."""

    turn: Turn
    request: Request
    now_ms: int
    aliases: Aliases

    @property
    def label(self) -> str:
        """Whose command it is, and which: no two of a scenario have the same."""
        return f"{self.request.player}'s {self.request.request_id} ({'.'.join(map(str, self.turn.path))})"

    def chance(self, request_id: str) -> Chance:
        """The draws of an attempt."""
        return Chance(SEED, request_id, self.turn.action.dice)

    def granted(self, outcome: Mapping[str, object]) -> str:
        """The answer in words, ids as a scenario writes them; the order of keys does not count."""
        named = self.aliases.to_names(cast("dict[str, Data]", dict(outcome)))
        return f"granted {json.dumps(named, ensure_ascii=False, sort_keys=True)}"


@dataclass(frozen=True)
class FinalState:
    """The end of a play: the answer to each command by its label, and all rows."""

    answers: tuple[tuple[str, str], ...]
    rows: Rows


@dataclass(frozen=True)
class Apart:
    """A difference between two ends, in words."""

    what: str
    expected: str
    found: str

    def named(self, aliases: Aliases) -> Apart:
        """With ids as a scenario writes them."""
        return Apart(*(aliases.in_text(text) for text in (self.what, self.expected, self.found)))


def prepared_requests(scenario: Scenario, turns: Sequence[Turn] | None = None) -> list[PreparedRequest]:
    """The scenario's commands, in the order written or in the one given."""
    turns = scenario.turns if turns is None else turns
    aliases = Aliases(dict.fromkeys(turn.request for turn in scenario.turns))
    now_ms = moments.absolute(scenario.clock)
    made = []
    for turn in turns:
        if turn.step is not None and turn.step.clock is not None:
            now_ms = moments.moved(now_ms, turn.step.clock)
        fields = aliases.to_ids(dict(turn.action.fields))
        assert isinstance(fields, dict)
        request = Request(turn.action.by, turn.request, decode(turn.action.do, fields))
        made.append(PreparedRequest(turn, request, now_ms, aliases))
    return made


def no_sleep(_seconds: float) -> None:
    """For stores that are there again at once."""


def carry_out(
    store: Store,
    prepared: PreparedRequest,
    *,
    sleep: Callable[[float], None] = no_sleep,
    unanswered: Callable[[PreparedRequest], None] = lambda _prepared: None,
) -> str:
    """The answer in words, asked for as a real client does: again, under the same id, while the store can't answer."""
    for _ in range(ASKED):
        try:
            with defects.told(prepared.turn.path, prepared.label):
                answer = dispatch(
                    store, prepared.request, clock=lambda: prepared.now_ms, chance=prepared.chance, sleep=sleep
                )
        except Refused as refusal:
            return f"refused {refusal.code}"
        except StoreUnavailable:
            unanswered(prepared)
        else:
            return prepared.granted(answer.outcome)
    return UNANSWERED


def apart(expected: FinalState, found: FinalState) -> list[Apart]:
    """Every answer and every value in which the ends differ."""
    answers = dict(found.answers)
    differing = [
        Apart(f"the answer to {label}", answer, answers.get(label, UNANSWERED))
        for label, answer in expected.answers
        if answers.get(label) != answer
    ]
    return [*differing, *rows_apart(expected, found)]


def rows_apart(expected: FinalState, found: FinalState) -> Iterator[Apart]:
    """Every value in which the rows differ."""
    for table, change in compare(expected.rows, found.rows).items():
        for key, columns in change.updates.items():
            for column, (before, after) in columns.items():
                yield Apart(f"{_at(table, key)}.{column}", _shown(before), _shown(after))
        for key, record in change.deletes.items():
            yield Apart(_at(table, key), flow({k: _plain(v) for k, v in record.items()}), "no such row")
        for key, record in change.inserts.items():
            yield Apart(_at(table, key), "no such row", flow({k: _plain(v) for k, v in record.items()}))


def _at(table: str, key: Key) -> str:
    return f"{table}.{'/'.join(map(str, key))}"


def _shown(value: Value) -> str:
    return flow(_plain(value))


def _plain(value: Value) -> Data:
    return value.hex() if isinstance(value, bytes) else value
