"""The word `production`: asked for once the checks have passed, once only, and Ctrl-D is a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from db import confirmation, environments
from db.confirmation import Change, Confirmation
from db.errors import Refusal
from game.urls import PostgresUrl


class Person:
    """Somebody at a terminal, who types `answer`. told: what was printed; asked: the questions."""

    def __init__(self, answer: str = "test", *, can_ask: bool = True) -> None:
        self.answer, self.can_ask = answer, can_ask
        self.told: list[str] = []
        self.asked: list[str] = []

    def tell(self, line: str) -> None:
        self.told.append(line)

    def ask(self, question: str) -> str:
        self.asked.append(question)
        return self.answer


@pytest.fixture
def change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    nowhere = PostgresUrl("127.0.0.1", 1, "nobody", "", "nothing")
    monkeypatch.setattr(confirmation, "CONFIRMED", ("test",))  # The one that needs no file.
    env = environments.throwaway(owner=nowhere, service=nowhere, legacy=tmp_path / "game.db", folder=tmp_path)
    return Change(env, "moves the game")


def test_it_is_asked_when_the_run_asks_and_once_only(change: Change) -> None:
    person = Person()
    confirm = Confirmation("test", person, yes=False, confirm="")
    assert person.asked == []
    confirm(change)
    confirm(change)
    assert (person.told, person.asked) == (["This moves the game."], ["Type test to go on: "])


@pytest.mark.parametrize("answer", ["", "prod", "Test", " test"])
def test_another_word_and_nothing_are_refusals_and_do_not_count_as_asked(change: Change, answer: str) -> None:
    person = Person(answer)
    confirm = Confirmation("test", person, yes=False, confirm="")
    for _ in range(2):
        with pytest.raises(Refusal, match="the name test typed as confirmation"):
            confirm(change)
    assert len(person.asked) == 2


def test_where_nobody_can_type_it_is_refused_at_once_and_a_dry_run_asks_nothing(change: Change) -> None:
    person = Person(can_ask=False)
    with pytest.raises(Refusal, match="found no terminal"):
        Confirmation("test", person, yes=False, confirm="")
    Confirmation("test", person, yes=False, confirm="", dry_run=True)(change)
    assert (person.told, person.asked) == ([], [])
    Confirmation("test", person, yes=True, confirm="test")(change)
    assert (person.told, person.asked) == (["This moves the game."], [])


@pytest.mark.parametrize("name", [*environments.NAMES, "", "stagin"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_another_environments_name_is_refused_at_once(name: str, dry_run: bool) -> None:
    with pytest.raises(Refusal, match="found --confirm prod"):
        Confirmation(name, Person(), yes=True, confirm="prod", dry_run=dry_run)


def test_an_environment_that_needs_no_name_is_told_what_is_about_to_change(
    change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmation, "CONFIRMED", ("production",))
    person = Person(can_ask=False)
    Confirmation("test", person, yes=False, confirm="")(change)
    assert (person.told, person.asked) == (["This moves the game."], [])
