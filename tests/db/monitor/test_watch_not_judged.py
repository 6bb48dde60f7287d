"""A check that can't be judged says why, and the look is inconclusive; one that says never is always judged."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from db import ops
from db.environment_plans import ProviderPlan
from db.environments import Environment, Pointer, SnapshotPlan
from db.monitor import samples, watching
from db.monitor.check import CheckOutcome
from db.monitor.checks import rds
from db.ops import following
from db.snapshots import manifest
from game.urls import PostgresUrl
from tests.db.monitor.plants_of_services import CLOSED
from tests.db.monitor.plants_of_tables import plant_table
from tests.db.monitor.watched import BY_NAME, OF_STATEMENTS, Watched, own_watched

Why = Mapping[str, str]
OF_RDS = tuple(check.name for check in rds.CHECKS)
OF_STATISTICS = [name for name, check in BY_NAME.items() if check.statistics]
OF_COUNTERS = ["rolled back transactions", "deadlocks", "cache hits", "temporary files", "lost sessions"]
OF_SERVICE = [
    "requests that failed",
    "database unreachable",
    "transactions tried again",
    "turned away",
    "refused requests",
    "time to answer",
]
OF_ROWS = ["players held", "balances", "stock"]


@dataclass
class Case:
    """A situation: the checks that are not judged in it, and why, in part. between: run after the look before."""

    why: Why
    monitor: PostgresUrl | None
    env: Environment
    between: tuple[str, ...] | None = ()
    settings: Mapping[str, str] | None = None


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with own_watched(tmp_path_factory.mktemp("watched"), {"shared_preload_libraries": "pg_stat_statements"}) as watched:
        yield watched


def role(own: Watched, *grants: str) -> PostgresUrl:
    name = f"r{secrets.token_hex(4)}"
    own.run(f"create role {name} login password '{name}'", *(grant.format(name) for grant in grants))
    return own.monitor.with_(user=name, password=name)


@contextmanager
def plain_role(own: Watched) -> Iterator[Case]:
    lacks = dict.fromkeys(OF_STATISTICS, "lacks pg_monitor")
    yield Case(
        lacks,
        role(own, "grant usage on schema ops to {0}", "grant select on ops.phase, ops.environment to {0}"),
        own.env,
    )


@contextmanager
def no_grants(own: Watched) -> Iterator[Case]:
    refused = dict.fromkeys([*OF_ROWS, "open to players", "schema"], "may not use the schema")
    yield Case(
        refused | {"age of the backup": "ops", "age of the last restore": "ops"},
        role(own, "grant pg_monitor to {0}"),
        own.env,
    )


@contextmanager
def no_phase(own: Watched) -> Iterator[Case]:
    names = [*OF_ROWS, "open to players", "age of the backup", "age of the last restore"]
    monitor = role(own, "grant pg_monitor to {0}", "grant usage on schema ops, game to {0}")
    yield Case(dict.fromkeys(names, "where the role that owns the schema ops is needed"), monitor, own.env)


@contextmanager
def nothing_of_the_tables(own: Watched) -> Iterator[Case]:
    own.run("create sequence counted")
    filler = "alter table plant add filler text default repeat('x', 1500)"
    plain = "alter table plant alter filler set storage plain"
    with plant_table(own, filler, plain, "update plant set m = 1", "analyze plant", rows=8000):
        own.run("revoke select on plant from public")
        yield Case(
            {
                "sequences": "may not read 1 sequences",
                "bloat": "may not read the large tables",
                "age of vacuum": "no look of an hour",
            },
            own.monitor,
            own.env,
        )
    own.run("drop sequence counted")


@contextmanager
def first_look(own: Watched) -> Iterator[Case]:
    names = [*OF_COUNTERS, *OF_STATEMENTS, "restarts"]
    yield Case(dict.fromkeys(names, "no look before this one"), own.monitor, own.env, between=None)


@contextmanager
def counters_reset(own: Watched) -> Iterator[Case]:
    names = [*OF_COUNTERS, *OF_STATEMENTS]
    yield Case(dict.fromkeys(names, "counters were reset"), own.monitor, own.env, between=("select pg_stat_reset()",))


@contextmanager
def statements_reset(own: Watched) -> Iterator[Case]:
    reset = "select public.pg_stat_statements_reset()"
    yield Case(dict.fromkeys(OF_STATEMENTS, "statements' counters were reset"), own.monitor, own.env, between=(reset,))


@contextmanager
def no_extension(own: Watched) -> Iterator[Case]:
    own.run("drop extension pg_stat_statements")
    yield Case(dict.fromkeys(OF_STATEMENTS, "pg_stat_statements is not created"), own.monitor, own.env)
    own.run("create extension pg_stat_statements schema public")


@contextmanager
def silent_process(own: Watched) -> Iterator[Case]:
    names = [*OF_SERVICE, "one store", "connection pool in use", "waiting for a connection"]
    yield Case(
        dict.fromkeys(names, "no process of the service answers"), own.monitor, replace(own.env, services=(CLOSED,))
    )


@contextmanager
def unusual_pool_size(own: Watched) -> Iterator[Case]:
    path = own.env.pointer.path.with_name("odd.env")
    path.write_text("POOL_SIZE=many\n")
    env = replace(own.env, services=(CLOSED,), pointer=Pointer(path))
    yield Case({"room for a restart": "POOL_SIZE of digits", "connection pool in use": "POOL_SIZE"}, own.monitor, env)


@contextmanager
def no_certificate(own: Watched) -> Iterator[Case]:
    yield Case({"settings of the certificate": "no certificate of this environment"}, own.monitor, own.env)


@contextmanager
def fortnight_too_short(own: Watched) -> Iterator[Case]:
    with plant_table(own, "create index plant_n on plant (n)", rows=60_000):
        yield Case({"unused indexes": "no look of 14 days ago"}, own.monitor, own.env)


@contextmanager
def broken_handshake(own: Watched) -> Iterator[Case]:
    """Something that takes the question for TLS and answers it with nonsense; the monitor has the real server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=nonsense, args=(listener,))
        thread.start()
        direct = own.env.target_direct.with_(port=listener.getsockname()[1])
        yield Case(
            {"certificate of the server": "certificate can't be read"},
            own.monitor,
            replace(own.env, target_direct=direct),
        )
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def nonsense(listener: socket.socket) -> None:
    while True:
        try:
            conn, _ = listener.accept()
        except OSError:
            return
        with conn:
            conn.recv(8)
            conn.sendall(b"SSSSSSSSSSSSSSSS")


@contextmanager
def unreadable_snapshots(own: Watched) -> Iterator[Case]:
    folder = own.env.snapshots.folder.with_name("broken")
    (folder / "development-1").mkdir(parents=True)
    (folder / "development-1" / manifest.MANIFEST).write_text("{")
    names = ["age of the backup", "age of the last restore"]
    env = replace(own.env, snapshots=SnapshotPlan(folder))
    yield Case(dict.fromkeys(names, "the folder of snapshots can't be read"), own.monitor, env)


@contextmanager
def no_scratch_schema(own: Watched) -> Iterator[Case]:
    env = replace(own.env, target_direct=own.database.service)
    yield Case({"schema": "compares with a scratch schema"}, own.monitor, env)


@contextmanager
def not_migrated(own: Watched) -> Iterator[Case]:
    own.run("alter view fence_state rename to fence_kept")
    yield Case(dict.fromkeys(["triggers of the fence", "open to players"], ""), own.monitor, own.env)
    own.run("alter view fence_kept rename to fence_state")


@contextmanager
def follower_without_a_round(own: Watched) -> Iterator[Case]:
    with ops.connect(own.database.owner) as conn:
        following.sign(conn, "follow of a test")
        yield Case({"lag of the legacy file": "no round was applied yet"}, own.monitor, own.env)
        conn.execute("drop table ops.follow")


@contextmanager
def no_answer_of_aws(own: Watched) -> Iterator[Case]:
    env = replace(own.env, provider=ProviderPlan("rds"))
    yield Case(dict.fromkeys(OF_RDS, "the key instance"), own.monitor, env)


BACKUPS = ("age of the backup", "age of the last restore")
CASES: dict[Callable[[Watched], AbstractContextManager[Case]], tuple[str, ...]] = {
    plain_role: tuple(OF_STATISTICS),
    no_grants: (*OF_ROWS, *BACKUPS, "open to players", "schema"),
    no_phase: (*OF_ROWS, *BACKUPS, "open to players"),
    nothing_of_the_tables: ("sequences", "bloat", "age of vacuum"),
    first_look: (*OF_COUNTERS, *OF_STATEMENTS, "restarts"),
    counters_reset: (*OF_COUNTERS, *OF_STATEMENTS),
    statements_reset: OF_STATEMENTS,
    no_extension: OF_STATEMENTS,
    silent_process: (*OF_SERVICE, "one store", "connection pool in use", "waiting for a connection"),
    unusual_pool_size: ("room for a restart", "connection pool in use"),
    no_certificate: ("settings of the certificate",),
    fortnight_too_short: ("unused indexes",),
    broken_handshake: ("certificate of the server",),
    unreadable_snapshots: BACKUPS,
    no_scratch_schema: ("schema",),
    not_migrated: ("triggers of the fence", "open to players"),
    follower_without_a_round: ("lag of the legacy file",),
    no_answer_of_aws: OF_RDS,
}
"""Each situation, and the checks that are not judged in it; others may not be either."""

NEVER = {name for name, check in BY_NAME.items() if check.not_judged == "never"}


def test_every_check_is_not_judged_in_one_situation_or_says_never() -> None:
    assert {name for names in CASES.values() for name in names} == set(BY_NAME) - NEVER


@pytest.mark.parametrize("situation", CASES, ids=lambda situation: situation.__name__)
def test_what_can_not_be_judged_says_why_and_the_look_is_inconclusive(
    own: Watched, tmp_path: Path, situation: Callable[[Watched], AbstractContextManager[Case]]
) -> None:
    own.require_statements(*CASES[situation])
    with situation(own) as case, samples.opened(tmp_path / "kept.sqlite") as kept:
        if case.between is not None:
            own.look_as(case.monitor, kept, env=case.env)
            own.run(*case.between)
        looked = own.look_as(case.monitor, kept, env=case.env, settings=case.settings)
    why = {each.check: each.why for each in looked.of(CheckOutcome.NOT_JUDGED)}
    assert set(case.why) == set(CASES[situation])
    for name, part in case.why.items():
        assert part in why.get(name, "it was judged"), f"{name}: {why.get(name)}"
    assert all(why.values())
    assert not {text for text in why.values() if "the check itself failed" in text}
    assert why.keys() & NEVER == set()
    assert looked.verdict == ("fail" if looked.breaches else "inconclusive")


def test_a_server_that_is_away_judges_nothing_and_is_inconclusive(own: Watched, tmp_path: Path) -> None:
    away = own.env.target_direct.with_(port=9)
    looked = watching.once(replace(own.env, target_direct=away), window_seconds=0.1, folder=tmp_path)
    assert {each.outcome for each in looked.judgements} == {CheckOutcome.NOT_JUDGED}
    assert looked.verdict == "inconclusive"
    assert "refused" in looked.error
    assert all(each.why for each in looked.judgements)
    assert len(looked.judgements) == len(BY_NAME)


def test_the_monitor_can_only_read(own: Watched) -> None:
    own.look()
    before = own.value("select count(*) from users")
    assert before == 2
    assert not own.value("select rolsuper or rolcreatedb or rolcreaterole from pg_roles where rolname = 'watcher'")
    writes = own.value(
        "select count(*) from pg_class c where relnamespace in ('game'::regnamespace, 'ops'::regnamespace)"
        " and relkind in ('r', 'v') and has_table_privilege('watcher', c.oid, 'insert, update, delete, truncate')"
    )
    credentials = own.value("select has_any_column_privilege('watcher', 'user_credentials', 'select')")
    assert (writes, credentials) == (0, False)
