"""The cutover, whole: what it does, what stops it, and that a plan changes nothing."""

from __future__ import annotations

import hashlib
import json

import pytest
from cutover_world import World, failing_smoke, world

from db import ops
from db.cutover import deadline
from db.environments import Hooks
from db.errors import Refusal, Undone

__all__ = ["world"]

UNDER_THE_FENCE = ("copy", "switch", "smoke", "final dump", "live")


def test_a_cutover_ends_with_the_players_on_postgres_and_refuses_writes_meanwhile(world: World) -> None:
    refused: dict[tuple[str, str], tuple[int, bool, bool]] = {}

    def observer(when: str, step: str) -> None:
        if (when == "before" and step in UNDER_THE_FENCE) or (when, step) == ("after", "fence"):
            status = world.act(0, f"during-{len(refused)}").status_code
            refused[when, step] = (status, world.legacy_refuses(), world.postgres_refuses())

    report = world.cutover(observer=observer)

    assert dict.fromkeys(refused, (503, True, True)) == refused
    assert len(refused) == 1 + len(UNDER_THE_FENCE)
    world.assert_whole_on_postgres()
    assert report.verdict == "live"
    assert [step.name for step in report.steps] == [
        "preflight", "snapshot", "migrate", "fence", "copy", "switch", "smoke", "final dump", "live", "first snapshot",
    ]  # fmt: skip
    assert {step.status for step in report.steps} == {"done"}
    assert report.counts["source"] == report.counts["loaded"] + report.counts["quarantined"] > 0
    assert report.counts["mismatches"] == 0
    assert report.read_only_seconds is not None
    assert 0 < report.read_only_seconds < 60
    assert report.engine.startswith("PostgreSQL 1")
    assert world.act(0, "after").status_code == 200


def test_the_journal_and_the_report_bear_no_secret(world: World) -> None:
    world = world.with_(hooks=Hooks(deploy="cat $ENV_FILE", restart=world.env.hooks.restart))

    world.cutover()

    told = world.journals() + "".join(path.read_text() for path in world.runs.glob("*/report.json"))
    assert "DATABASE_URL" in told
    for secret in (world.env.target.password, world.owner.password, "dice-of-the-tests-only"):
        assert secret not in told
    kept = next(world.runs.glob("*/pointer.before"))
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_text() == f"file:{world.env.legacy.path}"


def test_a_dry_run_says_the_plan_and_changes_nothing(world: World) -> None:
    before = _fingerprint(world)

    report = world.cutover(dry_run=True)

    assert report.verdict == "planned"
    assert [step.status for step in report.steps][1:] == ["planned"] * 9
    assert _fingerprint(world) == before
    assert not world.runs.exists()


def test_two_cutovers_at_once_are_one_and_a_refusal_that_names_it(world: World) -> None:
    refusals: list[Refusal] = []

    def observer(when: str, step: str) -> None:
        if (when, step) == ("before", "copy"):
            with pytest.raises(Refusal) as caught:
                world.cutover()
            refusals.append(caught.value)

    report = world.cutover(observer=observer)

    assert report.verdict == "live"
    assert len(refusals) == 1
    assert report.run in refusals[0].found
    assert "cutover" in refusals[0].found


def test_a_smoke_that_fails_undoes_the_cutover(world: World) -> None:
    with pytest.raises(Undone) as caught:
        world.cutover(smoke=failing_smoke)

    assert caught.value.exit_code == 4
    assert "bag_full" in caught.value.found
    world.assert_whole_on_legacy()
    assert world.act(0, "after").status_code == 200
    assert json.loads(next(world.runs.glob("*/report.json")).read_text())["verdict"] == "undone"


def test_a_freeze_past_its_budget_undoes_the_cutover(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = deadline.now

    def observer(when: str, step: str) -> None:
        if (when, step) == ("before", "switch"):
            monkeypatch.setattr(deadline, "now", lambda: now() + 61)

    with pytest.raises(Undone, match="within 60 s of read-only"):
        world.cutover(observer=observer)

    world.assert_whole_on_legacy()


def test_another_environment_s_database_is_refused(world: World) -> None:
    with ops.connect(world.owner) as conn:
        conn.execute("UPDATE ops.environment SET name = 'staging'")
    before = _fingerprint(world)

    with pytest.raises(Refusal, match="database of staging") as caught:
        world.cutover()

    assert caught.value.exit_code == 2
    assert _fingerprint(world) == before


def _fingerprint(world: World) -> tuple[object, ...]:
    """The file, the pointer and the whole catalog."""
    with ops.connect(world.owner) as conn:
        catalog = conn.execute("SELECT relnamespace, relname, relkind FROM pg_class ORDER BY oid").fetchall()
        phase = conn.execute("SELECT * FROM ops.phase").fetchall()
    files = [world.env.legacy.path, world.env.pointer.path]
    return catalog, phase, [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
