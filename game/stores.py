"""Opens the store that a URL names."""

from __future__ import annotations

from game import urls
from game.legacy.store import LegacyStore
from game.postgres.store import PostgresStore, Timeouts
from game.unit_of_work import UNWATCHED, Store, Watch


def open_store(url: str, *, pool_size: int = 10, timeouts: Timeouts | None = None, watch: Watch = UNWATCHED) -> Store:
    """Return the store at the URL, which nothing has connected to yet. Raises BadUrl.

    timeouts: Postgres's; the legacy store takes the pool's alone.
    """
    timeouts = timeouts or Timeouts()
    place = urls.read(url)
    if isinstance(place, urls.LegacyUrl):
        return LegacyStore(place.path, pool_size=pool_size, pool_timeout_seconds=timeouts.pool_seconds, watch=watch)
    return PostgresStore(place, pool_size=pool_size, timeouts=timeouts, watch=watch)
