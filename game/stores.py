"""Which store a URL names."""

from __future__ import annotations

from game import urls
from game.legacy.store import LegacyStore
from game.postgres import PostgresStore
from game.unit import Store


def open_store(url: str, *, pool_size: int = 10) -> Store:
    """The store at the URL, which nothing has connected to yet. Raises BadUrl."""
    place = urls.read(url)
    if isinstance(place, urls.LegacyUrl):
        return LegacyStore(place.path, pool_size=pool_size)
    return PostgresStore(place, pool_size=pool_size)
