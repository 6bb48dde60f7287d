"""Names of any form, on both stores: what SQL, JSON and URLs quote, full length, mixed case, shared by players."""

from __future__ import annotations

from typing import Any

import pytest

from db.samples import builders, quoted_names
from db.samples.quoted_names import QUOTED
from game.legacy import codec
from game.legacy.codec.readers import KEY_BYTES
from game.rows import Rows
from game.rules.commands import Command, decode
from harness.play import invariants
from harness.play.differential import differences
from tests.game.examples import EXAMPLES
from tests.game.places import LegacyPlace, Place, PostgresPlace
from tests.game.playing_on_stores import ask

PLAYERS = ("hana", "Hana")
OWN = {"mail", "item", "items", "quest"}
"""Fields that hold a name of the player's own."""

REQUESTS = ("'\";--$$\\%00{}?#&+/", "A", "a", "x" * 200)


def renamed(action: str, player: str) -> tuple[Rows, dict[object, str]]:
    plain = EXAMPLES[action].player(quoted_names.player_name(player))
    rows = quoted_names.renamed(plain)
    names: dict[object, str] = {}
    for table in ("user_inventory", "user_mail", "user_quests", "user_equipment_presets"):
        for old, new in zip(plain.get(table, {}), rows.get(table, {}), strict=True):
            names[old[-1]] = str(new[-1])
    return rows, names


def command(action: str, names: dict[object, str]) -> Command:
    def of(value: Any) -> Any:
        return [names.get(one, one) for one in value] if isinstance(value, list) else names.get(value, value)

    fields = EXAMPLES[action].fields
    return decode(action, {field: of(value) if field in OWN else value for field, value in fields.items()})


# A preset's name is what a player typed: the service takes 30 characters without a control character.
NAMED = [action for action in EXAMPLES if action not in {"apply_preset", "start_tournament", "finish_tournament"}]


@pytest.mark.parametrize("action", NAMED)
def test_every_action_is_granted_to_two_players_of_the_same_names(
    action: str, postgres: PostgresPlace, legacy: LegacyPlace
) -> None:
    left: dict[str, list[Rows]] = {}
    for place in (postgres, legacy):
        for player in PLAYERS:
            place.put(renamed(action, player)[0])
        for player in PLAYERS:
            rows, names = renamed(action, player)
            (named,) = (str(key[0]) for key in rows["users"])
            ask(place.store, command(action, names), REQUESTS[0], player=named)
            after = place.store.read(named)
            assert after is not None
            assert invariants.breaches(after, REQUESTS[:1]) == []
            left.setdefault(named, []).append(after)
    assert [*left] == [quoted_names.player_name(player) for player in PLAYERS]
    assert [[*differences(*rows)] for rows in left.values()] == [[], []]


@pytest.mark.parametrize("n", range(2 * len(QUOTED)))
def test_a_name_is_read_written_and_found_again(place: Place, n: int) -> None:
    name = quoted_names.name(n)
    given = builders.player("hana", bag={"a": "미사일", "b": "히든"}, mail={"m": {"gold": 5}})
    for table, old in (("user_inventory", "a"), ("user_mail", "m")):
        record = given[table].pop(("hana", old))
        given[table]["hana", name] = {**record, "id": name}
    place.put(given)
    request = REQUESTS[n % len(REQUESTS)]
    answers = [ask(place.store, decode("claim_mail", {"mail": name}), request) for _ in range(2)]
    assert [answer.replayed for answer in answers] == [False, True]
    rows = place.store.read("hana")
    assert rows is not None
    assert rows["user_mail"]["hana", name]["claimed"]
    assert ("hana", name) in rows["user_inventory"]
    assert invariants.breaches(rows, [request]) == []


def test_names_of_a_legacy_row_come_back(place: Place) -> None:
    rows, _ = renamed("apply_preset", "hana")
    row = builders.legacy_row(rows)
    decoded = codec.decode_row(row, rowid=1)
    assert decoded.findings == []
    again = codec.encode_row(decoded.rows, tuple(row))
    assert again["inventory"] == row["inventory"]
    assert again["equipmentPresets"] == row["equipmentPresets"]
    place.put(rows)
    (player,) = (str(key[0]) for key in rows["users"])
    read = place.store.read(player)
    assert read is not None
    assert [*differences(read, rows)] == []


def test_the_names_are_of_every_form() -> None:
    names = [quoted_names.name(n) for n in range(20)]
    assert len({*names}) == 20
    assert max(len(name.encode()) for name in names) == KEY_BYTES
    assert len({name.casefold() for name in names}) < 20
    for char in "'\";-$\\%?#&+/{}\t ":
        assert any(char in name for name in names), char
