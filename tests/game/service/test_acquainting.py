"""Players who play are made known to the other store, before the game moves there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from queue import Queue

import psycopg
import pytest

from db.ops.fence import new_pass
from db.samples import builders
from game import settings
from game.errors import StoreUnavailable, TryAgain
from game.legacy.store import LegacyStore
from game.service import pair as pairs
from game.service import reports, serving
from game.service.pair import ProbedStore, StorePair
from game.stores import open_probe
from game.succession import StoreChoice
from tests.game.places import LegacyPlace, PostgresPlace
from tests.game.service.running import eventually
from tests.game.service.serving import HANA, OPERATOR, SECRET, TOKEN_SECRET, act, bearer, client_of
from tests.game.service.test_supervisor import assert_connections
from tests.game.two_stores import TwoStores, side, two_stores

__all__ = ["two_stores"]


class Clock:
    """The time of the module; an acquaintance takes `costs` seconds of it."""

    def __init__(self, costs: float = 0.0) -> None:
        self.at, self.costs = 0.0, costs

    def monotonic(self) -> float:
        return self.at


class Noting(LegacyStore):
    """A store that notes whom it is made known, and raises these errors first."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path)
        self.clock = clock
        self.players: list[str] = []
        self.errors: list[Exception] = []

    def acquaint(self, player: str) -> None:
        self.clock.at += self.clock.costs
        if self.errors:
            raise self.errors.pop(0)
        super().acquaint(player)
        self.players.append(player)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pairs, "time", made)
    return made


@pytest.fixture
def other(tmp_path: Path, clock: Clock) -> Noting:
    with closing(LegacyPlace(tmp_path / "other.db")) as place:
        place.put(builders.player("hana", **HANA))
        return Noting(place.path, clock)


@pytest.fixture
def pair(legacy: LegacyPlace, other: Noting, tmp_path: Path) -> Iterator[StorePair]:
    probe = open_probe(f"file:{tmp_path / 'other.db'}")
    with closing(StorePair(side(legacy.url), ProbedStore(other, probe))) as made:
        made.look()
        yield made


def note(pair: StorePair, *players: str) -> None:
    for player in players:
        pair.note_player(player)


def test_who_plays_is_made_known_to_the_other_store_once(pair: StorePair, other: Noting) -> None:
    note(pair, "hana", "hana", "mina", "hana")
    assert other.players == [], "a command waits for nothing of this"
    assert pair.tend()
    assert other.players == ["hana", "mina"]
    note(pair, "mina", "hana", "bora")
    assert pair.tend()
    assert other.players == ["hana", "mina", "bora"]


def test_a_round_lasts_no_longer_than_its_time_and_the_next_goes_on(
    pair: StorePair, other: Noting, clock: Clock
) -> None:
    clock.costs = pairs.ACQUAINT_SECONDS * 0.6
    note(pair, "p0", "p1", "p2", "p3", "p4")
    rounds = [(pair.tend(), len(other.players)) for _ in range(4)]
    assert rounds == [(True, 2), (True, 4), (True, 5), (True, 5)]
    assert other.players == ["p0", "p1", "p2", "p3", "p4"]


@pytest.mark.parametrize("error", [StoreUnavailable("it is away"), TryAgain("tx_rolled_back", "its pool is full")])
def test_a_store_that_is_away_does_no_harm(pair: StorePair, other: Noting, error: Exception) -> None:
    other.errors = [error]
    note(pair, "hana", "mina", "bora")
    assert pair.tend(), "the round went on before, and the store was ready"
    assert other.players == [], "nobody else is asked for, since each could take as long"
    assert pair.tend()
    assert other.players == ["mina", "bora"]
    note(pair, "hana")
    pair.tend()
    assert other.players == ["mina", "bora", "hana"], "who was not made known is tried again when he plays again"


def test_a_store_that_can_not_be_asked_is_not_asked_for_players(legacy: LegacyPlace, tmp_path: Path) -> None:
    with closing(StorePair(side(legacy.url), side(f"file:{tmp_path}/away.db"))) as pair:
        note(pair, "hana")
        assert not pair.tend()
        note(pair, "hana")
        assert not pair.tend()


def test_with_too_many_who_wait_the_earliest_are_left_out(pair: StorePair, other: Noting) -> None:
    players = [f"p{n}" for n in range(pairs.RECENT_PLAYERS + 3)]
    note(pair, *players)
    pair.tend()
    assert other.players == players[3:]


def test_with_too_many_who_are_known_all_are_forgotten(
    pair: StorePair, other: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "KNOWN_PLAYERS", 2)
    note(pair, "hana", "mina", "bora", "hana", "bora")
    pair.tend()
    assert other.players == ["hana", "mina", "bora", "hana"]


def test_after_a_move_the_store_that_was_left_is_made_known_who_plays(
    two_stores: TwoStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was known to Postgres is not known to the file for that."""
    asked: list[str] = []
    monkeypatch.setattr(LegacyStore, "acquaint", lambda _store, player: asked.append(player))
    two_stores.legacy.put(builders.player("hana"))
    with two_stores.pair() as pair:
        note(pair, "hana")
        pair.tend()
        assert asked == []
        two_stores.cut_over()
        assert pair.look() is StoreChoice.FOLLOW
        note(pair, "hana")
        pair.tend()
    assert asked == ["hana"]


def test_a_command_notes_its_player_unless_it_bears_the_pass(
    pair: StorePair, legacy: LegacyPlace, other: Noting
) -> None:
    """Who bears the pass is a canary of the smoke test."""
    token = new_pass()
    for player in ("hana", "mina"):
        legacy.put(builders.player(player, **HANA))
    with client_of(pair) as client:
        legacy.fence(pass_token=token)
        assert act(client, headers={"X-Fence-Pass": token, **OPERATOR}).is_success
        legacy.lift()
        assert act(client, headers=bearer("mina"), player="mina").is_success
        eventually(lambda: someone_is_known(other))
    assert other.players == ["mina"]


def someone_is_known(store: Noting) -> None:
    assert store.players


@pytest.mark.parametrize("error", [None, ZeroDivisionError()], ids=["it hangs", "it is broken"])
def test_a_next_store_that_does_not_answer_keeps_no_process_from_loading(
    pair: StorePair, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    ended, reported = threading.Event(), Queue[Exception]()

    def tend(_pair: StorePair) -> bool:
        if error:
            raise error
        return ended.wait(60)

    monkeypatch.setattr(StorePair, "tend", tend)
    monkeypatch.setattr(serving, "NEXT_SECONDS", 60.0 if error else 0.01)
    monkeypatch.setattr(reports, "report", lambda error, _about: reported.put(error))
    serving._reach_next(pair)
    ended.set()
    if error:
        assert reported.get(timeout=60) is error


@pytest.mark.parametrize("warm", [True, False])
def test_a_process_that_loads_beside_others_opens_its_other_store_too_before_it_has_loaded(
    legacy: LegacyPlace, postgres: PostgresPlace, monkeypatch: pytest.MonkeyPatch, warm: bool
) -> None:
    monkeypatch.setenv("DATABASE_URL", legacy.url)
    monkeypatch.setenv("DATABASE_URL_NEXT", postgres.url)
    monkeypatch.setenv("POOL_SIZE", "3")
    monkeypatch.setenv("CHANCE_SECRET", SECRET)
    monkeypatch.setenv("TOKEN_SECRET", TOKEN_SECRET)
    monkeypatch.delenv("SUDAMR_ENV_FILE", raising=False)
    made: list[StorePair] = []
    monkeypatch.setattr(serving, "create_app", lambda pair, **_options: made.append(pair))
    monkeypatch.setattr(serving, "server", lambda *_: None)
    serving._server(settings.load(), 1, 2, warm=warm)
    (pair,) = made
    with closing(pair), psycopg.connect(postgres.database.owner.conninfo, autocommit=True) as owner:
        assert pair.second.warm == warm
        assert_connections(owner, 3 + 1 if warm else 0)  # The pool, and the one of the probe.
