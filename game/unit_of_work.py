"""The interface of a store: one unit of work an attempt. dispatch uses either store through it."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal, Protocol

from game.chain import Head
from game.rows import Rows

Engine = Literal["postgres", "legacy"]
FenceState = Literal["open", "fenced", "moved"]
UnitStatement = Literal["lock", "load", "save", "commit"]
"""The statements of a unit of work, in this order."""


@dataclass(frozen=True, slots=True)
class LoadedPlayer:
    """A player whom nobody else can change until the unit ends.

    rows: `users` and the tables asked for; the request's own action_receipts, under either form of its key
    (`game.idempotency`); and the player's player_openings. A player without an opening also gets user_inventory, so
    that the opening can be written.
    head: the player's newest receipt; None where receipts get no numbers yet: the database is before the revision that
    numbers those of earlier versions, or the file is fenced, and nothing can be written.
    draw_epoch: mixed into every draw (`game.rules.chance`); "" until the store's writes were given up for the first
    time.
    """

    rows: Rows
    fence: FenceState
    head: Head | None
    draw_epoch: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The state of the store that a process serves. `store` is the same for every process on one database.

    lacks: a sentence that names the columns of game.tables missing from the store, and the remedy; "" if none is.
    identity: the name by which the fence of another store calls this one. No copy of the store shares it; None if the
    database has none yet.
    """

    engine: Engine
    store: str
    marker: str | None
    schema_head: str | None
    fence: FenceState
    lacks: str = ""
    identity: str | None = None


@dataclass(frozen=True, slots=True)
class FenceView:
    """A store's fence as the store itself shows it. identity: see `StoreStatus`.

    peer: the identity of the other store of the move, as this one's fence names it; run: the move. None: none is named.
    """

    identity: str | None
    state: FenceState
    peer: str | None = None
    run: str | None = None


class Watch(Protocol):
    """Counts what a store does; each method but the last is a context that is entered for as long as it lasts."""

    def waiting(self) -> AbstractContextManager[object]:
        """Enter while waiting for a connection of the pool, or for a new one."""
        ...

    def holding(self) -> AbstractContextManager[object]:
        """Enter while holding a connection of the pool."""
        ...

    def asking(self, statement: UnitStatement) -> AbstractContextManager[object]:
        """Enter while the database carries out the statement."""
        ...

    def rolled_back(self) -> None:
        """Count a unit of work that ended with an error; nothing of it was kept."""
        ...


class Unwatched:
    """A `Watch` that counts nothing."""

    def waiting(self) -> AbstractContextManager[object]:
        return nullcontext()

    def holding(self) -> AbstractContextManager[object]:
        return nullcontext()

    def asking(self, statement: UnitStatement) -> AbstractContextManager[object]:
        del statement
        return nullcontext()

    def rolled_back(self) -> None: ...


UNWATCHED = Unwatched()


class Unit(Protocol):
    """One transaction. Leaving it without `commit` rolls back; every method may raise TryAgain, Fenced or Moved."""

    def load(self, player: str, request_id: str, tables: Collection[str]) -> LoadedPlayer | None:
        """Lock the player, then read; None where there is no such player."""
        ...

    def save(self, before: Rows, after: Rows) -> None:
        """Write what differs, journals included, and nothing else."""
        ...

    def commit(self) -> None:
        """Keep it all. TryAgain here may mean that it was kept: the next attempt finds its receipt."""
        ...


class Store(Protocol):
    """A store of players: Postgres, SQLite, or memory."""

    @property
    def engine(self) -> Engine:
        """Return which kind of store it is."""
        ...

    def begin(self, fence_pass: str | None = None) -> AbstractContextManager[Unit]:
        """Return a unit of work; with a valid pass it may write to a fenced store."""
        ...

    def state(self, player: str) -> Rows | None:
        """Return the player's state, without journals, as of one instant. Raises Moved, TryAgain, StoreUnavailable."""
        ...

    def read(self, player: str) -> Rows | None:
        """Return the player's state and all of his journals as of one instant. Raises as `state` does.

        For tests and proofs: its cost grows with all that the player ever did.
        """
        ...

    def status(self) -> StoreStatus:
        """Return the database's identity, and whether it can be written. Raises TryAgain, StoreUnavailable."""
        ...

    def close(self) -> None:
        """Let go of all connections."""
        ...


class PairedStore(Store, Protocol):
    """A store that a process may serve in place of another one; see `game.succession`."""

    def begin(
        self, fence_pass: str | None = None, *, patience_seconds: float | None = None
    ) -> AbstractContextManager[Unit]:
        """Return a unit as `Store` does. patience_seconds: for a lock; None: the store's own."""
        ...

    def fence_view(self) -> FenceView:
        """Read the fence and whom it names, by one small read. Raises TryAgain, StoreUnavailable."""
        ...

    def state_if_open(self, player: str) -> Rows | None:
        """Return what `state` does. Raises Fenced too: a store that is fenced may no longer have the newest state."""
        ...

    def warm(self) -> None:
        """Open every connection of the pool, and have each answer. Raises TryAgain, StoreUnavailable."""
        ...

    def acquaint(self, player: str) -> None:
        """Read the player's documents ahead, so that his first command is faster. Raises TryAgain, StoreUnavailable."""
        ...
