"""A development database belongs to one checkout: another one's is left alone, and each remedy that is named works."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db import environments, ops, snapshots
from db.errors import Refusal
from db.ops import checkout
from db.ops.checkout import Checkout
from db.servers import Server
from db.snapshots import Side
from tests.fixtures.own_roles import own_database
from tests.fixtures.project import Project, make, run
from tests.test_asking import CHANGES, kept_schema

DESTROYS: dict[str, dict[str, Any]] = {
    "reset": {},
    "seed": {"players": 2},
    "migrate": {},
    "transfer": {"source": "game.db"},
    "transfer.cleanup": {},
    "cutover": {"abort": True},
    "snapshot.restore": {"replace": True},
    "prepare": {},
    "transfer.replay": {},
    "snapshot.kept": {"drop": "replaced_by_a_test"},
    "fence": {"on": True, "reason": "a test"},
    "follow": {},
}


@pytest.fixture
def first(server: Server, tmp_path: Path) -> Iterator[Project]:
    """A checkout with a development database that is prepared, migrated and filled."""
    with own_database(server) as own:
        yield make(tmp_path / "first", "development", own)


@pytest.fixture
def second(first: Project, tmp_path: Path) -> Project:
    """A checkout beside it with the same environments.toml."""
    return make(tmp_path / "second", "development", first.own)


@pytest.fixture
def filled(first: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name, options in (("prepare", {}), ("migrate", {}), ("seed", {"players": 2})):
        assert run(first, monkeypatch, name, **options) == 0
    return first


def players(project: Project) -> int:
    with ops.connect(project.own.owner) as conn:
        row = conn.execute("select count(*) from users").fetchone()
    return int(row[0]) if row else 0


def test_the_commands_that_destroy_are_the_ones_that_ask() -> None:
    assert set(DESTROYS) | {"rollback"} == set(CHANGES), "add it, so that it is tried on another checkout's database"


@pytest.mark.parametrize("name", DESTROYS)
def test_another_checkouts_database_is_refused_naming_it_and_stays_as_it_was(
    filled: Project, second: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    options = dict(DESTROYS[name])
    if name == "snapshot.restore":
        options["path"] = str(snapshots.take(filled.env, Side.TARGET).folder)
    if name == "snapshot.kept":
        kept_schema(filled)
    if name == "cutover":  # Without an attempt there is nothing to abort, and nobody is asked.
        with ops.connect(filled.own.owner) as conn:
            conn.execute("update ops.phase set phase = 'loading', run = 'of another day'")
    before = filled.digest()
    for more in ({}, {"yes": True}, {"confirm": "development"}):
        assert run(second, monkeypatch, name, **options, **more) == 2
        shown = capsys.readouterr().err
        assert f"belongs to {checkout.current(filled.folder)}" in shown
        assert str(second.folder) in shown
        assert "invoke prepare --env development --take-over" in shown
    assert filled.digest() == before


def test_the_owner_goes_on_and_is_told_what_is_emptied(
    filled: Project, second: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(second, monkeypatch, "reset") == 2
    assert players(filled) == 2
    capsys.readouterr()
    assert run(filled, monkeypatch, "reset") == 0
    shown = capsys.readouterr()
    assert f"This empties {filled.own.owner.redacted}." in shown.err
    assert f":{filled.own.owner.password}@" not in shown.err
    assert players(filled) == 0


def test_the_remedy_makes_it_this_ones_with_what_is_in_it(
    filled: Project, second: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(second, monkeypatch, "prepare", take_over=True) == 0
    assert str(second.folder) in capsys.readouterr().out
    assert players(second) == 2
    assert run(filled, monkeypatch, "reset") == 2
    assert run(second, monkeypatch, "reset") == 0


def test_what_reads_needs_no_database_of_its_own_and_status_says_whose_it_is(
    filled: Project, second: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(second, monkeypatch, "transfer.quarantine") == 0
    assert run(second, monkeypatch, "migrate", sql=True) == 0
    capsys.readouterr()
    run(second, monkeypatch, "status")
    assert f"another checkout, {checkout.current(filled.folder)}" in capsys.readouterr().out
    run(filled, monkeypatch, "status")
    assert f"this checkout, {checkout.current(filled.folder)}" in capsys.readouterr().out


def test_what_an_older_version_prepared_is_given_to_the_checkout_that_prepares_it(
    filled: Project, second: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ops.connect(filled.own.owner) as conn:
        conn.execute("alter table ops.environment drop column checkout")
    assert run(second, monkeypatch, "reset") == 2
    assert "Run: invoke prepare --env development" in capsys.readouterr().err
    run(second, monkeypatch, "status")
    assert "no checkout yet" in capsys.readouterr().out
    assert players(filled) == 2
    assert run(second, monkeypatch, "prepare") == 0
    assert run(second, monkeypatch, "reset") == 0
    assert run(filled, monkeypatch, "reset") == 2


@pytest.mark.parametrize("name", ["staging", "production"])
def test_no_other_environment_belongs_to_a_checkout(
    first: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setattr(environments, "is_durable", lambda _: False)  # The server of the tests has fsync off.
    project = make(first.folder.parent / name, name, first.own)
    assert run(project, monkeypatch, "prepare", take_over=True, confirm=name) == 2
    assert "--take-over with --env development" in capsys.readouterr().err
    assert run(project, monkeypatch, "prepare", confirm=name) == 0
    other = make(first.folder.parent / f"{name}-2", name, first.own)
    assert run(other, monkeypatch, "migrate", confirm=name) == 0
    assert not (other.folder / checkout.FILE).exists()


def test_a_checkout_that_is_moved_is_the_same_and_one_that_is_copied_is_another(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    made = checkout.current(tmp_path / "a")
    assert checkout.current(tmp_path / "a") == made
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    assert not checkout.current(tmp_path / "copy").is_same(made)
    (tmp_path / "a").rename(tmp_path / "b")
    moved = checkout.current(tmp_path / "b")
    assert moved.is_same(made)
    assert moved.folder == str(tmp_path / "b")


def test_a_container_keeps_its_database_when_its_host_name_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = checkout.current(tmp_path)
    monkeypatch.setattr("socket.gethostname", lambda: "5f3a9c")
    started_again = checkout.current(tmp_path)
    assert started_again.is_same(made)
    assert started_again.host == "5f3a9c"


def test_a_checkout_whose_var_was_removed_is_known_by_its_place(tmp_path: Path) -> None:
    made = checkout.current(tmp_path)
    shutil.rmtree(tmp_path / "var")
    assert checkout.current(tmp_path).id != made.id
    assert checkout.current(tmp_path).is_same(made)


def test_where_nothing_can_be_written_the_place_is_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file stands in the way")
    assert checkout.current(tmp_path) == checkout.current(tmp_path)
    assert not list(tmp_path.glob("var/*"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 1}', "null", "\x00"])
def test_a_file_that_is_something_else_is_refused_and_the_remedy_works(tmp_path: Path, text: str) -> None:
    made = checkout.current(tmp_path)
    file = tmp_path / checkout.FILE
    file.write_text(text)
    with pytest.raises(Refusal, match=f"rm {file}"):
        checkout.current(tmp_path)
    file.unlink()
    assert checkout.current(tmp_path).is_same(made)
    assert Checkout(**json.loads(file.read_text())).is_same(made)


def test_a_link_to_a_folder_is_the_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert checkout.current(tmp_path / "link") == checkout.current(tmp_path / "real")


def test_a_moved_checkout_goes_on_with_its_database_and_its_new_place_is_recorded(
    filled: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = make(filled.folder.parent / "elsewhere", "development", filled.own)
    shutil.move(filled.folder / "var", moved.folder / "var")
    assert run(moved, monkeypatch, "reset") == 0
    assert run(moved, monkeypatch, "prepare") == 0
    with ops.connect(filled.own.owner) as conn:
        assert checkout.of(conn) == checkout.current(moved.folder)


def test_the_example_takes_the_port_of_development_from_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEVELOPMENT_PORT", raising=False)
    shutil.copy(Path(__file__).parents[3] / "environments.toml", tmp_path)
    ports = []
    for written in ("", "DEVELOPMENT_PORT=\n", "DEVELOPMENT_PORT=5433\n"):
        (tmp_path / ".env").write_text(written)
        made = environments.load("development", tmp_path / "environments.toml")
        ports.append((made.target.port, made.target_direct.port))
    assert ports == [(5432, 5432), (5432, 5432), (5433, 5433)]
