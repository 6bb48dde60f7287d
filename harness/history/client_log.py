"""Requests of clients and the answers to them, with the instants: the clients' side of a history.

Instants are nanoseconds of CLOCK_MONOTONIC, which is one for the whole machine, so logs of several processes compare.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace


@dataclass(slots=True)
class ClientRequest:
    """One request of a player, which may be sent more than once under its id.

    sent: the first time that it was sent. answered: the first grant, else the first refusal; None without an answer.
    outcome: what the client was told; None if it was not granted. refused: the code of the last refusal, or "".
    sends, answers: how many there were; where there are more sends, one of them may still be carried out.
    contradictions: answers that differ from an earlier one, in words.
    """

    player: str
    id: str
    action: str
    fields: Mapping[str, object]
    sent: int
    answered: int | None = None
    outcome: Mapping[str, object] | None = None
    refused: str = ""
    sends: int = 0
    answers: int = 0
    contradictions: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str]:
        """Return player and id, the key of the request's receipt."""
        return self.player, self.id

    @property
    def is_open(self) -> bool:
        """Return True if it may have been carried out or not, for all that the client knows."""
        return self.outcome is None and self.sends > self.answers


class ClientLog:
    """The requests of all clients of one run, by (player, id), in the order in which they were first sent.

    Safe to use from several threads. clock: gives the instants. earlier: requests of other logs, which are copied.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns, *, earlier: Iterable[ClientRequest] = ()) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._requests = {one.key: replace(one, contradictions=list(one.contradictions)) for one in earlier}

    def __iter__(self) -> Iterator[ClientRequest]:
        with self._lock:
            return iter(list(self._requests.values()))

    @property
    def grants(self) -> list[ClientRequest]:
        """Return the requests that a client was told are granted."""
        return [request for request in self if request.outcome is not None]

    @property
    def refusals(self) -> list[ClientRequest]:
        """Return the requests that were refused each time that they were answered."""
        return [request for request in self if request.refused and request.outcome is None]

    def sending(self, player: str, request_id: str, action: str, fields: Mapping[str, object]) -> None:
        """Note that a request is about to be sent, for the first time or again."""
        with self._lock:
            request = self._requests.get((player, request_id))
            if request is None:
                request = ClientRequest(player, request_id, action, fields, self._clock())
                self._requests[request.key] = request
            request.sends += 1

    def granted(self, player: str, request_id: str, outcome: Mapping[str, object]) -> None:
        """Note an answer: granted, with this outcome."""
        now = self._clock()
        with self._lock:
            request = self._requests[player, request_id]
            request.answers += 1
            if request.outcome is None:
                request.answered, request.outcome = now, outcome
            elif request.outcome != outcome:
                request.contradictions.append(f"answered {dict(request.outcome)}, then {dict(outcome)}")

    def refused(self, player: str, request_id: str, code: str) -> None:
        """Note an answer: refused by the rules, with this code."""
        now = self._clock()
        with self._lock:
            request = self._requests[player, request_id]
            request.answers += 1
            request.refused = code
            if request.outcome is not None:
                request.contradictions.append(f"granted once, then refused: {code}")
            elif request.answered is None:
                request.answered = now
