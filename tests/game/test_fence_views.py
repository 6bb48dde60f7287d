"""Each store shows its fence and the other store that it names, to the service's role too."""

from __future__ import annotations

from contextlib import closing

import pytest
from sqlalchemy.pool import QueuePool

from db import ops
from db.ops import fence
from game.errors import Fenced, Moved
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values
from game.legacy.fence_schema import Owner
from game.legacy.store import LegacyStore
from game.postgres import statements
from game.postgres.store import PostgresStore
from game.rules.commands import COMMANDS
from game.unit_of_work import FenceState, FenceView
from tests.game.places import LegacyPlace, Place, PostgresPlace

OWNER = Owner("20260101_000000_ab12", "the other store")


@pytest.mark.parametrize("state", ["fenced", "moved"])
def test_a_fence_on_postgres_names_run_and_file_until_another_names_none(
    postgres: PostgresPlace, state: FenceState
) -> None:
    store = PostgresStore(postgres.database.service)
    with closing(store), ops.connect(postgres.database.owner) as conn:
        identity = ops.identity(conn)
        assert store.fence_view() == FenceView(identity, "open")
        assert store.status().identity == identity
        fence.raise_fence(conn, state=state, owner=OWNER)
        assert store.fence_view() == FenceView(identity, state, OWNER.target, OWNER.run)
        assert fence.recorded_owner(conn) == OWNER
        fence.lift(conn)
        assert store.fence_view() == FenceView(identity, "open", OWNER.target, OWNER.run)
        fence.raise_fence(conn)
        assert store.fence_view() == FenceView(identity, "fenced")
        assert fence.recorded_owner(conn) is None


@pytest.mark.parametrize("state", ["fenced", "moved"])
def test_a_fence_on_the_file_names_run_and_database_until_it_is_lifted(legacy: LegacyPlace, state: FenceState) -> None:
    store = LegacyStore(legacy.path)
    with closing(store), closing(sqlite_values.connect(legacy.path)) as conn:
        identity = store.status().identity
        assert store.fence_view() == FenceView(identity, "open")
        legacy_fence.raise_fence(conn, state=state, owner=OWNER)
        assert store.fence_view() == FenceView(identity, state, OWNER.target, OWNER.run)
        legacy_fence.lift(conn)
        assert store.fence_view() == FenceView(identity, "open")


def test_tables_before_the_names_are_read_without_them(postgres: PostgresPlace) -> None:
    with ops.connect(postgres.database.owner) as conn:
        conn.execute("drop view fence_state")
        conn.execute("create view fence_state as select 'open'::text as state, 'test' as environment, '' as draw_epoch")
        conn.execute(f'grant select on fence_state to "{postgres.database.service.user}"'.encode())
    with closing(PostgresStore(postgres.database.service)) as store:
        assert store.fence_view() == FenceView(None, "open")
        assert store.status().identity is None


def test_a_state_is_read_only_of_an_open_store_where_that_is_asked(place: Place) -> None:
    store = place.store
    assert isinstance(store, PostgresStore | LegacyStore)
    assert store.state_if_open("nobody") is None
    place.fence()
    with pytest.raises(Fenced):
        store.state_if_open("nobody")
    assert store.state("nobody") is None
    place.fence("moved")
    with pytest.raises(Moved):
        store.state_if_open("nobody")


def test_a_warm_pool_opens_all_of_its_connections(place: Place) -> None:
    store = place.store
    assert isinstance(store, PostgresStore | LegacyStore)
    statements.load.cache_clear()
    store.warm()
    if isinstance(store, PostgresStore):  # Its SQL is compiled by then; SQLite's store compiles none.
        compiled = statements.load.cache_info().currsize
        assert compiled > len({command.tables for command in COMMANDS.values()})
    pool = store._pool if isinstance(store, LegacyStore) else store._engine.pool
    assert isinstance(pool, QueuePool)
    assert pool.checkedin() == 4
