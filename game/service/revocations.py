"""The file that REVOKED_TOKENS names: for a player, the last time of issue of the tokens that are revoked.

It is JSON, `{"hana": "2026-11-28T20:31:15.123+00:00"}`. Every process reads it again as soon as it changes, without a
restart. If it can't be read then, what it said last holds and the log says so; no process starts without it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from game import paths
from game.errors import BadSettings
from game.rules.json_columns import from_json
from game.service.logs import logger

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORM = '{"PLAYER": "YYYY-MM-DDTHH:MM:SS+00:00", …}, each player once'


class Revocations:
    """The revocations as the file says them now. Costs one stat a look-up."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises BadSettings."""
        self._path = path
        self._stamp = _stamp(path)
        self._revoked_ms = _read(path)

    def __call__(self, player: str) -> int | None:
        """Return the last time of issue that is revoked of the player's tokens; None if none is."""
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            self._stamp = stamp
            self._read_again()
        return self._revoked_ms.get(player)

    def _read_again(self) -> None:
        try:
            self._revoked_ms = _read(self._path)
        except BadSettings as error:
            logger().error("revocations_unreadable", detail=str(error))


def parse(text: str) -> dict[str, int]:
    """Return epoch milliseconds by player. Raises ValueError, which says what was expected."""
    parsed = from_json(text)
    if not isinstance(parsed, dict):
        raise ValueError(_FORM)  # noqa: TRY004  # the text is wrong, not a type of ours
    return {player: _milliseconds(text_of_moment) for player, text_of_moment in parsed.items()}


def write(revoked_ms: Mapping[str, int]) -> str:
    """Return the file's text for epoch milliseconds by player."""
    moments = {player: moment(at_ms) for player, at_ms in sorted(revoked_ms.items())}
    return json.dumps(moments, ensure_ascii=False, indent=2) + "\n"


def moment(at_ms: int) -> str:
    """Return the time as the file has it."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds")


def _milliseconds(moment_text: object) -> int:
    try:
        at = datetime.fromisoformat(moment_text) if isinstance(moment_text, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError(_FORM)
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _read(path: Path) -> dict[str, int]:
    """Read the file. Raises BadSettings."""
    file_state = paths.describe(path)
    if file_state not in (paths.FILE, paths.EMPTY):
        raise BadSettings(f"REVOKED_TOKENS: expected a file, found {file_state} at {path}")
    try:
        return parse(path.read_text("utf-8"))
    except OSError as error:
        raise BadSettings(f"REVOKED_TOKENS: {error.strerror} at {path}") from None
    except ValueError as error:
        expected = "UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise BadSettings(f"REVOKED_TOKENS: expected {expected}; in {path}") from None


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what changes when the file is written or replaced; nothing if it can't be looked at."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
