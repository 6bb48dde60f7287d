"""The errors of the game: refusals (the rules say no) and failures (the store can't, now).

A refusal changes nothing and leaves no receipt. A failure says whether trying again may help.
"""

from __future__ import annotations

FENCE_SQLSTATE = "SF001"
"""Raised by the Postgres triggers of a fenced database; a code of our own, in no class of the server's."""

FENCE_MESSAGE = "sudamr_fence"
"""The text that the triggers of a fenced SQLite file raise."""

FENCE_PASS_SETTING = "sudamr.fence_pass"  # noqa: S105 - the name of a setting, no secret
"""The setting that holds the pass within a transaction on Postgres."""


class GameError(Exception):
    """Base of all that the game raises on purpose."""


class Refused(GameError):
    """The rules say no. `code` is stable and documented; `detail` names what it was about."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class BadRequest(GameError):
    """The request is malformed: an unknown action, a missing, unknown or mistyped field. Nothing was looked up."""


class BadSettings(GameError):
    """The service can't start as it is told to; the message names each setting and shows the value of none."""


class StoreLacks(GameError):
    """The store lacks a column that this version needs. The message names the column and the remedy."""


class BadDice(GameError):
    """A draw was given a value that it can't have; only who writes a scenario can cause it."""


class StoreFailure(GameError):
    """The store could not carry out the command; nothing of it is known to be kept."""


class StoreUnavailable(StoreFailure):
    """Retried as often as is wise, and failing still: answered 503; the client may ask again with the same id."""


class TryAgain(StoreFailure):
    """The attempt was rolled back, or its end is unknown, and another may do better. Only dispatch retries it.

    `code` is what the log says: db_unreachable or tx_rolled_back.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Fenced(StoreFailure):
    """The store is read-only for now: answered 503 with Retry-After. Known receipts and reads are still answered."""


class Moved(StoreFailure):
    """The store is no longer the game's: it serves nothing, not even reads."""


class BadUrl(GameError):
    """A URL that can't be honoured as it stands. Neither field ever shows a password."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}; found {found}")
        self.expected = expected
        self.found = found
