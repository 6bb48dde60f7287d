"""With a hostile value in any variable that libpq reads, a connection is the URL's or the variable is refused by name.

The list is libpq's own, so a variable that a newer libpq brings is in it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.pq import Conninfo

from db import environments, ops, snapshots
from db.cutover import services
from db.environments import Environment
from db.errors import Refusal
from db.samples import seed
from db.servers import Server, plan
from db.snapshots import Side
from game import libpq, settings
from game.errors import BadSettings
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values
from game.postgres.store import PostgresStore
from game.urls import PostgresUrl
from harness.databases import Database
from tests.game.service.running import Running

LISTED = {option.envvar.decode() for option in Conninfo.get_defaults() if option.envvar}
VARIABLES = sorted(LISTED | libpq.UNLISTED)
HOSTILE = {
    "PGTZ": "Asia/Seoul",
    "PGDATESTYLE": "German",
    "PGGEQO": "off",
    "PGCLIENTENCODING": "SQL_ASCII",
    "PGOPTIONS": "-c search_path=elsewhere -c timezone=Asia/Seoul",
    "PGSSLMODE": "verify-full",
    "PGREQUIRESSL": "1",
    "PGPORT": "1",
    "PGCONNECT_TIMEOUT": "soon",
}
"""Values that would change something without an error; any other variable is given a word that is no value of it."""

SETTINGS = ("timezone", "datestyle", "geqo", "client_encoding", "search_path")
WHERE = f"""
SELECT system_identifier, current_database(), current_user, {", ".join(f"current_setting('{s}')" for s in SETTINGS)}
FROM pg_control_system()
"""

each_variable = pytest.mark.parametrize("variable", VARIABLES)


@pytest.fixture
def hostile(variable: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The variable, exported; its name."""
    monkeypatch.setenv(variable, HOSTILE.get(variable, "hostile"))
    return variable


@pytest.fixture
def env(database: Database, tmp_path: Path) -> Environment:
    return environments.throwaway(
        owner=database.owner, service=database.service, legacy=tmp_path / "game.db", folder=tmp_path
    )


@pytest.fixture
def plain(server: Server) -> tuple[Any, ...]:
    """Return what a session of the owner sees without any such variable."""
    with psycopg.connect(server.url("postgres").conninfo) as conn:
        return _row(conn.execute(WHERE.encode()).fetchone())


def _row(values: Any) -> tuple[Any, ...]:
    """The row; a search path is the same with quotes, as a start-up option has it, and without, as SET LOCAL has it."""
    return tuple(value.strip('"') if isinstance(value, str) else value for value in values)


@each_variable
def test_a_tools_connection_is_the_urls_or_refused_by_name(
    plain: tuple[Any, ...], hostile: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url("postgres")
    if hostile in libpq.refused([hostile], url.parameters):
        with pytest.raises(Refusal) as refused:
            ops.connect(url)
        assert (refused.value.found, refused.value.where) == (hostile, url.redacted)
        _follow(refused.value.do, monkeypatch)
    with ops.connect(url, application="sudamr test") as conn:
        assert _row(conn.execute(WHERE.encode()).fetchone()) == plain
        assert conn.execute("SHOW application_name").fetchone() == ("sudamr test",)


def _follow(remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what the refusal says."""
    names = re.match(r"Run: unset ([A-Z0-9_ ]+)\.", remedy)
    assert names is not None
    for name in names[1].split():
        monkeypatch.delenv(name)


@each_variable
def test_every_other_connection_of_the_house_is_the_urls_where_the_variable_can_be_pinned(
    plain: tuple[Any, ...], hostile: str, server: Server
) -> None:
    """By psycopg alone, as the harness connects; a server is not even planned where it can't."""
    url = server.url("postgres")
    if hostile in libpq.refused([hostile], url.parameters):
        with pytest.raises(Refusal, match=rf"found {hostile}\."):
            plan(url.redacted)
        with pytest.raises(Refusal, match=rf"found {hostile}\."):
            plan("local")
        return
    with psycopg.connect(url.conninfo) as conn:
        assert _row(conn.execute(WHERE.encode()).fetchone()) == plain


@each_variable
def test_a_snapshot_is_of_the_urls_database_or_refused_by_name(
    hostile: str, env: Environment, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = server.tool("pg_dump")
    dumped = _dump(server, env.target_direct)
    assert "CREATE TABLE game.users" in dumped
    assert "SET client_encoding = 'UTF8';" in dumped
    with monkeypatch.context() as unset:
        unset.delenv(hostile)
        assert _dump(server, env.target_direct) == dumped
    if hostile in libpq.refused([hostile], env.target_direct.parameters):
        with pytest.raises(Refusal, match=rf"found {hostile}\.") as refused:
            snapshots.take(env, Side.TARGET, tools=lambda _name: tool)
        _follow(refused.value.do, monkeypatch)
    taken = snapshots.take(env, Side.TARGET, tools=lambda _name: tool)
    assert taken.manifest.source == env.target_direct.redacted
    assert taken.manifest.counts["users"] == 0


def _dump(server: Server, url: PostgresUrl) -> str:
    """The schema as text; newer programs write a random word into it."""
    done = server.tool("pg_dump").run(["--schema-only"], url, capture_output=True, text=True, check=True)
    return re.sub(r"(?m)^\\(un)?restrict .*$", "", done.stdout)


@each_variable
def test_the_services_connections_are_the_urls_or_it_does_not_start(
    plain: tuple[Any, ...], hostile: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url("postgres")
    for name, value in {"DATABASE_URL": url.as_text(), "CHANCE_SECRET": "c" * 16, "TOKEN_SECRET": "t" * 16}.items():
        monkeypatch.setenv(name, value)
    if hostile in libpq.refused([hostile], url.parameters):
        with pytest.raises(BadSettings, match=rf"without {hostile}\. Run: unset") as refused:
            settings.load()
        _follow(str(refused.value).partition(". ")[2], monkeypatch)
    settings.load()
    store = PostgresStore(url)
    try:
        with store.begin() as unit:
            # The schema is the URL's, the rest as by a tool.
            assert _row(unit.connection.execute(sa.text(WHERE)).one()) == plain
            assert unit.connection.scalar(sa.text("SHOW application_name")) == "sudamr"
    finally:
        store.close()


def _all(names: list[str]) -> dict[str, str]:
    return {name: HOSTILE.get(name, "hostile") for name in names}


def test_a_service_amid_all_that_is_pinned_serves_its_store_and_one_amid_all_the_rest_names_each(
    database: Database, tmp_path: Path
) -> None:
    url = database.service
    refused = libpq.refused(VARIABLES, url.parameters)
    running = Running(tmp_path, url.as_text(), processes=1, **_all(sorted({*VARIABLES} - {*refused})))
    try:
        (ready,) = running.ready()
        assert (ready["engine"], ready["store"].split("/")[1:]) == ("postgres", [url.dbname, url.schema])
    finally:
        running.end()
    refusing = Running(tmp_path, url.as_text(), processes=1, **_all(refused))
    assert refusing.process.wait(30) == 2
    assert f"without {', '.join(refused)}. Run: unset {' '.join(refused)}" in refusing.log


def test_a_service_on_the_legacy_file_refuses_what_the_switch_to_postgres_would_stop_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"DATABASE_URL": "file:/g.db", "CHANCE_SECRET": "c" * 16, "TOKEN_SECRET": "t" * 16}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PGTZ", "Asia/Seoul")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    with pytest.raises(BadSettings, match="without PGSSLMODE, PGTZ"):
        settings.load()


def test_a_trial_of_the_service_is_given_none_of_them(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _all(VARIABLES).items():
        monkeypatch.setenv(name, value)
    ready = services.trial(database.service)
    assert (ready.engine, ready.store.split("/")[1:]) == ("postgres", [database.name, database.service.schema])


def test_what_asks_for_a_stricter_connection_is_refused_unless_the_url_answers_it() -> None:
    assert libpq.refused(["PGSSLMODE", "PGSSLROOTCERT"], []) == ["PGSSLMODE", "PGSSLROOTCERT"]
    assert libpq.refused(["PGSSLMODE", "PGSSLROOTCERT"], [("sslmode", "require")]) == ["PGSSLROOTCERT"]
    assert libpq.refused(["PGSSLMODE", "PGSSLROOTCERT"], [("sslmode", "disable")]) == []
    assert libpq.refused(["PGREQUIREAUTH"], [("sslmode", "disable")]) == ["PGREQUIREAUTH"]


def test_a_variable_that_a_newer_libpq_brings_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Conninfo.get_defaults()
    newer = known[0]._replace(keyword=b"elsewhere", envvar=b"PGELSEWHERE")
    monkeypatch.setattr(Conninfo, "get_defaults", lambda: [*known, newer])
    assert libpq.refused(["PGELSEWHERE"], []) == ["PGELSEWHERE"]


def test_each_variable_is_kept_or_pinned_or_refused(record_property: Any) -> None:
    """As counted for a URL that names no parameter; `pytest -rA` shows it."""
    refused = {*libpq.refused(VARIABLES, [])}
    decided = Counter(
        "kept" if name in libpq.KEPT else "refused" if name in refused else "pinned" for name in VARIABLES
    )
    print(f"{len(LISTED)} variables of PQconndefaults, {len(VARIABLES)} with those beside it: {dict(decided)}")
    record_property("variables", dict(decided))
    pins = {option.envvar.decode() for option in Conninfo.get_defaults() if option.keyword.decode() in libpq.PINNED}
    assert set(VARIABLES) == refused | pins | libpq.KEPT
    assert decided.total() == len(VARIABLES)


def test_a_home_with_a_service_file_and_a_psqlrc_changes_nothing(
    plain: tuple[Any, ...], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".pg_service.conf").write_text("[hostile]\nhost=203.0.113.1\n")
    (tmp_path / ".psqlrc").write_text("\\echo hostile\n")
    (tmp_path / ".pgpass").write_text("*:*:*:*:hostile\n")
    (tmp_path / ".pgpass").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PSQLRC", str(tmp_path / ".psqlrc"))
    url = server.url("postgres")
    with ops.connect(url) as conn:
        assert _row(conn.execute(WHERE.encode()).fetchone()) == plain
    printed = (
        server.tool("psql").run(["--command=SHOW timezone"], url, capture_output=True, text=True, check=True).stdout
    )
    assert plain[3] in printed
    assert "hostile" not in printed


def test_a_password_that_the_url_leaves_out_is_taken_from_pgpassword_by_all(
    database: Database, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database.owner.with_(password="")
    monkeypatch.setenv("PGPASSWORD", database.owner.password)
    with ops.connect(url) as conn:
        assert conn.info.user == url.user
    if server.kind != "docker":  # There the program runs in the container, beside another environment.
        assert "CREATE TABLE game.users" in _dump(server, url)


@pytest.mark.parametrize("task", [["prepare"], ["status"], ["cutover", "--abort"]], ids=" ".join)
def test_a_task_is_refused_in_one_sentence_whatever_is_under_way(
    task: list[str], server: Server, tmp_path: Path
) -> None:
    """The whole way, as an engineer meets it, also where a closed file would make a silent server a riddle: exit 3."""
    seed.empty_legacy(tmp_path / "g.db")
    with closing(sqlite_values.connect(tmp_path / "g.db")) as connection:
        legacy_fence.raise_fence(connection, state="fenced")
    url = server.url("postgres").as_text()
    toml = f'[staging]\nlegacy = "file:g.db"\ntarget = "{url}"\ntarget_direct = "{url}"\n'
    (tmp_path / "environments.toml").write_text(f'{toml}pointer = {{ path = "p" }}\nsnapshots = {{ folder = "s" }}\n')
    root = Path(__file__).parents[2]
    code = f"import sys; sys.path.insert(0, {str(root)!r}); from invoke import Collection, Program; import tasks\n"
    code += f"Program(namespace=Collection.from_module(tasks)).run({['invoke', *task, '--env', 'staging']!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=environments.child_variables({"PGTZ": "Asia/Seoul", "PGHOSTADDR": "203.0.113.1"}),
    )
    assert done.returncode == 2, done.stderr
    assert "found PGTZ." in done.stderr
    assert "Run: unset PGTZ." in done.stderr
