"""A window waits for a calm moment, with rounds meanwhile, and a restart after it; neither waits for ever."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import cast

import pytest

from db.cutover import holding, services
from db.cutover.context import RunContext
from db.transfer.live.leeway import Leeway

LOOKS = 3


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Leeway]:
    """The looks that were waited for; with the last of them requests take what they took before."""
    seen: list[Leeway] = []

    def look_later(context: RunContext) -> None:
        seen.append(context.leeway)
        context.leeway.is_calm = len(seen) >= LOOKS

    monkeypatch.setattr(holding, "_look_later", look_later)
    return seen


@pytest.fixture
def required(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was seen to while it was waited."""
    seen: list[str] = []
    monkeypatch.setattr(holding, "wait_while_paused", lambda _context: seen.append("paused"))
    return seen


def busy(said: list[str], required: list[str] | None = None, *, is_calm: bool = False) -> RunContext:
    config = SimpleNamespace(progress=SimpleNamespace(say=said.append))
    env = SimpleNamespace(services=("http://one",))
    lock = partial((required if required is not None else []).append, "lock")
    leeway = Leeway(is_calm=is_calm)
    return cast(RunContext, SimpleNamespace(leeway=leeway, config=config, env=env, require_lock=lock))


def test_rounds_are_applied_until_it_is_calm(looks: list[Leeway], required: list[str]) -> None:
    said: list[str] = []
    rounds: list[int] = []
    holding.until_calm(busy(said, required), lambda: rounds.append(1))
    assert (len(looks), len(rounds)) == (LOOKS, LOOKS)
    assert required == ["paused", "lock"] * LOOKS, "nobody could pause it, or it goes on without its lock"
    assert len(said) == 1


def test_a_calm_moment_is_not_waited_for(looks: list[Leeway]) -> None:
    said: list[str] = []
    holding.until_calm(busy(said, is_calm=True), lambda: pytest.fail("a round too many"))
    assert not looks
    assert not said


def test_it_is_waited_for_no_longer_than_told(looks: list[Leeway]) -> None:
    holding.until_calm(busy([]), lambda: pytest.fail("a round too many"), most_seconds=0.0)
    assert not looks


def test_a_restart_waits_until_it_is_calm_and_the_service_answers_at_once(
    looks: list[Leeway], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(services, "let_settle", asked.append)
    holding.let_settle(busy([]))
    assert len(looks) == LOOKS
    assert asked == [("http://one",)]
    monkeypatch.setattr(holding, "SETTLE_SECONDS", 0.0)
    holding.let_settle(busy([]))
    assert len(looks) == LOOKS, "it waits for ever"
