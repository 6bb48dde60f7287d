"""A document that a command does not need may hold its player all the same, whatever was read of him before."""

from __future__ import annotations

from contextlib import closing

import pytest

from db.samples import builders
from game.errors import Refused
from game.legacy.codec.document import Group
from game.legacy.codec.mapping import USERS
from game.legacy.sqlite_values import Cell, quote
from game.legacy.store import LegacyStore
from game.rules.commands import Enhance
from game.unit_of_work import FenceState
from tests.game.legacy.test_legacy_store import HANA, opened, row
from tests.game.places import LegacyPlace
from tests.game.playing_on_stores import ask

UNREADABLE: tuple[Cell, ...] = ("{", '[{"id":', b"\x00", 7)
PLAYS = "not_enough_material"
"""The refusal of a player who may play: he has no stones."""

UNNEEDED = [group for group in USERS.groups if group.holds and group.tables.isdisjoint(Enhance.tables)]


@pytest.fixture
def hana(legacy: LegacyPlace) -> LegacyPlace:
    legacy.put(builders.player("hana", **{**HANA, "bag": {"fan": "푸른 바람 부채", "fan2": "은결 바람 부채"}}))
    return legacy


def put(place: LegacyPlace, column: str, cell: Cell) -> None:
    with opened(place.path) as connection:
        connection.execute(f"UPDATE users SET {quote(column)} = ?", (cell,))


def refusal(place: LegacyPlace) -> str:
    """Return what a command that needs the bag alone is refused for."""
    with pytest.raises(Refused) as refused:
        ask(place.store, Enhance("fan"))
    return refused.value.code


def test_there_are_documents_that_are_read_only_because_they_may_hold_a_player() -> None:
    assert {"mail", "quests"} <= {column for group in UNNEEDED for column in group.columns}


@pytest.mark.parametrize("group", UNNEEDED, ids=lambda group: group.columns[0])
@pytest.mark.parametrize("cell", UNREADABLE, ids=repr)
def test_one_that_can_not_be_read_any_more_holds_the_player_whose_last_one_was_read(
    hana: LegacyPlace, group: Group, cell: Cell
) -> None:
    column = next(one.column for one in group.documents if one.holds)
    readable = row(hana.path)[column]
    assert refusal(hana) == refusal(hana) == "not_enough_material", (
        "the commands before, after which it need not be read again"
    )
    put(hana, column, cell)
    held = refusal(hana)
    assert refusal(hana) == held, "a document that holds is not taken for one that was read and held nobody"
    put(hana, column, readable)
    assert refusal(hana) == PLAYS
    put(hana, column, cell)
    assert refusal(hana) == held
    assert held == "player_held"


def test_the_first_command_of_a_player_who_was_made_known_reads_what_it_needs_alone(
    hana: LegacyPlace, read: list[set[str]]
) -> None:
    unneeded = {column for group in UNNEEDED for column in group.columns}
    with closing(LegacyStore(hana.path)) as store:
        store.acquaint("hana")
        store.acquaint("nobody")
        assert unneeded <= read.pop(), "all that may hold him was read ahead"
        for request in ("r1", "r2"):
            with pytest.raises(Refused):
                ask(store, Enhance("fan"), request)
    assert len(read) == 2
    assert not unneeded & (read[0] | read[1])


@pytest.mark.parametrize("state", ["fenced", "moved"])
def test_a_player_is_made_known_to_a_file_that_is_not_open(
    hana: LegacyPlace, read: list[set[str]], state: FenceState
) -> None:
    """The game is elsewhere, and may come back."""
    hana.fence(state)
    with closing(LegacyStore(hana.path)) as store:
        store.acquaint("hana")
        hana.lift()
        read.clear()
        with pytest.raises(Refused):
            ask(store, Enhance("fan"))
    assert not read[0] & {column for group in UNNEEDED for column in group.columns}


def test_a_player_who_is_held_stays_so_when_he_was_made_known(hana: LegacyPlace) -> None:
    put(hana, "mail", "{")
    with closing(LegacyStore(hana.path)) as store:
        store.acquaint("hana")
        with pytest.raises(Refused) as refused:
            ask(store, Enhance("fan"))
    assert refused.value.code == "player_held"
