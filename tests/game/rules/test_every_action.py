"""Tests what holds of every action, on both stores: granted once, all or nothing, kept before it is answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

import pytest
import sqlalchemy as sa

from game.dispatch import Request, dispatch
from game.errors import Refused, StoreUnavailable
from game.postgres.store import PostgresStore
from game.rows import Rows, compare
from game.rules.actions import perform
from game.rules.chance import Chance
from game.rules.commands import COMMANDS
from game.rules.player import Player
from game.stores import open_store
from harness.play import differential, invariants
from tests.game.examples import EXAMPLES, command
from tests.game.places import LegacyPlace, Place, PostgresPlace
from tests.game.playing_on_stores import NOON_MS, Failing, ask, lost

every_action = pytest.mark.parametrize("action", sorted(COMMANDS))


class Broken(Exception):
    """A defect of ours: nothing that a store or the loop knows."""


def read(place: Place) -> Rows:
    rows = place.store.read("hana")
    assert rows is not None
    return rows


@pytest.fixture
def before(place: Place, action: str) -> Rows:
    place.put(EXAMPLES[action].player())
    return read(place)


def test_every_action_has_an_example() -> None:
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.mark.plan(29)
@every_action
def test_it_is_granted_adds_up_and_leaves_one_receipt(place: Place, before: Rows, action: str) -> None:
    answer = ask(place.store, command(action))
    after = read(place)
    assert not answer.replayed
    assert compare(before, after)
    assert invariants.breaches(after, ["r1"], opening=before) == []
    assert invariants.still_readable(before, after) == []
    assert invariants.order_kept(before, after) == []
    assert list(after["action_receipts"]) == [("hana", "r1")]


@every_action
def test_the_same_request_again_answers_the_same_and_changes_nothing(place: Place, before: Rows, action: str) -> None:
    first = ask(place.store, command(action))
    once = read(place)
    again = ask(place.store, command(action))
    assert (again.outcome, again.replayed) == (first.outcome, True)
    assert compare(once, read(place)) == {}


@every_action
def test_it_is_kept_before_it_is_answered(place: Place, before: Rows, action: str) -> None:
    ask(place.store, command(action))
    with closing(open_store(place.url, pool_size=1)) as another:
        seen = another.read("hana")
    assert seen is not None
    assert compare(read(place), seen) == {}
    assert ("hana", "r1") in seen["action_receipts"]


@every_action
@pytest.mark.parametrize("step", ["load", "save", "commit"])
def test_nothing_is_left_after_a_raise_in_the_store(place: Place, before: Rows, action: str, step: str) -> None:
    with pytest.raises(Broken):
        ask(Failing(place.store, step, Broken()), command(action))
    assert compare(before, read(place)) == {}


@every_action
@pytest.mark.parametrize("step", ["load", "save", "commit", "committed"])
def test_an_attempt_that_is_lost_is_made_up_for(place: Place, before: Rows, action: str, step: str) -> None:
    answer = ask(Failing(place.store, step, lost()), command(action))
    assert answer.replayed is (step == "committed")
    assert invariants.breaches(read(place), ["r1"]) == []
    assert invariants.receipts(read(place), [("hana", "r1")], []) == []


@every_action
def test_what_is_given_up_is_whole_or_absent_and_the_retry_settles_it(place: Place, before: Rows, action: str) -> None:
    with pytest.raises(StoreUnavailable):
        ask(Failing(place.store, "save", lost(), times=9), command(action))
    assert compare(before, read(place)) == {}
    assert not ask(place.store, command(action)).replayed


@every_action
def test_nothing_is_left_after_a_raise_at_any_draw(place: Place, before: Rows, action: str) -> None:
    for n in range(1, draws_of(action) + 1):
        with pytest.raises(Broken):
            dispatch(
                place.store,
                Request("hana", "r1", command(action)),
                clock=lambda: NOON_MS,
                chance=lambda request, n=n: Breaking(request, n),
            )
        assert compare(before, read(place)) == {}, f"draw {n}"


@every_action
def test_a_refusal_in_the_middle_leaves_nothing(place: Place, before: Rows, action: str) -> None:
    """As late as can be: the rules have done all their work, and then say no."""
    with pytest.raises(Refused):
        ask(Failing(place.store, "save", Refused("bag_full")), command(action))
    assert compare(before, read(place)) == {}


@pytest.mark.plan(28)
@every_action
def test_nothing_is_left_after_a_raise_at_any_statement(postgres: PostgresPlace, action: str) -> None:
    postgres.put(EXAMPLES[action].player())
    n = 1
    while breaks_at(postgres, action, n):
        n += 1
    assert n > 3, "lock, load and save at the least"
    assert list(read(postgres)["action_receipts"]) == [("hana", f"b{n}")]


@pytest.mark.plan(29)
@every_action
def test_both_stores_answer_alike_and_end_alike(postgres: PostgresPlace, legacy: LegacyPlace, action: str) -> None:
    player = EXAMPLES[action].player()
    for place in (postgres, legacy):
        place.put(player)
    assert ask(postgres.store, command(action)) == ask(legacy.store, command(action))
    assert list(differential.differences(read(postgres), read(legacy))) == []


class Breaking(Chance):
    """Breaks at its n-th draw; counts them where n is 0."""

    def __init__(self, request_id: str, n: int, overrides: Mapping[str, int | float] | None = None) -> None:
        super().__init__("the secret of tests", request_id, overrides)
        self.n, self.drawn = n, 0

    def _next(self, name: str) -> tuple[str, int]:
        self.drawn += 1
        if self.drawn == self.n:
            raise Broken
        return super()._next(name)


def draws_of(action: str) -> int:
    """Count the draws that the example makes, on rows alone."""
    chance = Breaking("r1", 0)
    perform(Player(EXAMPLES[action].player(), "r1", NOON_MS, chance), command(action))
    return chance.drawn


def breaks_at(place: PostgresPlace, action: str, n: int) -> bool:
    """Ask with a raise right after the n-th statement; whether there was one, and then that nothing is left."""
    before = read(place)
    with breaking_statement(place, n) as struck:
        try:
            ask(place.store, command(action), f"b{n}")
        except Broken:
            assert compare(before, read(place)) == {}, f"statement {n}"
    return bool(struck)


@contextmanager
def breaking_statement(place: PostgresPlace, n: int) -> Iterator[list[str]]:
    assert isinstance(place.store, PostgresStore)
    seen: list[str] = []
    struck: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)
        if len(seen) == n and not struck:
            struck.append(statement)
            raise Broken

    engine = place.store._engine
    sa.event.listen(engine, "after_cursor_execute", note)
    try:
        yield struck
    finally:
        sa.event.remove(engine, "after_cursor_execute", note)
