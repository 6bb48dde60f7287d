"""Nothing that is answered foretells a draw: no refusal, no other player's key, no other body, no other epoch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from db import ops
from db.samples import builders
from db.schema import draws
from game.errors import Refused
from game.legacy import draws as legacy_draws
from game.legacy import sqlite_values
from game.rules.actions import perform
from game.rules.chance import Chance
from game.rules.commands import COMMANDS, Command, Convert, Disassemble, ExpandBag, OpenBundle, decode
from game.rules.player import Player
from tests.game.examples import EXAMPLES, FAN, STONE
from tests.game.places import LegacyPlace, Place, PostgresPlace
from tests.game.playing_on_stores import NOON_MS, ask

SECRET = "the secret of tests"
REMEMBERED = [f"remembered-{n}" for n in range(12)]
BUNDLE = {"bundle": {"name": "다이아 꾸러미3", "quantity": 50}}

# The bag has room for a part of what may be drawn; once it is expanded, for all of it.
NEARLY_FULL: dict[str, tuple[Command, dict[str, object]]] = {
    "convert": (
        Convert("중급 강화석", "down", 2),
        {
            "places": {"material": 2},
            "bag": {"low": {"name": STONE, "quantity": 91}, "mid": {"name": "중급 강화석", "quantity": 50}},
        },
    ),
    "disassemble": (
        Disassemble("fan"),
        {"places": {"material": 1}, "bag": {"fan": {"name": FAN, "stars": 1}, "low": {"name": STONE, "quantity": 95}}},
    ),
}


def give_epoch(place: Place, epoch: str) -> None:
    """As a move that keeps the writes does."""
    if isinstance(place, PostgresPlace):
        with ops.connect(place.database.owner) as conn:
            draws.give(conn, epoch)
    else:
        assert isinstance(place, LegacyPlace)
        with closing(sqlite_values.connect(place.path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            legacy_draws.write(connection, epoch)
            connection.execute("COMMIT")


def outcomes(place: Place, player: str) -> list[object]:
    place.put(builders.player(player, bag=BUNDLE))
    return [ask(place.store, OpenBundle("bundle"), key, player=player).outcome for key in REMEMBERED]


def amounts(epoch: str) -> list[object]:
    """Return what the rules alone draw for hana in the epoch."""
    drawn = []
    for key in REMEMBERED:
        chance = Chance(SECRET, key)
        chance.enter(epoch)
        command = OpenBundle("bundle")
        player = Player(builders.player("hana", bag=BUNDLE), key, NOON_MS, chance, command.body())
        drawn.append(perform(player, command))
    return drawn


@pytest.mark.parametrize("epoch", ["", "a", "another epoch"])
def test_both_stores_draw_alike_in_one_epoch(postgres: PostgresPlace, legacy: LegacyPlace, epoch: str) -> None:
    for place in (postgres, legacy):
        give_epoch(place, "an earlier one")
        give_epoch(place, epoch)
        assert outcomes(place, "hana") == amounts(epoch)


def test_an_epoch_draws_anew_and_no_epoch_as_before_there_were_any() -> None:
    drawn = [tuple(str(one) for one in amounts(epoch)) for epoch in ("", "a", "b", "")]
    assert drawn[0] == drawn[3]
    assert len(set(drawn)) == 3
    before = Chance(SECRET, "r1").draw("amount", 1, 10**9, of="hana")
    chance = Chance(SECRET, "r1")
    chance.enter("")
    assert chance.draw("amount", 1, 10**9, of="hana") == before == 374137738


def test_a_receipt_is_answered_as_it_was_in_any_epoch(place: Place) -> None:
    first = outcomes(place, "hana")
    give_epoch(place, "a new one")
    for key, outcome in zip(REMEMBERED, first, strict=True):
        again = ask(place.store, OpenBundle("bundle"), key)
        assert (again.outcome, again.replayed) == (outcome, True)


def test_tables_from_before_the_epochs_draw_as_they_did(postgres: PostgresPlace) -> None:
    with ops.connect(postgres.database.owner) as conn:
        conn.execute("alter view fence_state rename column draw_epoch to another")
    assert outcomes(postgres, "hana") == amounts("")


def test_an_epoch_is_shown_nowhere(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    epoch = "an-epoch-that-nobody-may-see"
    give_epoch(place, epoch)
    place.put(builders.player("hana", bag=BUNDLE))
    with place.store.begin() as unit:
        loaded = unit.load("hana", "r1", OpenBundle.tables)
    assert loaded is not None
    assert loaded.draw_epoch == epoch
    assert epoch not in f"{loaded!r} {place.store.status()!r} {place.store.read('hana')!r} {caplog.text}"


@pytest.mark.parametrize("action", NEARLY_FULL)
def test_a_refusal_does_not_tell_what_is_drawn_once_there_is_room(place: Place, action: str) -> None:
    """Keys that are refused because they draw much are as good as any others once the bag has room."""
    command, given = NEARLY_FULL[action]
    refused, drawn = 0, set()
    for n in range(60):
        player = f"player-{n}"
        place.put(builders.player(player, diamonds=10_000, **given))
        end = end_of(lambda player=player: ask(place.store, command, "tried", player=player))
        if isinstance(end, Refused):
            assert end.code == "bag_full"
            refused += 1
            ask(place.store, ExpandBag("material"), "room", player=player)
            items = ask(place.store, command, "tried", player=player).outcome["items"]
            assert isinstance(items, dict)
            drawn.add(items[STONE] <= fits(given))
    assert 3 < refused < 57, "the bag is to be such that some draws fit and some do not"
    assert drawn == {True, False}, "every key that was refused drew more than had fitted: the refusals told them apart"


def fits(given: dict[str, object]) -> int:
    bag = given["bag"]
    assert isinstance(bag, dict)
    return 100 - int(bag["low"]["quantity"])


def test_a_refusal_for_a_balance_tells_nothing_once_some_of_it_is_spent(place: Place) -> None:
    """Of a bundle of 20 to 50 diamonds with room for 35."""
    full = 2**63 - 1 - 35
    refused, drawn = 0, set()
    for n in range(40):
        player = f"player-{n}"
        place.put(builders.player(player, diamonds=full, bag=BUNDLE))
        end = end_of(lambda player=player: ask(place.store, OpenBundle("bundle"), "tried", player=player))
        if isinstance(end, Refused):
            refused += 1
            ask(place.store, ExpandBag("material"), "spent", player=player)
            amount = ask(place.store, OpenBundle("bundle"), "tried", player=player).outcome["diamonds"]
            assert isinstance(amount, int)
            drawn.add(amount <= 35)
    assert 3 < refused < 37
    assert drawn == {True, False}


@pytest.mark.parametrize("action", [action for action, command in COMMANDS.items() if command.draws])
def test_no_other_refusal_follows_a_draw(action: str) -> None:
    """Whatever draws is refused before its first draw, or draws by the bag, whose contents decide the refusal."""
    command = NEARLY_FULL[action][0] if action in NEARLY_FULL else decode(action, EXAMPLES[action].fields)
    full = {"places": {"material": 1, "equipment": 1, "consumable": 1}}
    given = {**EXAMPLES[action].given, **(NEARLY_FULL[action][1] if action in NEARLY_FULL else {})}
    for short in ({}, full, *({name: None} for name in ("gold", "bag", "level", "tournaments"))):
        wished = {name: value for name, value in (given | short).items() if value is not None}
        for n in range(20):
            chance = Noting(SECRET, f"r{n}")
            player = Player(builders.player("hana", **wished), f"r{n}", NOON_MS, chance, command.body())
            bag = player.bag.contents()
            end = end_of(lambda player=player: perform(player, command))
            if isinstance(end, Refused):
                assert all(of.endswith(bag) for of in chance.drawn_of), (short, end.code)


class Noting(Chance):
    """Notes what each draw is made of."""

    def __init__(self, secret: str, request_id: str) -> None:
        super().__init__(secret, request_id)
        self.drawn_of: list[str] = []

    def _number(self, name: str, n: int, of: str) -> int:
        self.drawn_of.append(of)
        return super()._number(name, n, of)


def test_a_key_that_won_for_one_player_draws_anew_for_another(place: Place) -> None:
    assert outcomes(place, "hana") != outcomes(place, "dodo")
    give_epoch(place, "one epoch for all")
    assert outcomes(place, "minho") != outcomes(place, "sora")


def test_one_key_with_two_bodies_at_once_is_granted_to_one_and_tells_nothing_of_the_other(place: Place) -> None:
    place.put(builders.player("hana", bag={f"stone{n}": {"name": STONE, "quantity": 100} for n in range(2)}))
    bodies = [Convert(STONE, "up", times) for times in (1, 2)]
    for n in range(6):
        ends = at_once([lambda body=body, n=n: ask(place.store, body, f"r{n}") for body in bodies])
        granted = [end for end in ends if not isinstance(end, Refused)]
        refused = [end for end in ends if isinstance(end, Refused)]
        assert len(granted) == 1, ends
        assert [(error.code, error.detail) for error in refused] == [("request_reused", f"r{n}")]
    rows = place.store.read("hana")
    assert rows is not None
    assert len(rows["action_receipts"]) == 6


def end_of(act: Callable[[], object]) -> object:
    """Return its result, or its refusal."""
    try:
        return act()
    except Refused as refused:
        return refused


def at_once(acts: list[Callable[[], object]]) -> list[object]:
    """Begin all together, and return how each ends."""
    together, ends = threading.Barrier(len(acts)), [object()] * len(acts)

    def run(place: int) -> None:
        together.wait()
        ends[place] = end_of(acts[place])

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ends
