"""Which of two real stores a process serves, for each state of both fences, each name, and a store that is away."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from db import ops
from db.samples import builders
from game.service.pair import StorePair
from game.succession import StoreChoice
from game.unit_of_work import Engine, FenceState
from harness.databases import Databases
from tests.game.places import PostgresPlace
from tests.game.two_stores import OTHER_ENGINE, TwoStores, side, two_stores

__all__ = ["two_stores"]

STATES: tuple[FenceState, ...] = ("open", "fenced", "moved")
NAMES = ("nobody", "the other", "a third")


def _peer(two: TwoStores, names: str, engine: Engine) -> str | None:
    return {"nobody": None, "a third": "a third"}.get(names, two.identity(OTHER_ENGINE[engine]))


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("first", ["legacy", "postgres"])
def test_the_other_store_is_served_where_it_is_open_and_both_name_each_other(
    two_stores: TwoStores, first: Engine, state: FenceState, names: str
) -> None:
    other = OTHER_ENGINE[first]
    two_stores.turn(first, state, _peer(two_stores, names, first))
    for other_state in STATES:
        for other_names in NAMES:
            two_stores.turn(other, other_state, _peer(two_stores, other_names, other))
            trusted = names == "the other" and (
                other_names != "a third" or (other == "legacy" and other_state == "open")  # An open file names nobody.
            )
            follows = state != "open" and other_state == "open" and trusted
            with two_stores.pair(first) as pair:
                pair.tend()
                assert (pair.look() is StoreChoice.FOLLOW) == follows, (other_state, other_names)
                assert pair.served.engine == (other if follows else first)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("first", ["legacy", "postgres"])
def test_another_store_that_is_away_is_waited_for_and_served_when_it_is_back(
    two_stores: TwoStores, first: Engine, state: FenceState, tmp_path: Path
) -> None:
    other = OTHER_ENGINE[first]
    two_stores.open(other)
    two_stores.turn(first, state, _peer(two_stores, "the other", first))
    away = side(f"file:{tmp_path}/away.db" if other == "legacy" else "postgresql://u@127.0.0.1:1/d")
    with closing(StorePair(two_stores.side(first), away)) as pair:
        assert not pair.tend()
        assert pair.look() is (StoreChoice.STAY if state == "open" else StoreChoice.WAIT)
        assert not pair.next_store().ready
        assert pair.served.engine == first
        pair.second = two_stores.side(other)
        pair.tend()
        assert pair.look() is (StoreChoice.STAY if state == "open" else StoreChoice.FOLLOW)
        away.close()


@pytest.mark.parametrize("first", ["legacy", "postgres"])
def test_a_served_store_that_is_silent_is_never_left(two_stores: TwoStores, first: Engine, tmp_path: Path) -> None:
    """The other one could be yesterday's attempt, open by accident, and named by nobody who still answers."""
    other = OTHER_ENGINE[first]
    two_stores.open(other)
    away = side(f"file:{tmp_path}/away.db" if first == "legacy" else "postgresql://u@127.0.0.1:1/d")
    with closing(StorePair(away, two_stores.side(other))) as pair:
        pair.tend()
        assert pair.look() is StoreChoice.UNKNOWN
        assert pair.served.engine == first
        assert pair.unready() == "the store that is served does not answer"


def test_another_attempts_postgres_is_never_served(two_stores: TwoStores, databases: Databases) -> None:
    """Open, of the same schema and with the same players: but the file says that the game went elsewhere."""
    attempt = databases.clone()
    with closing(PostgresPlace(attempt)) as stale:
        stale.put(builders.player("hana"))
        two_stores.cut_over()
        with closing(StorePair(two_stores.side("legacy"), side(stale.url))) as pair:
            pair.tend()
            assert pair.look() is StoreChoice.REFUSE
            assert pair.served.engine == "legacy"
    databases.drop(attempt)


@pytest.mark.parametrize("placed", ["beside", "in its place"])
def test_another_copy_of_the_file_is_never_served(two_stores: TwoStores, tmp_path: Path, placed: str) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy2(two_stores.legacy.path, copy)
    two_stores.cut_over()
    two_stores.roll_back()
    if placed == "in its place":
        two_stores.legacy.close()
        copy.replace(two_stores.legacy.path)
        copy = two_stores.legacy.path
    with closing(StorePair(two_stores.side("postgres"), side(f"file:{copy}"))) as pair:
        pair.tend()
        assert pair.look() is StoreChoice.REFUSE
        assert pair.served.engine == "postgres"


@pytest.mark.parametrize("first", ["legacy", "postgres"])
def test_the_same_store_by_another_name_is_not_ready_and_not_followed(two_stores: TwoStores, first: Engine) -> None:
    two_stores.turn(first, "fenced", two_stores.identity(first))
    with closing(StorePair(two_stores.side(first), two_stores.side(first))) as pair:
        pair.tend()
        assert pair.look() is StoreChoice.REFUSE
        assert pair.unready() == "it is the store that is served"


def test_a_process_goes_with_the_game_and_comes_back_with_it(two_stores: TwoStores) -> None:
    two_stores.legacy.put(builders.player("hana"))
    with two_stores.pair() as pair:
        pair.tend()
        two_stores.cut_over()
        assert (pair.look(), pair.served.engine) == (StoreChoice.FOLLOW, "postgres")
        assert pair.look() is StoreChoice.STAY
        two_stores.roll_back()
        assert (pair.look(), pair.served.engine) == (StoreChoice.FOLLOW, "legacy")
        two_stores.close("legacy", "fenced")
        assert (pair.look(), pair.served.engine) == (StoreChoice.WAIT, "legacy")


@pytest.mark.parametrize("first", ["legacy", "postgres"])
def test_ready_is_one_that_is_warm_and_that_names_no_third(two_stores: TwoStores, first: Engine) -> None:
    other = OTHER_ENGINE[first]
    with two_stores.pair(first) as pair:
        pair.look()
        shown = pair.next_store()
        assert (shown.engine, shown.store, shown.identity, shown.fence, shown.ready) == (other, None, None, None, False)
        assert pair.tend()
        shown = pair.next_store()
        status = pair.second.store.status()
        assert (shown.store, shown.identity, shown.fence) == (status.store, status.identity, status.fence)
        assert shown.ready
        two_stores.turn(other, "fenced", "a third")
        assert not pair.tend()
        assert "names another store than the one that is served: a third" in pair.unready()


def test_a_database_before_the_names_is_not_ready(two_stores: TwoStores) -> None:
    with ops.connect(two_stores.postgres.database.owner) as conn:
        conn.execute("drop view fence_state")
        conn.execute("create view fence_state as select 'open'::text as state, 'test' as environment, '' as draw_epoch")
        conn.execute(f'grant select on fence_state to "{two_stores.postgres.database.service.user}"'.encode())
    with two_stores.pair() as pair:
        pair.look()
        assert not pair.tend()
        assert pair.unready().endswith("run invoke migrate")


def test_a_database_whose_fence_may_not_be_read_harms_nothing(two_stores: TwoStores) -> None:
    with ops.connect(two_stores.postgres.database.owner) as conn:
        conn.execute(f'revoke select on fence_state from "{two_stores.postgres.database.service.user}"'.encode())
    with two_stores.pair() as pair:
        assert pair.look() is StoreChoice.STAY
        assert not pair.tend()
        assert "permission denied" in pair.unready()
