"""Help for those who work on the game itself: how to start the Postgres that [development] names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from db.errors import Refusal

DEVELOPMENT = "development"


@contextmanager
def naming_up(environment: str) -> Iterator[None]:
    """Run the block. If development's server is not running, the Refusal also names the command that starts it."""
    try:
        yield
    except Refusal as error:
        if environment != DEVELOPMENT or "connection refused" not in error.found.lower():
            raise
        raise Refusal(
            error.expected,
            error.found,
            where=error.where,
            do="Start it: invoke up (it needs Docker). Or name a Postgres of your own in environments.toml.",
        ) from error
