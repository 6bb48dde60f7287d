"""Plants the defects of settings, of the server and of its backups; some need a server that was made for them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg

from db.environments import SnapshotPlan
from db.servers.unix_user import lesser
from db.snapshots import manifest
from db.snapshots.manifest import Label, Manifest, Side
from tests.db.monitor.planting import Plant, Planted
from tests.db.monitor.plants_of_sessions import BURN
from tests.db.monitor.watched import Watched
from tests.fixtures.own_server import OwnServer

XIDS = MULTIXACTS = 100_000


@contextmanager
def no_triggers(own: Watched) -> Iterator[Planted]:
    database = own.database.name
    own.run(f"alter database {database} set session_replication_role = 'replica'")
    yield Planted("session_replication_role 'replica', certified 'origin'")
    own.run(f"alter database {database} reset session_replication_role")


@contextmanager
def waits_for_restart(own: Watched) -> Iterator[Planted]:
    shown = "select pending_restart from pg_settings where name = 'max_locks_per_transaction'"
    own.reload("alter system set max_locks_per_transaction = 100", shown=shown)
    yield Planted("max_locks_per_transaction runs with 64", {"NAME": "max_locks_per_transaction", "VALUE": "64"})
    own.run("alter system reset max_locks_per_transaction")


@contextmanager
def not_durable(own: Watched) -> Iterator[Planted]:
    shown = "select setting = '{}' from pg_settings where name = 'full_page_writes'"
    own.reload("alter system set full_page_writes = off", shown=shown.format("off"))
    yield Planted("full_page_writes = off", {"NAME": "full_page_writes"})
    own.reload("alter system reset full_page_writes", shown=shown.format("on"))


@contextmanager
def restarted(own: Watched) -> Iterator[Planted]:
    assert own.server is not None
    own.server.again()
    yield Planted("started ")


@contextmanager
def archive_fails(own: Watched) -> Iterator[Planted]:
    shown = "select setting = '{}' from pg_settings where name = 'archive_command'"
    own.reload("alter system set archive_command = 'false'", shown=shown.format("false"))
    own.run("select pg_logical_emit_message(false, '', 'x')", "select pg_switch_wal()")
    failing = "coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) from pg_stat_archiver"
    own.until(f"select {failing}")
    yield Planted("failed ")
    own.reload("alter system set archive_command = 'true'", shown=shown.format("true"))
    own.until(f"select not {failing}")


@contextmanager
def forgotten_slot(own: Watched) -> Iterator[Planted]:
    own.run("select pg_create_physical_replication_slot('forgotten', true)")
    for _ in range(2):
        own.run("select pg_logical_emit_message(false, '', 'x')", "select pg_switch_wal()")
    yield Planted("forgotten", {"NAME": "forgotten"})
    if own.value("select count(*) from pg_replication_slots"):
        own.run("select pg_drop_replication_slot('forgotten')")


@contextmanager
def little_disk(own: Watched) -> Iterator[Planted]:
    own.limits["disk of the server"] = 100
    yield Planted("GB free")
    del own.limits["disk of the server"]


def snapshot(folder: Path, days: float, *, verified: float | None = None) -> None:
    """A snapshot taken so many days ago, and restored so many days ago."""
    (folder / "development-1").mkdir(parents=True)
    (folder / "development-1" / "game.dump").write_bytes(b"")
    at = (manifest.now() - timedelta(days=days)).isoformat()
    manifest.write(
        folder / "development-1",
        Manifest("development", Side.TARGET, Label.MANUAL, "r", at, "game.dump", 0, "0" * 64, {}, "s", "open", "", "t"),
        None,
    )
    if verified is not None:
        at = (manifest.now() - timedelta(days=verified)).isoformat()
        note = manifest.Note(at, "0" * 64)
        (folder / "development-1" / manifest.VERIFIED).write_text(f'{{"at": "{note.at}", "sha256": "{note.sha256}"}}')


def with_snapshot(days: float, verified: float | None, names: str) -> Plant:
    @contextmanager
    def plant(own: Watched) -> Iterator[Planted]:
        folder = own.env.snapshots.folder.with_name("old")
        snapshot(folder, days, verified=verified)
        yield Planted(names, env=replace(own.env, snapshots=SnapshotPlan(folder)))
        shutil.rmtree(folder)

    return Plant(plant)


@contextmanager
def ends_in_a_week(own: Watched) -> Iterator[Planted]:
    """The server's certificate, of which another takes the place: the server reads it again at a reload."""
    assert own.server is not None
    certificate(own.server, days=7)
    own.run("select pg_reload_conf()")
    yield Planted("ends ")
    certificate(own.server, days=90)
    own.run("select pg_reload_conf()")


def certificate(server: OwnServer, days: int = 90) -> None:
    """A certificate that the server's own key signs, for so many days, beside its data."""
    key, path = server.data / "server.key", server.data / "server.crt"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=here",
            "-days",
            str(days),
            "-keyout",
            str(key),
            "-out",
            str(path),
        ],
        check=True,
        capture_output=True,
    )
    account = lesser()
    for each in (key, path):
        each.chmod(0o600)
        if account is not None:
            shutil.chown(each, account.uid, account.gid)


@contextmanager
def old_transactions(own: Watched) -> Iterator[Planted]:
    with own.service() as conn:
        conn.execute("begin isolation level repeatable read")
        conn.execute("select count(*) from users")
        own.run(BURN.format(n=XIDS * 13 // 10))
        yield Planted(f"database {own.database.name}")
    for database in ("postgres", "template1", own.database.name):
        freeze(own, database)


@contextmanager
def old_row_locks(own: Watched) -> Iterator[Planted]:
    """Two sessions that share the lock of one row make a multixact each time that the second takes it."""
    with own.service() as holder, own.service() as conn:
        holder.execute("begin isolation level repeatable read")
        holder.execute("select from users for key share")
        conn.execute(
            "do $$ begin for n in 1..13000 loop begin"
            " perform from users where id = (select min(id) from users) for share; raise exception 'x';"
            " exception when others then null; end; end loop; end $$"
        )
        yield Planted(f"database {own.database.name}")
    for database in ("postgres", "template1", own.database.name):
        freeze(own, database)


def freeze(own: Watched, database: str) -> None:
    with psycopg.connect(own.superuser_url.with_(dbname=database).conninfo, autocommit=True) as conn:
        conn.execute("vacuum (freeze)")


@contextmanager
def damaged_page(own: Watched) -> Iterator[Planted]:
    assert own.server is not None
    own.run("create table plant as select n from generate_series(1, 1000) n", "checkpoint")
    path = own.server.data / str(own.value("select pg_relation_filepath('plant')"))
    own.server.stop()
    damage(path)
    own.server.start()
    with ExitStack() as stack:
        conn = stack.enter_context(own.service())
        try:
            own.run("grant select on plant to public")
            conn.execute("select * from plant")
        except psycopg.errors.DataCorrupted:
            own.flush(conn)
    own.until("select checksum_failures > 0 from pg_stat_database where datname = current_database()")
    yield Planted("in this database")
    own.run("drop table plant", "select pg_stat_reset()")


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:4104] = bytes(byte ^ 0xFF for byte in content[4096:4104])
    path.write_bytes(content)


PLANTS = {
    "settings of the certificate": Plant(no_triggers),
    "settings that wait for a restart": Plant(waits_for_restart),
    "durability": Plant(not_durable),
    "restarts": Plant(restarted),
    "archive of WAL": Plant(archive_fails),
    "replication slots": Plant(forgotten_slot),
    "WAL kept for slots": Plant(forgotten_slot, {"WAL kept for slots": 20}),
    "disk of the server": Plant(little_disk),
    "age of the backup": with_snapshot(9, None, "development-1, "),
    "age of the last restore": with_snapshot(1, 9, "development-1, "),
}
OF_A_SERVER_OF_ITS_OWN = {
    "certificate of the server": Plant(ends_in_a_week),
    "wraparound": Plant(old_transactions),
    "wraparound of row locks": Plant(old_row_locks),
    "damaged pages": Plant(damaged_page),
}
