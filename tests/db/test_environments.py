"""environments.toml: the example loads and is complete; what is amiss is refused by name, and no secret is shown."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from db import confirmation, environments
from db.environment_plans import ProviderPlan, Stated
from db.environments import Environment, Hooks, Pointer, Policy, SnapshotPlan, WatchPlan
from db.errors import Refusal
from game.urls import LegacyUrl, PostgresUrl

EXAMPLE = Path(__file__).parents[2] / "environments.toml"
VARIABLES = EXAMPLE.with_name(".env.example")

SMALLEST = """
[staging]
legacy = "file:game.db"
target = "postgresql://service:p@db.example/games"
target_direct = "postgresql://owner:p@db.example/games"
pointer = { path = "service.env" }
snapshots = { folder = "snapshots" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "environments.toml").write_text(SMALLEST)
    return tmp_path


def load(folder: Path, text: str | None = None, name: str | None = "staging") -> Environment:
    if text is not None:
        (folder / "environments.toml").write_text(text)
    return environments.load(name, folder / "environments.toml")


def refusal(folder: Path, text: str | None = None, name: str | None = "staging") -> str:
    with pytest.raises(Refusal) as refused:
        load(folder, text, name)
    return str(refused.value)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The project's own file beside its own example of variables, passwords filled in."""
    (tmp_path / "environments.toml").write_text(EXAMPLE.read_text())
    (tmp_path / ".env").write_text(re.sub(r"(?m)=$", "=filled", VARIABLES.read_text()))
    return tmp_path


@pytest.mark.parametrize("name", ["development", "staging", "production"])
def test_the_example_loads(example: Path, name: str) -> None:
    environment = load(example, name=name)
    assert environment.name == name
    assert environment.target_direct.schema == "game"


def test_the_example_names_the_test_environment_nowhere(example: Path) -> None:
    assert "throwaway" not in EXAMPLE.read_text().split("[development]")[1]
    assert "section [test]" in refusal(example, name="test")


def test_each_key_that_there_is_stands_in_the_example_with_a_comment() -> None:
    section = tomllib.loads(EXAMPLE.read_text())["staging"]
    groups = {
        "pointer": Pointer,
        "hooks": Hooks,
        "snapshots": SnapshotPlan,
        "policy": Policy,
        "provider": ProviderPlan,
    }
    assert set(section) == {field.name for field in dataclasses.fields(Environment)} - environments.NOT_FROM_THE_FILE
    named = {*section["watch"], *re.findall(r"(?m)^# (monitor) = ", EXAMPLE.read_text())}
    assert named == {field.name for field in dataclasses.fields(WatchPlan)}
    for key, kind in groups.items():
        assert set(section[key]) == {field.name for field in dataclasses.fields(kind)}
    # As comments: a fact that the example stated would be one that nobody looked up.
    stated = EXAMPLE.read_text().partition("[staging.provider.stated]")[2].partition("\n\n")[0]
    assert set(re.findall(r"(?m)^# (\w+) = ", stated)) == {field.name for field in dataclasses.fields(Stated)}


@pytest.mark.parametrize("table", ["watch", "provider", "provider.stated"])
def test_a_misspelt_key_of_any_table_is_refused_by_name(folder: Path, table: str) -> None:
    assert f"found the unknown key {table}.instence" in refusal(folder, f"{SMALLEST}{table}.instence = 1\n")


def test_the_example_holds_no_secret_and_each_of_its_variables_is_listed() -> None:
    sections = tomllib.loads(EXAMPLE.read_text())
    named = set(re.findall(r"\$\{(\w+)\}", str(sections)))
    listed = dict(line.split("=", 1) for line in VARIABLES.read_text().splitlines() if re.match(r"\w+=", line))
    assert named <= set(listed)
    assert not re.findall(r":\w+@", f"{sections['staging']} {sections['production']}")
    assert not any(value for variable, value in listed.items() if re.search("PASSWORD|KEY|SECRET|TOKEN", variable))


def test_paths_and_files_are_read_from_the_files_folder(folder: Path) -> None:
    environment = load(folder)
    assert environment.legacy == LegacyUrl(folder / "game.db")
    assert environment.pointer == Pointer(folder / "service.env", "DATABASE_URL")
    assert environment.snapshots == SnapshotPlan(folder / "snapshots", "pg_dump", 3)
    assert environment.target == PostgresUrl("db.example", 5432, "service", "p", "games")
    assert environment.policy == Policy(60, 0, 600, "report")


@pytest.mark.parametrize("name", [None, "", "prod", "Staging"])
def test_a_missing_or_unknown_name_is_refused_naming_the_choices(folder: Path, name: str | None) -> None:
    message = refusal(folder, name=name)
    assert "development | staging | production" in message
    assert (name or "no --env") in message


def test_a_refusal_ends_with_exit_code_2() -> None:
    with pytest.raises(Refusal) as refused:
        environments.check_name("prod")
    assert refused.value.exit_code == 2


def test_an_environment_that_the_file_lacks_is_refused_naming_those_it_has(folder: Path) -> None:
    assert "[staging]" in refusal(folder, name="production")


def test_no_file_is_refused_with_its_path(tmp_path: Path) -> None:
    assert str(tmp_path / "environments.toml") in refusal(tmp_path)


def test_a_file_that_is_no_toml_is_refused_with_the_line(folder: Path) -> None:
    assert "line 1" in refusal(folder, "[staging\n")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('colour = "red"', "colour"),
        ('name = "production"', "name"),
        ('hooks = { dran = "x" }', "hooks.dran"),
        ("policy = { freeze_budget = 3 }", "policy.freeze_budget"),
    ],
)
def test_an_unknown_key_is_refused_by_name_with_those_that_there_are(folder: Path, line: str, named: str) -> None:
    message = refusal(folder, SMALLEST + line)
    assert f"the unknown key {named}." in message
    assert "expected keys out of" in message
    assert "name," not in message


def test_a_misspelt_key_is_named_rather_than_the_one_it_stands_for(folder: Path) -> None:
    assert "the unknown key legasy" in refusal(folder, SMALLEST.replace("legacy", "legasy"))


def test_a_missing_key_is_refused_by_name(folder: Path) -> None:
    assert "the key snapshots.folder" in refusal(folder, SMALLEST.replace('folder = "snapshots"', ""))


def test_an_unknown_section_is_refused(folder: Path) -> None:
    assert "the key prod" in refusal(folder, SMALLEST + "[prod]\n")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("file:game.db", "postgresql://a:secret@b/c", "staging] legacy"),
        ("postgresql://service:p@db.example/games", "file:x.db", "staging] target"),
        ("postgresql://owner:p@db.example/games", "postgresql://o:secret@h/d?pgbouncer=true", "pgbouncer"),
        ("postgresql://owner:p@db.example/games", "postgresql://o:p@h/d?schema=other", "one schema"),
        ('"snapshots"', '"snapshots", provider = "tape"', "snapshots.provider"),
        ('"snapshots"', '"snapshots", keep = 0', "snapshots.keep"),
        ('"file:game.db"', "3", "a URL, as a string"),
    ],
)
def test_a_value_that_can_not_be_is_refused_with_its_key(folder: Path, old: str, new: str, named: str) -> None:
    message = refusal(folder, SMALLEST.replace(old, new))
    assert named in message
    assert "secret" not in message


@pytest.mark.plan(2, 8)
def test_variables_come_from_the_shell_then_the_environments_file_then_the_common_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SMALLEST.replace("owner:p@", "${SUDAMR_A}:${SUDAMR_B}@${SUDAMR_C}.")
    for name in ("SUDAMR_A", "SUDAMR_B", "SUDAMR_C"):
        monkeypatch.delenv(name, raising=False)
    (folder / ".env").write_text("SUDAMR_A=common\nSUDAMR_B=common\nSUDAMR_C=common\n")
    (folder / ".env.staging").write_text("SUDAMR_A=staging\nSUDAMR_B=staging\n")
    monkeypatch.setenv("SUDAMR_A", "shell")
    direct = load(folder, text).target_direct
    assert (direct.user, direct.password, direct.host) == ("shell", "staging", "common.db.example")


@pytest.mark.parametrize("written", ["", "SUDAMR_MISSING=\n"])
def test_a_variable_that_is_missing_or_empty_is_refused_by_name(folder: Path, written: str) -> None:
    (folder / ".env").write_text(written)
    message = refusal(folder, SMALLEST.replace("owner:p@", "owner:${SUDAMR_MISSING}@"))
    assert "the variable SUDAMR_MISSING" in message
    assert "target_direct" in message or "[staging]" in message


@pytest.mark.parametrize("written", ["", "STAGING_WEBHOOK=\n"])
def test_a_default_may_be_empty_in_the_example_too(example: Path, written: str) -> None:
    variables = example / ".env"
    kept = [line for line in variables.read_text().splitlines() if not line.startswith("STAGING_WEBHOOK")]
    variables.write_text("\n".join(kept) + f"\n{written}")
    assert load(example).watch.webhook == ""


def test_a_secret_of_the_tools_is_exported_or_in_the_file_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDAMR_KEY", raising=False)
    assert environments.secret("SUDAMR_KEY", tmp_path) is None
    (tmp_path / ".env").write_text("SUDAMR_KEY=written\n")
    assert environments.secret("SUDAMR_KEY", tmp_path) == "written"
    monkeypatch.setenv("SUDAMR_KEY", "exported")
    assert environments.secret("SUDAMR_KEY", tmp_path) == "exported"


@pytest.mark.plan(8)
@pytest.mark.parametrize("key", ["legacy", "target", "target_direct"])
def test_no_tool_takes_its_target_from_the_services_pointer(folder: Path, key: str) -> None:
    text = re.sub(rf'(?m)^{key} = ".*"$', f'{key} = "${{DATABASE_URL}}"', SMALLEST)
    assert "the pointer that the service follows" in refusal(folder, text)


def test_reset_and_seed_are_for_development_and_test_alone() -> None:
    for name in ("development", "test"):
        environments.guard_destructive(name)
    for name in ("staging", "production"):
        with pytest.raises(Refusal, match=name):
            environments.guard_destructive(name)


def test_production_wants_its_name_typed(folder: Path) -> None:
    staging = load(folder)
    confirmation.require_confirmation(staging.name, None)
    confirmation.require_confirmation("production", "production")
    for typed in (None, "", "yes", "staging"):
        with pytest.raises(Refusal, match="production"):
            confirmation.require_confirmation("production", typed)


def test_no_password_is_in_an_environment_for_people(folder: Path) -> None:
    assert "hunter2" not in repr(load(folder, SMALLEST.replace(":p@", ":hunter2@")))


def test_a_throwaway_environment_keeps_its_files_in_one_folder(tmp_path: Path) -> None:
    url = PostgresUrl("127.0.0.1", 5432, "owner", "p", "x")
    made = environments.throwaway(
        owner=url,
        service=url.with_(user="service"),
        legacy=tmp_path / "game.db",
        folder=tmp_path,
        services=("http://x",),
    )
    assert (made.name, made.target.user, made.target_direct.user, made.services) == (
        "test",
        "service",
        "owner",
        ("http://x",),
    )
    assert made.pointer.path.parent == made.snapshots.folder.parent == tmp_path
    environments.guard_destructive(made.name)
