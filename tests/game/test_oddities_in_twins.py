"""Every oddity of a legacy row, under every action, on both stores: the same answer, and the same player afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import zip_longest
from random import Random

import pytest

from db.samples import builders, empty_values
from db.samples.anomalies import ANOMALIES
from db.samples.anomaly import LegacyRow
from db.samples.empty_values import EmptyValue
from game.errors import Refused
from game.legacy import codec
from game.rows import Rows
from harness.play.differential import differences
from tests.game.examples import EXAMPLES, command
from tests.game.places import LegacyPlace, Place, PostgresPlace
from tests.game.playing_on_stores import ask

FULL = {
    "level": 30,
    "gold": 9_000,
    "bag": {
        "worn": {"name": "새싹 바둑판", "stars": 2, "fails": 1},
        "spare": {"name": "미사일", "quantity": 20},
    },
    "mail": {"old": {"gold": 7, "items": {"미사일": 1}, "expires": "+1d"}, "older": {"claimed": True}},
    "presets": {"옛 세트": {"board": "gone"}},
    "quests": {
        period: {f"{period}-old": {"target": 3, "progress": 3, "reward": {"gold": 5}}}
        for period in ("daily", "weekly", "monthly")
    },
    "milestones": {period: {"activity": 60, "claimed": [20]} for period in ("daily", "weekly", "monthly")},
    "missions": {"mission_attendance": {"amount": 3}, "mission_ai_match": {"started": False}},
    "stages": ["입문-1", "입문-2"],
    "progress": 2,
    "tournaments": {
        "neighborhood": {"status": "round_in_progress", "gold": 70},
        "national": {"status": "bracket_ready"},
        "world": {"status": "complete", "rank": 3, "boxes": {"장비 상자 I": 1}},
    },
}
"""Something in each document, a tournament under way, and an item that is worn."""

Change = Callable[[LegacyRow], object]

MODELLED = [empty for empty in empty_values.declared() if empty.column in codec.MODELLED]
HOLDING = {empty.name: empty.change for empty in MODELLED if not empty_values.plays_on(empty)}


def together() -> dict[str, Change]:
    """The empty values with which a player plays on, one of each column at a time: two of one would hide each other."""
    of_column: dict[str, list[EmptyValue]] = {}
    for empty in MODELLED:
        if empty.name not in HOLDING:
            of_column.setdefault(empty.column, []).append(empty)
    groups = zip_longest(*of_column.values())
    return {f"emptied {n}": changing([one for one in group if one is not None]) for n, group in enumerate(groups)}


def changing(group: Iterable[EmptyValue]) -> Change:
    return lambda row: [empty.change(row) for empty in group]


def unmodelled(nothing: str) -> Change:
    """Empty all columns that no rule reads, at once."""
    others = (each for each in empty_values.declared() if each.column not in codec.MODELLED)
    return changing([each for each in others if each.nothing == nothing])


ODDITIES: dict[str, Change] = {
    "none": lambda row: None,
    **{anomaly.name: lambda row, one=anomaly: one.change(row, Random(1)) for anomaly in ANOMALIES},
    **HOLDING,
    **together(),
    **{f"unmodelled: {nothing}": unmodelled(nothing) for nothing in empty_values.NOTHINGS},
}


def player(action: str) -> Rows:
    """The player of the action's example, who owns something of everything besides that the command does not name."""
    example = EXAMPLES[action]
    named = set(map(str, example.fields.values()))
    given: dict[str, object] = {**FULL, "worn": ["worn"], **example.given}
    for name, default in FULL.items():
        if isinstance(default, dict):
            entries = example.given.get(name, {})
            assert isinstance(entries, dict)
            more = {key: value for key, value in default.items() if key not in entries and key not in named}
            given[name] = {**entries, **more}
    return builders.player(f"{action}-hana", **given)


def asked(place: Place, action: str) -> object:
    try:
        answer = ask(place.store, command(action), player=f"{action}-hana")
    except Refused as refused:
        return refused.code, refused.detail
    return answer.outcome


@pytest.mark.parametrize("oddity", ODDITIES)
def test_an_oddity_is_the_same_on_both_stores_under_every_action(
    oddity: str, postgres: PostgresPlace, legacy: LegacyPlace
) -> None:
    differing: dict[str, object] = {}
    for number, action in enumerate(EXAMPLES):
        row = builders.legacy_row(player(action))
        ODDITIES[oddity](row)
        if number:  # No two players of a file may be called alike.
            row |= {name: f"{name}{number}" for name in ("username", "nickname") if row[name] == ""}
        postgres.put(codec.decode_row(row, rowid=number).rows)
        legacy.put_row(row)
        answers = [asked(place, action) for place in (postgres, legacy)]
        if answers[0] != answers[1]:
            differing[action] = answers
            continue
        rows = [place.store.read(f"{action}-hana") for place in (postgres, legacy)]
        assert rows[0] is not None
        assert rows[1] is not None
        if different := [*differences(rows[0], rows[1])]:
            differing[action] = different
    assert differing == {}


def test_without_an_oddity_every_action_is_granted(legacy: LegacyPlace) -> None:
    """Else the twins would compare refusals alone."""
    refused = {}
    for action in EXAMPLES:
        legacy.put_row(builders.legacy_row(player(action)))
        if not isinstance(answer := asked(legacy, action), dict):
            refused[action] = answer
    assert refused == {}
