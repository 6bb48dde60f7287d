"""A certificate admits the tree, target and settings that it was made for; a gate without a file or key never runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from db import environments, ops
from db.console.output import Output
from db.console.progress import Silent
from db.environments import Policy
from db.errors import Refusal
from db.ops import admissions
from game.urls import PostgresUrl
from harness.databases import Database
from harness.gate import Ended, admission
from harness.gate import certificate as certificates
from harness.gate import checkout as checkouts
from harness.gate.run import Findings, GateOptions, run
from harness.rehearsal import Leg, RehearsalReport
from tests.fixtures.gates import HOLDS, KEY, certificate, items, parts

ROOT = Path(__file__).parents[3]


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
    state = admission.checkout_state(checkout)
    made = certificate(
        commit=state.commit,
        schema_head=state.schema_head,
        scenario_digest=state.scenario_digest,
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
    offline = Leg("pass", read_only_seconds=3.25)
    rehearsed = RehearsalReport(Ended.PASS, engine=engine, players=100, window_seconds=0.04, offline=offline)
    findings = Findings(tuple(parts()), {}, tuple(items()), frozenset(one.name for one in items()), rehearsed)
    monkeypatch.setattr(sys.modules[run.__module__], "_find", lambda *_: findings)
    path = tmp_path / "gate.json"
    Output(str(path)).json(run(GateOptions("staging"), checkout, Silent()))
    admitted = admission.verify("staging", path, checkout)
    assert (admitted.rehearsed_players, admitted.window_seconds, admitted.freeze_seconds) == (100, 0.04, 3.25)
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
        state = admission.checkout_state(checkout)
        made = certificate(
            commit=commit,
            schema_head=state.schema_head,
            scenario_digest=state.scenario_digest,
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


def admit(env: environments.Environment, path: Path, checkout: Path, *, remember: bool) -> None:
    admission.admit(env, path, checkout, offline=True, remember=remember)


def settings_of(url: PostgresUrl) -> dict[str, str]:
    with ops.connect(url) as conn:
        return admission.decisive(conn)


def test_the_target_remembers_what_it_accepted_last(tmp_path: Path, checkout: Path, database: Database) -> None:
    env = moved_to(database, tmp_path)
    facts = {"environment": "test", "server_settings": settings_of(env.target)}
    major = {"server_version": f"{server_major(env)}.1"}

    admit(env, certified(tmp_path, checkout, **facts, **major), checkout, remember=False)
    with ops.connect(env.target_direct) as conn:
        assert admissions.last(conn) is None
    for _ in range(2):
        admit(env, certified(tmp_path, checkout, **facts, **major), checkout, remember=True)
    with ops.connect(env.target_direct) as conn:
        last = admissions.last(conn)
    assert last is not None
    assert (last.scenarios, last.commit_id) == (45, admission.checkout_state(checkout).commit)
    with pytest.raises(Refusal, match="44 twins \\(were 45\\)"):
        admit(env, certified(tmp_path, checkout, twins=44, **facts, **major), checkout, remember=True)


def test_the_rehearsed_freeze_counts_where_the_game_will_be_stopped(
    tmp_path: Path, checkout: Path, database: Database
) -> None:
    env = moved_to(database, tmp_path)
    facts = {"environment": "test", "server_settings": settings_of(env.target)}
    facts |= {"server_version": f"{server_major(env)}.1", "freeze_seconds": 60.5}
    admission.admit(env, certified(tmp_path, checkout, **facts), checkout, offline=False, remember=False)
    with pytest.raises(Refusal, match=r"a rehearsed freeze within 60 s; found one of 60\.5 s"):
        admit(env, certified(tmp_path, checkout, **facts), checkout, remember=False)


def test_a_gate_that_rehearsed_no_live_move_admits_none(tmp_path: Path, checkout: Path, database: Database) -> None:
    env = moved_to(database, tmp_path)
    facts = {"environment": "test", "server_settings": settings_of(env.target), "window_seconds": None}
    path = certified(tmp_path, checkout, server_version=f"{server_major(env)}.1", **facts)
    admit(env, path, checkout, remember=False)
    with pytest.raises(Refusal, match="could only be moved with the game stopped"):
        admission.admit(env, path, checkout, offline=False, remember=False)


def test_the_targets_own_version_and_settings_count(tmp_path: Path, checkout: Path, database: Database) -> None:
    env = moved_to(database, tmp_path)
    facts = {"environment": "test", "server_settings": settings_of(env.target)}
    with pytest.raises(Refusal, match=r"found PostgreSQL 14\.2"):
        admit(env, certified(tmp_path, checkout, server_version="14.2", **facts), checkout, remember=False)
    other = {**facts, "server_settings": {**settings_of(env.target), "synchronous_commit": "off"}}
    version = f"{server_major(env)}.1"
    with pytest.raises(Refusal, match="synchronous_commit = on, as the target's; found one with off"):
        admit(env, certified(tmp_path, checkout, server_version=version, **other), checkout, remember=False)


def server_major(env: environments.Environment) -> int:
    with ops.connect(env.target) as conn:
        return conn.info.server_version // 10_000


def test_a_file_that_is_no_game_or_a_key_too_short_is_refused_before_anything_runs(
    tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refusal, match=r"missing\.db"):
        run(GateOptions("staging", tmp_path / "missing.db"), checkout, Silent())
    monkeypatch.setenv(admission.SIGNING_KEY, "short")
    with pytest.raises(Refusal, match="16 characters or more"):
        run(GateOptions("staging"), checkout, Silent())
    with pytest.raises(Refusal, match="--env stagin"):
        run(GateOptions("stagin"), checkout, Silent())
