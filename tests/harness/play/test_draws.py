"""The draws that an action declares are those that it makes: by them the dice of a scenario are checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from game.rules.chance import Chance
from game.rules.commands import COMMANDS
from harness import scenarios
from harness.play.arena import LegacyStage
from harness.play.replay import replay

FILES = sorted((Path(__file__).parents[3] / "scenarios").rglob("*.yaml"))


def test_each_action_makes_the_draws_that_it_declares_and_no_others(
    legacy_stage: LegacyStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, set[str]] = {action: set() for action in COMMANDS}

    def noting(draw: Callable[..., float]) -> Callable[..., float]:
        def noted(self: Chance, name: str, *figures: int, of: str) -> float:
            made[of.partition('\0["')[2].partition('"')[0]].add(name)
            return draw(self, name, *figures, of=of)

        return noted

    monkeypatch.setattr(Chance, "draw", noting(Chance.draw))
    monkeypatch.setattr(Chance, "percent", noting(Chance.percent))
    for path in FILES:
        assert replay(scenarios.read_file(path).scenario, legacy_stage).problems == ()
    assert made == {action: set(command.draws) for action, command in COMMANDS.items()}
