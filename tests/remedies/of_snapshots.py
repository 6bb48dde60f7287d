"""Refusals of snapshots, and of moves under way."""

from __future__ import annotations

import shutil

from tests.remedies.of_stores import DEV, NEW, load, of_legacy, phase
from tests.remedies.scratch import Scratch, follows


@follows("Say --of legacy, the SQLite file, or --of target, Postgres.")
def a_snapshot_of_no_store(a: Scratch) -> None:
    a.migrated()
    assert a.legacy.exists()
    a.refused("snapshot.take", *DEV, "--of", "sqlite")
    a.works("snapshot.take", *DEV, "--of", "legacy")


def of_target(a: Scratch) -> str:
    """Take a snapshot of the loaded target; its folder."""
    a.migrated()
    load(a)
    a.done("snapshot.take", *DEV, "--of", "target")
    return str(next((a.folder / "snapshots").iterdir()))


@follows(NEW)
def a_snapshot_of_the_file_restored_to_nowhere(a: Scratch) -> None:
    a.refused("snapshot.restore", *DEV, "--path", of_legacy(a))
    a.with_options(NEW="restored.db")


@follows(NEW)
def a_snapshot_restored_over_a_file(a: Scratch) -> None:
    a.refused("snapshot.restore", *DEV, "--path", of_legacy(a), "--into", "game.db")
    a.with_options(NEW="restored.db")


@follows(
    "Restore it into a new file (--into NEW). Stop the service, move the file that it serves"
    " aside with its -wal and -shm, move NEW to its place, start the service."
)
def a_snapshot_of_the_file_to_replace_a_schema(a: Scratch) -> None:
    a.refused("snapshot.restore", *DEV, "--path", of_legacy(a), "--into", "restored.db", "--replace")
    a.works("snapshot.restore", *DEV, "--path", of_legacy(a), "--into", "restored.db")


@follows("Leave --into out: it is restored into the target of this environment.")
def a_snapshot_of_postgres_into_a_file(a: Scratch) -> None:
    a.refused("snapshot.restore", *DEV, "--path", of_target(a), "--into", "restored.db", "--replace")
    a.without("--into", value=True)


@follows("Add --replace: these are then kept in another schema.")
def a_snapshot_over_a_schema_that_is_there(a: Scratch) -> None:
    a.refused("snapshot.restore", *DEV, "--path", of_target(a))
    a.with_options()


@follows(
    "Leave --unfence out: Postgres then holds the snapshot, read-only. Only a move opens it. What is under way:"
    " invoke status --env {}"
)
def a_snapshot_of_postgres_opened_beside_an_open_file(a: Scratch) -> None:
    a.refused("snapshot.restore", *DEV, "--path", of_target(a), "--replace", "--unfence")
    a.without("--unfence")


@follows("Name a folder that `invoke snapshot.take --env NAME` printed; `invoke status --env NAME` lists the newest.")
def a_folder_without_a_snapshot(a: Scratch) -> None:
    taken = of_legacy(a)
    a.refused("snapshot.verify", *DEV, "--path", str(a.folder))
    a.works("snapshot.verify", *DEV, "--path", taken)


@follows("Name one of {} with --path: they are in {}.")
def a_snapshot_of_another_environment(a: Scratch) -> None:
    taken = of_legacy(a)
    other = shutil.copytree(taken, a.folder / "other")
    manifest = other / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"development"', '"staging"'))
    a.refused("snapshot.verify", *DEV, "--path", str(other))
    a.works("snapshot.verify", *DEV, "--path", taken)


@follows("Name another snapshot with --path, or take one: invoke snapshot.take --env NAME --of legacy|target")
def a_snapshot_that_was_changed(a: Scratch) -> None:
    taken = of_legacy(a)
    file = next(path for path in (a.folder / taken).iterdir() if path.suffix != ".json")
    file.write_bytes(file.read_bytes() + b"x")
    a.refused("snapshot.verify", *DEV, "--path", taken)
    a.did("invoke snapshot.take --env development --of legacy")
    a.done("snapshot.take", *DEV, "--of", "legacy")
    newest = max(path for path in (a.folder / "snapshots").iterdir() if path.is_dir())
    a.works("snapshot.verify", *DEV, "--path", str(newest))


@follows("ALTER ROLE {role} CREATEDB;")
def an_owner_who_may_make_no_database(a: Scratch) -> None:
    a.migrated()
    load(a)
    a.sql(f'alter role "{a.own.owner.user}" nocreatedb')
    a.refused("snapshot.take", *DEV, "--of", "target")
    a.statements()
    a.works()


@follows("Nothing has to be undone. To begin: invoke cutover --env {}.")
def an_abort_of_nothing(a: Scratch) -> None:
    a.migrated()
    assert a.legacy.exists()
    a.refused("cutover", *DEV, "--abort")
    a.did("nothing has to be undone")
    a.works("transfer.profile", "--source", "game.db")


@follows("Undo it: invoke cutover --env {} --abort.")
def a_rollback_while_a_cutover_loads(a: Scratch) -> None:
    a.migrated()
    assert a.legacy.exists()
    phase(a, "loading")
    a.refused("rollback", *DEV)
    a.command()
    a.works("transfer", *DEV, "--source", str(a.legacy))


@follows("Players play on the legacy file already; to see what is left to do: invoke status --env {}.")
def an_abort_after_the_return(a: Scratch) -> None:
    a.migrated()
    assert a.legacy.exists()
    phase(a, "returned")
    a.refused("cutover", *DEV, "--abort")
    a.command()
    a.did("status names what is left")
    a.works("rollback", *DEV)
