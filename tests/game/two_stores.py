"""Two stores of one game, the legacy file and Postgres, and moves between them as a runbook makes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pytest

from db import ops, transfer
from db.ops import fence
from db.transfer.write_back import write_back
from game.legacy import fence as legacy_fence
from game.legacy import identity, sqlite_values
from game.legacy.fence_schema import Owner
from game.service.metrics import Metrics
from game.service.pair import ProbedStore, StorePair
from game.stores import open_probe, open_store
from game.unit_of_work import Engine, FenceState
from harness.databases import Database
from tests.game.places import LegacyPlace, PostgresPlace

RUN = "20260101_000000_ab12"
POOL = 4
OTHER_ENGINE: dict[Engine, Engine] = {"legacy": "postgres", "postgres": "legacy"}


@dataclass
class TwoStores:
    """The game's two stores. Postgres is fenced and empty to begin with."""

    legacy: LegacyPlace
    postgres: PostgresPlace

    def url(self, engine: Engine) -> str:
        return self.legacy.url if engine == "legacy" else self.postgres.url

    def identity(self, engine: Engine) -> str:
        if engine == "legacy":
            return identity.of(self.legacy.path)
        with ops.connect(self.postgres.database.owner) as conn:
            return ops.identity(conn)

    def turn(self, engine: Engine, state: FenceState, peer: str | None, pass_token: str | None = None) -> None:
        """Turn a store's fence; peer: the identity that it names, None for nobody."""
        owner = None if peer is None else Owner(RUN, peer)
        if engine == "legacy":
            with closing(sqlite_values.connect(self.legacy.path)) as conn:
                if state == "open":
                    legacy_fence.lift(conn)
                else:
                    legacy_fence.raise_fence(conn, state=state, pass_token=pass_token, owner=owner)
            return
        with ops.connect(self.postgres.database.owner) as conn:
            fence.raise_fence(conn, pass_token=pass_token, owner=owner, state="fenced" if state == "open" else state)
            if state == "open":
                fence.lift(conn)

    def close(self, engine: Engine, state: FenceState = "fenced", *, pass_token: str | None = None) -> None:
        """Close a store for the other one, which it names."""
        self.turn(engine, state, self.identity(OTHER_ENGINE[engine]), pass_token)

    def open(self, engine: Engine) -> None:
        """Open a store; Postgres names the file from then on, the file nobody."""
        self.turn(engine, "open", self.identity(OTHER_ENGINE[engine]))

    def cut_over(self) -> None:
        """Move the players to Postgres, by the codec and with all proofs."""
        with self.cutting_over():
            pass

    @contextmanager
    def cutting_over(self) -> Iterator[None]:
        """Do so; the block runs in the window, when everything is copied and neither store is open."""
        token = fence.new_pass()
        self.close("postgres", pass_token=token)
        self.close("legacy")
        transfer.load(self.legacy.path, self.postgres.database.owner, run=RUN, pass_token=token)
        yield
        self.open("postgres")
        self.close("legacy", "moved")

    def roll_back(self) -> None:
        """Move the players back to the file."""
        with self.rolling_back():
            pass

    @contextmanager
    def rolling_back(self) -> Iterator[None]:
        """Do so; the block runs in the window."""
        token = fence.new_pass()
        self.close("legacy", pass_token=token)
        self.close("postgres")
        write_back(self.postgres.database.owner, self.legacy.path, pass_token=token)
        yield
        self.close("postgres", "moved")
        self.open("legacy")

    def side(self, engine: Engine, metrics: Metrics | None = None) -> ProbedStore:
        return side(self.url(engine), metrics)

    @contextmanager
    def pair(self, first: Engine = "legacy", metrics: Metrics | None = None) -> Iterator[StorePair]:
        """A process's two stores, of which `first` is named by DATABASE_URL."""
        made = StorePair(self.side(first, metrics), self.side(OTHER_ENGINE[first], metrics))
        try:
            yield made
        finally:
            made.close()


def side(url: str, metrics: Metrics | None = None) -> ProbedStore:
    watch = {} if metrics is None else {"watch": metrics}
    return ProbedStore(open_store(url, pool_size=POOL, **watch), open_probe(url))


@pytest.fixture
def two_stores(legacy: LegacyPlace, fenced_database: Database) -> Iterator[TwoStores]:
    """The file is open, Postgres is migrated, fenced and empty."""
    postgres = PostgresPlace(fenced_database)
    yield TwoStores(legacy, postgres)
    postgres.close()
