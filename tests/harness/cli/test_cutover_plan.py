"""A cutover is held to its plan: what differs from it is named, and nothing is begun; a run that goes on finds it."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from db import environments, ops, signing
from db.console.output import plain
from db.cutover import plan_file, services
from db.cutover.context import RunConfig
from db.cutover.plan import Plan
from db.cutover.report import RunReport
from db.environment_files import FileRead, FilesRead
from db.environments import Hooks, Pointer, Policy
from db.errors import Refusal
from db.servers import Server
from db.signing import SIGNING_KEY
from harness.cli.commands import cutovers, plans
from tests.db.cutover.cutover_world import World, quiet_smoke, quiet_world, run_cutover
from tests.fixtures.gates import KEY

PLANTED = "planted-password-of-a-test"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key to sign with, no services on trial, no summary of a runner's, and the run's own demands left out."""
    monkeypatch.setenv(SIGNING_KEY, KEY)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setattr(services, "trial", lambda url: services.Ready("", 200, services.engine(url), "", "", 1, ""))
    monkeypatch.setattr(cutovers, "ROOT", repository(tmp_path / "checkout"))


def repository(root: Path) -> Path:
    root.mkdir()
    (root / "file").write_text("1")
    committed(root, "init", "-q")
    committed(root, "add", ".")
    committed(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "One")
    return root


def committed(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True)


@pytest.fixture
def world(server: Server, tmp_path: Path) -> Iterator[World]:
    """A small game, whose settings stand in files: one with a password."""
    (tmp_path / "made").mkdir()
    with quiet_world(server, tmp_path / "made") as quiet:
        settings, values = tmp_path / "environments.toml", tmp_path / ".env"
        settings.write_text("# settings\n")
        values.write_text(f"DATABASE_PASSWORD={PLANTED}\n")
        yield quiet.with_(files_read=read(settings, values))


def read(settings: Path, values: Path) -> FilesRead:
    digest = hashlib.sha256(settings.read_bytes()).hexdigest()
    return FilesRead((FileRead(str(settings), digest),), (), (FileRead(str(values), ""),))


def config(world: World, **more: Any) -> RunConfig:
    return RunConfig(quiet_smoke, tools=world.server.tool, folder=world.runs, **more)


def cutover(world: World, plan: str = "", **more: Any) -> RunReport:
    return cutovers.cutover(world.env, config(world, **more), plan=plan)


def planned(world: World) -> Path:
    """Return the JSON that a dry run wrote."""
    report = cutover(world, dry_run=True)
    assert report.verdict == "planned", report.checks
    path = world.folder / "plan.json"
    path.write_text(json.dumps(plain(report)))
    return path


def hold(world: World, path: Path) -> RunConfig:
    return plans.hold(world.env, config(world), str(path), cutovers.ROOT)


def untouched(world: World) -> None:
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("empty", "open", "legacy")
    assert not world.runs.exists()
    with ops.connect(world.owner) as conn:
        assert ops.phase_run(conn) is None


@pytest.mark.plan(15, 17)
def test_a_run_is_held_to_the_plan_of_a_dry_run_and_carried_out(world: World) -> None:
    path = planned(world)
    untouched(world)
    made = json.loads(path.read_text())["plan"]
    assert {"commit", "head of the schema", "legacy file", "marker of the target", "hook restart"} <= made[
        "parts"
    ].keys()
    assert made["predicted_seconds"] > 0
    assert len(made["digest"]) == len(made["signature"]) == 64

    # Players play on, by day: that is no other plan.
    world.write_to_legacy("UPDATE users SET gold = gold + 1")

    assert cutover(world, str(path)).verdict == "live"
    assert cutover(world, str(path)).verdict == "live"  # Once more: it sees to the switch.


@pytest.mark.parametrize("step", ["snapshot", "migrate", "fence", "copy", "switch", "smoke", "live"])
def test_a_run_that_was_killed_goes_on_with_the_same_plan_also_when_it_is_old(world: World, step: str) -> None:
    path = planned(world)
    hold(world, path)
    assert world.dies("after", step, run_cutover) == -9

    old = edited(path, made_at=(datetime.now(UTC) - timedelta(hours=30)).isoformat(timespec="seconds"))
    goes_on = world.run_of_the_phase() != "None"

    if not goes_on:  # Nothing was begun that a plan could be too old for.
        with pytest.raises(Refusal, match="made within"):
            cutover(world, str(old))
        old = path
    assert cutover(world, str(old)).verdict == "live"


def edited(path: Path, *, sign: bool = True, **changes: Any) -> Path:
    """Return the plan with other values, with the digest that they have and (sign) a signature."""
    document = json.loads(path.read_text())
    body = {**{key: value for key, value in document["plan"].items() if key not in ("digest", "signature")}, **changes}
    signature = signing.sign({"plan": body}, KEY) if sign else document["plan"]["signature"]
    document["plan"] = {**body, "digest": plan_file.digest_of(body), "signature": signature}
    other = path.with_name("other.json")
    other.write_text(json.dumps(document))
    return other


def with_settings(world: World, text: str, values: str) -> World:
    settings, variables = (
        Path(files[0].path) for files in (world.env.files_read.files, world.env.files_read.env_files)
    )
    settings.write_text(text)
    variables.write_text(values)
    return world.with_(files_read=read(settings, variables))


def replaced(world: World) -> World:
    path = world.env.legacy.path
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    copy.replace(path)
    return world


def indexed(world: World) -> World:
    world.write_to_legacy("CREATE INDEX of_a_test ON users (gold)")
    return world


def another_commit(world: World) -> World:
    (cutovers.ROOT / "file").write_text("2")
    committed(cutovers.ROOT, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "Two")
    return world


def another_file(world: World) -> World:
    (cutovers.ROOT / "new | file").write_text("2")
    return world


def same(text: str) -> str:
    return f"DATABASE_PASSWORD={text}\n"


DIFFERENT: dict[str, tuple[set[str], Callable[[World], World]]] = {
    "commit": ({"commit"}, another_commit),
    "a file": ({"files unlike the commit"}, another_file),
    "hook": (
        {"hook restart", "digest of hooks and services"},
        lambda world: world.with_(hooks=Hooks(restart=f"true; {world.env.hooks.restart}")),
    ),
    "hook added": (
        {"hook deploy", "digest of hooks and services"},
        lambda world: world.with_(hooks=dataclasses.replace(world.env.hooks, deploy="true")),
    ),
    "services": (
        {"services", "digest of hooks and services"},
        lambda world: world.with_(services=(*world.env.services, world.env.services[0])),
    ),
    "policy": (
        {"policy"},
        lambda world: world.with_(policy=dataclasses.replace(world.env.policy, freeze_budget_seconds=600)),
    ),
    "pointer": ({"pointer"}, lambda world: world.with_(pointer=Pointer(world.env.pointer.path, "ANOTHER_URL"))),
    "file put in its place": ({"inode of the legacy file"}, replaced),
    "schema of the file": ({"schema of the legacy file"}, indexed),
    "target": (
        {"target", "target, by its owner"},
        lambda world: world.with_(
            target=world.env.target.with_(host="localhost"),
            target_direct=world.env.target_direct.with_(host="localhost"),
        ),
    ),
    "settings": (
        {"digest of the settings' environments.toml"},
        lambda world: with_settings(world, "# others\n", same(PLANTED)),
    ),
    "a password": ({"seal of the variables in .env"}, lambda world: with_settings(world, "# settings\n", same("x"))),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_from_the_plan_is_named_and_nothing_is_begun(world: World, name: str) -> None:
    parts, change = DIFFERENT[name]
    path = planned(world)
    before = approved(path)

    with pytest.raises(Refusal) as caught:
        cutover(change(world), str(path))

    message = str(caught.value)
    named = {part for part in (*before.parts, "hook deploy") if f"expected {part}, as approved" in message}
    assert named == parts, message
    assert caught.value.exit_code == 2
    assert caught.value.where == str(path)
    assert "--dry-run --json out/plan-test.json" in caught.value.do
    assert PLANTED not in message
    untouched(world)


def test_another_database_is_another_plan(world: World) -> None:
    path = planned(world)
    with world.on_another_server() as other, pytest.raises(Refusal, match="marker of the target, as approved"):
        cutover(other, str(path))
    untouched(world)


def approved(path: Path) -> Plan:
    return plan_file.read(path, "test", key=KEY)


@pytest.mark.parametrize("hours", [25, -1])
def test_a_plan_that_is_old_or_of_the_future_begins_nothing(world: World, hours: int) -> None:
    made_at = datetime.now(UTC) - timedelta(hours=hours)
    path = edited(planned(world), made_at=made_at.isoformat(timespec="seconds"))
    with pytest.raises(Refusal, match="a plan made within 1 day"):
        cutover(world, str(path))
    untouched(world)


def test_a_dry_run_that_found_something_makes_no_plan(world: World) -> None:
    unready = world.with_(hooks=Hooks())
    report = cutover(unready, dry_run=True)
    assert (report.verdict, report.plan) == ("refused", None)
    path = world.folder / "plan.json"
    path.write_text(json.dumps(plain(report)))
    with pytest.raises(Refusal, match="ended with refused, and has no plan"):
        cutover(world, str(path))


def test_a_predicted_freeze_that_nobody_approved_is_refused(world: World) -> None:
    path = edited(planned(world), predicted_seconds=1.0, most_seconds=2.0)
    with pytest.raises(Refusal, match="for which the plan was approved"):
        cutover(world, str(path))
    untouched(world)


def test_a_plan_of_before_a_move_does_not_begin_another_one(world: World) -> None:
    path = planned(world)
    assert cutover(world, str(path)).verdict == "live"
    assert world.rollback().verdict == "returned"
    with pytest.raises(Refusal, match="moves before, as approved: never moved; found returned by run"):
        cutover(world, str(path))
    assert cutover(world, str(planned(world))).verdict == "live"


def test_a_policy_can_demand_a_plan_of_a_run_that_begins(world: World) -> None:
    strict = world.with_(policy=dataclasses.replace(world.env.policy, plan="required"))
    with pytest.raises(Refusal, match="an approved plan, which") as caught:
        cutover(strict)
    assert "--plan out/plan-test.json" in caught.value.do
    untouched(world)
    path = planned(strict)
    hold(strict, path)
    assert strict.dies("after", "fence", run_cutover) == -9
    assert cutover(strict).verdict == "live"  # Players were read-only: nobody has to find the plan first.


def test_no_password_and_nothing_to_guess_it_from_stands_in_a_plan(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = world.with_(hooks=Hooks(restart=world.env.hooks.restart, deploy=f"true postgresql://u:{PLANTED}@h/d"))
    sealed = planned(secret).read_text()
    monkeypatch.delenv(SIGNING_KEY)
    monkeypatch.setattr(environments, "secret", lambda *_: None)
    unsealed = planned(secret).read_text()
    for text in (sealed, unsealed):
        assert PLANTED not in text
        assert hashlib.sha256(same(PLANTED).encode()).hexdigest() not in text
        assert hashlib.sha256(PLANTED.encode()).hexdigest() not in text
    assert "seal of the variables in .env" in sealed
    assert "the values in .env: there is no GATE_SIGNING_KEY to seal them with" in unsealed
    assert json.loads(unsealed)["plan"]["signature"] is None
    assert json.loads(sealed)["plan"]["parts"]["digest of hooks and services"].startswith("hmac-sha256 ")


def test_the_variable_that_a_run_writes_is_no_part_of_a_sealed_file(world: World) -> None:
    own = world.with_(
        files_read=dataclasses.replace(world.env.files_read, env_files=(FileRead(str(world.env.pointer.path), ""),))
    )
    path = planned(own)
    assert own.dies("after", "switch", run_cutover) == -9
    assert cutover(own, str(path)).verdict == "live"


def test_whoever_approves_sees_the_plan_in_the_summary_of_the_step(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = tmp_path / "steps.md"
    steps.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(steps))
    hostile = "true '|</code><script>alert(1)</script>`'"
    path = planned(world.with_(hooks=Hooks(restart=world.env.hooks.restart, health=hostile)))
    text = steps.read_text()
    made = json.loads(path.read_text())["plan"]
    assert text.startswith("before\n## Plan of the cutover of test\n")
    assert made["digest"] in text
    for name in made["parts"]:
        assert f"<code>{html.escape(name)}</code>" in text
    assert "refused above" in text
    assert "<script>" not in text
    assert all(line.count("|") == 3 for line in text.splitlines() if line.startswith("|"))

    steps.write_text("")
    cutover(world.with_(hooks=Hooks()), dry_run=True)
    assert "**There is no plan**: the dry run ended with refused." in steps.read_text()
    assert "restart" in steps.read_text()


def test_the_default_of_the_policy_demands_no_plan() -> None:
    assert Policy().plan == "optional"
