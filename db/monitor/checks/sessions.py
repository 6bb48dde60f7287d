"""Checks of the server's sessions: how many, how long, who waits for whom, and who keeps dead rows alive."""

from __future__ import annotations

from db import environments
from db.monitor.check import Check, Limit, Measured, NotApplicable
from db.monitor.look import Look

LIMITS = """
select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
"""
CLIENTS = "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
OF_A_ROLE = f"{CLIENTS} and usename = %s and datname = current_database()"
IDLE = """
select extract(epoch from clock_timestamp() - state_change)::float8,
    format('server process %s of %s (%s)', pid, usename, coalesce(nullif(application_name, ''), 'no name'))
from pg_stat_activity
where state like 'idle in transaction%' and datname = current_database() and pid <> pg_backend_pid() order by 1 desc
"""
WAITING = """
select extract(epoch from clock_timestamp() - min(l.waitstart))::float8,
    format('server process %s of %s waits for %s', a.pid, a.usename, pg_blocking_pids(a.pid)::text)
from pg_locks l join pg_stat_activity a using (pid)
where not l.granted and l.waitstart is not null and a.datname = current_database()
group by a.pid, a.usename order by 1 desc
"""
LONG = """
select extract(epoch from clock_timestamp() - xact_start)::float8,
    format('server process %s of %s (%s)', pid, usename, coalesce(nullif(application_name, ''), 'no name'))
from pg_stat_activity
where xact_start is not null and backend_type = 'client backend' and datname = current_database()
    and pid <> pg_backend_pid()
order by 1 desc
"""
HORIZON = """
select transactions::float8, holder from (
    select age(backend_xmin) as transactions,
        format('server process %s of %s in %s', pid, coalesce(usename::text, backend_type),
            coalesce(datname::text, '-')) as holder
    from pg_stat_activity where backend_xmin is not null and pid <> pg_backend_pid()
    union all
    select age(transaction), format('prepared transaction %L', gid) from pg_prepared_xacts
    union all
    select greatest(coalesce(age(xmin), 0), coalesce(age(catalog_xmin), 0)), format('replication slot %s', slot_name)
    from pg_replication_slots where xmin is not null or catalog_xmin is not null
) held order by 1 desc
"""
PREPARED = """
select extract(epoch from clock_timestamp() - prepared)::float8, format('%L of %s', gid, owner)
from pg_prepared_xacts where database = current_database() order by 1 desc
"""


def connections(look: Look) -> Measured:
    """Measure how much of the server's connections is used, in percent."""
    most, used = look.value(LIMITS), look.value(CLIENTS)
    return Measured(100.0 * used / most, f"{used} of {most} open to ordinary roles")


def service_connections(look: Look) -> Measured:
    """Measure the processes for which the service's role has no connection."""
    look.require_live()
    if not look.env.services:
        raise NotApplicable("the environment lists no services")
    used = look.value(OF_A_ROLE, [look.env.target.user])
    lacking = max(0, len(look.env.services) - used)
    return Measured(float(lacking), f"{used} of {look.env.target.user}, for {len(look.env.services)} processes")


def pool_share(look: Look) -> Measured:
    """Measure what all pools of the service may open, in percent of the server's connections: a restart doubles it."""
    if not look.env.services:
        raise NotApplicable("the environment lists no services")
    most, pool = look.value(LIMITS), environments.pool_size(look.env)
    needed = 2 * pool * len(look.env.services)
    return Measured(100.0 * needed / most, f"twice {len(look.env.services)} pools of {pool}, of {most} connections")


CHECKS = (
    Check(
        name="connections",
        limit=Limit(80, "%", "a fifth is left for a restart of the service, which holds its pools twice for a moment"),
        measure=connections,
        defect="idle sessions until four fifths of max_connections are used",
        not_judged="the role lacks pg_monitor",
        do="See who holds them: SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2;",
        statistics=True,
    ),
    Check(
        name="connections of the service",
        limit=Limit(0, "missing", "each process of the service keeps one open while it lives"),
        measure=service_connections,
        defect="a service that is listed and not connected",
        not_judged="the role lacks pg_monitor",
        do="Start the service that is down: invoke status --env {env} names it.",
        statistics=True,
    ),
    Check(
        name="room for a restart",
        limit=Limit(90, "%", "during a restart old and new processes hold their pools at once"),
        measure=pool_share,
        defect="max_connections too low for twice the pools",
        not_judged="POOL_SIZE in the pointer's file is no number",
        do="ALTER SYSTEM SET max_connections = ...; and restart the server; or lower POOL_SIZE of the service.",
    ),
    Check(
        name="idle in transaction",
        limit=Limit(10, "s", "a command of the game lasts milliseconds; its session's own limit is shorter"),
        measure=lambda look: look.worst(IDLE),
        defect="a session that begins a transaction, locks a row and stays idle",
        not_judged="the role lacks pg_monitor",
        do="End it: SELECT pg_terminate_backend(PID);",
        statistics=True,
    ),
    Check(
        name="blocked sessions",
        limit=Limit(1, "s", "players wait behind it; the service stops waiting for a lock after its own timeout"),
        measure=lambda look: look.worst(WAITING),
        defect="two sessions that lock the same row",
        not_judged="the role lacks pg_monitor",
        do="End the blocker, whose process is named last: SELECT pg_terminate_backend(PID);",
        statistics=True,
    ),
    Check(
        name="long transactions",
        limit=Limit(900, "s", "longer than a dump of a game of this size takes"),
        measure=lambda look: look.worst(LONG),
        defect="a transaction that stays open",
        not_judged="the role lacks pg_monitor",
        do="See what it does, and end it: SELECT pg_terminate_backend(PID);",
        statistics=True,
    ),
    Check(
        name="horizon of dead rows",
        limit=Limit(1_000_000, "transactions", "rows that died since can't be removed: an hour at 300 writes a second"),
        measure=lambda look: look.worst(HORIZON),
        defect="a snapshot that is held while many transactions pass",
        not_judged="the role lacks pg_monitor",
        do="End what holds it: the session, the prepared transaction, or the replication slot that is named.",
        statistics=True,
    ),
    Check(
        name="prepared transactions",
        limit=Limit(60, "s", "the game prepares none; one that is left over keeps its locks until it is ended"),
        measure=lambda look: look.worst(PREPARED),
        defect="PREPARE TRANSACTION that nobody ends",
        do="End it: ROLLBACK PREPARED 'ID';",
    ),
)
