"""Opens the store that a URL names."""

from __future__ import annotations

from game import urls
from game.legacy.store import LegacyStore
from game.postgres.store import PostgresStore, Timeouts
from game.unit_of_work import UNWATCHED, PairedStore, Watch

PROBE_SECONDS = 1.0
"""Seconds to wait for a store that is only asked for its fence. libpq's connect_timeout is two at least."""


def open_store(
    url: str,
    *,
    pool_size: int = 10,
    timeouts: Timeouts | None = None,
    watch: Watch = UNWATCHED,
    digests: int | None = None,
) -> PairedStore:
    """Return the store at the URL, which nothing has connected to yet. Raises BadUrl.

    timeouts: Postgres's; the legacy store takes the pool's alone. digests: the legacy store's; see there.
    """
    timeouts = timeouts or Timeouts()
    place = urls.read(url)
    if isinstance(place, urls.LegacyUrl):
        pool_seconds = timeouts.pool_seconds
        return LegacyStore(
            place.path, pool_size=pool_size, pool_timeout_seconds=pool_seconds, watch=watch, digests=digests
        )
    return PostgresStore(place, pool_size=pool_size, timeouts=timeouts, watch=watch)


def open_probe(url: str) -> PairedStore:
    """Return the store at the URL for probing its fence: one connection and short timeouts. Raises BadUrl."""
    place = urls.read(url)
    if isinstance(place, urls.LegacyUrl):
        return LegacyStore(
            place.path, pool_size=1, pool_timeout_seconds=PROBE_SECONDS, busy_timeout_seconds=PROBE_SECONDS
        )
    milliseconds = int(PROBE_SECONDS * 1000)
    timeouts = Timeouts(milliseconds, milliseconds, connect_seconds=2, pool_seconds=PROBE_SECONDS)
    return PostgresStore(place, pool_size=1, timeouts=timeouts)
