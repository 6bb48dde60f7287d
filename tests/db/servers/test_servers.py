"""Servers of each kind start, are what they say, and fit their tools; what can't be had is refused in a sentence."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from db.errors import Failure, Refusal
from db.servers import Server, check_kind, plan, start
from db.servers.binaries import Binaries, best
from db.servers.providers import _choose
from db.servers.settings import MAJOR, THROWAWAY
from db.servers.unix_user import lesser
from game.urls import PostgresUrl
from tests.fixtures.given_server import given
from tests.fixtures.server_kinds import HERE
from tests.fixtures.waiting import answers, until

ROOT = Path(__file__).parents[3]

RIGHTS = "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"


@pytest.fixture(scope="module", params=HERE)
def each(request: pytest.FixtureRequest) -> Iterator[Server]:
    with start(request.param, settings={"work_mem": "8MB"}) as started:
        assert started.kind == request.param
        yield started


@pytest.fixture
def name(server: Server) -> str:
    return f"{server.mark}{secrets.token_hex(4)}"


@pytest.fixture
def guest(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with start(given(server.maintenance, monkeypatch)) as started:
        yield started


def ask(url: PostgresUrl, query: str) -> tuple[object, ...] | None:
    with psycopg.connect(url.conninfo) as conn:
        return conn.execute(query.encode()).fetchone()


def test_each_kind_says_the_version_that_it_runs(each: Server) -> None:
    assert ask(each.maintenance, "SELECT split_part(current_setting('server_version'), ' ', 1)") == (each.version,)
    assert str(each) == f"{each.kind} {each.version}"
    assert each.major >= MAJOR


@pytest.mark.plan(5)
def test_each_kind_runs_with_the_settings_of_a_throwaway_and_those_asked_for(each: Server) -> None:
    with psycopg.connect(each.maintenance.conninfo) as conn:
        current = {name: conn.execute("SELECT current_setting(%s)", [name]).fetchone() for name in THROWAWAY}
    assert current == {name: (value,) for name, value in THROWAWAY.items()}
    assert ask(each.maintenance, "SHOW work_mem") == ("8MB",)


def test_owner_and_service_are_plain_roles_and_no_stranger_gets_in(each: Server) -> None:
    assert ask(each.url("postgres", "owner"), RIGHTS) == (False, True, False)
    assert ask(each.url("postgres", "service"), RIGHTS) == (False, False, False)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        ask(each.maintenance.with_(password="guessed"), "SELECT 1")


def test_each_kind_has_a_pg_dump_and_a_psql_that_fit(each: Server) -> None:
    name = f"{each.mark}dumped"
    each.create_database(name)
    psql, url = each.tool("psql"), each.url(name).with_(schema="public")
    psql.run(["-v", "ON_ERROR_STOP=1"], url, input=b"CREATE TABLE coins AS SELECT 7 AS n", check=True)
    dumped = each.tool("pg_dump").run(["--data-only"], url, capture_output=True, text=True, check=True).stdout
    assert "COPY public.coins (n) FROM stdin;\n7\n" in dumped
    assert f"Dumped from database version {each.version}" in dumped
    each.drop_database(name)


def test_a_tool_that_nobody_has_is_refused(guest: Server) -> None:
    with pytest.raises(Refusal, match=f"pg_nothing of version {guest.major} or newer"):
        guest.tool("pg_nothing")


def test_whoever_attaches_uses_the_server_and_cannot_stop_it(each: Server) -> None:
    attached = Server.attach(each.handle())
    attached.stop()
    assert attached.url("postgres") == each.url("postgres")
    assert ask(attached.maintenance, "SELECT 1") == (1,)
    with pytest.raises(Failure, match="this process's own"):
        attached.keep()


def test_no_password_is_in_what_a_person_may_see(each: Server) -> None:
    words = [each.url("postgres", role).password for role in ("owner", "service", "superuser")]  # type: ignore[arg-type]
    shown = f"{each} {each!r} {each.maintenance!r} {each.why}"
    assert all(words)
    assert not any(word in shown for word in words)


def test_a_database_that_someone_is_connected_to_is_not_dropped_but_the_session_named(
    server: Server, name: str
) -> None:
    server.create_database(name)
    url = server.url(name, "service").with_(parameters=(("application_name", "forgetful"),))
    with psycopg.connect(url.conninfo, autocommit=True) as conn:
        conn.execute("SELECT 'last words'")
        with pytest.raises(Failure, match=f"{name}.*nobody connected.*{conn.info.backend_pid}.*forgetful.*last words"):
            server.drop_database(name)
    server.drop_database(name)


def test_a_setting_that_the_server_refuses_is_said_and_nothing_stays() -> None:
    with pytest.raises(Failure, match=r"server to start.*no_such_setting"):
        start(HERE[-1], settings={"no_such_setting": "1"})


def test_a_kept_server_outlives_us_until_the_command_that_it_names() -> None:
    started = start(HERE[-1])
    url = started.maintenance
    removal = started.keep()
    assert ask(url, "SELECT 1") == (1,)
    subprocess.run(removal, shell=True, check=True, capture_output=True)
    until(lambda: ["it answers"] if answers(url.conninfo) else [])


def test_a_server_behind_a_url_keeps_what_it_had_and_loses_what_we_made(
    server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.create_database(name)
    had = names(server)
    with start(given(server.maintenance, monkeypatch)) as guest:
        assert (guest.kind, guest.version) == ("url", server.version)
        guest.create_database(f"{guest.mark}made")
        assert ask(guest.url(f"{guest.mark}made", "service"), RIGHTS) == (False, False, False)
        made = {guest.url("any", "owner").user, guest.url("any", "service").user, f"{guest.mark}made"}
        assert made <= names(server) - had
    assert not made & names(server)
    assert {name, "sudamr_owner", "sudamr_service"} <= names(server)
    server.drop_database(name)


def names(server: Server) -> set[str]:
    """List the names of all roles and databases."""
    with server.admin() as conn:
        rows = conn.execute("SELECT rolname FROM pg_roles UNION ALL SELECT datname FROM pg_database").fetchall()
    return {row[0] for row in rows}


def test_a_url_needs_no_superuser_only_one_who_may_make_roles_and_databases(
    server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with role(server, name, "CREATEROLE CREATEDB") as url, start(given(url, monkeypatch)) as guest:
        guest.create_database(f"{guest.mark}made")
        entered = psycopg.connect(guest.url(f"{guest.mark}made", "service").conninfo)
        with entered, pytest.raises(Failure, match="nobody connected"):
            guest.drop_database(f"{guest.mark}made")
        guest.drop_database(f"{guest.mark}made")


def test_a_url_whose_role_may_make_nothing_is_refused_with_what_it_needs(
    server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        role(server, name, "") as url,
        pytest.raises(Refusal, match=f'ALTER ROLE "{name}" CREATEROLE CREATEDB') as printed,
    ):
        plan(given(url, monkeypatch))
    assert printed.value.exit_code == 2
    assert url.password not in str(printed.value)


@contextmanager
def role(server: Server, name: str, rights: str) -> Iterator[PostgresUrl]:
    """A role of the test's own, by the URL that it would come with."""
    with server.admin() as conn:
        conn.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret-words' {rights}".encode())
    yield server.maintenance.with_(user=name, password="secret-words")
    with server.admin() as conn:
        conn.execute(f"DROP ROLE {name}".encode())


PASSWORDS = [
    "postgresql://u:hidden@127.0.0.1:1/d",
    "postgres://u:hid/den@127.0.0.1:1/d",
    "postgresql://u:%68idden@127.0.0.1:1/d",
    "postgresql://u%3Ahidden@127.0.0.1:1/d",
    "postgresql://u:hidden@127.0.0.1:1/d@x",
    "postgresql://u:hidden@127.0.0.1/d?sslmode=require",
    "postgresql://u@127.0.0.1:1/d?password=hidden",
    "postgresql://u@127.0.0.1:1/d?sslmode=disable&PASSWORD=hidden",
    "postgresql://u@127.0.0.1:1/d?pass%77ord=hidden",
    "postgresql://u@127.0.0.1:1/d?pass%2577ord=hidden",
    "postgresql://u@127.0.0.1:1/d?sslpassword=hidden",
    "postgresql://u@127.0.0.1:1/d?options=-c%20x%3Dpassword%3Dhidden",
    "postgresql:u:hidden@h/d",
    "mysql://u:hidden@h/d",
    "u:hidden@h/d",
    "host=127.0.0.1 user=u password=hidden dbname=d",
    "host=127.0.0.1 password = 'hidden words'",
    "password=hidden",
    "--password=hidden",
]
"""A password in every form that libpq reads, and in some that it does not."""


@pytest.mark.parametrize("asked", PASSWORDS)
def test_a_password_in_the_argument_is_refused_in_every_form_and_not_shown(asked: str) -> None:
    with pytest.raises(Refusal, match="expected a URL without a password") as refused:
        plan(asked)
    assert "hidden" not in str(refused.value)
    assert "PGPASSWORD" in refused.value.do


@pytest.mark.parametrize(
    "asked",
    [
        "postgresql://u@[::1]:5432/d?application_name=a%40b",
        "postgresql://pass@password:1/password?schema=password",
        "postgresql://u@localhost/d?host=/tmp/password&sslmode=disable",
        "docker",
        "local",
        "embedded",
        "embedded18",
    ],
)
def test_a_url_without_a_password_is_not_taken_for_one_with_it(asked: str) -> None:
    check_kind(asked)


def test_the_remedy_of_a_password_in_the_url_works_for_a_variable_and_for_a_file(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = server.maintenance
    monkeypatch.setenv("PGPASSWORD", url.password)
    with start(url.redacted) as guest:
        guest.create_database(f"{guest.mark}made")  # Leaving raises Failure unless the reaper can drop it.
    monkeypatch.delenv("PGPASSWORD")
    file = tmp_path / "passwords"
    file.write_text(f"{url.host}:{url.port}:*:{url.user}:{url.password}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    with start(url.redacted) as guest:
        guest.create_database(f"{guest.mark}made")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("nonsense", "expected docker, local, embedded, embedded18 or a postgresql:// URL; found nonsense"),
        ("u@hidden/d", "or a postgresql:// URL; found another text"),
        ("mysql://u@hidden/d", "begins with postgresql://.*found the scheme mysql"),
        ("file:///tmp/game.sqlite", "expected a postgresql:// URL; found file:/tmp/game.sqlite"),
        ("postgresql://u@127.0.0.1:1/d", "u@127.0.0.1:1/d.* does not answer: .*refused"),
        ("postgresql://u@hidden/d?pgbouncer=true", "parameter pgbouncer"),
    ],
)
def test_what_is_no_kind_of_server_is_refused_and_not_shown(asked: str, message: str) -> None:
    with pytest.raises(Refusal, match=message) as refused:
        plan(asked)
    assert "hidden" not in str(refused.value)


def test_the_best_kind_is_chosen_and_one_line_says_why_a_better_one_was_not() -> None:
    local = plan(HERE[-1]).provider

    def never() -> str:
        raise AssertionError("a kind after the chosen one was asked")

    chosen = _choose({"docker": lambda: "its daemon does not answer", "local": lambda: local, "embedded": never})
    assert str(chosen) == f"{local.kind} {local.version()} (docker passed over: its daemon does not answer)"


def test_without_any_kind_the_refusal_names_what_was_tried() -> None:
    with pytest.raises(Refusal, match="docker passed over: no daemon; local passed over: none installed"):
        _choose({"docker": lambda: "no daemon", "local": lambda: "none installed"})


def test_binaries_nearest_to_the_version_that_is_meant_are_taken() -> None:
    binaries = [Binaries(Path(f"/{version}"), version) for version in ("14.20", "17.1", "15.3", "16.9")]
    assert best(binaries) == Binaries(Path("/15.3"), "15.3")
    assert best(binaries, at_least=17) == Binaries(Path("/17.1"), "17.1")
    assert best(binaries, at_least=18) is None


def ordinary_users() -> list[str | None]:
    """Oneself; and as root another too, where that one can read this interpreter and this tree."""
    account = lesser(("nobody",))
    if account is None:
        return [None]
    try:
        tried = subprocess.run([sys.executable, "-c", "import db"], user=account.uid, cwd=ROOT, check=False)
    except PermissionError:
        return [None]
    return [None, account.name] if tried.returncode == 0 else [None]


@pytest.mark.parametrize("user", ordinary_users())
@pytest.mark.parametrize("kind", [kind for kind in HERE if kind != "docker"])
def test_binaries_run_for_root_and_for_an_ordinary_user(kind: str, user: str | None) -> None:
    code = f"from db.servers import start\nwith start({kind!r}) as s: print(s)"
    done = subprocess.run(
        [sys.executable, "-c", code], user=user, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stdout.startswith(f"{kind} "), done.stderr
    assert done.returncode == 0
