"""Checks the target before a move writes to it: rights, locks, migrations, emptiness.

Nothing is changed: a check that has to try a write does so in a transaction that is rolled back.
"""

from __future__ import annotations

from psycopg import sql

from db import ops, transfer
from db.counts import few, first_of
from db.cutover import cutover_steps, rollback_steps
from db.cutover.context import RunContext
from db.errors import Refusal
from db.legacy.source import opened
from db.ops import Phase, following, locks
from db.remedies import grant_create, statement
from db.schema import migrate, relocation
from db.target.extensions import not_an_extensions

LOCKS = {
    locks.RUN_LOCK: "the lock",
    locks.MIGRATION_LOCK: "the lock of migrations",
    locks.TRANSFER_LOCK: "the lock of transfers",
}

HELD = """
select 1 from pg_locks where locktype = 'advisory' and granted and classid = %s and objid = %s
    and database = (select oid from pg_database where datname = current_database()) limit 1
"""
RIGHTS = """
select has_database_privilege(current_database(), 'CREATE'),
    n.oid is not null, coalesce(has_schema_privilege(n.oid, 'CREATE'), false),
    coalesce(pg_has_role(n.nspowner, 'USAGE'), false)
from (select 1) always left join pg_namespace n on n.nspname = %s
"""
FOREIGN = f"""
select relname from pg_class c where relnamespace = to_regnamespace(%s) and relkind in ('r', 'p')
    and not pg_has_role(relowner, 'USAGE') and {not_an_extensions("pg_class", "c.oid")} order by relname limit 4
"""
BLOCKERS = """
select distinct
    a.pid, coalesce(nullif(a.application_name, ''), 'a session'), a.usename, coalesce(a.state, 'state hidden')
from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'relation' and l.granted and l.pid <> pg_backend_pid()
    and l.mode not in ('AccessShareLock', 'RowShareLock') and a.backend_type = 'client backend'
    and a.xact_start < clock_timestamp() - interval '1 second'
    and l.database = (select oid from pg_database where datname = current_database())
    and l.relation in (select oid from pg_class where relnamespace = to_regnamespace(%s))
"""


def check_players(context: RunContext) -> str:
    """Check that Postgres has every player of the legacy file: a rollback deletes from the file what it lacks."""
    env = context.env
    with context.looking():
        with opened(env.legacy.path) as source:
            missing = transfer.find_missing(source, context.conn)
        if missing.missing:
            lost = rollback_steps.lost_writes(context)
            raise Refusal(
                missing.expected,
                missing.found,
                where=env.target_direct.redacted,
                do="A rollback would delete them from the file. The game deletes no player: SQL by hand or a restored"
                f" snapshot did. To see what was kept of Postgres, and to put it back: invoke snapshot.kept"
                f" --env {env.name}. Or leave the file as it was before the cutover: invoke rollback --env {env.name}"
                f" --discard-writes --accept-loss {lost}",
            )
    return f"all {missing.players:,} of the legacy file are on Postgres"


def check_lock(context: RunContext) -> None:
    """Check that no other run, migration or transfer holds its lock on the database."""
    with ops.connect(context.env.target_direct) as conn:
        for key, name in LOCKS.items():
            if key == locks.TRANSFER_LOCK and following.at_work(conn):
                continue  # It hands the file over, see taking_over.
            if conn.execute(HELD, (locks.LOCK_CLASS, key)).fetchone():
                by = str((locks.holder(conn) if key == locks.RUN_LOCK else None) or locks.owners(conn, key))
                raise Refusal(
                    f"{name} to be free",
                    by,
                    where=context.env.target_direct.redacted,
                    do=locks.how_to_end(conn, key),
                )


def check_rights(context: RunContext, *, puts_away: bool) -> None:
    """Check that the owner may make the schema, change it, and change every table in it.

    puts_away: the run renames the schema at its end, so it needs the ownership of it, and makes another.
    """
    schema, direct = context.env.target_direct.schema, context.env.target_direct
    with ops.connect(direct) as conn:
        row = conn.execute(RIGHTS, [schema]).fetchone()
        assert row is not None
        may_create, schema_exists, may_add, owns = row
        # A shared schema stays where it is: only the game's objects are moved out of it.
        renamed = puts_away and not relocation.is_shared(conn, schema)
        foreign = [name for (name,) in conn.execute(FOREIGN, [_identifier(schema)]).fetchall()]
    if not may_create and (puts_away or not schema_exists):
        raise Refusal(
            f"a role that may create the schema {schema}",
            f"{direct.user} without CREATE",
            where=direct.redacted,
            do=grant_create(direct.dbname, direct.user),
        )
    if schema_exists and not (owns if renamed else may_add):
        raise Refusal(
            f"a role that owns the schema {schema}",
            f"{direct.user}, who does not",
            where=direct.redacted,
            do=statement("ALTER SCHEMA {schema} OWNER TO {role};", schema=schema, role=direct.user),
        )
    if foreign:
        raise Refusal(
            f"tables of {direct.user} alone in the schema {schema}",
            f"another's: {first_of(foreign, 3, between=', ')}",
            where=direct.redacted,
            do=statement("ALTER TABLE {table} OWNER TO {role};", table=(schema, foreign[0]), role=direct.user),
        )


def check_schema(context: RunContext) -> None:
    """Check that the migrations can be applied, the schema is as they make it, and no foreign rows are in it."""
    direct, role = context.env.target_direct, context.env.target.user
    pending = migrate.migrate(direct, environment=context.env.name, service_role=role, sql=True).applied
    with context.looking():
        migrated = migrate.current(context.conn)
        if migrated and context.phase() in (Phase.EMPTY, Phase.RETURNED):
            cutover_steps.require_empty(context)
    if migrated and not pending and (drifted := migrate.drift(direct)):
        raise Refusal(
            "the schema as the migrations make it",
            few(drifted, 3, between="; "),
            where=direct.redacted,
            do="Take the manual changes back (every line of them:"
            f" invoke status --env {context.env.name}), or name an empty database in target and target_direct.",
        )


def check_blockers(context: RunContext) -> None:
    """Check that no transaction has held a lock on a table of the game for longer than a second."""
    with ops.connect(context.env.target_direct) as conn:
        blockers = conn.execute(BLOCKERS, [_identifier(context.env.target_direct.schema)]).fetchall()
    if blockers:
        named = ", ".join(f"{name} of {role} (server process {pid}, {state})" for pid, name, role, state in blockers)
        raise Refusal(
            "no transaction of more than a second on the game's tables",
            named,
            where=context.env.target_direct.redacted,
            do=f"End it: {' '.join(f'SELECT pg_terminate_backend({pid});' for pid, *_rest in blockers)}",
        )


def _identifier(name: str) -> str:
    return sql.Identifier(name).as_string(None)
