"""A window is disturbed by nothing of its own process, and opens the file over a connection that knows it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from db.cutover import returning, turning, window
from db.cutover.context import READ_ONLY_ENDS, RunContext
from db.ops import Phase
from db.samples import seed
from db.transfer.live.leeway import Leeway
from game.legacy import fence, sqlite_values
from game.legacy.fence_schema import Owner

OWNER = Owner("20260101_000000_ab12", "postgres:identity")


@pytest.fixture
def interval() -> Iterator[float]:
    """An interval that no other program sets."""
    had = sys.getswitchinterval()
    sys.setswitchinterval(0.007)
    yield sys.getswitchinterval()
    sys.setswitchinterval(had)


@pytest.mark.parametrize("error", [None, ZeroDivisionError()], ids=["it ends", "it raises"])
def test_threads_take_turns_quickly_within_and_all_is_as_before_afterwards(
    interval: float, error: Exception | None
) -> None:
    leeway = Leeway()
    with suppress(ZeroDivisionError), window.undisturbed(leeway):
        within = sys.getswitchinterval(), gc.isenabled(), leeway.is_resting
        if error:
            raise error
    assert within == (pytest.approx(window.SWITCH_SECONDS), False, True)
    assert within[0] < interval / 5
    assert sys.getswitchinterval() == pytest.approx(interval, rel=0.01)
    assert (gc.isenabled(), leeway.is_resting) == (True, False)


class Journal:
    """The journal of a run; it notes what is written."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, what: str) -> None:
        self.written.append(what)


def context_of(path: Path, required: list[tuple[Phase, ...]]) -> tuple[RunContext, Journal]:
    """A run of the game that returned to the file, as far as `open_file` asks it."""
    journal = Journal()
    context = SimpleNamespace(
        owner=OWNER,
        env=SimpleNamespace(legacy=SimpleNamespace(path=path)),
        require_phase=lambda *phases: required.append(phases),
        journal=journal,
    )
    return cast(RunContext, context), journal


@pytest.mark.parametrize("given", [True, False], ids=["over a given connection", "over its own"])
def test_the_file_is_opened_over_a_given_connection_or_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    path = tmp_path / "game.db"
    seed.empty_legacy(path)
    opened: list[Path] = []
    real = sqlite_values.connect

    def connect(path: Path) -> object:
        opened.append(path)
        return real(path)

    required: list[tuple[Phase, ...]] = []
    context, journal = context_of(path, required)
    with closing(real(path)) as connection:
        fence.raise_fence(connection, owner=OWNER)
        with monkeypatch.context() as patched:
            patched.setattr(turning.sqlite_values, "connect", connect)
            if given:
                returning.open_file(context, using=connection)
            else:
                returning.open_file(context)
        assert opened == ([] if given else [path])
        assert fence.state(connection) == "open", "the connection is the caller's, and stays open"
    assert required == [(Phase.RETURNED,)]
    assert journal.written == [READ_ONLY_ENDS]
