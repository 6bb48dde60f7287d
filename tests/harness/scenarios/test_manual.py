"""The manual of the scenario language is true: its examples run, its default player is the builder's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from db.samples.given import Given
from harness import scenarios
from harness.play.arena import PlayedStore
from harness.play.replay import replay
from harness.scenarios import yaml_reader
from harness.scenarios.model import ScenarioStep

MANUAL = (Path(__file__).parents[3] / "scenarios" / "README.md").read_text("utf-8")
BLOCK = re.compile(r"^```yaml(?P<kind>.*)\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE)
EXAMPLES = [match["text"] for match in BLOCK.finditer(MANUAL) if not match["kind"]]


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.split(".")[0].removeprefix("about: "))
@pytest.mark.parametrize("store", ["postgres", "legacy"])
def test_an_example_holds(text: str, store: str, request: pytest.FixtureRequest) -> None:
    stage: PlayedStore = request.getfixturevalue(f"{store}_stage")
    assert replay(scenarios.read(text, "manual.yaml").scenario, stage).problems == ()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


def test_the_default_player_is_what_is_given_without_a_word() -> None:
    (text,) = [match["text"] for match in BLOCK.finditer(MANUAL) if match["kind"].strip() == "default"]
    assert yaml_reader.read(text).data == Given().model_dump(mode="json", exclude={"legacy"})


def test_every_key_of_a_player_and_of_a_step_is_explained() -> None:
    keys = [*Given.model_fields, *(field.alias or name for name, field in ScenarioStep.model_fields.items())]
    assert [key for key in keys if f"`{key}`" not in MANUAL and f"\n{key}: 0\n" not in MANUAL] == []
