"""The service as it runs: real processes, real signals, real HTTP."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from db.samples import builders
from harness.load.service_processes import free_ports
from tests.game.places import LegacyPlace, PostgresPlace
from tests.game.service.running import BEARER, PATIENCE_SECONDS, Running, eventually, one_waits

HANA = {"gold": 100, "level": 30, "bag": {"fan": "푸른 바람 부채"}, "mail": {"m1": {"gold": 50}, "m2": {"gold": 5}}}


def pids(answers: list[dict[str, Any]]) -> set[int]:
    return {one["pid"] for one in answers}


@pytest.fixture
def hana(legacy: LegacyPlace) -> LegacyPlace:
    legacy.put(builders.player("hana", **HANA))
    return legacy


def test_every_process_serves_the_same_store_on_a_port_of_its_own(
    hana: LegacyPlace, serve: Callable[..., Running]
) -> None:
    running = serve(hana.url, processes=2)
    answers = running.ready()
    assert len(pids(answers)) == 2
    assert {one["store"] for one in answers} == {hana.store.status().store}
    assert running.pidfile.read_text() == f"{running.process.pid}\n"
    assert [running.act("m1", "r1", process=n).json()["replayed"] for n in (0, 1)] == [False, True]


@pytest.mark.plan(11)
def test_a_restart_gives_new_processes_that_serve_what_the_env_file_says_now(
    hana: LegacyPlace, postgres: PostgresPlace, serve: Callable[..., Running]
) -> None:
    postgres.put(builders.player("hana", **HANA))
    running = serve(hana.url, processes=2)
    old = running.ready()
    stop = threading.Event()
    statuses: list[int] = []

    def keep_asking() -> None:
        while not stop.is_set():
            read = httpx.get(f"{running.urls[0]}/players/hana", headers=BEARER, timeout=PATIENCE_SECONDS)
            statuses.append(read.status_code)

    with ThreadPoolExecutor() as threads:
        asking = threads.submit(keep_asking)
        running.point_to(postgres.url)
        running.process.send_signal(signal.SIGHUP)
        try:
            new = eventually(lambda: renewed(running, old))
        finally:
            stop.set()  # Else a restart that never comes is a test that never ends.
        asking.result()
    assert {one["engine"] for one in new} == {"postgres"}
    assert pids(new).isdisjoint(pids(old))
    for pid in pids(old):
        eventually(partial(assert_gone, pid))
    assert set(statuses) == {200}


def renewed(running: Running, old: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answers = running.ready()
    assert pids(answers).isdisjoint(pids(old))
    return answers


def test_an_env_file_that_is_wrong_leaves_everything_as_it_is(hana: LegacyPlace, serve: Callable[..., Running]) -> None:
    running = serve(hana.url)
    old = running.ready()
    running.point_to("postgresql://u:hunter2hunter2@h/db?pgbouncer=true")
    running.process.send_signal(signal.SIGHUP)
    eventually(lambda: assert_in("restart_refused", running.log))
    assert running.ready() == old
    assert "pgbouncer" in running.log
    assert "hunter2" not in running.log


def assert_in(what: str, text: str) -> None:
    assert what in text


def test_a_restart_may_change_how_many_processes_there_are(hana: LegacyPlace, serve: Callable[..., Running]) -> None:
    running = serve(hana.url, processes=2, PROCESSES="")  # Ports for two, and at first one process.
    running.processes = 1
    old = running.ready()
    running.point_to(hana.url, "PROCESSES=2")
    running.process.send_signal(signal.SIGHUP)
    running.processes = 2
    assert len(pids(eventually(lambda: renewed(running, old)))) == 2
    running.point_to(hana.url)
    running.process.send_signal(signal.SIGHUP)
    eventually(lambda: nothing_listens(running.port + 1))
    assert len(running.children()) == 1


def nothing_listens(port: int) -> None:
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_a_process_that_dies_is_replaced(hana: LegacyPlace, serve: Callable[..., Running]) -> None:
    running = serve(hana.url, processes=2)
    old = running.ready()
    os.kill(old[0]["pid"], signal.SIGKILL)
    eventually(lambda: died_and_back(running, old))


def died_and_back(running: Running, old: list[dict[str, Any]]) -> None:
    new = running.ready()
    assert new[0]["pid"] != old[0]["pid"]
    assert new[1]["pid"] == old[1]["pid"]


def test_no_process_outlives_a_supervisor_that_is_killed(hana: LegacyPlace, serve: Callable[..., Running]) -> None:
    running = serve(hana.url, processes=2)
    running.ready()
    children = running.children()
    assert len(children) == 2
    running.process.kill()
    gone, alive = psutil.wait_procs(children, timeout=PATIENCE_SECONDS)
    assert (len(gone), alive) == (2, [])
    with closing(socket.create_server(("127.0.0.1", running.port))):
        pass


def test_a_second_supervisor_is_refused_the_pidfile_of_the_first(
    hana: LegacyPlace, serve: Callable[..., Running], tmp_path: Path
) -> None:
    first = serve(hana.url)
    first.ready()
    second = serve(hana.url, PIDFILE=str(first.pidfile))
    assert second.process.wait(PATIENCE_SECONDS) == 2
    (line,) = second.log.splitlines()
    assert f"found that process {first.process.pid} runs with it" in line
    assert first.pidfile.read_text() == f"{first.process.pid}\n"
    first.process.kill()
    first.process.wait()
    third = serve(hana.url, PIDFILE=str(first.pidfile))
    third.ready()
    assert first.pidfile.read_text() == f"{third.process.pid}\n"
    moved = tmp_path / "moved.pid"
    first.pidfile.rename(moved)
    first.pidfile.write_text("1\n")
    third.process.terminate()
    assert third.process.wait(PATIENCE_SECONDS) == 0
    assert first.pidfile.read_text() == "1\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_ends_with_all_its_processes(
    hana: LegacyPlace, serve: Callable[..., Running], number: signal.Signals
) -> None:
    running = serve(hana.url, processes=2)
    running.ready()
    children = running.children()
    running.process.send_signal(number)
    assert running.process.wait(PATIENCE_SECONDS) == 0
    assert not any(child.is_running() for child in children)
    assert not running.pidfile.exists()
    assert "Traceback" not in running.log


@contextmanager
def in_flight(
    running: Running, postgres: PostgresPlace
) -> Iterator[tuple[psycopg.Connection[Any], Future[httpx.Response]]]:
    """A request that waits for its player, whom the connection has locked; and the request's answer."""
    owner = psycopg.connect(postgres.database.owner.conninfo)
    with ThreadPoolExecutor() as threads, owner as blocker:
        blocker.execute("select from users where id = 'hana' for update")
        waiting = threads.submit(running.act, "m1", "r1")
        eventually(lambda: one_waits(blocker))
        yield blocker, waiting


def test_a_request_in_flight_is_answered_before_the_end(postgres: PostgresPlace, serve: Callable[..., Running]) -> None:
    postgres.put(builders.player("hana", **HANA))
    running = serve(postgres.url)
    running.ready()
    with in_flight(running, postgres) as (blocker, waiting):
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: assert_in('"stopping"', running.log))
        blocker.rollback()
        answer = waiting.result()
    assert (answer.status_code, answer.json()["replayed"]) == (200, False)
    assert running.process.wait(PATIENCE_SECONDS) == 0


def test_a_new_process_takes_connections_while_the_old_one_finishes_what_it_has(
    postgres: PostgresPlace, serve: Callable[..., Running]
) -> None:
    postgres.put(builders.player("hana", **HANA))
    running = serve(postgres.url, LOCK_TIMEOUT_MS="60000", STATEMENT_TIMEOUT_MS="60000")
    (old,) = running.ready()
    with in_flight(running, postgres) as (blocker, waiting):
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: renewed(running, [old]))
        assert not waiting.done()
        blocker.rollback()
        answer = waiting.result()
    assert (answer.status_code, answer.json()["replayed"]) == (200, False)
    assert running.act("m1", "r1").json()["replayed"]
    eventually(lambda: assert_gone(old["pid"]))


def assert_gone(pid: int) -> None:
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("beside", [False, True])
def test_a_process_that_loads_beside_others_comes_after_them_and_opens_its_connections_before_it_serves(
    postgres: PostgresPlace, serve: Callable[..., Running], beside: bool
) -> None:
    running = serve(postgres.url, POOL_SIZE="3")
    old = running.ready()
    if beside:
        running.process.send_signal(signal.SIGHUP)
        eventually(lambda: renewed(running, old))
    (child,) = eventually(lambda: the_one(running.children()))
    assert child.nice() == psutil.Process().nice()
    with psycopg.connect(postgres.database.owner.conninfo, autocommit=True) as owner:
        eventually(lambda: assert_connections(owner, 3 if beside else 1))


def assert_connections(owner: psycopg.Connection[Any], many: int) -> None:
    query = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'sudamr'"
    assert owner.execute(query).fetchall() == [(many,)]


def the_one(processes: list[psutil.Process]) -> list[psutil.Process]:
    assert len(processes) == 1
    return processes


def test_a_database_that_is_away_at_the_start_is_a_503_and_no_traceback(
    postgres: PostgresPlace, serve: Callable[..., Running]
) -> None:
    away = postgres.database.service.with_(host="127.0.0.1", port=free_ports(1), password="hunter2hunter2")
    running = serve(away.as_text())
    (body,) = running.ready()
    assert (body["engine"], body["store"], body["code"]) == ("postgres", None, "store_unavailable")
    answer = running.act("m1", "r1")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["code"] == "store_unavailable"
    assert httpx.get(f"{running.urls[0]}/healthz").status_code == 200
    assert '"db_unreachable"' in running.log
    assert not any(word in running.log for word in ("Traceback", "hunter2"))


def test_a_database_that_comes_back_is_served_again(postgres: PostgresPlace, serve: Callable[..., Running]) -> None:
    """The pool's connections are all dead then: none of them may cost a player an answer."""
    postgres.put(builders.player("hana", **HANA))
    running = serve(postgres.url)
    running.ready()
    assert running.act("m1", "r1").status_code == 200
    with psycopg.connect(postgres.database.service.conninfo, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where usename = current_user and datname = current_database() and pid <> pg_backend_pid()"
        )
    assert running.act("m2", "r2").json()["replayed"] is False
    assert running.ready()[0]["code"] == "ready"


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"CHANCE_SECRET": "short"}, "CHANCE_SECRET (Value should have at least 16"),
        ({"CHANCE_SECRET": ""}, "CHANCE_SECRET (Field required)"),
        ({"TOKEN_SECRET": ""}, "TOKEN_SECRET (Field required)"),
        ({"TOKEN_SECRET": "short"}, "TOKEN_SECRET (Value should have at least 16"),
        ({"PREVIOUS_TOKEN_SECRET": "short"}, "PREVIOUS_TOKEN_SECRET (Value should have at least 16"),
        ({"TOKEN_LIFETIME_SECONDS": "0"}, "TOKEN_LIFETIME_SECONDS ("),
        ({"UNDATED_TOKENS_UNTIL": "2026-12-31T00:00:00"}, "UNDATED_TOKENS_UNTIL ("),
        ({"REVOKED_TOKENS": "revoked.json"}, "REVOKED_TOKENS: expected a path from the root"),
        ({"PORT": "99999"}, "PORT ("),
        ({"POOL_SIZE": "0"}, "POOL_SIZE ("),
        ({"PROCESSES": "many"}, "PROCESSES ("),
        ({"DATABASE_URL": "mysql://u:hunter2hunter2@h/db"}, "DATABASE_URL: expected"),
        ({"DATABASE_URL_NEXT": "mysql://u:hunter2hunter2@h/db"}, "DATABASE_URL_NEXT: expected"),
        ({"HOLD_MS": "many"}, "HOLD_MS ("),
        ({"SUDAMR_ENV_FILE": "/nowhere.env"}, "SUDAMR_ENV_FILE: expected a file, found no such file at /nowhere.env"),
        ({"PIDFILE": "/nowhere/service.pid"}, "expected to write the pidfile /nowhere/service.pid"),
    ],
)
def test_settings_that_are_wrong_are_named_in_one_line_and_stop_the_start(
    hana: LegacyPlace, serve: Callable[..., Running], variables: dict[str, str], says: str
) -> None:
    running = serve(hana.url, **variables)
    assert running.process.wait(PATIENCE_SECONDS) == 2
    (line,) = running.log.splitlines()
    assert says in line
    assert not any(secret in line for secret in ("hunter2", "short", "many", "99999"))


def test_a_port_that_is_taken_stops_the_start_and_is_named(hana: LegacyPlace, serve: Callable[..., Running]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        running = serve(hana.url, PORT=str(port))
        assert running.process.wait(PATIENCE_SECONDS) == 2
    (line,) = running.log.splitlines()
    assert line.startswith(f"refused: expected 127.0.0.1:{port} to be free; found: Address already in use. ")
    assert "another PORT (invoke serve: --port)" in line
