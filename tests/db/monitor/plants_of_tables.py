"""Plants the defects of tables, indexes, the game's rows and its schema."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import psycopg

from db import ops
from db.monitor import samples
from db.monitor.checks import indexes, tables
from db.monitor.samples import Sample
from db.ops import fence, following
from tests.db.monitor.planting import Plant, Planted
from tests.db.monitor.watched import Watched

PLAYER = "(select min(id) from users)"
RECEIPT = """
insert into action_receipts (user_id, request_id, command, outcome, at, seq, chain)
values ({0}, 'r{1}', '[]', '{{}}', {2}, 1 + (select coalesce(max(seq), 0) from action_receipts where user_id = {0}), '')
"""


@contextmanager
def plant_table(own: Watched, *statements: str, rows: int = 3000, **fill: str) -> Iterator[Planted]:
    with own.superuser() as conn:
        conn.execute(f"create table plant as select n, 0 as m from generate_series(1, {rows}) n".encode())
        conn.execute("grant select on plant to public")
        for statement in statements:
            conn.execute(statement.encode())
        own.flush(conn)
        try:
            yield Planted("plant", {"NAME": "plant", **fill} if fill else None)
        finally:
            conn.execute("drop table plant")


@contextmanager
def by_hand(own: Watched) -> Iterator[Planted]:
    own.run("alter table users add column by_hand int")
    yield Planted("unexpected: column users.by_hand")
    own.run("alter table users drop column by_hand")


@contextmanager
def fenced(own: Watched) -> Iterator[Planted]:
    with ops.connect(own.database.owner) as conn:
        fence.raise_fence(conn)
        yield Planted("fence fenced")
        fence.lift(conn)


@contextmanager
def held(own: Watched) -> Iterator[Planted]:
    own.run(f"update users set held = true where id = {PLAYER}")
    yield Planted("1; invoke")
    own.run("update users set held = false")


@contextmanager
def follower_gone(own: Watched) -> Iterator[Planted]:
    with ops.connect(own.database.owner) as conn:
        following.sign(conn, "follow of a test")
        following.note_round(conn, "follow of a test", age=60, lag=0.0, lines=0, seconds=0.01, window_seconds=0.01)
        yield Planted("no process is at work")
        conn.execute("drop table ops.follow")


def play(own: Watched) -> str:
    """A receipt of a player who has just played, whose id it returns."""
    own.run(RECEIPT.format(PLAYER, time.monotonic_ns(), int(time.time() * 1000)))
    return str(own.value(f"select {PLAYER}"))


@contextmanager
def gold_by_hand(own: Watched) -> Iterator[Planted]:
    player = play(own)
    own.run(f"update users set gold = gold + 1 where id = {PLAYER}")
    yield Planted(f"{player} owns")
    own.run(f"update users set gold = gold - 1 where id = {PLAYER}")


@contextmanager
def item_deleted(own: Watched) -> Iterator[Planted]:
    player = play(own)
    item = own.value(f"select min(id) from user_inventory where user_id = {PLAYER}")
    own.run(
        f"create table kept as select * from user_inventory where user_id = {PLAYER} and id = '{item}'",
        f"delete from user_inventory where user_id = {PLAYER} and id = '{item}'",
    )
    yield Planted(f"{player} owns 0 of {item}")
    own.run("insert into user_inventory select * from kept", "drop table kept")


@contextmanager
def triggers_off(own: Watched) -> Iterator[Planted]:
    own.run("alter table user_mail disable trigger all")
    yield Planted("user_mail", {"NAME": "user_mail"})
    own.run("alter table user_mail enable trigger all", "alter table user_mail disable trigger sudamr_fence")


@contextmanager
def dead(own: Watched) -> Iterator[Planted]:
    with plant_table(own, "update plant set m = 1", NAME="plant") as planted:
        yield planted


@contextmanager
def long_due(own: Watched) -> Iterator[Planted]:
    with plant_table(own, "update plant set m = 1", NAME="plant") as planted:
        at = datetime.now(UTC) - timedelta(hours=1, minutes=1)
        for kept in own.kept.values():
            samples.add(kept, Sample(at, 0.0, {f"{tables.PAST_THRESHOLD}plant": 1.0}))
        # The server counts from its start, a few seconds ago: an hour and more is not to be had.
        yield planted


@contextmanager
def unanalyzed(own: Watched) -> Iterator[Planted]:
    with plant_table(own, "analyze plant", "update plant set m = 1") as planted:
        yield planted


@contextmanager
def autovacuum_off(own: Watched) -> Iterator[Planted]:
    own.run("alter table users set (autovacuum_enabled = 0)")
    yield Planted("users", {"NAME": "users"})
    own.run("alter table users reset (autovacuum_enabled)")


@contextmanager
def bloated(own: Watched) -> Iterator[Planted]:
    wide = "alter table plant add filler text default repeat('x', 1500)"
    with plant_table(
        own,
        wide,
        "alter table plant alter filler set storage plain",
        "update plant set m = 1",
        "delete from plant where n % 10 <> 0",
        "vacuum (analyze) plant",
        rows=8000,
        NAME="plant",
    ) as planted:
        yield planted


@contextmanager
def used_up(own: Watched) -> Iterator[Planted]:
    own.run(
        "create sequence plant maxvalue 1000",
        "select setval('plant', 900)",
        "grant select on plant to watcher",
        f"alter sequence plant owner to {own.database.owner.user}",
    )
    yield Planted("plant: 900 of 1000")
    own.run("drop sequence plant")


@contextmanager
def fence_off_one(own: Watched) -> Iterator[Planted]:
    own.run("alter table users disable trigger sudamr_fence")
    yield Planted("users")
    own.run("alter table users enable always trigger sudamr_fence")


@contextmanager
def not_valid(own: Watched) -> Iterator[Planted]:
    with plant_table(
        own, "alter table plant add constraint positive check (n > 0) not valid", THIS="positive"
    ) as planted:
        yield Planted("positive on plant", planted.fill)


@contextmanager
def invalid_index(own: Watched) -> Iterator[Planted]:
    with plant_table(own):
        with suppress(psycopg.errors.UniqueViolation):
            own.run("create unique index concurrently plant_m on plant (m)")
        yield Planted("plant_m on plant")


@contextmanager
def second_index(own: Watched) -> Iterator[Planted]:
    with plant_table(
        own, "create index plant_n on plant (n)", "create index plant_again on plant (n)", NAME="plant_again"
    ) as planted:
        yield Planted("plant_again and plant_n", planted.fill)


@contextmanager
def unread_index(own: Watched) -> Iterator[Planted]:
    with plant_table(own, "create index plant_n on plant (n)", rows=60_000):
        for role, kept in own.kept.items():
            own.look("unused indexes", role=role)
            now = samples.before(kept, datetime.now(UTC), least=timedelta(0), most=timedelta(minutes=1))
            assert now is not None
            scans = {name: n for name, n in now.counters.items() if name.startswith(indexes.SCANS)}
            samples.add(kept, Sample(now.at - timedelta(days=14, minutes=1), now.began, scans))
        yield Planted("plant_n")


PLANTS = {
    "schema": Plant(by_hand),
    "open to players": Plant(fenced),
    "players held": Plant(held),
    "lag of the legacy file": Plant(follower_gone),
    "balances": Plant(gold_by_hand),
    "stock": Plant(item_deleted),
    "foreign keys switched off": Plant(triggers_off),
    "dead rows": Plant(dead),
    "age of vacuum": Plant(long_due, {"age of vacuum": 0}),
    "age of analyze": Plant(unanalyzed),
    "autovacuum": Plant(autovacuum_off),
    "bloat": Plant(bloated),
    "sequences": Plant(used_up),
    "triggers of the fence": Plant(fence_off_one),
    "constraints not validated": Plant(not_valid),
    "invalid indexes": Plant(invalid_index),
    "duplicate indexes": Plant(second_index),
    "unused indexes": Plant(unread_index),
}
