"""A connection that fails is refused with advice that fits its cause, whichever command makes it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest

from db import connection_failures, ops
from db.connection_failures import CAUSES, UNKNOWN, Cause
from db.errors import Refusal
from db.servers import Server
from db.target import pooler
from game.urls import PostgresUrl

STARTS = "Is it running"
PLAIN = (("sslmode", "disable"),)


@dataclass(frozen=True)
class Case:
    """A way in which a real server refuses. sql: brings it about, by a superuser; the remedy has to end it."""

    url: Callable[[PostgresUrl], PostgresUrl]
    words: str
    sql: str = ""


def _same(url: PostgresUrl) -> PostgresUrl:
    return url


CASES = {
    "wrong password": Case(lambda url: url.with_(password="wrong"), "its password in .env"),
    "no password": Case(lambda url: url.with_(password=""), "Write the password"),
    "no such role": Case(lambda url: url.with_(user="nobody_of_this_name"), "Correct the role"),
    "no such database": Case(lambda url: url.with_(dbname=f"{url.dbname}_2"), "CREATE DATABASE"),
    "a database named as an error": Case(lambda url: url.with_(dbname="scram password timeout"), "CREATE DATABASE"),
    "a role that may not log in": Case(_same, "LOGIN;", "ALTER ROLE {role} NOLOGIN"),
    "a closed database": Case(_same, "ALLOW_CONNECTIONS true", "ALTER DATABASE {database} ALLOW_CONNECTIONS false"),
    "no right to connect": Case(_same, "GRANT CONNECT", "REVOKE CONNECT ON DATABASE {database} FROM PUBLIC"),
    "a database that is full": Case(_same, "connections are taken", "ALTER DATABASE {database} CONNECTION LIMIT 0"),
    "a role that is full": Case(_same, "connections are taken", "ALTER ROLE {role} CONNECTION LIMIT 0"),
    "TLS that the server lacks": Case(lambda url: url.with_(parameters=(("sslmode", "require"),)), "Set ssl = on"),
    "a parameter": Case(lambda url: url.with_(parameters=(("sslmode", "always"),)), "Correct this parameter"),
}
FOLLOWED = ("no such database", "a role that may not log in", "a closed database", "no right to connect")
"""Their remedy is a statement."""


@pytest.fixture
def role(server: Server, blank: PostgresUrl) -> Iterator[PostgresUrl]:
    """The URL of a role of the test's own."""
    name, password = f"{blank.dbname}_guest", "guests-own"
    with _superuser(server) as conn:
        conn.execute(f"""CREATE ROLE "{name}" LOGIN PASSWORD '{password}'""")
        yield blank.with_(user=name, password=password)
        conn.execute(f'DROP OWNED BY "{name}"')
        conn.execute(f'ALTER DATABASE "{blank.dbname}" ALLOW_CONNECTIONS true CONNECTION LIMIT -1')
        conn.execute(f'REVOKE CONNECT ON DATABASE "{blank.dbname}" FROM "{name}"')
        conn.execute(f'DROP DATABASE IF EXISTS "{blank.dbname}_2"')
        conn.execute(f'DROP ROLE "{name}"')


@pytest.mark.parametrize("name", CASES)
def test_a_server_that_refuses_is_never_asked_whether_it_runs(name: str, role: PostgresUrl, server: Server) -> None:
    case = CASES[name]
    url = case.url(role)
    with _superuser(server) as conn:
        if case.sql:
            conn.execute(case.sql.format(role=f'"{role.user}"', database=f'"{role.dbname}"'))
        for connect in (ops.connect, _by_the_pooler):
            with pytest.raises(Refusal) as refused:
                connect(url)
            error = refused.value
            assert case.words in error.do, error
            assert "running" not in f"{error.found} {error.do}"
            assert "\n" not in error.found
            assert role.password not in str(error)
        if name in FOLLOWED:
            conn.execute(error.do[error.do.rindex(": ") + 2 :])
            ops.connect(url).close()


def _by_the_pooler(url: PostgresUrl) -> None:
    with pooler.transaction(url):
        pytest.fail("it was let in")


@contextmanager
def _superuser(server: Server) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.maintenance.conninfo, autocommit=True) as conn:
        yield conn


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("127.0.0.1", STARTS),
        ("localhost", STARTS),
        ("/nowhere", STARTS),
        ("nowhere.invalid", "No machine has this name"),
    ],
)
def test_an_address_where_nothing_answers_says_so(host: str, words: str) -> None:
    with pytest.raises(Refusal, match="a Postgres that answers") as refused:
        ops.connect(PostgresUrl(host, 1, "somebody", "", "game", parameters=PLAIN))
    assert words in refused.value.do


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "Another program listens there"),
        (b"", "ended the connection at once"),
        (None, "Nothing came back"),
    ],
)
def test_a_port_where_something_else_listens_says_so(answer: bytes | None, words: str) -> None:
    with _listening(answer) as port, pytest.raises(Refusal) as refused:
        ops.connect(
            PostgresUrl("127.0.0.1", port, "somebody", "", "game", parameters=(*PLAIN, ("connect_timeout", "2")))
        )
    assert words in refused.value.do
    assert STARTS not in str(refused.value)


@contextmanager
def _listening(answer: bytes | None) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def serve() -> None:
            conn, _ = listener.accept()
            kept.append(conn)
            if answer is not None:
                conn.recv(1000)
                conn.sendall(answer)
                conn.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join()
        for conn in kept:
            conn.close()


AT = 'connection failed: connection to server at "10.0.0.7", port 5432 failed: '
TEXTS = {
    'FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "u", database "d", no encryption': "pg_hba.conf",
    "FATAL:  the database system is starting up": "Wait until it is up",
    "FATAL:  the database system is shutting down": "Wait until it is up",
    "FATAL:  sorry, too many clients already": "connections are taken",
    "FATAL:  remaining connection slots are reserved for roles with SUPERUSER": "connections are taken",
    'FATAL:  Peer authentication failed for user "u"': "Name a host and a password",
    'root certificate file "/x.crt" does not exist\nEither provide the file or change sslmode': "files of this machine",
    'private key file "/k" has group or world access; file must have permissions u=rw (0600)': "files of this machine",
    "SSL error: certificate verify failed": "sslrootcert must hold",
    'server certificate for "a" does not match host name "b"': "a name in the server's certificate",
    "SSL SYSCALL error: EOF detected": "ended the connection at once",
    "FATAL:  server login has been failing, try again later (server_login_retry)": "The pooler runs",
    "FATAL:  query_wait_timeout": "The pooler runs",
    "FATAL:  no such user: connection refused": "Correct the role",
    "No route to host\n\tIs the server running on that host and accepting TCP/IP connections?": "Nothing came back",
    '치명적오류:  사용자 "u"의 password 인증을 실패했습니다': "words of the server",
    "FATAL:  Authentifizierung fehlgeschlagen": "words of the server",
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_of_libpq_or_a_server_has_its_advice(text: str) -> None:
    cause, message = connection_failures.explain(psycopg.OperationalError(AT + text))
    assert TEXTS[text] in cause.do
    assert "running" not in cause.do + message


def test_of_several_attempts_the_one_that_got_furthest_is_told() -> None:
    refused = AT + "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?"
    wrong = AT + 'FATAL:  password authentication failed for user "u"'
    for first, second in ((refused, wrong), (wrong, refused)):
        text = (
            f"{second}\nMultiple connection attempts failed. All failures were:\n"
            f"- host: 'localhost', port: '5432', hostaddr: '::1': {first}\n"
            f"- host: 'localhost', port: '5432', hostaddr: '127.0.0.1': {second}"
        )
        cause, message = connection_failures.explain(psycopg.OperationalError(text))
        assert message == 'password authentication failed for user "u"'
        assert cause.reached


def test_only_a_cause_that_reached_nothing_asks_whether_it_runs() -> None:
    assert all(isinstance(cause, Cause) and cause.do for cause in CAUSES)
    assert [cause.reached for cause in CAUSES] == sorted((cause.reached for cause in CAUSES), reverse=True)
    assert sum(STARTS in cause.do for cause in CAUSES) == 1
    assert not any("running" in cause.do for cause in CAUSES if cause.reached)
    assert UNKNOWN.reached


ONE_OF_EACH = (
    "FATAL:  server login has been failing, try again later (server_login_retry)",
    "fe_sendauth: no password supplied",
    'FATAL:  Peer authentication failed for user "u"',
    'FATAL:  password authentication failed for user "u"',
    'FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "u", database "d", no encryption',
    'FATAL:  role "u" is not permitted to log in',
    'FATAL:  role "u" does not exist',
    'FATAL:  database "d" does not exist',
    'FATAL:  database "d" is not currently accepting connections',
    'FATAL:  permission denied for database "d"',
    "FATAL:  sorry, too many clients already",
    "FATAL:  the database system is starting up",
    'invalid sslmode value: "always"',
    "server does not support SSL, but SSL was required",
    'root certificate file "/x.crt" does not exist',
    "expected authentication request from server, but received H",
    "SSL SYSCALL error: EOF detected",
    "SSL error: certificate verify failed",
    "words that nobody knows",
    "timeout expired",
    "Permission denied",
    "Connection refused",
    'could not translate host name "db" to address: Temporary failure in name resolution',
    'could not translate host name "db" to address: Name or service not known',
)
"""Messages of libpq or a server, a text for each cause, in the order of the list."""


def test_each_cause_of_the_list_has_a_text_that_is_told_as_it() -> None:
    assert len(ONE_OF_EACH) == len(CAUSES)
    for cause, text in zip(CAUSES, ONE_OF_EACH, strict=True):
        assert connection_failures.explain(psycopg.OperationalError(AT + text))[0] is cause, text
