"""The lookout of a process with two stores: two threads that ask the stores for requests on the event loop.

One thread reads both fences every 5 ms while a request waits for the answer, and not at all otherwise. The other thread
tends the second store each second: it opens its pool, and connects again after an outage, which may take seconds.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from game.service.logs import logger
from game.service.metrics import Metrics
from game.service.pair import Changed, StorePair
from game.succession import StoreChoice
from game.unit_of_work import PairedStore

PROBE_SECONDS = 0.005
TEND_SECONDS = 1.0
END_SECONDS = 0.2
"""Seconds to wait for each thread at the process's end. A thread that just then connects to a server that is away ends
with the process.
"""

GOES_ON = (StoreChoice.STAY, StoreChoice.FOLLOW)
ENDS_A_WAIT = (*GOES_ON, StoreChoice.REFUSE)


class Lookout:
    """Tells the loop which store is served, and when a closed one can be served again or is followed by the other."""

    def __init__(
        self, pair: StorePair, metrics: Metrics, *, hold_seconds: float, report: Callable[[Exception], None]
    ) -> None:
        self.pair = pair
        pair.changed = self._changed
        self._metrics = metrics
        self._hold_seconds = hold_seconds
        self._report = report
        self._asked: list[asyncio.Future[StoreChoice]] = []
        self._waiting: dict[asyncio.Future[StoreChoice], None] = {}
        """In the order of their arrival, in which they go on and get their places."""
        self._closed_at: float | None = None
        self._lock = threading.Lock()
        self._wake, self._ended = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._probe, self._tend)]
        self._was_ready: bool | None = None

    def start(self) -> None:
        """Start the threads. Must be called on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._show(self.pair.served)
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stop the threads. Waits END_SECONDS for each; one that is still at work then ends with the process.

        Waits for no request: the caller sees to it that none is on its way.
        """
        self._ended.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(END_SECONDS)

    @property
    def is_window(self) -> bool:
        """Return True if the served store was found closed so recently that a request waits for its opening.

        A store that is closed for longer is not in a window, but in an offline move or an emergency: requests are
        answered at once.
        """
        return self._closed_at is not None and self._loop.time() < self._closed_at + self._hold_seconds

    def look(self) -> asyncio.Future[StoreChoice]:
        """Return the future result of a look that begins after this call."""
        asked = self._loop.create_future()
        with self._lock:
            self._asked.append(asked)
        self._wake.set()
        return asked

    def note_closed(self) -> None:
        """Note that a request met a closed store."""
        if self._closed_at is None:
            self._closed_at = self._loop.time()

    def wait(self) -> asyncio.Future[StoreChoice]:
        """Return a future that is done once a store is open or none will be. `leave` it if the wait ends before."""
        waiting = self._loop.create_future()
        with self._lock:
            self._waiting[waiting] = None
        self._wake.set()
        return waiting

    def leave(self, waiting: asyncio.Future[StoreChoice]) -> None:
        """Cancel a wait that `wait` returned. Harmless if it has ended."""
        with self._lock:
            self._waiting.pop(waiting, None)
        waiting.cancel()

    def _probe(self) -> None:
        """Look for those who asked or wait, at most every PROBE_SECONDS, until the end. Runs on a thread of its own."""
        while True:
            self._wake.wait()
            if self._ended.is_set():
                return
            with self._lock:
                asked, self._asked = self._asked, []
                if not asked and not self._waiting:
                    self._wake.clear()
                    continue
            self._look(asked)
            self._ended.wait(PROBE_SECONDS)

    def _tend(self) -> None:
        """Look, and keep the stores ready, every TEND_SECONDS until the end. Runs on a thread of its own."""
        while True:
            self._look([])
            if self._ended.is_set():
                return
            try:
                ready = self.pair.tend()
            except Exception as error:  # noqa: BLE001  # reported as a defect: this thread is the only one that would
                ready = False
                self._report(error)
            self._note_ready(ready)
            if self._ended.wait(TEND_SECONDS):
                return

    def _look(self, asked: list[asyncio.Future[StoreChoice]]) -> None:
        """Look once, and hand the result to the event loop."""
        try:
            choice: StoreChoice | Exception = self.pair.look()
        except Exception as error:  # noqa: BLE001  # raised in each request that asked, and reported there
            choice = error
            if not asked:
                self._report(error)
        with suppress(RuntimeError):  # The loop has ended, and with it every request.
            self._loop.call_soon_threadsafe(partial(self._settle, asked, choice))

    def _settle(self, asked: list[asyncio.Future[StoreChoice]], choice: StoreChoice | Exception) -> None:
        """Answer those who asked, and let those who wait go on. Runs on the event loop."""
        _answer(asked, choice)
        if choice in ENDS_A_WAIT:
            self._closed_at = None
            with self._lock:
                waiting, self._waiting = self._waiting, {}
            _answer(waiting, choice)

    def _changed(self, served: PairedStore, changed: Changed) -> None:
        self._show(served)
        logger().info(
            "store_changed",
            engine=served.engine,
            left=changed.left.identity,
            fence=changed.left.state,
            serves=changed.served.identity,
            run=changed.left.run,
        )

    def _show(self, served: PairedStore) -> None:
        for side in (self.pair.first, self.pair.second):
            self._metrics.serves.labels(side.store.engine).set(side.store is served)

    def _note_ready(self, ready: bool) -> None:
        self._metrics.next_ready.set(ready)
        if ready != self._was_ready:
            why = self.pair.unready()
            log = logger().info if ready else logger().warning
            log("next_ready" if ready else "next_not_ready", **({"detail": why} if why else {}))
        self._was_ready = ready


def _answer(futures: Iterable[asyncio.Future[StoreChoice]], choice: StoreChoice | Exception) -> None:
    for future in futures:
        if future.done():
            continue
        if isinstance(choice, Exception):
            future.set_exception(choice)
        else:
            future.set_result(choice)
