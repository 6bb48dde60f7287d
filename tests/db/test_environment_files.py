"""The operator's file wins key by key, is shown with what it overrides, and is refused by name where it is amiss."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from db import environments
from db.environment_files import LOCAL, VARIABLE, Override
from db.environments import Environment, Hooks, Policy, SnapshotPlan
from db.errors import Refusal, together

PROJECT = """
[staging]
legacy = "file:game.db"
target = "postgresql://service:${SERVICE}@db.example/games?sslmode=verify-full"
target_direct = "postgresql://owner:p@db.example/games"
services = ["http://a", "http://b"]
pointer = { path = "service.env" }
snapshots = { folder = "snapshots" }
hooks = { restart = "reload", health = "look" }
policy = { freeze_budget_seconds = 60, max_held = 0, on_breach = "rollback", plan = "required" }
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "environments.toml").write_text(PROJECT)
    (tmp_path / "project" / ".env").write_text("SERVICE=hidden1\n")
    return tmp_path / "project"


def load(folder: Path, own: str | None = None) -> Environment:
    if own is not None:
        (folder / LOCAL).write_text(own)
    return environments.load("staging", folder / "environments.toml")


def overrides(folder: Path, own: str) -> dict[str, Override]:
    return {override.key: override for override in load(folder, own).files_read.overrides}


def test_without_an_operators_file_the_projects_holds(folder: Path) -> None:
    env = load(folder)
    (file,) = env.files_read.files
    assert file.path == str(folder / "environments.toml")
    assert file.sha256 == hashlib.sha256(PROJECT.encode()).hexdigest()
    assert env.files_read.overrides == ()
    assert env.files_read.lines() == [
        f"{folder}/environments.toml (sha256 {file.sha256[:12]})",
        f"{folder}/.env: values of ${{NAME}}",
    ]


def test_tables_are_merged_key_by_key_and_other_values_are_replaced(folder: Path) -> None:
    env = load(folder, '[staging]\nservices = ["http://c"]\npolicy.max_held = 7\nhooks.drain = "flush"\n')
    assert env.policy == Policy(60, 7, 600, "rollback", "required")
    assert env.hooks == Hooks(drain="flush", restart="reload", health="look")
    assert env.services == ("http://c",)
    assert env.target.password == "hidden1"


def test_the_file_that_the_variable_names_is_read_instead_of_the_one_beside(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "night.toml"
    named.write_text('[staging]\npolicy.max_held = 3\nsnapshots.folder = "elsewhere"\n')
    monkeypatch.setenv(VARIABLE, str(named))
    env = load(folder, "[staging]\npolicy.max_held = 7\n")
    assert env.policy.max_held == 3
    assert env.files_read.files[1].path == str(named)
    assert env.files_read.not_read == str(folder / LOCAL)
    assert any(line.startswith("not read: ") and VARIABLE in line for line in env.files_read.lines())
    # A relative path means the same in both files.
    assert env.snapshots.folder == folder / "elsewhere"


def test_the_variable_is_read_from_the_env_files_too_and_its_path_from_the_projects_folder(folder: Path) -> None:
    (folder / "night.toml").write_text("[staging]\npolicy.max_held = 3\n")
    (folder / ".env.staging").write_text(f"{VARIABLE}=night.toml\n")
    assert load(folder).policy.max_held == 3


def test_a_section_of_the_operators_alone_is_an_environment(folder: Path) -> None:
    (folder / LOCAL).write_text(PROJECT.replace("staging", "production"))
    env = environments.load("production", folder / "environments.toml")
    assert env.files_read.overrides[0] == Override("legacy", "not set", "file:game.db")
    assert load(folder).files_read.overrides == ()


def test_what_is_overridden_is_shown_old_and_new_without_secrets(folder: Path) -> None:
    own = (
        '[staging]\ntarget_direct = "postgresql://owner:hunter2@db2.example/games"\npolicy.watch_seconds = 900\n'
        'hooks.restart = "API_TOKEN=hunter2 reload"\nhooks.health = "look"\n'
    )
    env = load(folder, own)
    shown = "\n".join(env.files_read.lines())
    assert "hunter2" not in shown + json.dumps(asdict(env.files_read)) + repr(env.files_read)
    assert "hidden1" not in shown
    assert "target_direct: postgresql://owner:***@db.example/games → postgresql://owner:***@db2.example/games" in shown
    assert "policy.watch_seconds: 600 → 900" in shown
    own = own.replace("db2.example", "db.example")
    hidden = overrides(folder, own)["target_direct"]
    assert str(hidden).endswith("→ postgresql://owner:***@db.example/games, otherwise in what is not shown")
    assert "hooks.health: look, as in environments.toml" in shown
    assert env.files_read.raised == ()
    assert env.files_read.file_of("policy.watch_seconds") == str(folder / LOCAL)
    assert env.files_read.file_of("pointer.path") == str(folder / "environments.toml")


WEAKER = {
    "policy.max_held": ("1", "RAISED: more players"),
    "policy.freeze_budget_seconds": ("60.5", "RAISED: players may be kept read-only"),
    "policy.watch_seconds": ("599", "WEAKER: the watch"),
    "policy.on_breach": ('"report"', "WEAKER: a breach is reported"),
    "policy.plan": ('"optional"', "WEAKER: a cutover begins without an approved plan"),
    "snapshots.keep": ("2", "WEAKER: fewer snapshots"),
    "services": ('["http://b", "http://c"]', "WEAKER: no longer asked: http://a"),
    "hooks.health": ('" "', "WEAKER: nothing is run"),
    "target": ('"postgresql://service@db.example/games?sslmode=require"', "sslmode require instead of verify-full"),
}
AS_STRICT = {
    "policy.freeze_budget_seconds": "59",
    "policy.watch_seconds": "601",
    "snapshots.keep": "4",
    "services": '["http://b", "http://a", "http://c"]',
    "hooks.health": '"look twice"',
    "hooks.deploy": '""',
    "target": '"postgresql://service@db2.example/games?sslmode=verify-full"',
    "target_direct": '"postgresql://owner:p@db.example/games?sslmode=require"',
}


@pytest.mark.parametrize("key", WEAKER)
def test_a_limit_that_is_weakened_is_said_in_words(folder: Path, key: str) -> None:
    value, words = WEAKER[key]
    env = load(folder, f"[staging]\n{key} = {value}\n")
    (override,) = env.files_read.raised
    assert words in override.raised
    assert any(words in line for line in env.files_read.lines())


@pytest.mark.parametrize("key", AS_STRICT)
def test_a_value_as_strict_as_before_is_no_alarm(folder: Path, key: str) -> None:
    overridden = overrides(folder, f"[staging]\n{key} = {AS_STRICT[key]}\n")
    assert (overridden[key].raised, overridden[key].old != overridden[key].new) == ("", True)


def test_a_limit_that_can_not_be_compared_counts_as_weakened(folder: Path) -> None:
    (folder / ".env").write_text("SERVICE=x\nMANY=9\n")
    overridden = overrides(folder, '[staging]\npolicy.max_held = "${MANY}"\npolicy.watch_seconds = "${MANY}"\n')
    assert overridden["policy.max_held"].raised.startswith("RAISED")
    assert overridden["policy.watch_seconds"].raised.startswith("WEAKER")


def test_every_number_that_limits_a_move_has_a_direction() -> None:
    numbers = {f"policy.{field.name}" for field in fields(Policy)} | {"snapshots.keep"}
    assert numbers <= WEAKER.keys()
    assert {field.name for field in fields(SnapshotPlan)} == {"folder", "provider", "keep"}


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_nowhere(path: Path) -> None:
    path.symlink_to("nowhere.toml")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def holding(content: str | bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode()) and None


AMISS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a folder": (a_folder, "found a folder"),
    "a pipe": (a_pipe, "found a pipe"),
    "a link to nowhere": (a_link_to_nowhere, "found a link to"),
    "a link to itself": (a_link_to_itself, "links that lead in a circle"),
    "no TOML": (holding("[staging\n"), "line 1"),
    "no text": (holding(b"\xff\xfe["), "utf-8"),
    "deep": (holding("x = " + "[" * 4000), "nested too deeply"),
    "a deep key": (holding(f"[staging]\n{'.'.join('a' * 2000)} = 1\n"), "nested too deeply"),
    "a key of many parts": (holding(f"{'.'.join('a' * 100_000)} = 1\n"), "a line of 200,003"),
    "many keys of many parts": (holding(f"{'.'.join('a' * 2000)} = 1\n" * 100), "a file of at most"),
    "a number of many digits": (holding(f"[staging]\nx = {'9' * 4090}\n"), "the unknown key x"),
    "a number of too many digits": (holding(f"[staging]\nx = {'9' * 100_000}\n"), "a line of 100,004"),
    "no number": (holding("[staging]\npolicy.watch_seconds = nan\n"), "expected a finite number; found another value"),
    "an unknown section": (holding("[stagin.policy]\nmax_held = 1\n"), "the key stagin"),
    "a section that is none": (holding("staging = 1\n"), "the key staging"),
    "an unknown key": (holding("[staging]\ncolour = 1\n"), "the unknown key colour"),
    "an unknown key of a table": (holding("[staging.policy]\nmax_hold = 1\n"), "the unknown key policy.max_hold"),
    "a key of ours": (holding("[staging]\nfiles_read = 1\n"), "the unknown key files_read"),
    "a value for a table": (holding('[staging]\npointer = "x"\n'), "another value"),
    "a value of another kind": (holding('[staging]\npolicy.max_held = "secret"\n'), "policy.max_held"),
    "a negative number": (holding("[staging]\npolicy.max_held = -1\n"), "policy.max_held"),
    "a bad URL": (holding('[staging]\ntarget = "mysql://a:secret@b/c"\n'), "target"),
    "a variable that is not set": (holding('[staging]\npointer.path = "${SUDAMR_NONE}"\n'), "variable SUDAMR_NONE"),
    "the service's pointer": (holding('[staging]\ntarget = "${DATABASE_URL}"\n'), "the pointer that the service"),
    "another schema": (holding('[staging]\ntarget_direct = "postgresql://o@h/d?schema=x"\n'), "one schema"),
}


@pytest.mark.parametrize("way", ["beside", "named"])
@pytest.mark.parametrize("what", AMISS)
def test_an_operators_file_that_is_amiss_is_refused_by_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, way: str
) -> None:
    make, words = AMISS[what]
    path = folder / LOCAL if way == "beside" else tmp_path / "night.toml"
    if way == "named":
        monkeypatch.setenv(VARIABLE, str(path))
    make(path)
    with pytest.raises(Refusal) as refused:
        load(folder)
    message = str(refused.value)
    assert str(path) in message
    assert words in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("value", "words"), [("", "an empty value"), ("no-such.toml", "no-such.toml"), ("n" * 300, "too long")]
)
def test_a_variable_that_names_no_file_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(Refusal, match=VARIABLE) as refused:
        load(folder, "[staging]\n")
    assert words in str(refused.value)


def test_what_makes_the_file_too_large_is_taken_out(folder: Path) -> None:
    path = folder / LOCAL
    setting = "[staging]\npolicy.max_held = 7\n"
    path.write_text(f"{setting}{'.'.join('a' * 100_000)} = 1\n", encoding="utf-8")
    with pytest.raises(Refusal) as refused:
        load(folder)
    assert refused.value.do == "Take out or shorten what is no setting."
    path.write_text(setting, encoding="utf-8")
    assert load(folder).policy.max_held == 7


BAD_SETTINGS = {
    "legacy": '"postgresql://a@b/c"',
    "target": '"file:x"',
    "target_direct": "7",
    "services": "5",
    "pointer.path": "7",
    "pointer.variable": "7",
    "snapshots.folder": "7",
    "snapshots.provider": '"x"',
    "snapshots.keep": "0",
    **{f"hooks.{hook}": "7" for hook in ("deploy", "drain", "restart", "health")},
    "policy.freeze_budget_seconds": "-1",
    "policy.max_held": '"${NOWHERE}"',
    "policy.watch_seconds": "-1",
    "policy.on_breach": '"x"',
    "polcy.max_held": "1",
}


@pytest.mark.parametrize("key", BAD_SETTINGS)
def test_the_file_that_set_a_bad_value_is_named(folder: Path, key: str) -> None:
    with pytest.raises(Refusal) as refused:
        load(folder, f"[staging]\n{key} = {BAD_SETTINGS[key]}\n")
    assert refused.value.where.startswith(f"{folder / LOCAL} [staging]")


def test_every_bad_setting_and_every_missing_variable_is_named_at_once(folder: Path) -> None:
    with pytest.raises(Refusal) as refused:
        load(folder, '[staging]\nsnapshots.keep = 0\npolicy.max_held = -1\nservices = "x"\n')
    assert all(key in str(refused.value) for key in ("snapshots.keep", "policy.max_held", "services"))
    with pytest.raises(Refusal) as refused:
        load(folder, '[staging]\nlegacy = "file:${ONE}/${TWO}"\nservices = ["${THREE}"]\n')
    assert all(name in str(refused.value) for name in ("ONE", "TWO", "THREE"))


def test_many_faults_are_folded_with_their_number() -> None:
    refusals = [Refusal("a", str(number), do="Mend.") for number in range(25)]
    shown = str(together(refusals))
    assert "found 19." in shown
    assert "found 20." not in shown
    assert shown.endswith("and 5 more")
