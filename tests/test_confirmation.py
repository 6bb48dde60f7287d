"""The word `production`: asked for once the checks have passed, once only, and Ctrl-D is a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

import tasks
from db import environments
from db.environments import Environment
from db.errors import Refusal
from game.urls import PostgresUrl


@pytest.fixture
def production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    nowhere = PostgresUrl("127.0.0.1", 1, "nobody", "", "nothing")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(environments, "CONFIRMED", ("test",))  # The one that needs no file.
    return environments.throwaway(owner=nowhere, service=nowhere, legacy=tmp_path / "game.db", folder=tmp_path)


def test_it_is_asked_when_the_run_asks_and_once_only(production: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda prompt: asked.append(prompt) or "test")

    confirm = tasks._confirmation(production, "moves the game", yes=False, typed="", dry_run=False)
    assert asked == []
    confirm()
    confirm()

    assert len(asked) == 1


@pytest.mark.parametrize("typed", ["", "prod", None])
def test_another_word_nothing_and_ctrl_d_are_refusals(
    production: Environment, monkeypatch: pytest.MonkeyPatch, typed: str | None
) -> None:
    def answer(_prompt: str) -> str:
        if typed is None:
            raise EOFError
        return typed

    monkeypatch.setattr("builtins.input", answer)

    with pytest.raises(Refusal, match="the name test, typed"):
        tasks._confirmation(production, "moves the game", yes=False, typed="", dry_run=False)()


def test_where_nobody_can_type_it_is_refused_at_once_and_a_dry_run_asks_nothing(
    production: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_prompt: str) -> NoReturn:
        raise AssertionError("asked")

    monkeypatch.setattr("builtins.input", never)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)

    with pytest.raises(Refusal, match="found nothing"):
        tasks._confirmation(production, "moves the game", yes=False, typed="", dry_run=False)
    tasks._confirmation(production, "moves the game", yes=False, typed="", dry_run=True)()
    tasks._confirmation(production, "moves the game", yes=True, typed="test", dry_run=False)()
