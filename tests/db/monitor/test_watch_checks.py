"""Each check of the watch is silent on a sound database, and names its defect where one is planted."""

from __future__ import annotations

from pathlib import Path

from db.environments import Environment
from db.monitor import watching
from db.monitor.checks import CHECKS


def test_a_sound_database_is_in_breach_of_nothing(env: Environment, tmp_path: Path) -> None:
    looked = watching.once(env, window_seconds=0.1, folder=tmp_path)
    for each in looked.judgements:
        print(f"{each.check:32} {each.outcome:14} {each.value} {each.unit}: {each.evidence}{each.why}")
    assert not looked.breaches


def test_names_are_unique() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS) >= 30
