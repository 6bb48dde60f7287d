"""A column that only game/tables.py has is named at the start, by each store, for every table that players use."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

import game
from db import ops
from db.samples import builders
from game import tables
from game.legacy import file_journals
from game.legacy.codec import homes
from harness.load.service_processes import free_ports
from tests.game.places import LegacyPlace, Place, PostgresPlace
from tests.game.service.running import Running

PLAYED = [table.name for table in (*tables.PLAYER_STATE, *tables.JOURNALS)]
READ = """
from game.errors import StoreFailure
from game.stores import open_store
store = open_store({url!r})
print(store.status().lacks)
try:
    store.read("hana")
except StoreFailure as error:
    print(error)
"""


def widened(folder: Path, table: str) -> Path:
    """A copy of the game in which this table has a column more."""
    shutil.copytree(Path(game.__file__).parent, folder / "game", ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "game" / "tables.py"
    begins = f'{table} = sa.Table(\n    "{table}",\n    metadata,\n'
    text = file.read_text()
    assert text.count(begins) == 1
    file.write_text(text.replace(begins, f'{begins}    sa.Column("luck", sa.BigInteger, server_default="0"),\n'))
    return folder


def with_journals(place: LegacyPlace) -> None:
    with closing(sqlite3.connect(place.path)) as connection:
        for journal in file_journals.TABLES.values():
            connection.execute(str(CreateTable(journal).compile(dialect=sqlite.dialect())))


def ran(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(folder), **variables},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("table", PLAYED)
def test_the_store_names_it_and_so_does_the_first_command(place: Place, tmp_path: Path, table: str) -> None:
    place.put(builders.player("hana"))
    name = f"{table}.luck"
    if isinstance(place, LegacyPlace):
        with_journals(place)
        name = f"{file_journals.TABLES[table].name}.luck" if table in file_journals.TABLES else name
    done = ran(widened(tmp_path / "tree", table), "-c", READ.format(url=place.url))
    assert done.returncode == 0, done.stderr
    lacks, *of_a_command = done.stdout.splitlines()
    remedy = "run invoke migrate" if isinstance(place, PostgresPlace) else "give it one in game/legacy"
    assert name in lacks
    assert remedy in lacks
    assert len(of_a_command) == 1
    assert "luck" in of_a_command[0]


@pytest.mark.parametrize("table", [table.name for table in tables.OTHER_STATE])
def test_postgres_names_it_in_the_tables_that_only_the_tools_use(
    postgres: PostgresPlace, tmp_path: Path, table: str
) -> None:
    done = ran(widened(tmp_path / "tree", table), "-c", READ.format(url=postgres.url))
    assert f"{table}.luck" in done.stdout, done.stderr


def test_a_service_is_not_started_and_says_why_once(place: Place, tmp_path: Path) -> None:
    secret = "sixteen-characters-or-more"
    done = ran(
        widened(tmp_path / "tree", "users"),
        "-m",
        "game.service",
        DATABASE_URL=place.url,
        CHANCE_SECRET=secret,
        TOKEN_SECRET=secret,
        PORT=str(free_ports(1)),
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("users.luck") == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2


def test_a_process_under_which_a_column_went_is_not_ready_and_its_commands_are_answered_503(
    postgres: PostgresPlace, serve: Callable[..., Running]
) -> None:
    postgres.put(builders.player("hana"))
    running = serve(postgres.url)
    assert [process["code"] for process in running.ready()] == ["ready"]
    with ops.connect(postgres.database.owner) as conn:
        conn.execute("alter table users drop column league")
    assert [process["code"] for process in running.ready()] == ["store_unavailable"]
    assert running.act("m1", "k1").status_code == 503
    assert "users.league: run invoke migrate" in running.log
    assert "Traceback" not in running.log


def test_every_column_of_today_has_a_place(place: Place) -> None:
    assert homes.homeless() == ()
    assert place.store.status().lacks == ""
