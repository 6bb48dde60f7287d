"""Plants the defects of sessions, statements and counters."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import psycopg

from db.environments import Pointer
from tests.db.monitor.planting import Plant, Planted
from tests.db.monitor.watched import Watched

LOCK = "select from users where id = (select min(id) from users) for update"
BURN = """
do $$ begin
    create temporary table burnt (n int);
    for n in 1..{n} loop begin insert into burnt values (n); exception when others then null; end; end loop;
end $$
"""


@contextmanager
def many_connections(own: Watched) -> Iterator[Planted]:
    with ExitStack() as stack:
        most = own.value("select current_setting('max_connections')::int")
        for _ in range(most - 3 - 4):
            stack.enter_context(own.service())
        yield Planted("of 37 open")


@contextmanager
def service_away(own: Watched) -> Iterator[Planted]:
    yield Planted(f"0 of {own.database.service.user}, for 1", env=replace(own.env, services=("http://127.0.0.1:9",)))


@contextmanager
def large_pools(own: Watched) -> Iterator[Planted]:
    path = own.env.pointer.path.parent / "pools.env"
    path.write_text("POOL_SIZE=30\n")
    env = replace(own.env, services=("http://127.0.0.1:9",), pointer=Pointer(path))
    yield Planted("twice 1 pools of 30, of 37", env=env)


@contextmanager
def idle(own: Watched) -> Iterator[Planted]:
    with suppress(psycopg.OperationalError), own.service(application_name="forgotten") as conn:
        conn.execute("begin")
        conn.execute(LOCK)
        pid = str(conn.info.backend_pid)
        yield Planted(f"server process {pid} of {own.database.service.user} (forgotten)", {"PID": pid})


@contextmanager
def blocked(own: Watched) -> Iterator[Planted]:
    with own.service() as conn, own.service() as waiting:
        conn.execute("begin")
        conn.execute(LOCK)
        blocker = str(conn.info.backend_pid)
        thread = threading.Thread(target=waiting.execute, args=(LOCK,))
        thread.start()
        own.until("select count(*) = 1 from pg_locks where not granted and waitstart is not null")
        try:
            yield Planted(
                f"process {waiting.info.backend_pid} of {own.database.service.user} waits for {{{blocker}}}",
                {"PID": blocker},
            )
        finally:
            own.run(f"select pg_terminate_backend({blocker})")
            thread.join()
            conn.close()


@contextmanager
def held_snapshot(own: Watched) -> Iterator[Planted]:
    with suppress(psycopg.OperationalError), own.service() as conn:
        conn.execute("begin isolation level repeatable read")
        conn.execute("select count(*) from users")
        own.run(BURN.format(n=300))
        yield Planted(f"server process {conn.info.backend_pid} of {own.database.service.user}")


@contextmanager
def prepared(own: Watched) -> Iterator[Planted]:
    with own.service() as conn:
        conn.execute("begin")
        conn.execute(LOCK)
        conn.execute("prepare transaction 'forgotten'")
    try:
        yield Planted("'forgotten' of", {"ID": "forgotten"})
    finally:
        if own.value("select count(*) from pg_prepared_xacts"):
            own.run("rollback prepared 'forgotten'")


@contextmanager
def slow(own: Watched) -> Iterator[Planted]:
    with own.service() as conn:
        for _ in range(20):
            conn.execute("select pg_sleep(0.055)")
        own.flush(conn)
    yield Planted("20 times: select pg_sleep(")


@contextmanager
def many_statements(own: Watched) -> Iterator[Planted]:
    with own.service() as conn:
        for n in range(1, 300):
            conn.execute(f"select {', '.join(['1'] * n)}".encode())
    yield Planted("")


@contextmanager
def unlogged(own: Watched) -> Iterator[Planted]:
    shown = "select setting = '{}' from pg_settings where name = 'log_min_duration_statement'"
    own.reload("alter system set log_min_duration_statement = -1", shown=shown.format(-1))
    try:
        yield Planted("log_min_duration_statement = -1", {})
    finally:
        own.reload("alter system set log_min_duration_statement = 500", shown=shown.format(500))


@contextmanager
def rolled_back(own: Watched) -> Iterator[Planted]:
    with own.service() as conn:
        for _ in range(50):
            conn.execute("select 1")
        for _ in range(100):
            conn.execute("begin")
            conn.execute("rollback")
        own.flush(conn)
    yield Planted("100 of ")


@contextmanager
def deadlock(own: Watched) -> Iterator[Planted]:
    before = own.value("select deadlocks from pg_stat_database where datname = current_database()")
    first, second = (
        "select from users where id = (select min(id) from users) for update",
        ("select from users where id = (select max(id) from users) for update"),
    )
    with own.service() as one, own.service() as two:
        for conn, query in ((one, first), (two, second)):
            conn.execute("begin")
            conn.execute(query)

        def other() -> None:
            with suppress(psycopg.errors.DeadlockDetected):
                two.execute(first)

        thread = threading.Thread(target=other)
        thread.start()
        with suppress(psycopg.errors.DeadlockDetected):
            one.execute(second)
        for conn in (one, two):
            with suppress(psycopg.Error):
                conn.execute("rollback") if conn is one else None
        thread.join()
        two.execute("rollback")
        own.flush(one)
        own.flush(two)
    own.until(f"select deadlocks > {before} from pg_stat_database where datname = current_database()")
    yield Planted("1")


@contextmanager
def cold_reads(own: Watched) -> Iterator[Planted]:
    with own.superuser() as conn:
        conn.execute("create table plant (n int, filler text)")
        conn.execute("alter table plant alter filler set storage plain")
        conn.execute("insert into plant select n, repeat('x', 7000) from generate_series(1, 3000) n")
        conn.execute("vacuum plant")
        for _ in range(8):
            conn.execute("select count(*) from plant")
        own.flush(conn)
        yield Planted("blocks")
        conn.execute("drop table plant")


@contextmanager
def sorted_on_disk(own: Watched) -> Iterator[Planted]:
    with own.service() as conn:
        conn.execute("set work_mem = '64kB'")
        conn.execute("select count(*) from (select n from generate_series(1, 300000) n order by -n) s")
        own.flush(conn)
    yield Planted("MB")


@contextmanager
def killed_sessions(own: Watched) -> Iterator[Planted]:
    before = own.value("select sessions_killed from pg_stat_database where datname = current_database()")
    with ExitStack() as stack:
        for _ in range(6):
            conn = own.service()
            stack.callback(conn.close)
            own.run(f"select pg_terminate_backend({conn.info.backend_pid})")
    own.until(f"select sessions_killed - {before} = 6 from pg_stat_database where datname = current_database()")
    yield Planted("6 killed")


PLANTS = {
    "connections": Plant(many_connections),
    "connections of the service": Plant(service_away),
    "room for a restart": Plant(large_pools),
    "idle in transaction": Plant(idle, {"idle in transaction": 0}),
    "blocked sessions": Plant(blocked, {"blocked sessions": 0}),
    "long transactions": Plant(idle, {"long transactions": 0}),
    "horizon of dead rows": Plant(held_snapshot, {"horizon of dead rows": 200}),
    "prepared transactions": Plant(prepared, {"prepared transactions": 0}),
    "slow statements": Plant(slow),
    "statements forgotten": Plant(many_statements),
    "slow query log": Plant(unlogged),
    "rolled back transactions": Plant(rolled_back),
    "deadlocks": Plant(deadlock),
    "cache hits": Plant(cold_reads),
    "temporary files": Plant(sorted_on_disk),
    "lost sessions": Plant(killed_sessions),
}
