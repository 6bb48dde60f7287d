"""After a window the restart waits until those who waited in it are served, and not for ever."""

from __future__ import annotations

import pytest

from db.cutover import services

URLS = ("http://one.invalid", "http://two.invalid")
NEVER, ALWAYS = -1.0, 60.0
SLOW = 4
"""Answers that are slow; the last of them counts as come at once."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    monkeypatch.setattr(services, "ask", asked.append)
    monkeypatch.setattr(services, "POLL_SECONDS", 0.0)
    return asked


def test_processes_that_answer_at_once_are_asked_once(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "AT_ONCE_SECONDS", ALWAYS)
    services.let_settle(URLS)
    assert asked == [*URLS]


def test_one_that_answers_slowly_is_asked_again(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(url: str) -> None:
        asked.append(url)
        if len(asked) == SLOW:
            monkeypatch.setattr(services, "AT_ONCE_SECONDS", ALWAYS)

    monkeypatch.setattr(services, "AT_ONCE_SECONDS", NEVER)
    monkeypatch.setattr(services, "SETTLE_SECONDS", ALWAYS)
    monkeypatch.setattr(services, "ask", ask)
    services.let_settle(URLS)
    assert asked == [URLS[0]] * SLOW + [URLS[1]]


def test_one_that_never_answers_at_once_is_not_waited_for_without_end(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "AT_ONCE_SECONDS", NEVER)
    monkeypatch.setattr(services, "SETTLE_SECONDS", 0.0)
    services.let_settle(URLS)
    assert asked == [URLS[0]]
