"""The history of a case: what its one client asked, one thing after the other, judged by the history checker.

Costs some 2 ms a case.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from game.rows import Rows
from game.rules.chance import Chance
from harness.history.checking import Draws, PlayerHistory, check
from harness.history.client_log import ClientRequest
from harness.play.differences import Difference
from harness.play.requests import AGAIN, GRANTED, SEED, UNANSWERED, PreparedRequest

ANSWERED = (f"{GRANTED} ", f"{AGAIN} ")
"""Begins an answer with an outcome."""


def differences(
    todo: Sequence[PreparedRequest], answers: Sequence[str], start: Rows, end: Rows
) -> Iterator[Difference]:
    """Yield what is wrong with the history of each player. answers: to each command, in words."""
    for (player,) in start["users"]:
        mine = [
            (place, prepared, answer)
            for place, (prepared, answer) in enumerate(zip(todo, answers, strict=True))
            if prepared.request.player == player
        ]
        asked: dict[str, ClientRequest] = {}
        dice: dict[str, PreparedRequest] = {}
        for place, prepared, answer in mine:
            request_id = prepared.request.request_id
            # Under one id another command may be refused, before or after the one that is granted.
            if request_id not in asked or (answer.startswith(ANSWERED) and asked[request_id].outcome is None):
                asked[request_id] = _asked(place, prepared, answer)
                dice[request_id] = prepared

        def chance(request_id: str, dice: dict[str, PreparedRequest] = dice) -> Chance:
            return dice[request_id].chance(request_id) if request_id in dice else Chance(SEED, request_id)

        history = PlayerHistory(str(player), _of(start, player), _of(end, player))
        for wrong in check(asked.values(), [history], Draws(chance)).violations:
            yield Difference(
                f"the history of {wrong.player}, {wrong.request}: {wrong.kind}", wrong.expected, wrong.found
            )


def _asked(place: int, prepared: PreparedRequest, answer: str) -> ClientRequest:
    """Return a request as a client's log has it; the place of the command among all stands for its instants."""
    action = prepared.turn.action
    fields = prepared.aliases.to_ids(dict(action.fields))
    assert isinstance(fields, dict)
    request = ClientRequest(action.by, prepared.request.request_id, action.do, fields, sent=2 * place, sends=1)
    if answer == UNANSWERED:
        return request
    request.answers, request.answered = 1, 2 * place + 1
    if answer.startswith(ANSWERED):
        outcome = prepared.aliases.to_ids(json.loads(answer.removeprefix(ANSWERED[0]).removeprefix(ANSWERED[1])))
        assert isinstance(outcome, dict)
        request.outcome = outcome
    else:
        request.refused = answer
    return request


def _of(rows: Rows, player: object) -> Rows:
    """Return the rows of one player."""
    return Rows(
        {name: {key: record for key, record in table.items() if key[0] == player} for name, table in rows.items()}
    )
