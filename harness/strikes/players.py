"""Players of a struck move: they ask through the service, keep a request until it is answered, and ask again later.

What they were told is what has to be there at the end, once, whichever store it is that they play on then.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from game.dispatch import Request, dispatch
from game.errors import BadUrl, Refused, StoreFailure
from game.rules.chance import Chance
from game.rules.commands import decode
from game.unit_of_work import Store
from harness.load.scripts import Script
from harness.load.virtual_users import Granted, ServiceRequest

DICE = "dice-of-the-strikes"
NOON_MS = 1_800_000_000_000
PAUSE_SECONDS = 0.02


@dataclass
class Told:
    """What players were told. granted: in the order of the answers."""

    granted: dict[tuple[str, str], Granted] = field(default_factory=dict)
    refused: set[tuple[str, str]] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def copy(self) -> Told:
        """Return a copy to go on with."""
        return Told(dict(self.granted), set(self.refused), list(self.wrong))


class Players:
    """Players with a script each, who ask one request after the other at whatever `store` returns."""

    def __init__(self, store: Callable[[], Store], scripts: Mapping[str, Script], told: Told) -> None:
        self.told = told
        self.unanswered = 0
        self._open: set[tuple[str, str]] = set()
        self._store = store
        self._scripts = {player: deque(enumerate(script)) for player, script in scripts.items() if len(script) > 1}
        self._turns = deque(self._scripts)
        for player, script in self._scripts.items():  # What was answered before is not asked for anew.
            while script and (player, _id(player, script[0][0])) in (told.granted.keys() | told.refused):
                script.popleft()
        self._lock = threading.Lock()

    def play(self, requests: int) -> None:
        """Ask for so much; what gets no answer is asked for again the next time."""
        for _ in range(requests):
            self._next()

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Play on a thread for as long as the block lasts."""
        over = threading.Event()

        def play() -> None:
            while not over.wait(PAUSE_SECONDS):
                self._next()

        thread = threading.Thread(target=play, name="players", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def settle(self) -> None:
        """Ask for everything again that was answered, and for what was not: each answer has to be the same."""
        for player in sorted({player for player, _id in self._open}):
            self._ask_next(player)
        for grant in list(self.told.granted.values()):
            self._ask(grant.request)

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
        if self._ask(ServiceRequest(player, _id(player, number), action, fields)):
            script.popleft()

    def _ask(self, request: ServiceRequest) -> bool:
        """Return True if there was an answer."""
        try:
            answer = dispatch(
                self._store(),
                Request(request.player, request.id, decode(request.action, dict(request.fields))),
                clock=lambda: NOON_MS,
                chance=lambda request_id: Chance(DICE, request_id),
                sleep=lambda _seconds: None,
            )
        except Refused as refusal:
            if request.key in self.told.granted:
                self.told.wrong.append(f"{request.key}: granted once, then refused: {refusal.code}")
            self.told.refused.add(request.key)
            self._open.discard(request.key)
            return True
        except (StoreFailure, BadUrl):
            self.unanswered += 1
            self._open.add(request.key)
            return False
        self._open.discard(request.key)
        earlier = self.told.granted.setdefault(request.key, Granted(request, answer.outcome))
        if earlier.outcome != answer.outcome:
            self.told.wrong.append(f"{request.key}: answered {dict(earlier.outcome)}, then {dict(answer.outcome)}")
        return True


def _id(player: str, number: int) -> str:
    return f"strike-{player}-{number}"
