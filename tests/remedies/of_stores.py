"""Refusals of files and databases: prepare, migrate, seed, transfer, convert."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg

from db.legacy import source
from db.ops import locks
from db.schema import migrate
from tests.remedies.scratch import Scratch, another_database, follows, quoted, run

DEV = ("--env", "development")
RESTORE = (
    "Restore it from a snapshot, with the service stopped: invoke snapshot.restore --env NAME --path FOLDER --into NEW"
    " --unfence"
)
NEW = "Name a path where no file is yet: --into NEW"
MAKE = "Nothing was begun. Make the folder, or name another path."
ROWS = (
    "Name an empty database in target and target_direct; or, if nobody needs these rows, empty this one:"
    " invoke transfer.cleanup --env {}"
)


def phase(a: Scratch, phase: str) -> None:
    """Have the database say that a run of a move brought it here."""
    a.sql(f"update ops.phase set phase = '{phase}', run = '20261128_010203_abcd'")


def load(a: Scratch) -> None:
    a.done("transfer", *DEV, "--source", str(a.legacy))


def of_legacy(a: Scratch) -> str:
    """Take a snapshot of the legacy file; its folder."""
    assert a.legacy.exists()
    a.done("snapshot.take", *DEV, "--of", "legacy")
    return str(next((a.folder / "snapshots").iterdir()))


@follows("If it is the right one: invoke prepare --env {}")
def a_database_that_is_not_prepared(a: Scratch) -> None:
    assert a.own
    a.refused("migrate", *DEV)
    a.command()
    a.works()


@follows("Run: invoke prepare --env {}")
def a_database_prepared_by_an_older_version(a: Scratch) -> None:
    a.migrated()
    a.sql("drop table ops.proven")
    a.refused("transfer", *DEV, "--source", str(a.legacy))
    a.command()
    a.works()


@follows("Run: invoke migrate --env {}")
def a_database_without_tables(a: Scratch) -> None:
    assert a.own
    a.done("prepare", *DEV)
    a.refused("seed", *DEV, "--players", "3")
    a.command()
    a.works()


@follows("If nobody needs them, empty it: invoke reset --env {}")
def a_database_with_players_to_seed(a: Scratch) -> None:
    a.migrated()
    a.done("seed", *DEV, "--players", "3")
    a.refused("seed", *DEV, "--players", "3")
    a.command()
    a.works()


@follows("Name it with --env development: players own what is in the others.")
def a_reset_of_staging(a: Scratch) -> None:
    a.migrated()
    whole = a.config.read_text()
    a.config.write_text(whole + whole.replace("[development]", "[staging]"))
    a.refused("reset", "--env", "staging")
    a.with_options()


@follows("Name another path, or move away what is there; nothing is overwritten.")
def a_legacy_file_to_make_that_is_there(a: Scratch) -> None:
    a.refused("seed", "--legacy", a.legacy.name, "--players", "3")
    a.works("seed", "--legacy", "another.db", "--players", "3")


@follows("Nothing was begun. Make the folder, or name another path.")
def a_legacy_file_to_make_in_no_folder(a: Scratch) -> None:
    a.refused("seed", "--legacy", str(a.folder / "made" / "game.db"), "--players", "3")
    (a.folder / "made").mkdir()
    a.did("mkdir made")
    a.works()


@follows("Name a schema of our own in target and target_direct: ?schema=NAME")
def a_schema_of_another_program(a: Scratch) -> None:
    owner = a.own.owner.user
    a.done("prepare", *DEV)
    a.sql(f'create schema game authorization "{owner}"; create table game.notes (x int)')
    a.sql(f'alter table game.notes owner to "{owner}"')
    a.refused("migrate", *DEV)
    for key in ("target", "target_direct"):
        a.write(**{key: a.values[key].replace("schema=game", "schema=baduk")})
    a.did("?schema=baduk in target and target_direct")
    a.works()


@follows("Somebody wrote there by hand. Delete the rows that are not the revision of these tables.")
def two_revisions_in_one_schema(a: Scratch) -> None:
    a.migrated()
    a.sql("insert into game.alembic_version values ('zzzz')")
    a.refused("migrate", *DEV)
    a.sql("delete from game.alembic_version where version_num = 'zzzz'")
    a.did("the row zzzz deleted")
    a.works()


@follows(
    "Nothing was changed. Take the manual changes back (every line of them: invoke status --env {}) and run again."
)
def a_schema_that_was_changed_by_hand(a: Scratch) -> None:
    a.migrated()
    a.sql("alter table game.users add column notes text")
    a.refused("migrate", *DEV)
    assert "notes" in run("status", *DEV)[1]
    a.sql("alter table game.users drop column notes")
    a.did("invoke status --env development lists it; the column dropped")
    a.works()


@follows("CREATE ROLE {role} LOGIN; Give it the password of the URL.")
def a_service_without_a_role(a: Scratch) -> None:
    name = f"{a.own.service.user}_x"
    a.done("prepare", *DEV)
    a.write(target=a.values["target"].replace(a.own.service.user, name))
    a.stack.callback(lambda: a.own.run(f'drop owned by "{name}"; drop role "{name}"'))
    a.refused("migrate", *DEV)
    a.statements()
    a.sql(f"alter role \"{name}\" password '{a.own.service.password}'")
    a.works()


@follows("Name the owner in target_direct, or run as a superuser: GRANT CREATE ON DATABASE {database} TO {role};")
def an_owner_who_may_make_no_schema(a: Scratch) -> None:
    assert a.own
    a.done("prepare", *DEV)
    a.sql(f'alter database "{a.own.owner.dbname}" owner to current_user')
    a.refused("migrate", *DEV)
    a.statements()
    a.works()


@follows("Run as a superuser, with no service under way: ALTER DATABASE {database} OWNER TO {role};")
def an_owner_who_owns_nothing(a: Scratch) -> None:
    a.sql(f'alter database "{a.own.owner.dbname}" owner to current_user')
    a.refused("prepare", *DEV)
    a.statements()
    a.works()


@follows("Wait for it to end, or end it: {}")
def a_migration_that_another_session_keeps_out(a: Scratch) -> None:
    assert a.own
    a.done("prepare", *DEV)
    a.monkeypatch.setattr(migrate, "LOCK_WAIT_SECONDS", 0.2)
    with psycopg.connect(a.own.owner.conninfo, autocommit=True) as conn:
        conn.execute("select pg_advisory_lock(%s, %s)", (locks.LOCK_CLASS, locks.MIGRATION_LOCK))
        a.refused("migrate", *DEV)
        a.statements()
        a.works()


@follows("Name the file. To make one to try with: invoke seed --legacy game.db")
def a_transfer_of_nothing(a: Scratch) -> None:
    a.migrated()
    a.refused("transfer", *DEV)
    a.works("transfer", *DEV, "--source", str(a.legacy))


@follows("Add --back to rebuild a file from the database.")
def a_transfer_into_a_file_without_back(a: Scratch) -> None:
    a.migrated()
    a.refused("transfer", *DEV, "--source", str(a.legacy), "--into", "copy.db")
    a.with_options()


@follows("Name the file to make: --into NEW")
def a_transfer_back_into_nothing(a: Scratch) -> None:
    a.migrated()
    load(a)
    a.refused("transfer", *DEV, "--back")
    a.with_options(NEW="copy.db")


@follows("Name another path, or move away what is there; nothing is overwritten.")
def a_transfer_back_into_a_file_that_is_there(a: Scratch) -> None:
    a.migrated()
    load(a)
    a.refused("transfer", *DEV, "--back", "--into", a.legacy.name)
    a.works("transfer", *DEV, "--back", "--into", "copy.db")


@follows(MAKE)
def a_transfer_back_into_no_folder(a: Scratch) -> None:
    a.migrated()
    load(a)
    a.refused("transfer", *DEV, "--back", "--into", str(a.folder / "made" / "copy.db"))
    (a.folder / "made").mkdir()
    a.did("mkdir made")
    a.works()


@follows("Correct the path: name the file in which the game keeps its players.")
def a_legacy_file_that_is_not_there(a: Scratch) -> None:
    a.refused("transfer.profile", "--source", "gane.db")
    a.works("transfer.profile", "--source", a.legacy.name)


@follows("Correct the path: name the file in which the game keeps its players.")
def a_folder_for_a_legacy_file(a: Scratch) -> None:
    a.refused("transfer.profile", "--source", str(a.folder))
    a.works("transfer.profile", "--source", a.legacy.name)


@follows("Correct the path; nothing was ever written there.")
def an_empty_legacy_file(a: Scratch) -> None:
    (a.folder / "empty.db").touch()
    a.refused("transfer.profile", "--source", "empty.db")
    a.works("transfer.profile", "--source", a.legacy.name)


@follows(f"Name the database that the game writes. If this is its path, the file is damaged. {RESTORE}")
def a_legacy_file_of_another_kind(a: Scratch) -> None:
    (a.folder / "text.db").write_text("no database at all, but a text of some length\n")
    a.refused("transfer.profile", "--source", "text.db")
    a.works("transfer.profile", "--source", a.legacy.name)


@follows("Name the database that the game writes.")
def a_database_of_another_program(a: Scratch) -> None:
    with closing(sqlite3.connect(a.folder / "other.db")) as other:
        other.execute("create table guests (name)")
    a.refused("transfer.profile", "--source", "other.db")
    a.works("transfer.profile", "--source", a.legacy.name)


@follows(RESTORE)
def a_damaged_legacy_file(a: Scratch) -> None:
    taken = of_legacy(a)
    with a.legacy.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3996)
    a.refused("transfer.profile", "--source", "game.db")
    a.command(NAME="development", FOLDER=taken, NEW="restored.db")
    (a.folder / "restored.db").replace(a.folder / "game.db")
    a.did("the new file in its place")
    a.works()


@follows("Make a copy that loses nothing: invoke transfer.convert --source {} --into NEW")
def a_legacy_file_in_utf_16(a: Scratch) -> None:
    with closing(sqlite3.connect(a.folder / "wide.db")) as wide, closing(sqlite3.connect(a.legacy)) as ours:
        wide.execute("PRAGMA encoding='UTF-16le'")
        wide.executescript("\n".join(ours.iterdump()))
    a.refused("transfer.profile", "--source", str(a.folder / "wide.db"))
    a.command(NEW="new.db")
    a.works("transfer.profile", "--source", "new.db")


@follows("Stop the process that writes it (lsof {}), or wait until it is done.")
def a_legacy_file_that_another_keeps(a: Scratch) -> None:
    with closing(sqlite3.connect(a.legacy, isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode=DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        a.monkeypatch.setattr(source.opened.__wrapped__, "__kwdefaults__", {"lock_timeout_seconds": 0.1})  # type: ignore[attr-defined]
        a.refused("transfer.profile", "--source", "game.db")
    a.did("that process stopped")
    a.works()


@follows(
    "Everything is loaded, and fenced. List them all: invoke transfer.quarantine --env {}. Allow them:"
    " --max-held {}. Or mend them in the source, empty the target (invoke transfer.cleanup --env {}), and load it anew."
)
def more_players_held_than_allowed(a: Scratch) -> None:
    a.migrated()
    with closing(sqlite3.connect(a.legacy, isolation_level=None)) as file:
        file.execute("UPDATE users SET gold = 'many' WHERE rowid = 1")
    a.refused("transfer", *DEV, "--source", "game.db", "--max-held", "0")
    a.done("transfer.quarantine", *DEV)
    a.works("transfer", *DEV, "--source", "game.db", "--max-held", "1")


@follows(
    "It is another file, or was written to since. Empty the target (invoke transfer.cleanup --env NAME), and run this"
    " command again."
)
def a_target_that_holds_another_file(a: Scratch) -> None:
    a.migrated()
    load(a)
    with closing(sqlite3.connect(a.legacy, isolation_level=None)) as file:
        file.execute("UPDATE users SET gold = 7 WHERE rowid = 1")
    a.refused("transfer", *DEV, "--source", str(a.legacy))
    a.command(NAME="development")
    a.works()


@follows(ROWS)
def a_target_with_rows_of_nobodys_move(a: Scratch) -> None:
    a.migrated()
    a.done("seed", *DEV, "--players", "3")
    a.refused("transfer", *DEV, "--source", str(a.legacy))
    a.command()
    a.works()


@follows("Undo that cutover first: invoke cutover --env {} --abort")
def a_transfer_into_a_target_that_a_cutover_fills(a: Scratch) -> None:
    a.migrated()
    assert a.legacy.exists()
    phase(a, "loading")
    a.refused("transfer", *DEV, "--source", str(a.legacy))
    a.command()
    a.works()


@follows(
    "Players play on it: leave it alone, or name another environment. To go back to the legacy file:"
    " invoke rollback --env {}"
)
def a_transfer_into_a_live_game(a: Scratch) -> None:
    a.migrated()
    phase(a, "live")
    a.refused("transfer", *DEV, "--source", str(a.legacy))
    other = another_database(a)
    service = a.own.service.with_(dbname=other.dbname)
    a.write(target=quoted(service.as_text()), target_direct=quoted(other.as_text()))
    a.did("left alone: another database, prepared and migrated")
    a.done("prepare", *DEV)
    a.done("migrate", *DEV)
    a.works()


@follows("Finish the rollback, which keeps these rows in another schema: invoke rollback --env {}")
def a_transfer_after_a_rollback_that_left_rows(a: Scratch) -> None:
    a.migrated()
    load(a)
    phase(a, "returned")
    a.refused("transfer", *DEV, "--source", str(a.legacy))
    a.command()
    a.works()


@follows("Add it: --source is the file in UTF-16, --into NEW the copy to make.")
def a_conversion_into_nothing(a: Scratch) -> None:
    with closing(sqlite3.connect(a.folder / "wide.db")) as wide:
        wide.executescript("PRAGMA encoding='UTF-16le'; create table t (x); insert into t values ('바둑')")
    a.refused("transfer.convert", "--source", "wide.db")
    a.works("transfer.convert", "--source", "wide.db", "--into", "new.db")


@follows("There is nothing to convert: use it as it is.")
def a_conversion_of_a_file_in_utf_8(a: Scratch) -> None:
    a.refused("transfer.convert", "--source", a.legacy.name, "--into", "new.db")
    a.works("transfer.profile", "--source", a.legacy.name)


@follows("Choose another name for --into.")
def a_conversion_into_the_name_of_a_log(a: Scratch) -> None:
    with closing(sqlite3.connect(a.folder / "wide.db")) as wide:
        wide.executescript("PRAGMA encoding='UTF-16le'; create table t (x); insert into t values ('바둑')")
    a.refused("transfer.convert", "--source", "wide.db", "--into", "wide.db-wal")
    a.works("transfer.convert", "--source", "wide.db", "--into", "new.db")
