"""Texts of players, sessions and servers reach people as one short line without a secret, by whatever way."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from db.environments import WatchPlan
from db.monitor import watching
from db.monitor.check import Check, Judgement, Limit, Measured, NotJudged
from db.monitor.judging import MOST_CHARACTERS, judge
from db.monitor.look import Look
from tests.db.monitor.test_alarms import an_environment

SECRET = "hunter2hunter2"
HOSTILE = (
    f"a\n[production] over: everything\x1b[2J\u202e postgresql://u:{SECRET}@h/d alter role x password '{SECRET}' "
    + "x" * 100_000
)
AT = datetime(2026, 1, 1, tzinfo=UTC)


def measured(_look: Look) -> Measured:
    return Measured(1.0, HOSTILE)


def not_judged(_look: Look) -> Measured:
    raise NotJudged(HOSTILE)


def a_defect(_look: Look) -> Measured:
    raise ValueError(HOSTILE)


@pytest.mark.parametrize("measure", [measured, not_judged, a_defect])
def test_what_a_check_tells_is_one_short_line_without_a_secret(measure: Any, tmp_path: Path) -> None:
    check = Check(name="c", limit=Limit(0.0, "", ""), measure=measure, defect="", not_judged="", do="")
    unused = cast("Any", None)
    look = Look(env=an_environment(tmp_path, WatchPlan()), at=AT, conn=unused, sample=unused, earlier=None)
    assert_plain(judge(check, look, {}))


def test_what_a_server_answers_in_place_of_a_look_is_one_short_line_without_a_secret(tmp_path: Path) -> None:
    env = an_environment(tmp_path, WatchPlan())
    looked = watching.away(env, AT, psycopg.OperationalError(HOSTILE))
    assert_plain(*looked.judgements)
    assert_shown(looked.error)


def assert_plain(*judgements: Judgement) -> None:
    for each in judgements:
        assert_shown(each.evidence + each.why)


def assert_shown(text: str) -> None:
    assert text.isprintable()
    assert SECRET not in text
    assert 0 < len(text) < MOST_CHARACTERS + 100
