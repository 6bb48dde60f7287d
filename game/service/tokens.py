"""Bearer tokens: a player's follows from its id, the time of issue and the service's secret; no store keeps any.

A token ends with its lifetime, by a revocation of its player's, or with the secret.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field

from game.errors import GameError

LEEWAY_MS = 10_000
"""How far the clock of the host that issues tokens may be ahead of this one's."""

LIFETIME_SECONDS = 7 * 86_400

NOBODYS = "the token is nobody's"
NUL = "\0"
MOST_DIGITS = 16
"""The digits of a time of issue: enough until the year 300,000."""


class BadToken(GameError):
    """The token opens nothing now; the message says why, and why only to a client that bears a signed one."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules by which a signed token is accepted.

    previous_secret: signs tokens too, while the secret is being changed. undated_until_ms: until then a token of the
    old form, without a time of issue, is good. revoked_ms: the last time of issue of a player's that is revoked.
    """

    lifetime_ms: int = LIFETIME_SECONDS * 1000
    previous_secret: str | None = field(default=None, repr=False)
    undated_until_ms: int = 0
    revoked_ms: Callable[[str], int | None] = lambda _player: None


RULES = Rules()


def now_ms() -> int:
    """Return the time in epoch milliseconds, by this host's clock."""
    return time.time_ns() // 1_000_000


def issue(secret: str, player: str, *, issued_ms: int | None = None) -> str:
    """Return a token of the player's: `<id in base64url>.<epoch milliseconds>.<HMAC-SHA256 in hex>`, issued now.

    The HMAC is of the word token, the milliseconds and the id, with a null character between them.
    """
    issued = str(now_ms() if issued_ms is None else issued_ms)
    # No id has a null character, so that no token of the old form signs the same bytes.
    return f"{_named(player)}.{issued}.{_mark(secret, NUL.join(('token', issued, player)))}"


def issue_undated(secret: str, player: str) -> str:
    """Return the player's token of the old form, `<id in base64url>.<HMAC-SHA256 of the id>`; the same each time."""
    return f"{_named(player)}.{_mark(secret, player)}"


def owner(secret: str, token: str, rules: Rules, *, at_ms: int) -> str:
    """Return the player whose token it is, if it is good at that time. Raises BadToken.

    Whatever depends on the secret is compared in constant time.
    """
    player, issued_ms = _read(token)
    expected = [
        issue_undated(key, player) if issued_ms is None else issue(key, player, issued_ms=issued_ms)
        for key in (secret, rules.previous_secret)
        if key is not None
    ]
    # The whole token is compared: another spelling of the same base64 or number is another token.
    if not any(same(token, one) for one in expected):
        raise BadToken(NOBODYS)
    _check_time(player, issued_ms, rules, at_ms)
    return player


def same(given: str, secret: str) -> bool:
    """Return True if what was given is the secret; the time that it takes tells nothing of the secret."""
    return hmac.compare_digest(given.encode(errors="surrogatepass"), secret.encode(errors="surrogatepass"))


def _read(token: str) -> tuple[str, int | None]:
    """Return whose the token says that it is, and when it was issued; None in the old form. Raises BadToken."""
    match token.split(".", 3):
        case [named, _]:
            return _player(named), None
        case [named, digits, _] if digits.isascii() and digits.isdecimal() and len(digits) <= MOST_DIGITS:
            return _player(named), int(digits)
        case _:
            raise BadToken(NOBODYS)


def _player(named: str) -> str:
    try:
        return urlsafe_b64decode(named + "=" * (-len(named) % 4)).decode()
    except ValueError:  # The base of what either can raise: no base64, no UTF-8.
        raise BadToken(NOBODYS) from None


def _check_time(player: str, issued_ms: int | None, rules: Rules, at_ms: int) -> None:
    """Raise BadToken if a signed token is not good at that time."""
    revoked_ms = rules.revoked_ms(player)
    if issued_ms is None:
        expires_ms, revoked = rules.undated_until_ms, revoked_ms is not None
    else:
        expires_ms, revoked = issued_ms + rules.lifetime_ms, revoked_ms is not None and issued_ms <= revoked_ms
    if issued_ms is not None and issued_ms > at_ms + LEEWAY_MS:
        raise BadToken("the token's time of issue has not come")
    if at_ms >= expires_ms:
        raise BadToken("the token has expired; sign in again")
    if revoked:
        raise BadToken("the token is revoked; sign in again")


def _named(player: str) -> str:
    return urlsafe_b64encode(player.encode()).decode().rstrip("=")


def _mark(secret: str, text: str) -> str:
    return hmac.digest(secret.encode(errors="surrogatepass"), text.encode(), hashlib.sha256).hex()
