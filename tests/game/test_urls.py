"""URLs as people write them: what is read, what is refused, and that no password is ever shown."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from db.servers import Server
from game.errors import BadUrl
from game.urls import LegacyUrl, PostgresUrl, read


def postgres(text: str) -> PostgresUrl:
    url = read(text)
    assert isinstance(url, PostgresUrl)
    return url


@pytest.mark.plan(2)
def test_prismas_form_is_read_wholly() -> None:
    url = postgres("postgresql://anna:p%40ss@db.example:6432/games?schema=public&sslmode=require")
    assert url == PostgresUrl("db.example", 6432, "anna", "p@ss", "games", "public", (("sslmode", "require"),))


def test_what_is_left_out_has_its_default() -> None:
    url = postgres("postgres://anna@db.example/games")
    assert (url.port, url.password, url.schema, url.parameters) == (5432, "", "game", ())


def test_the_search_path_is_the_schema_by_psycopg_and_by_sqlalchemy(server: Server) -> None:
    url = server.maintenance.with_(schema="Game_2")
    with psycopg.connect(url.conninfo) as conn:
        assert conn.execute("show search_path").fetchone() == ('"Game_2"',)
    engine = sa.create_engine(url.sqlalchemy, poolclass=sa.NullPool)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("show search_path")) == '"Game_2"'


def test_a_server_that_is_silent_is_not_waited_for_by_the_kernels_clock() -> None:
    assert "connect_timeout=10" in postgres("postgresql://anna@db.example/games").conninfo
    assert "connect_timeout=3" in postgres("postgresql://anna@db.example/games?connect_timeout=3").conninfo


@pytest.mark.parametrize(
    ("query", "named", "instead"),
    [
        ("pgbouncer=true", "pgbouncer", "notices a pooler"),
        ("connection_limit=5", "connection_limit", "pool size"),
        ("sslaccept=strict", "sslaccept", "verify-full"),
        ("options=-c%20x=1", "options", "ALTER ROLE"),
        ("frobnicate=1", "frobnicate", "sslmode"),
        ("sslmode=sometimes", "sslmode", "verify-full"),
        ("connect_timeout=soon", "connect_timeout", "digits"),
        ("schema=a&schema=b", "twice", "schema once"),
        ("schema=ops", "schema", "or ops"),
        ("schema=pg_catalog", "schema", "reserved (by the server"),
        ("schema=a%22b", "schema", "letters"),
        ("host=other.example", "host", "socket"),
    ],
)
def test_a_parameter_that_can_not_be_honoured_is_refused_by_name(query: str, named: str, instead: str) -> None:
    with pytest.raises(BadUrl) as refused:
        read(f"postgresql://anna:p@db.example/games?{query}")
    assert named in refused.value.found
    assert instead in refused.value.expected


SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://anna:{SECRET}#x@db.example/games",
        f"postgresql://anna:{SECRET}/x@db.example/games",
        f"postgresql://anna:{SECRET}?x@db.example/games",
        f"postgresql://anna:{SECRET}[x@db.example/games",
        f"postgresql://anna:{SECRET} x@db.example/games",
        f"postgresql://anna:{SECRET}@db.example:port/games",
        f"postgresql://anna:{SECRET}@db.example",
        f"postgresql://anna:{SECRET}@/games",
        f"postgresql://anna:{SECRET}@one,two/games",
        f"postgresql://:{SECRET}@db.example/games",
        f"postgresql://anna@db.example/games?password={SECRET}",
        f"postgresql://anna:{SECRET}@db.example/games/more",
        f"mysql://anna:{SECRET}@db.example/games",
    ],
)
def test_a_malformed_url_is_refused_without_showing_its_password(text: str) -> None:
    with pytest.raises(BadUrl) as refused:
        read(text)
    assert SECRET not in str(refused.value)


def test_the_password_is_in_no_form_made_for_people() -> None:
    url = postgres(f"postgresql://anna:{SECRET}@db.example/games")
    assert SECRET not in f"{url} {url!r} {url.redacted}"
    assert SECRET in url.conninfo
    assert SECRET in url.as_text()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:/srv/game.db", "/srv/game.db"),
        ("file:///srv/game.db", "/srv/game.db"),
        ("file:/srv/my%20game.db", "/srv/my game.db"),
        ("sqlite:/srv/game.db", "/srv/game.db"),
        ("sqlite:////srv/game.db", "/srv/game.db"),
        ("file:game.db", "/base/game.db"),
        ("file:./data/game.db", "/base/data/game.db"),
    ],
)
def test_file_and_sqlite_name_the_legacy_file(text: str, path: str) -> None:
    assert read(text, base=Path("/base")) == LegacyUrl(Path(path))


def test_a_relative_path_is_the_working_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read("file:game.db") == LegacyUrl(tmp_path / "game.db")


@pytest.mark.parametrize("path", ["/srv/game.db", "/srv/게임 1%?#.db"])
def test_a_legacy_url_is_written_and_read_the_same(path: str) -> None:
    assert read(LegacyUrl(Path(path)).as_text()) == LegacyUrl(Path(path))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sqlite:///srv/game.db", "read as both"),
        ("file://other.example/game.db", "a host"),
        ("file:", "nothing"),
        ("file::memory:", ":memory:"),
        ("file:/srv/", "a folder"),
        ("file:/srv/game.db?mode=ro", "mode"),
        ("/srv/game.db", "no scheme"),
        ("", "no scheme"),
    ],
)
def test_what_names_no_file_is_refused(text: str, found: str) -> None:
    with pytest.raises(BadUrl) as refused:
        read(text)
    assert found in refused.value.found
