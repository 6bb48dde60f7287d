"""Players of a struck move: they ask through the service, keep a request until it is answered, and ask again later.

Whatever they were granted has to be there at the end, once, on whichever store they play then.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from game.dispatch import Request, dispatch
from game.errors import BadUrl, Refused, StoreFailure
from game.rules.chance import Chance
from game.rules.commands import decode
from game.unit_of_work import Store
from harness.history.client_log import ClientLog
from harness.load.scripts import Script

CHANCE = partial(Chance, "dice-of-the-strikes")
NOON_MS = 1_800_000_000_000
PAUSE_SECONDS = 0.02


@contextmanager
def repeating(act: Callable[[], object], pause_seconds: float, name: str) -> Iterator[None]:
    """Call `act` again and again on a thread of this name, for as long as the block lasts; its last call is awaited."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(pause_seconds):
            act()

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Players:
    """Players with a script each, who ask one request after the other at whatever `store` returns.

    log: their requests and the answers, with earlier ones.
    """

    def __init__(self, store: Callable[[], Store], scripts: Mapping[str, Script], log: ClientLog) -> None:
        self.log = log
        self.unanswered = 0
        self._open: set[tuple[str, str]] = set()
        self._store = store
        self._scripts = {player: deque(enumerate(script)) for player, script in scripts.items() if len(script) > 1}
        self._turns = deque(self._scripts)
        answered = {request.key for request in log if request.answers}
        for player, script in self._scripts.items():  # What was answered before is not asked for anew.
            while script and (player, _id(player, script[0][0])) in answered:
                script.popleft()
        self._lock = threading.Lock()

    def play(self, requests: int) -> None:
        """Send so many requests. A request without an answer is sent again the next time."""
        for _ in range(requests):
            self._next()

    def playing(self) -> AbstractContextManager[None]:
        """Play on a thread for as long as the block lasts."""
        return repeating(self._next, PAUSE_SECONDS, "players")

    def settle(self) -> None:
        """Send every request again, answered or not: each answer has to be the same as before."""
        for player in sorted({player for player, _id in self._open}):
            self._ask_next(player)
        for one in self.log.grants:
            self._ask(one.player, one.id, one.action, one.fields)

    @property
    def unsettled(self) -> list[tuple[str, str]]:
        """Return the requests that were asked, and have no answer."""
        return sorted(self._open)

    def _next(self) -> None:
        with self._lock:
            self._turns.rotate(-1)
            self._ask_next(self._turns[0])

    def _ask_next(self, player: str) -> None:
        script = self._scripts[player]
        if not script:
            return
        number, (action, fields) = script[0]
        if self._ask(player, _id(player, number), action, fields):
            script.popleft()

    def _ask(self, player: str, request_id: str, action: str, fields: Mapping[str, object]) -> bool:
        """Send the request and log what came of it. Return False if there was no answer; it then stays open."""
        self.log.sending(player, request_id, action, fields)
        try:
            answer = dispatch(
                self._store(),
                Request(player, request_id, decode(action, dict(fields))),
                clock=lambda: NOON_MS,
                chance=CHANCE,
                sleep=lambda _seconds: None,
            )
        except Refused as refusal:
            self.log.refused(player, request_id, refusal.code)
        except (StoreFailure, BadUrl):
            self.unanswered += 1
            self._open.add((player, request_id))
            return False
        else:
            self.log.granted(player, request_id, answer.outcome)
        self._open.discard((player, request_id))
        return True


def _id(player: str, number: int) -> str:
    return f"strike-{player}-{number}"
