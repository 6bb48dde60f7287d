"""Errors of SQLite, by code or message: try again, no game here, or a defect that nobody repeats."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import NoReturn

import pytest

from db.samples import builders
from game.errors import StoreUnavailable
from game.legacy import player_row
from game.rules.commands import ClaimMail
from tests.game.places import LegacyPlace
from tests.game.playing_on_stores import Failing, ask, lost

BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_BUSY_SNAPSHOT")
UNREACHABLE = (
    "SQLITE_CANTOPEN",
    "SQLITE_IOERR",
    "SQLITE_IOERR_READ",
    "SQLITE_FULL",
    "SQLITE_READONLY",
    "SQLITE_READONLY_DBMOVED",
    "SQLITE_CORRUPT",
    "SQLITE_NOTADB",
    "SQLITE_INTERRUPT",
    "SQLITE_TOOBIG",
    "SQLITE_AUTH",
)
NO_GAME_HERE = (
    "no such table: users",
    "table sudamr_action_receipts has no column named seq",
    "no such column: gold",
    "not authorized",
    "user-defined function raised exception",
)


@pytest.fixture
def raising(legacy: LegacyPlace, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Failing]:
    """Makes the store's read of a player end in an error; the store counts the attempts."""
    legacy.put(builders.player("hana", mail={"m1": {"gold": 50}}))

    def end_in(name: str, message: str) -> Failing:
        def fails(*_: object) -> NoReturn:
            error = sqlite3.OperationalError(message)
            error.sqlite_errorcode = getattr(sqlite3, name)
            error.sqlite_errorname = name
            raise error

        monkeypatch.setattr(player_row, "find", fails)
        return Failing(legacy.store, "never", lost())

    return end_in


@pytest.mark.parametrize("name", BUSY)
def test_it_is_tried_four_times(raising: Callable[[str, str], Failing], name: str) -> None:
    failing = raising(name, "of the tests")
    with pytest.raises(StoreUnavailable, match="4 attempts failed, the last with tx_rolled_back: of the tests"):
        ask(failing, ClaimMail("m1"))
    assert failing.attempts == 4


@pytest.mark.parametrize("name", UNREACHABLE)
def test_it_is_said_that_the_file_can_not_be_used_now(raising: Callable[[str, str], Failing], name: str) -> None:
    failing = raising(name, "of the tests")
    with pytest.raises(StoreUnavailable, match="the legacy file: of the tests"):
        ask(failing, ClaimMail("m1"))
    assert failing.attempts == 1


@pytest.mark.parametrize("message", NO_GAME_HERE)
def test_it_is_said_that_there_is_no_game(raising: Callable[[str, str], Failing], message: str) -> None:
    failing = raising("SQLITE_ERROR", message)
    with pytest.raises(StoreUnavailable) as caught:
        ask(failing, ClaimMail("m1"))
    assert message in str(caught.value)
    assert failing.attempts == 1


@pytest.mark.parametrize("name", ["SQLITE_ERROR", "SQLITE_CONSTRAINT", "SQLITE_MISMATCH", "SQLITE_MISUSE"])
def test_it_goes_on_as_it_is(raising: Callable[[str, str], Failing], name: str) -> None:
    failing = raising(name, "of the tests")
    with pytest.raises(sqlite3.OperationalError, match="of the tests"):
        ask(failing, ClaimMail("m1"))
    assert failing.attempts == 1
