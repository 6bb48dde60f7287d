"""The wire proxy by real clients of a real server: all that the protocol can do passes, and faults are real."""

from __future__ import annotations

import select
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from harness import wire
from harness.databases import Database
from harness.wire import Decision, DropBefore, DropReply, InjectError, Pass, Proxy, ProxySession, RoundTrip, frames

LARGE = 10_000_000


class Ruling:
    """Gives a verdict on the round trips that a test names, lets the others pass, and keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.answers: list[str] = []
        self.decisions: dict[str, Decision] = {}
        self.before: Callable[[ProxySession, RoundTrip], None] = lambda _session, _trip: None

    def intercept(self, session: ProxySession, trip: RoundTrip) -> Decision:
        self.seen.append(trip.sql)
        self.before(session, trip)
        return self.decisions.pop(trip.sql, Pass())

    def answered(self, session: ProxySession, trip: RoundTrip) -> None:
        self.answers.append(trip.sql)


@pytest.fixture
def ruling() -> Ruling:
    return Ruling()


@pytest.fixture
def proxy(database: Database, ruling: Ruling) -> Iterator[Proxy]:
    with Proxy(wire.address(database.service), ruling) as proxy:
        yield proxy


@pytest.fixture
def conninfo(proxy: Proxy, database: Database) -> str:
    return proxy.url(database.service).conninfo


@pytest.fixture
def client(conninfo: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(conninfo, autocommit=True) as client:
        yield client


def one(client: psycopg.Connection, sql: str, *parameters: object) -> object:
    row = client.execute(sql.encode(), parameters or None).fetchone()
    return row and row[0]


def test_frames_are_whole_whatever_pieces_they_come_in() -> None:
    sent = [frames.query("SELECT 1"), frames.Frame(frames.SYNC, b""), frames.Frame(frames.COPY_DATA, b"x" * 300)]
    opening = frames.Frame(b"", frames.SSL_REQUEST.to_bytes(4)).data + frames.Frame(b"", b"\0\3\0\0user\0").data
    data = opening + b"".join(frame.data for frame in sent)
    for size in (1, 4, 5, 7, len(data)):
        incoming = frames.Frames(opening=True)
        read = [frame for n in range(0, len(data), size) for frame in incoming.feed(data[n : n + size])]
        assert read[2:] == sent
        assert [frame.kind for frame in read[:2]] == [b"", b""]


def test_simple_and_extended_queries_pass_and_each_is_one_round_trip(
    client: psycopg.Connection, ruling: Ruling
) -> None:
    assert one(client, "SELECT 1") == 1
    assert one(client, "SELECT $1::int + 1".replace("$1", "%s"), 41) == 42
    assert ruling.seen == ruling.answers == ["SELECT 1", "SELECT $1::int + 1"]


def test_begin_and_commit_are_round_trips(client: psycopg.Connection, ruling: Ruling) -> None:
    with client.transaction():
        one(client, "SELECT 1")
    assert ruling.seen == ["BEGIN", "SELECT 1", "COMMIT"]


@pytest.mark.parametrize(
    ("trips", "found"),
    [
        (["BEGIN", "SELECT 1", "COMMIT"], None),
        (["begin", "SELECT 'x; COMMITTED'", "ROLLBACK TO s", "ROLLBACK"], None),
        (["BEGIN; SELECT 1", "START; END"], "2 BEGIN, 1 COMMIT"),
        (["BEGIN", "UPDATE t", "COMMIT", "BEGIN", "INSERT INTO t", "COMMIT"], "2 BEGIN, 2 COMMIT"),
        (["BEGIN", "SELECT 1"], "1 BEGIN"),
        (["BEGIN", "COMMIT", "UPDATE t"], "statements outside of it"),
        (["UPDATE t", "BEGIN", "ROLLBACK"], "statements outside of it"),
        (["UPDATE t"], "no transaction"),
        ([], "no transaction"),
    ],
)
def test_an_attempt_is_one_transaction_or_what_it_is_instead_is_said(trips: list[str], found: str | None) -> None:
    seen = [RoundTrip(n, sql, (frames.query(sql),)) for n, sql in enumerate(trips)]
    assert wire.beside_one_transaction(seen) == found


def test_a_prepared_statement_is_known_by_its_text_when_only_its_name_travels(
    client: psycopg.Connection, ruling: Ruling
) -> None:
    for n in range(8):
        assert client.execute("SELECT %s::int", [n], prepare=n > 1).fetchone() == (n,)
    assert ruling.seen.count("SELECT $1::int") == 8
    assert ruling.seen.count("PREPARE SELECT $1::int") == 1


def test_a_pipeline_passes_and_an_error_in_it_is_the_one_statements_own(
    client: psycopg.Connection, ruling: Ruling
) -> None:
    with client.pipeline() as pipeline:
        cursors = [client.execute("SELECT %s::int", [n]) for n in range(50)]
        pipeline.sync()
        client.execute("SELECT %s::int / 0", [1])
        with pytest.raises(psycopg.errors.DivisionByZero):
            pipeline.sync()
    assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(50)]
    assert ruling.seen[0] == "; ".join(["SELECT $1::int"] * 50)
    assert one(client, "SELECT 1") == 1


def test_rows_are_copied_in_and_out(client: psycopg.Connection) -> None:
    client.execute("CREATE TEMP TABLE copied (n int, said text)")
    with client.cursor().copy("COPY copied FROM STDIN") as copy:
        for n in range(20_000):
            copy.write_row((n, "말" * 40))
    with client.cursor().copy("COPY copied TO STDOUT") as copy:
        assert sum(1 for _ in copy.rows()) == 20_000
    assert one(client, "SELECT sum(n) FROM copied") == 199_990_000


def test_a_copy_by_an_extended_query_may_be_followed_by_a_fault(client: psycopg.Connection, ruling: Ruling) -> None:
    """Such a copy syncs twice and is answered once: a proxy that counts would wait for ever."""
    client.execute("CREATE TEMP TABLE copied (n int)")
    client.pgconn.send_query_params(b"COPY copied FROM STDIN", [])
    began = result(client)
    assert began is not None
    assert began.status == psycopg.pq.ExecStatus.COPY_IN
    client.pgconn.put_copy_data(b"1\n")
    client.pgconn.put_copy_end()
    while result(client) is not None:
        pass
    ruling.decisions["SELECT 1"] = InjectError("40001")
    with pytest.raises(psycopg.errors.SerializationFailure):
        one(client, "SELECT 1")
    assert one(client, "SELECT count(*) FROM copied") == 1


def result(client: psycopg.Connection) -> psycopg.pq.abc.PGresult | None:
    """The next result; libpq's own wait would keep the proxy, in the same process, from answering."""
    while client.pgconn.flush():
        pass
    while client.pgconn.is_busy():
        select.select([client.pgconn.socket], [], [], 10)
        client.pgconn.consume_input()
    return client.pgconn.get_result()


def test_a_copy_that_the_client_gives_up_leaves_the_connection_usable(client: psycopg.Connection) -> None:
    client.execute("CREATE TEMP TABLE copied (n int)")
    with pytest.raises(ZeroDivisionError), client.cursor().copy("COPY copied FROM STDIN") as copy:
        copy.write_row(1 / n for n in (1, 0))
    assert one(client, "SELECT count(*) FROM copied") == 0


def test_a_statement_under_way_is_cancelled_through_the_proxy(client: psycopg.Connection, ruling: Ruling) -> None:
    begun = threading.Event()
    ruling.before = lambda _session, _trip: begun.set()
    with ThreadPoolExecutor(1) as pool:
        sleeping = pool.submit(one, client, "SELECT pg_sleep(60)")
        assert begun.wait(10)
        while not sleeping.done():  # A cancel that arrives before the statement cancels nothing.
            client.cancel_safe(timeout=10)
        with pytest.raises(psycopg.errors.QueryCanceled):
            sleeping.result(10)
    assert one(client, "SELECT 1") == 1


@pytest.mark.parametrize("sslmode", ["disable", "prefer"])
def test_a_client_that_asks_for_encryption_is_told_that_there_is_none(conninfo: str, sslmode: str) -> None:
    with psycopg.connect(
        conninfo, sslmode=sslmode, gssencmode="prefer" if sslmode == "prefer" else "disable"
    ) as client:
        assert one(client, "SELECT 1") == 1
        assert not client.pgconn.ssl_in_use


def test_ten_megabytes_pass_each_way(client: psycopg.Connection) -> None:
    assert one(client, "SELECT %s::text", "x" * LARGE) == "x" * LARGE
    assert one(client, f"SELECT length('{'x' * LARGE}')") == LARGE


def test_fifty_connections_are_served_at_once(conninfo: str, proxy: Proxy) -> None:
    clients = [psycopg.connect(conninfo, autocommit=True) for _ in range(50)]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda client: [one(client, "SELECT %s::int", n) for n in range(20)], clients))
    assert answers == [list(range(20))] * 50
    assert len(proxy.sessions) == 50
    assert len({session.pid for session in proxy.sessions}) == 50
    for client in clients:
        client.close()


def test_closing_ends_every_thread_and_connection(database: Database) -> None:
    before = set(threading.enumerate())
    proxy = Proxy(wire.address(database.service))
    clients = [psycopg.connect(proxy.url(database.service).conninfo) for _ in range(5)]
    one(clients[0], "SELECT 1")
    proxy.close()
    assert set(threading.enumerate()) == before
    for client in clients:
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
        client.close()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(proxy.url(database.service).conninfo)


def test_a_client_that_leaves_takes_its_server_process_with_it(client: psycopg.Connection, proxy: Proxy) -> None:
    (session,) = proxy.sessions
    client.close()
    session.join(10)
    assert not session.is_alive()
    assert not proxy.sessions


def test_a_server_that_listens_on_a_socket_is_reached(database: Database, tmp_path: Path) -> None:
    """The socket is a proxy of our own before the server: a container's is not to be seen from here."""
    path = tmp_path / f".s.PGSQL.{database.service.port}"
    target = wire.address(database.service)
    assert isinstance(target, tuple)
    assert wire.address(database.service.with_(host=str(tmp_path))) == str(path)
    with (
        bridge(path, target),
        Proxy(str(path)) as proxy,
        psycopg.connect(proxy.url(database.service).conninfo) as client,
    ):
        assert one(client, "SELECT 1") == 1


@contextmanager
def bridge(path: Path, target: tuple[str, int]) -> Iterator[None]:
    """A socket in the file system that leads to a port, for one connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def carry() -> None:
        ends = listener.accept()[0], socket.create_connection(target)
        with selectors.DefaultSelector() as selector, suppress(OSError), ends[0], ends[1]:
            for source, destination in (ends, ends[::-1]):
                selector.register(source, selectors.EVENT_READ, destination)
            while all(key.data.send(key.fileobj.recv(65536)) for key, _ in selector.select()):  # type: ignore[union-attr]
                pass

    carrying = threading.Thread(target=carry, daemon=True)
    carrying.start()
    yield
    carrying.join(10)
    listener.close()


def test_a_round_trip_that_is_cut_never_reaches_the_server(
    client: psycopg.Connection, ruling: Ruling, conninfo: str
) -> None:
    ruling.decisions["COMMIT"] = DropBefore()
    with pytest.raises(psycopg.OperationalError), client.transaction():
        client.execute("INSERT INTO users (id) VALUES ('hana')")
    assert client.broken
    with psycopg.connect(conninfo) as again:
        assert one(again, "SELECT count(*) FROM users") == 0


def test_a_round_trip_whose_answer_is_lost_was_carried_out(
    client: psycopg.Connection, ruling: Ruling, conninfo: str
) -> None:
    ruling.decisions["COMMIT"] = DropReply()
    with pytest.raises(psycopg.OperationalError), client.transaction():
        client.execute("INSERT INTO users (id) VALUES ('hana')")
    with psycopg.connect(conninfo) as again:
        assert one(again, "SELECT count(*) FROM users") == 1


def test_nothing_of_an_answer_that_is_lost_reaches_the_client(client: psycopg.Connection, ruling: Ruling) -> None:
    heard: list[str | None] = []
    client.add_notice_handler(lambda notice: heard.append(notice.message_primary))
    noisy = "DO $$ BEGIN RAISE NOTICE 'heard'; PERFORM pg_sleep(0.1); END $$"
    client.execute(noisy)
    assert heard == ["heard"]
    ruling.decisions[noisy] = DropReply()
    with pytest.raises(psycopg.OperationalError):
        client.execute(noisy)
    assert heard == ["heard"]


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03", "57014"])
@pytest.mark.parametrize("parameters", [None, [5]], ids=["simple", "extended"])
def test_an_error_is_raised_by_the_server_and_takes_the_transaction_with_it(
    client: psycopg.Connection, ruling: Ruling, sqlstate: str, parameters: list[object] | None
) -> None:
    shown = "SELECT 5::int" if parameters is None else "SELECT $1::int"
    ruling.decisions[shown] = InjectError(sqlstate)
    client.autocommit = False
    client.execute("INSERT INTO users (id) VALUES ('hana')")
    with pytest.raises(psycopg.Error) as failed:
        client.execute("SELECT 5::int" if parameters is None else "SELECT %s::int", parameters)
    client.commit()
    assert failed.value.sqlstate == sqlstate
    assert failed.value.diag.source_function == "exec_stmt_raise", "the server's own, with all that comes with it"
    assert one(client, "SELECT count(*) FROM users") == 0


def test_an_error_in_place_of_a_commit_leaves_no_transaction_behind(client: psycopg.Connection, ruling: Ruling) -> None:
    ruling.decisions["COMMIT"] = InjectError("40001")
    with pytest.raises(psycopg.errors.SerializationFailure), client.transaction():
        client.execute("INSERT INTO users (id) VALUES ('hana')")
    assert client.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert one(client, "SELECT count(*) FROM users") == 0


def test_an_error_within_a_pipeline_fails_the_round_trip_alone(client: psycopg.Connection, ruling: Ruling) -> None:
    ruling.decisions["SELECT $1::int + 2"] = InjectError("40001")
    with client.pipeline() as pipeline:
        first = client.execute("SELECT %s::int + 1", [1])
        pipeline.sync()
        client.execute("SELECT %s::int + 2", [1])
        with pytest.raises(psycopg.errors.SerializationFailure):
            pipeline.sync()
        last = client.execute("SELECT %s::int + 3", [1])
    assert (first.fetchone(), last.fetchone()) == ((2,), (4,))


def test_what_the_server_says_last_reaches_the_client(
    client: psycopg.Connection, ruling: Ruling, database: Database
) -> None:
    with psycopg.connect(database.service.conninfo, autocommit=True) as other:

        def terminate(session: ProxySession, trip: RoundTrip) -> None:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [session.pid])

        ruling.before = terminate
        with pytest.raises(psycopg.errors.AdminShutdown):
            one(client, "SELECT 1")


def test_a_round_trip_waits_while_its_judge_does_and_others_go_on(
    client: psycopg.Connection, ruling: Ruling, conninfo: str
) -> None:
    waiting, go = threading.Event(), threading.Event()

    def hold(session: ProxySession, trip: RoundTrip) -> None:
        if trip.sql == "SELECT 'held'":
            waiting.set()
            go.wait(30)

    ruling.before = hold
    with ThreadPoolExecutor(1) as pool, psycopg.connect(conninfo) as other:
        held = pool.submit(one, client, "SELECT 'held'")
        assert waiting.wait(10)
        assert one(other, "SELECT 1") == 1
        assert "SELECT 'held'" not in ruling.answers
        assert not held.done()
        go.set()
        assert held.result(10) == "held"
