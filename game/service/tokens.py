"""Bearer tokens: a player's follows from its id and the service's secret, so that no store has to keep any."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode


def issue(secret: str, player: str) -> str:
    """The player's token: `<id in base64url>.<HMAC-SHA256 of the id in hex>`; the same each time."""
    named = urlsafe_b64encode(player.encode()).decode().rstrip("=")
    return f"{named}.{_mark(secret, player)}"


def owner(secret: str, token: str) -> str | None:
    """The player whose token it is; None where it is nobody's. What is compared is compared in constant time."""
    named = token.partition(".")[0]
    try:
        player = urlsafe_b64decode(named + "=" * (-len(named) % 4)).decode()
    except ValueError:  # The base of what either can raise: no base64, no UTF-8.
        return None
    return player if same(token, issue(secret, player)) else None


def same(given: str, secret: str) -> bool:
    """Whether what was given is the secret; how long it takes says nothing of it."""
    return hmac.compare_digest(given.encode(errors="surrogateescape"), secret.encode())


def _mark(secret: str, player: str) -> str:
    return hmac.digest(secret.encode(), player.encode(), hashlib.sha256).hex()
