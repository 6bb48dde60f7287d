"""The gate passes what holds wholly, fails what does not, and is in doubt where something was not tried."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from db import admissions, environments, ops
from db.environments import Policy
from db.errors import Failure, Inconclusive, Refusal
from db.progress import Plain, Silent
from game.urls import PostgresUrl
from harness.databases import Database
from harness.gate import Ended, admission, estimate, suite
from harness.gate import certificate as certificates
from harness.gate import parts as gate_parts
from harness.gate.report import Item
from harness.gate.run import Wish, run
from tests.fixtures.gates import KEY, certificate, item, items, parts, report

ROOT = Path(__file__).parents[3]
HOLDS = """about: A mail is claimed.
given: {hana: {mail: {m1: {gold: 5}}}}
steps: [{by: hana, do: claim_mail, with: {mail: m1}}]
"""


def test_a_gate_in_which_all_was_tried_and_held_passes() -> None:
    found = report(items(), parts())
    assert (found.verdict, found.doubts) == (Ended.PASS, ())
    assert (found.scenarios.count, found.twins.count) == (1, 1)
    assert (found.faults.cases, found.faults.fired, found.races.orders) == (9, 8, 20)


@pytest.mark.parametrize("way", ["postgres", "legacy", "twins", "fault-cut", "races"])
def test_whatever_failed_fails_the_gate(way: str) -> None:
    failed = [item(way, found="expected 1; found 2") if one.way == way else one for one in items()]
    assert report(failed, parts()).verdict is Ended.FAIL


def test_a_part_that_failed_fails_the_gate() -> None:
    assert report(items(), parts(Ended.FAIL, "drift: missing: table users")).verdict is Ended.FAIL


@pytest.mark.parametrize(
    ("left_out", "doubt"),
    [
        ({"postgres", "legacy"}, "no scenario was run"),
        ({"twins"}, "of 1 scenarios 0 were run side by side on both stores"),
        ({"fault-cut"}, "no fault fired"),
        ({"races"}, "no order of two sessions was tried"),
    ],
)
def test_what_was_not_tried_is_no_pass(left_out: set[str], doubt: str) -> None:
    found = report([one for one in items() if one.way not in left_out], parts())
    assert found.verdict is Ended.INCONCLUSIVE
    assert doubt in found.doubts


def test_a_part_that_could_not_be_tried_is_no_pass() -> None:
    found = report(items(), parts(Ended.INCONCLUSIVE, "no pg_dump"))
    assert found.verdict is Ended.INCONCLUSIVE
    assert found.doubts == ("backup: no pg_dump",)


def test_nothing_at_all_is_no_pass() -> None:
    assert report([], []).verdict is Ended.INCONCLUSIVE


def test_a_scenario_that_fails_on_one_store_is_one_failure() -> None:
    found = report([*items()[2:], item("legacy", found="x"), item("postgres", found="y")], parts())
    assert (found.scenarios.count, found.scenarios.failures) == (1, 1)


def raising(error: Exception) -> gate_parts.Found:
    raise error


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (Failure("a", "b"), Ended.FAIL),
        (Refusal("a", "b"), Ended.INCONCLUSIVE),
        (Inconclusive("a", "b"), Ended.INCONCLUSIVE),
    ],
)
def test_what_stops_a_part_is_its_verdict(error: Exception, ended: Ended) -> None:
    part = gate_parts.attempt("backup", lambda: raising(error))
    assert (part.verdict, part.problems) == (ended, (str(error),))


def test_a_part_with_problems_fails_and_one_without_passes() -> None:
    assert gate_parts.attempt("backup", lambda: ({}, ("one row is missing",))).verdict is Ended.FAIL
    assert gate_parts.attempt("backup", lambda: ({"rows": 3}, ())).verdict is Ended.PASS


def test_migrations_and_a_backup_are_tried_on_a_server_of_their_own(pytestconfig: pytest.Config) -> None:
    (migrations, backup), settings = gate_parts.run(pytestconfig.getoption("--postgres"), 5, Silent())
    assert (migrations.verdict, migrations.problems) == (Ended.PASS, ())
    assert (backup.verdict, backup.problems) == (Ended.PASS, ())
    assert backup.found["players"] == 5
    assert settings["synchronous_commit"] == "on"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with one scenario that holds."""
    folder = tmp_path / "tree" / "scenarios" / "reward"
    folder.mkdir(parents=True)
    (folder / "mail.yaml").write_text(HOLDS)
    (tmp_path / "tree" / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "-p harness.plugin"\n')
    return tmp_path / "tree"


def ran(tree: Path, config: pytest.Config, progress: Plain | Silent | None = None) -> dict[str, Item]:
    kind = config.getoption("--postgres")
    return {one.way: one for one in suite.run(tree, kind, progress or Silent(), sweeps=(), workers=1)}


def test_every_way_to_run_a_scenario_is_an_item(tree: Path, pytestconfig: pytest.Config) -> None:
    lines: list[str] = []
    found = ran(tree, pytestconfig, Plain(lines.append))
    assert set(found) == {"postgres", "legacy", "twins"}
    assert all(one.passed and one.seconds > 0 for one in found.values()), found
    assert {one.file for one in found.values()} == {"scenarios/reward/mail.yaml"}
    assert any(line.startswith("scenarios: 3 items in") for line in lines)


def test_an_item_that_failed_says_what_was_found(tree: Path, pytestconfig: pytest.Config) -> None:
    (tree / "scenarios" / "reward" / "mail.yaml").write_text(HOLDS + "after: {}\n")
    found = ran(tree, pytestconfig)
    assert not found["postgres"].passed
    assert "gold: [0, 5]" in found["postgres"].found


def test_a_file_that_is_no_scenario_fails(tree: Path, pytestconfig: pytest.Config) -> None:
    (tree / "scenarios" / "reward" / "broken.yaml").write_text("abuot: nothing\n")
    broken = ran(tree, pytestconfig)["collection"]
    assert (broken.passed, broken.file) == (False, "scenarios/reward/broken.yaml")
    assert "abuot" in broken.found


def test_what_a_sweep_says_of_itself_arrives(tree: Path, pytestconfig: pytest.Config) -> None:
    (tree / "conftest.py").write_text(
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        "        item.user_properties.append(('sweep', '{\"cases\": 3, \"fired\": 2}'))\n"
    )
    found = ran(tree, pytestconfig)
    assert (found["twins"].figure("cases"), found["twins"].figure("fired")) == (3, 2)


def test_no_scenario_is_no_item(tree: Path, pytestconfig: pytest.Config) -> None:
    (tree / "scenarios" / "reward" / "mail.yaml").unlink()
    assert ran(tree, pytestconfig) == {}


def test_it_says_what_it_does_and_how_long_is_left(tmp_path: Path) -> None:
    path = tmp_path / "out" / "durations.json"
    first = estimate.Estimate(path)
    assert first.line("servers", "migrations") == "1 of 3: migrations; some 15 s, 3:30 left in all"
    for part, seconds in (("servers", 10.0), ("suite", 100.0), ("rehearsal", 30.0)):
        first.took(part, seconds)
    first.keep()
    second = estimate.Estimate(path)
    second.took("servers", 9.0)
    assert second.line("suite", "scenarios") == "2 of 3: scenarios; some 100 s, 2:10 left in all"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit, and a key to sign with."""
    root = tmp_path / "checkout"
    (root / "scenarios").mkdir(parents=True)
    (root / "scenarios" / "mail.yaml").write_text(HOLDS)
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "One"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True)
    monkeypatch.setenv(admission.SIGNING_KEY, KEY)
    return root


def certified(tmp_path: Path, checkout: Path, **changes: object) -> Path:
    here = admission.standing(checkout)
    made = certificate(
        commit=here.commit, schema_head=here.schema_head, scenario_digest=here.scenario_digest,
        made_at=certificates.now().isoformat(timespec="seconds"), **changes,
    )  # fmt: skip
    path = tmp_path / "gate.json"
    path.write_text(json.dumps({"certificate": made.signed(KEY)}))
    return path


def test_what_was_accepted_last_may_not_shrink(tmp_path: Path, checkout: Path) -> None:
    admission.verify("staging", certified(tmp_path, checkout), checkout)
    with pytest.raises(Refusal, match="44 scenarios \\(were 45\\)"):
        admission.verify("staging", certified(tmp_path, checkout, scenarios=44), checkout)
    admission.verify("staging", certified(tmp_path, checkout, scenarios=46), checkout)
    with pytest.raises(Refusal, match="45 scenarios \\(were 46\\)"):
        admission.verify("staging", certified(tmp_path, checkout), checkout)
    (tmp_path / "accepted-staging.json").write_text("{}")
    with pytest.raises(Refusal, match="accepted-staging"):
        admission.verify("staging", certified(tmp_path, checkout), checkout)


def test_a_tree_with_changes_is_refused(tmp_path: Path, checkout: Path) -> None:
    path = certified(tmp_path, checkout)
    (checkout / "new.txt").touch()
    with pytest.raises(Refusal, match="changes that no gate has seen"):
        admission.verify("staging", path, checkout)


def test_a_commit_after_the_gate_is_refused(tmp_path: Path, checkout: Path) -> None:
    path = certified(tmp_path, checkout)
    commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "Two", "--allow-empty"]
    subprocess.run(["git", *commit], cwd=checkout, check=True)
    with pytest.raises(Refusal, match="expected commit"):
        admission.verify("staging", path, checkout)


def moved_to(database: Database, tmp_path: Path) -> environments.Environment:
    return environments.throwaway(
        owner=database.owner, service=database.service, legacy=tmp_path / "game.db", folder=tmp_path,
        policy=Policy(freeze_budget_seconds=60),
    )  # fmt: skip


def settings_of(url: PostgresUrl) -> dict[str, str]:
    with ops.connect(url) as conn:
        return admission.decisive(conn)


def test_the_target_remembers_what_it_accepted_last(tmp_path: Path, checkout: Path, database: Database) -> None:
    env = moved_to(database, tmp_path)
    facts = {"environment": "test", "server_settings": settings_of(env.target)}
    major = {"server_version": f"{server_major(env)}.1"}

    admission.admit(env, certified(tmp_path, checkout, **facts, **major), checkout, remember=False)
    with ops.connect(env.target_direct) as conn:
        assert admissions.last(conn) is None
    for _ in range(2):
        admission.admit(env, certified(tmp_path, checkout, **facts, **major), checkout, remember=True)
    with ops.connect(env.target_direct) as conn:
        last = admissions.last(conn)
    assert last is not None
    assert (last.scenarios, last.commit_id) == (45, admission.standing(checkout).commit)
    with pytest.raises(Refusal, match="44 twins \\(were 45\\)"):
        admission.admit(env, certified(tmp_path, checkout, twins=44, **facts, **major), checkout, remember=True)


def test_the_targets_own_version_and_settings_count(tmp_path: Path, checkout: Path, database: Database) -> None:
    env = moved_to(database, tmp_path)
    facts = {"environment": "test", "server_settings": settings_of(env.target)}
    with pytest.raises(Refusal, match=r"found PostgreSQL 14\.2"):
        admission.admit(env, certified(tmp_path, checkout, server_version="14.2", **facts), checkout, remember=False)
    other = {**facts, "server_settings": {**settings_of(env.target), "synchronous_commit": "off"}}
    version = f"{server_major(env)}.1"
    with pytest.raises(Refusal, match="synchronous_commit = on, as the target's; found one with off"):
        admission.admit(env, certified(tmp_path, checkout, server_version=version, **other), checkout, remember=False)


def server_major(env: environments.Environment) -> int:
    with ops.connect(env.target) as conn:
        return conn.info.server_version // 10_000


def test_a_file_that_is_no_game_or_a_key_too_short_is_refused_before_anything_runs(
    tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refusal, match=r"missing\.db"):
        run(Wish("staging", tmp_path / "missing.db"), checkout, Silent())
    monkeypatch.setenv(admission.SIGNING_KEY, "short")
    with pytest.raises(Refusal, match="16 characters or more"):
        run(Wish("staging"), checkout, Silent())
    with pytest.raises(Refusal, match="--env stagin"):
        run(Wish("stagin"), checkout, Silent())
