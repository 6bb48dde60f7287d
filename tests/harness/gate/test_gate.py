"""The gate passes what holds wholly, fails what does not, and is in doubt where something was not tried."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from db import environments, ops
from db.console.output import Output
from db.console.progress import Plain, Silent
from db.environments import Policy
from db.errors import Failure, Inconclusive, Refusal
from db.ops import admissions
from db.schema import migrate
from game.urls import PostgresUrl
from harness.databases import Database
from harness.gate import Ended, admission, due, estimate, suite
from harness.gate import certificate as certificates
from harness.gate import checkout as checkouts
from harness.gate import parts as gate_parts
from harness.gate.report import Item
from harness.gate.run import Findings, Wish, run
from harness.rehearsal import RehearsalReport
from tests.fixtures.gates import FILE, KEY, certificate, item, items, parts, report
from tests.fixtures.waiting import until

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
        ({"twins"}, "of 1 scenario 0 were run side by side on both stores"),
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
    assert migrations.found["on top"] == [f"{int(migrate.head()) + n:04}" for n in (1, 2)]
    assert (backup.verdict, backup.problems) == (Ended.PASS, ())
    assert backup.found["players"] == 5
    assert settings["synchronous_commit"] == "on"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with one scenario that holds."""
    folder = tmp_path / "tree" / "scenarios" / "reward"
    folder.mkdir(parents=True)
    (folder / "mail.yaml").write_text(HOLDS)
    (tmp_path / "tree" / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\naddopts = "-p harness.pytest_plugin.plugin"\n'
    )
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


@pytest.mark.parametrize("ways", [{"legacy"}, {"postgres", "legacy", "twins"}])
def test_what_is_due_and_was_not_run_is_in_doubt(ways: set[str]) -> None:
    due = {f"{FILE}::{way}" for way in ("postgres", "legacy", "twins", "fault-cut", "races")}
    assert report(items(), parts(), due).verdict is Ended.PASS
    found = report([one for one in items() if one.way not in ways], parts(), due)
    named = ", ".join(f"{FILE}::{way}" for way in sorted(ways))
    assert found.doubts[0] == f"of 5 items {len(ways)} were not run: {named}"
    assert found.verdict is Ended.INCONCLUSIVE


def test_due_is_what_pytest_collects_for_a_gate() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "scenarios",
        *suite.SWEEPS,
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    said = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, env=environments.beside(suite.ITS_OWN)
    )
    assert {line for line in said.stdout.splitlines() if "::" in line} == due.items(ROOT)


LEAVES_OUT = """
import pytest
def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if item.name != 'legacy']
    for item in items:
        if item.name == 'twins':
            item.add_marker(pytest.mark.skip(reason='later'))
"""


def test_what_is_left_out_is_missed_and_options_of_somebodys_own_runs_leave_out_nothing(
    tree: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k legacy")
    monkeypatch.setenv("PYTEST_PLUGINS", "no.such.plugin")
    (tree / "conftest.py").write_text(LEAVES_OUT)
    found = ran(tree, pytestconfig)
    assert set(found) == {"postgres"}
    (doubt, *_) = report(list(found.values()), parts(), due.items(tree)).doubts
    assert "were not run: scenarios/reward/mail.yaml::" in doubt


def test_a_gate_that_is_terminated_leaves_no_pytest_behind(tree: Path, pytestconfig: pytest.Config) -> None:
    (tree / "conftest.py").write_text("import time\ndef pytest_runtest_setup(item):\n    time.sleep(600)\n")
    program = (
        "from pathlib import Path; from db.console.progress import Silent; from harness.gate import suite;"
        f"suite.run(Path('.'), {pytestconfig.getoption('--postgres')!r}, Silent())"
    )
    gate = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tree,
        stderr=subprocess.PIPE,
        env=environments.beside({"PYTHONPATH": str(ROOT)}),
    )
    until(
        lambda: [] if len(psutil.Process(gate.pid).children(recursive=True)) > 2 else ["no pytest with two workers yet"]
    )
    started = psutil.Process(gate.pid).children(recursive=True)
    gate.terminate()
    said = gate.communicate()[1]
    assert b"KeyboardInterrupt" in said
    until(
        lambda: [
            str(process) for process in started if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        ]
    )


def test_it_says_what_it_does_and_how_long_is_left(tmp_path: Path) -> None:
    path = tmp_path / "out" / "durations.json"
    first = estimate.Estimate(path)
    assert first.line("servers", "migrations") == "1 of 3: migrations; some 15 s, 4:05 left in all on two idle cores"
    assert "some 370 s" in estimate.Estimate(path, 2 * estimate.ITEMS).line("suite", "scenarios")
    for part, seconds in (("servers", 10.0), ("suite", 100.0), ("rehearsal", 30.0)):
        first.took(part, seconds)
    first.keep()
    second = estimate.Estimate(path)
    second.took("servers", 9.0)
    assert second.line("suite", "scenarios") == "2 of 3: scenarios; some 100 s, 2:10 left in all"
    assert "some 50 s" in estimate.Estimate(path, estimate.ITEMS // 2).line("suite", "half of them")


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
        commit=here.commit,
        schema_head=here.schema_head,
        scenario_digest=here.scenario_digest,
        made_at=certificates.now().isoformat(timespec="seconds"),
        **changes,
    )
    path = tmp_path / "gate.json"
    path.write_text(json.dumps({"certificate": made.signed(KEY, {})}))
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


def test_what_a_gate_found_is_admitted_as_it_was_written_and_not_as_it_was_edited(
    tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = {"kind": "docker", "version": "15.18"}
    rehearsed = RehearsalReport(Ended.PASS, engine=engine, players=100, read_only_seconds=3.25)
    found = Findings(tuple(parts()), {}, tuple(items()), frozenset(one.name for one in items()), rehearsed)
    monkeypatch.setattr(sys.modules[run.__module__], "_find", lambda *_: found)
    path = tmp_path / "gate.json"
    Output(str(path)).json(run(Wish("staging"), checkout, Silent()))
    assert admission.verify("staging", path, checkout).rehearsed_players == 100
    path.write_text(path.read_text().replace('"passed": true', '"passed": false', 1))
    with pytest.raises(Refusal, match="the file was changed"):
        admission.verify("staging", path, checkout)


FILTERED = """
git config filter.old.clean 'git show HEAD:%f'
echo '*.yaml filter=old' > .git/info/attributes
echo >> scenarios/mail.yaml
"""
"""A filter that gives git the file as it was committed."""

DATED = """
touch -d 2020-01-01 scenarios/mail.yaml
git update-index --refresh
git config core.trustctime false
git config core.checkStat minimal
sed -i s/5/9/ scenarios/mail.yaml
touch -d 2020-01-01 scenarios/mail.yaml
"""
"""An edit that leaves size and time of change as they were."""


@pytest.mark.parametrize(
    "overlooked",
    [
        FILTERED,
        DATED,
        "mv scenarios/mail.yaml ..; ln -s ../../mail.yaml scenarios/mail.yaml",
        "mkdir environments.toml.d; touch environments.toml.d/x.py",
        "mkdir environments.local.toml; touch environments.local.toml/conftest.py",
        "mkdir game; touch game/environments.toml",
        "git mv scenarios/mail.yaml environments.toml",
        "touch environments.prod.toml; echo environments.prod.toml >> .git/info/exclude",
        "git config status.showUntrackedFiles no; touch scenarios/conftest.py",
        "echo conftest.py >> .git/info/exclude; touch scenarios/conftest.py",
        "echo '*.py' > .git/info/exclude; touch conftest.py",
        "git update-index --assume-unchanged scenarios/mail.yaml",
        "git update-index --skip-worktree scenarios/mail.yaml",
    ],
)
def test_what_git_was_told_to_overlook_is_a_change(tmp_path: Path, checkout: Path, overlooked: str) -> None:
    path = certified(tmp_path, checkout)
    subprocess.run(overlooked, cwd=checkout, check=True, shell=True)
    with pytest.raises(Refusal, match="changes that no gate has seen"):
        admission.verify("staging", path, checkout)


def test_compiled_files_are_no_change(tmp_path: Path, checkout: Path) -> None:
    path = certified(tmp_path, checkout)
    (checkout / ".git" / "info" / "exclude").write_text("__pycache__/\n")
    (checkout / "game" / "__pycache__").mkdir(parents=True)
    (checkout / "game" / "__pycache__" / "bag.cpython-311.pyc").touch()
    admission.verify("staging", path, checkout)


def test_a_commit_after_the_gate_is_refused(tmp_path: Path, checkout: Path) -> None:
    path = certified(tmp_path, checkout)
    (checkout / "environments.toml").write_text("[staging]\n")
    (checkout / "code.py").touch()
    committed(checkout)
    with pytest.raises(Refusal, match="expected commit"):
        admission.verify("staging", path, checkout)


def committed(checkout: Path) -> None:
    subprocess.run(["git", "add", "--all"], cwd=checkout, check=True)
    commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "Two"]
    subprocess.run(["git", *commit], cwd=checkout, check=True)


@pytest.mark.parametrize(
    "edit",
    [
        "echo '# raised' >> environments.toml",
        "rm environments.toml",
        "echo '# raised' >> environments.toml; git add environments.toml",
        "git update-index --skip-worktree environments.toml; echo '# raised' >> environments.toml",
        "echo > environments.local.toml",
        "echo environments.local.toml > .git/info/exclude; echo > environments.local.toml",
    ],
)
def test_an_edit_of_the_environments_leaves_a_certificate_admitted(tmp_path: Path, checkout: Path, edit: str) -> None:
    (checkout / "environments.toml").write_text("[staging]\n")
    committed(checkout)
    path = certified(tmp_path, checkout)
    assert not checkouts.edited_settings(checkout)
    subprocess.run(edit, cwd=checkout, check=True, shell=True)
    admission.verify("staging", path, checkout)
    assert checkouts.edited_settings(checkout) is ("local" not in edit)
    subprocess.run(["git", "update-index", "--no-skip-worktree", "environments.toml"], cwd=checkout, check=False)
    (checkout / "environments.toml").write_text("[production]\n")
    committed(checkout)
    admission.verify("staging", path, checkout)
    (checkout / "conftest.py").touch()
    with pytest.raises(Refusal, match=r"no gate has seen: conftest\.py") as refused:
        admission.verify("staging", path, checkout)
    assert "Commit these files, or take the changes back" in str(refused.value)
    committed(checkout)
    with pytest.raises(Refusal, match="expected commit"):
        admission.verify("staging", path, checkout)


def test_a_certificate_of_a_commit_that_is_not_here_is_refused(tmp_path: Path, checkout: Path) -> None:
    for commit in ("f" * 40, "--output=x", "HEAD"):
        path = certified(tmp_path, checkout)
        report = json.loads(path.read_text())
        here = admission.standing(checkout)
        made = certificate(
            commit=commit,
            schema_head=here.schema_head,
            scenario_digest=here.scenario_digest,
            made_at=report["certificate"]["made_at"],
        )
        path.write_text(json.dumps({"certificate": made.signed(KEY, {})}))
        with pytest.raises(Refusal, match="expected commit"):
            admission.verify("staging", path, checkout)
    assert not (checkout / "x").exists()


def test_another_checkout_that_a_variable_names_is_not_asked(
    tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certified(tmp_path, checkout)
    monkeypatch.setenv("GIT_DIR", str(ROOT / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    admission.verify("staging", path, checkout)


def moved_to(database: Database, tmp_path: Path) -> environments.Environment:
    return environments.throwaway(
        owner=database.owner,
        service=database.service,
        legacy=tmp_path / "game.db",
        folder=tmp_path,
        policy=Policy(freeze_budget_seconds=60),
    )


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
