"""Chance: named draws that follow from (secret, epoch, player, command, request, name, n): a retry decides as before.

Player and command are part of it: else a second account, or a command that is refused or cheap, could be sent first
under the same request id, to see what the draw will be. The epoch is the store's own, see
`game.unit_of_work.LoadedPlayer`: once writes are given up, a player may remember which requests won, and with another
epoch these draw anew.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections import Counter
from collections.abc import Mapping

from game.errors import BadDice

_NAMESPACE = uuid.UUID("3d0a4f0c-6c1f-5f0e-9c6e-5b6f6a1d7c11")
"""Fixed for good: with another one, a retry would make other ids than the first attempt."""


def new_id(request_id: str, n: int) -> str:
    """Return the id of the n-th item that a request makes, n from 1."""
    return f"item-{uuid.uuid5(_NAMESPACE, f'{request_id}/{n}')}"


class Chance:
    """The draws of one attempt. A name drawn again is `name.2`, `name.3`; `overrides` fixes draws by those names."""

    def __init__(self, secret: str, request_id: str, overrides: Mapping[str, int | float] | None = None) -> None:
        self._secret = secret.encode()
        self._request_id = request_id
        self._overrides = dict(overrides or {})
        self._drawn: Counter[str] = Counter()
        self._unused = set(self._overrides)

    def enter(self, epoch: str) -> None:
        """Draw in this epoch of a store from here on. "" changes nothing: stores had no epochs before."""
        if epoch:
            # A key of its own, not one part more of what is signed: no name or command can be taken for an epoch.
            self._secret = hmac.digest(self._secret, f"draw epoch {epoch}".encode(), hashlib.sha256)

    def draw(self, name: str, low: int, high: int, *, of: str = "") -> int:
        """Draw a number from low to high, both included, `of` a player and a command. BadDice: an override outside."""
        key, n = self._next(name)
        fixed = self._overrides.get(key)
        if fixed is None:
            return low + self._number(name, n, of) % (high - low + 1)
        if fixed != int(fixed) or not low <= fixed <= high:
            raise BadDice(f"dice {key}: expected a whole number from {low} to {high}, found {fixed}")
        return int(fixed)

    def percent(self, name: str, *, of: str = "") -> float:
        """Draw a percentage from 0.5 to 100 in halves. It succeeds where it is at most the chance."""
        key, n = self._next(name)
        fixed = self._overrides.get(key)
        if fixed is None:
            return (1 + self._number(name, n, of) % 200) / 2
        if fixed * 2 != int(fixed * 2) or not 0.5 <= fixed <= 100:
            raise BadDice(f"dice {key}: expected a percentage from 0.5 to 100 in halves, found {fixed}")
        return float(fixed)

    def unused(self) -> set[str]:
        """Return the overrides that nothing has drawn."""
        return set(self._unused)

    def _next(self, name: str) -> tuple[str, int]:
        self._drawn[name] += 1
        n = self._drawn[name]
        key = name if n == 1 else f"{name}.{n}"
        self._unused.discard(key)
        return key, n

    def _number(self, name: str, n: int, of: str) -> int:
        about = "\0".join((of, self._request_id, name, str(n)))
        return int.from_bytes(hmac.digest(self._secret, about.encode(), hashlib.sha256))
