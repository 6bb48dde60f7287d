"""A service process that misses a switch: it was not restarted, or it is an old one that stays beside the new.

It is a real process with the store open that the pointer named when it began. It answers /readyz, and it goes on trying
to carry its players' commands out.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from game.errors import StoreFailure
from game.service.openapi import ABILITIES
from game.stores import open_store
from harness.history.client_log import ClientLog
from harness.load.scripts import Script
from harness.strikes.players import Players, repeating
from harness.strikes.tool import FORK

PAUSE_SECONDS = 0.05


class OldProcess:
    """The process as the test sees it. log: the requests of its players, and the answers."""

    def __init__(self, url: str, scripts: dict[str, Script]) -> None:
        self._line, child_end = FORK.Pipe()
        self._process = FORK.Process(target=_serve, args=(url, scripts, child_end), daemon=True)
        self._process.start()
        child_end.close()
        self._lock = threading.Lock()
        self.log = ClientLog()
        self.ready()

    @property
    def pid(self) -> int:
        """Return the process id, by which an operator would end it."""
        assert self._process.pid is not None
        return self._process.pid

    def ready(self) -> dict[str, object]:
        """Return what it answers at /readyz."""
        answer: dict[str, object] = self._ask(None)
        return answer

    def play(self, requests: int) -> bool:
        """Let its players send so many requests. Returns True if one of them was granted."""
        before = len(self.log.grants)
        self.log = ClientLog(earlier=self._ask(requests))
        return len(self.log.grants) > before

    def playing(self) -> AbstractContextManager[None]:
        """Let its players ask all the time, for as long as the block lasts."""
        return repeating(partial(self.play, 1), PAUSE_SECONDS, "old players")

    def end(self) -> None:
        """End it, as an operator does who was told of it."""
        self._process.kill()
        self._process.join()

    def _ask(self, requests: int | None) -> Any:
        with self._lock:
            self._line.send(requests)
            return self._line.recv()


def _serve(url: str, scripts: dict[str, Script], line: Connection) -> None:
    started = datetime.now(UTC).isoformat()
    with closing(open_store(url, pool_size=2)) as store:
        players = Players(lambda: store, scripts, ClientLog())
        while True:
            requests = line.recv()
            if requests is None:
                line.send({"pid": os.getpid(), "started": started, "abilities": ABILITIES, **_status(store.status)})
            else:
                players.play(requests)
                line.send(list(players.log))


def _status(status: Callable[[], object]) -> dict[str, object]:
    try:
        answer = status()
    except StoreFailure as error:
        return {"engine": "", "store": "", "fence": str(error)}
    return {name: getattr(answer, name) for name in ("engine", "store", "fence")}
