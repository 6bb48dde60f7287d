"""The parties of a race: a player's command, the fence, a round of the mover. Each has a session behind a proxy.

A party is opened once a race, warm, and run once an order; `proxied.unfence` and `put_back` undo what it did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol, TypeAlias

from db import ops
from db.counts import count
from db.ops import fence
from db.transfer.batches import JOURNALS
from db.transfer.target import Target
from game.errors import Fenced, Moved
from game.legacy import numbering
from game.rows import whole_number
from game.unit_of_work import Store
from harness.play import requests
from harness.play.requests import PreparedRequest
from harness.sweeps.proxied_database import ProxiedDatabase
from harness.wire import Proxy


class Party(Protocol):
    """One session of a race. label: no two of a race have the same."""

    label: str

    def run(self) -> str:
        """Do what the party does, once. Returns in words what came of it; Raised for a defect of the game's."""
        ...

    def close(self) -> None:
        """Close the session, whatever came of the run."""
        ...


Opening: TypeAlias = Callable[[ProxiedDatabase, Proxy], Party]
"""Opens a party's session on the database, by way of the proxy."""


class CommandParty:
    """A player's command, asked until it is answered."""

    def __init__(self, prepared: PreparedRequest, store: Store) -> None:
        self.label = prepared.label
        self._prepared = prepared
        self._store = store

    def run(self) -> str:
        """Return the answer; of a fenced store, that it is."""
        try:
            return requests.carry_out(self._store, self._prepared)
        except (Fenced, Moved) as error:
            return f"refused: {error}"

    def close(self) -> None:
        """Close the store and its connection through the proxy."""
        self._store.close()


class FenceParty:
    """The fence, raised by the owner."""

    label = "the fence"

    def __init__(self, proxied: ProxiedDatabase, proxy: Proxy) -> None:
        self._conn = ops.connect(proxied.owner_url(proxy))

    def run(self) -> str:
        """Raise the fence, and prove by the catalog that it stands."""
        fence.raise_fence(self._conn)
        return fence.state(self._conn)

    def close(self) -> None:
        """Close the connection of the owner."""
        self._conn.close()


class MoverParty:
    """The last round of a mover: it raises the fence, then copies the player in one snapshot.

    Its answer is what it copied. In a serial order that is all that the player owns from then on.
    """

    label = "the mover"

    def __init__(self, proxied: ProxiedDatabase, proxy: Proxy, player: str) -> None:
        self._conn = ops.connect(proxied.owner_url(proxy))
        self._player = player

    def run(self) -> str:
        """Return the gold, the number of receipts, and a digest of all that was copied."""
        fence.raise_fence(self._conn, pass_token=fence.new_pass())
        self._conn.execute("begin isolation level repeatable read read only")
        target = Target(self._conn)
        rows = target.player(self._player)
        lines = {name: list(target.rows(name)) for name in JOURNALS}
        self._conn.execute("rollback")
        user = rows["users"][(self._player,)]
        copied = [*(f"{name} {sorted(map(str, rows[name].items()))}" for name in sorted(rows)), str(lines)]
        digest = hashlib.sha256("\n".join(copied).encode()).hexdigest()[:12]
        receipts = count(len(lines[numbering.RECEIPTS]), "receipt")
        return f"copied {whole_number(user, 'gold')} gold, {receipts}, all in all {digest}"

    def close(self) -> None:
        """Close the connection of the mover."""
        self._conn.close()


def command(prepared: PreparedRequest) -> Opening:
    """Return how a command's party is opened."""
    return lambda proxied, proxy: CommandParty(prepared, proxied.store(proxy))


def others(player: str) -> dict[str, Opening]:
    """Return how the parties are opened that are no command, by the names that the table of pairs has for them."""
    return {"fence": FenceParty, "mover": lambda proxied, proxy: MoverParty(proxied, proxy, player)}
