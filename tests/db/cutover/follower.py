"""A stand-in for the service in tests of the move's states: it follows the pointer and really opens the store.

The real service takes a second to start; hundreds of states are set up and ended here. It answers /readyz as a process
that was restarted after the pointer was written last, and says what the store itself says of its fence; so a test may
write the pointer and need no restart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from dotenv import dotenv_values

from game.errors import StoreFailure
from game.service.openapi import ABILITIES
from game.stores import open_store
from harness.strikes.follower import NO_PROCESS, answering


@contextmanager
def following(env_file: Path) -> Iterator[str]:
    """The base URL of a service that follows the pointer in the file, for as long as the block lasts."""
    with answering(partial(_ready, env_file)) as url:
        yield url


def restart(env_file: Path) -> str:
    """The hook `restart` of such a service."""
    return f"touch {env_file}.restarted"


def _ready(env_file: Path) -> dict[str, object]:
    restarted = Path(f"{env_file}.restarted")
    since = restarted.stat().st_mtime_ns if restarted.exists() else 0
    started = datetime.fromtimestamp(since / 1e9, UTC).isoformat()
    process = {"pid": NO_PROCESS + since % 1_000_000_007, "started": started, "abilities": ABILITIES}
    url = dotenv_values(env_file).get("DATABASE_URL") or ""
    try:
        with closing(open_store(url, pool_size=1)) as store:
            status = store.status()
    except StoreFailure as error:
        return {**process, "engine": "", "store": "", "fence": str(error)}
    return {**process, "engine": status.engine, "store": status.store, "fence": status.fence}
