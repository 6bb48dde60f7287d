"""The cutover, whole: what it does, what stops it, and that a plan changes nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from db import ops
from db.cutover import deadline
from db.cutover.cutover import CUTOVER
from db.cutover.ports import SmokeResult
from db.cutover.report import RunReport
from db.environments import Environment, Hooks, Pointer
from db.errors import Refusal, Undone
from db.servers import Server
from db.snapshots.tools import installed
from game.urls import LegacyUrl
from tests.db.cutover.cutover_world import World, failing_before, failing_smoke, made, world

__all__ = ["world"]

STEPS = [step.name for step in CUTOVER.plan]
UNDER_THE_FENCE = STEPS[STEPS.index("fence") + 1 : STEPS.index("live") + 1]


@dataclass
class Watched:
    """One cutover, and what was tried beside it."""

    world: World
    report: RunReport
    refused: dict[str, tuple[int, bool, bool]] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)


@pytest.fixture(scope="module")
def watched(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A cutover during each step of which a player writes, and during one of which another cutover is begun."""
    refused: dict[str, tuple[int, bool, bool]] = {}
    refusals: list[Refusal] = []
    with made(server, tmp_path_factory.mktemp("watched")) as before:
        world = before.with_(hooks=Hooks(deploy="cat $ENV_FILE", restart=before.env.hooks.restart))

        def observer(when: str, step: str) -> None:
            if when == "before" and step in UNDER_THE_FENCE:
                status = world.act(0, f"during-{len(refused)}").status_code
                refused[step] = (status, world.legacy_refuses(), world.postgres_refuses())
            if (when, step) == ("before", "copy"):
                with pytest.raises(Refusal) as caught:
                    world.cutover()
                refusals.append(caught.value)

        yield Watched(world, world.cutover(observer=observer), refused, refusals)


@pytest.mark.plan(19, 20, 21, 22)
@pytest.mark.core
def test_a_cutover_ends_with_the_players_on_postgres_and_nothing_lost(watched: Watched) -> None:
    report = watched.report

    watched.world.assert_whole_on_postgres()
    assert report.verdict == "live"
    assert [step.name for step in report.steps] == ["preflight", *STEPS]
    assert {step.status for step in report.steps} == {"done"}
    assert report.counts["source"] == report.counts["loaded"] + report.counts["quarantined"] > 0
    assert report.counts["mismatches"] == 0
    assert report.read_only_seconds is not None
    assert 0 < report.read_only_seconds < 60
    assert report.engine.startswith("PostgreSQL 1")


@pytest.mark.plan(18)
def test_a_write_between_fence_and_lift_is_answered_503_and_refused_by_both_stores(watched: Watched) -> None:
    assert watched.refused == dict.fromkeys(UNDER_THE_FENCE, (503, True, True))


def test_two_cutovers_at_once_are_one_and_a_refusal_that_names_it(watched: Watched) -> None:
    assert [refusal.exit_code for refusal in watched.refusals] == [2]
    assert f"run {watched.report.run} (cutover)" in watched.refusals[0].found


def test_the_journal_and_the_report_bear_no_secret(watched: Watched) -> None:
    world = watched.world

    written = world.journals() + "".join(path.read_text() for path in world.runs.glob("*/report.json"))

    assert "DATABASE_URL" in written  # The deploy hook printed the whole env file.
    for secret in (world.env.target.password, world.owner.password, "dice-of-the-tests-only"):
        assert secret not in written
    kept = next(world.runs.glob("*/pointer.before"))
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_text() == f"file:{world.env.legacy.path}"


def test_a_cutover_that_is_done_is_done(watched: Watched) -> None:
    again = watched.world.cutover()

    assert again.verdict == "live"
    assert [step.name for step in again.steps] == ["live", "switch", "first snapshot"]
    assert {step.status for step in again.steps} == {"already"}
    watched.world.assert_whole_on_postgres()


def test_a_dry_run_says_the_plan_and_changes_nothing(world: World) -> None:
    before = _fingerprint(world)

    report = world.cutover(dry_run=True)

    assert report.verdict == "planned"
    assert [(step.name, step.status) for step in report.steps[1:]] == [(name, "planned") for name in STEPS]
    assert _fingerprint(world) == before
    assert not world.runs.exists()


@pytest.mark.plan(22)
def test_a_smoke_that_fails_undoes_the_cutover(world: World) -> None:
    with pytest.raises(Undone) as caught:
        world.cutover(smoke=failing_smoke)

    assert caught.value.exit_code == 4
    assert "bag_full" in caught.value.found
    world.assert_whole_on_legacy()
    assert world.act(0, "after").status_code == 200
    assert json.loads(next(world.runs.glob("*/report.json")).read_text())["verdict"] == "undone"


@pytest.mark.parametrize(
    ("step", "serves"),
    [
        ("copy", "Every service process serves the legacy file, as before."),
        ("switch", "Every service process serves the legacy file, as before."),
        ("smoke", "Every service process serves the legacy file again."),
    ],
)
def test_an_undo_says_again_only_of_what_was_switched(step: str, serves: str, world: World) -> None:
    with pytest.raises(Undone) as caught:
        world.cutover(observer=failing_before(step))
    assert caught.value.do.startswith(serves)
    assert "Now" not in caught.value.do


@pytest.mark.plan(18)
def test_a_freeze_past_its_budget_undoes_the_cutover(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = deadline.now

    def observer(when: str, step: str) -> None:
        if (when, step) == ("before", "live"):
            monkeypatch.setattr(deadline, "now", lambda: now() + 61)

    with pytest.raises(Undone, match="within 60 s of read-only"):
        world.cutover(observer=observer)

    world.assert_whole_on_legacy()


def test_what_would_go_wrong_is_refused_before_anything_is_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, folder = world.env, world.folder
    (folder / "empty.db").touch()
    (folder / "text.db").write_text("no database")
    refusals = {
        "no such file": {"legacy": LegacyUrl(folder / "none.db")},
        "an empty file": {"legacy": LegacyUrl(folder / "empty.db")},
        "a file of another kind": {"legacy": LegacyUrl(folder / "text.db")},
        "DATABASE_URL to name": {"legacy": LegacyUrl(world.before)},
        "a hook `restart`": {"hooks": Hooks()},
        "no answer": {"services": ("http://127.0.0.1:1",)},
        "within the budget": {"policy": dataclasses.replace(env.policy, freeze_budget_seconds=1)},
        "a Postgres that answers": {"target": env.target.with_(port=1)},
        "one database in target": {"target": env.target.with_(dbname=world.server.maintenance.dbname)},
        "one line STORE_URL": {"pointer": Pointer(env.pointer.path, "STORE_URL")},
    }
    before = _fingerprint(world)

    for match, changes in refusals.items():
        with pytest.raises(Refusal, match=match):
            world.with_(**changes).cutover()
    with pytest.raises(Refusal, match="a certificate"):
        world.cutover(evidence=_without_evidence)
    with pytest.raises(Refusal, match="pg_dump of version 99"):
        world.cutover(tools=installed(99))
    monkeypatch.setenv("DATABASE_URL", "file:/elsewhere.db")
    with pytest.raises(Refusal, match="unset DATABASE_URL"):
        world.cutover()

    assert _fingerprint(world) == before
    assert not world.runs.exists()


@pytest.mark.plan(23)
@pytest.mark.parametrize("offline", [True, False])
def test_a_breach_of_the_watch_rolls_back_where_the_policy_says_so(world: World, offline: bool) -> None:
    watching = world.with_(policy=dataclasses.replace(world.env.policy, watch_seconds=0.1, on_breach="rollback"))
    smoke = SecondFails()

    with pytest.raises(Undone, match="bag_full"):
        watching.cutover(smoke=smoke, offline=offline)

    assert smoke.plays == 3  # Before the lift, in the watch, and before the return.
    assert world.phase() == "returned"
    assert (world.legacy_fence(), world.engine()) == ("open", "legacy")


@pytest.mark.plan(8)
def test_another_environment_s_database_is_refused(world: World) -> None:
    with ops.connect(world.owner) as conn:
        conn.execute("UPDATE ops.environment SET name = 'staging'")
    before = _fingerprint(world)

    with pytest.raises(Refusal, match="database of staging") as caught:
        world.cutover()

    assert caught.value.exit_code == 2
    assert _fingerprint(world) == before


class SecondFails:
    """A smoke of which the second play fails: the one of the watch."""

    def __init__(self) -> None:
        self.plays = 0

    def __call__(self, *arguments: object, **named: object) -> SmokeResult:
        self.plays += 1
        return SmokeResult(1, ("reward/claim: found refused bag_full",) if self.plays == 2 else ())


def _without_evidence(env: Environment) -> None:
    raise Refusal("a certificate of a gate that passed", "none")


def _fingerprint(world: World) -> tuple[object, ...]:
    """The file, the pointer and the whole catalog."""
    with ops.connect(world.owner) as conn:
        catalog = conn.execute("SELECT relnamespace, relname, relkind FROM pg_class ORDER BY oid").fetchall()
        phase = conn.execute("SELECT * FROM ops.phase").fetchall()
    files = [world.env.legacy.path, world.env.pointer.path]
    return catalog, phase, [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
