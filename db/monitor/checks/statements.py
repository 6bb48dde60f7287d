"""Checks of the statements: the slow ones, whether all are counted, and whether the server logs slow ones."""

from __future__ import annotations

import psycopg

from db.monitor.check import Check, Limit, Measured, NotApplicable, NotJudged
from db.monitor.look import Look
from game.redaction import redact

LEAST_CALLS = 20
SLOW_LOG_MS = 1_000
NEVER_MS = 2.0**31
"""In the place of -1: one more than the setting can be, and a number that JSON has."""

CALLS, MILLISECONDS = "calls of ", "milliseconds of "
EVICTED, RESET = "statement evictions", "statement counters began"
EXTENSION = "select extnamespace::regnamespace::text from pg_extension where extname = 'pg_stat_statements'"
MOST_STATEMENTS = 500

COUNTED = """
select s.queryid, s.calls, s.total_exec_time
from {schema}.pg_stat_statements s
where s.dbid = (select oid from pg_database where datname = current_database()) and s.queryid is not null
    -- Not the look's own. Sessions of the service have another role.
    and s.userid <> (select oid from pg_roles where rolname = current_user)
order by s.total_exec_time desc limit %s
"""
SHOWN_CHARACTERS = 80
TEXT = """
select left(regexp_replace(query, '\\s+', ' ', 'g'), 2000) from {schema}.pg_stat_statements where queryid = %s limit 1
"""
EVICTIONS = "select dealloc, extract(epoch from stats_reset)::float8 from {schema}.pg_stat_statements_info"


def extension(look_conn: psycopg.Connection[tuple[object, ...]]) -> str | None:
    """Return the quoted schema of pg_stat_statements in this database; None where it is not created."""
    row = look_conn.execute(EXTENSION).fetchone()
    return None if row is None else str(row[0])


def slow(look: Look) -> Measured:
    """Measure the slowest statement of the window, in mean milliseconds, of those that ran at least twenty times."""
    schema = _schema(look)
    earlier = look.earlier_sample.counters
    means: list[tuple[float, float, str]] = []
    if look.increase(RESET)[0]:
        raise NotJudged("the statements' counters were reset since the look before")
    # Of those that are kept the least slow go first, so what was not kept may have run for weeks.
    full = sum(name.startswith(CALLS) for name in earlier) >= MOST_STATEMENTS
    for name, calls in look.sample.counters.items():
        if not name.startswith(CALLS) or (full and name not in earlier):
            continue
        query = name.removeprefix(CALLS)
        ran = calls - earlier.get(name, 0.0)
        took = look.sample.counters[MILLISECONDS + query] - earlier.get(MILLISECONDS + query, 0.0)
        if ran >= LEAST_CALLS and took >= 0:
            means.append((took / ran, ran, query))
    if not means:
        raise NotApplicable(f"no statement ran {LEAST_CALLS} times in the window")
    mean, ran, query = max(means)
    rows = look.rows(TEXT.format(schema=schema), [int(query)])
    # Before it is cut: a secret is known by what stands around it.
    text = redact(rows[0][0])[:SHOWN_CHARACTERS] if rows else query
    return Measured(mean, f"{ran:,.0f} times: {text}", look.window_seconds)


def evictions(look: Look) -> Measured:
    """Measure how often pg_stat_statements has forgotten statements to make room."""
    _schema(look)
    if look.increase(RESET)[0]:
        raise NotJudged("the statements' counters were reset since the look before")
    many, seconds = look.increase(EVICTED)
    return Measured(many, f"{many:,.0f}", seconds)


def slow_log(look: Look) -> Measured:
    """Measure from how many milliseconds on the server logs a statement."""
    (setting,) = look.row("select setting::float8 from pg_settings where name = 'log_min_duration_statement'")
    if setting < 0:
        return Measured(NEVER_MS, "log_min_duration_statement = -1: no slow statement is logged")
    return Measured(float(setting), f"log_min_duration_statement = {setting:g} ms")


def _schema(look: Look) -> str:
    schema = extension(look.conn)
    if schema is None:
        raise NotJudged("the extension pg_stat_statements is not created in this database")
    look.rows(EVICTIONS.format(schema=schema))  # Fails with the server's words where its library is not loaded.
    return schema


CHECKS = (
    Check(
        name="slow statements",
        limit=Limit(50, "ms", "a command runs three to six statements while its player waits"),
        measure=slow,
        defect="a statement that sleeps, twenty times",
        not_judged="pg_stat_statements is not loaded, the first look",
        do="EXPLAIN (ANALYZE, BUFFERS) of it; then invoke upkeep --env {env}, which advises an index.",
        statistics=True,
    ),
    Check(
        name="statements forgotten",
        limit=Limit(
            0, "times", "with pg_stat_statements.max too low, the statement that is slow may be the one forgotten"
        ),
        measure=evictions,
        defect="more statements than pg_stat_statements.max",
        not_judged="pg_stat_statements is not loaded, the first look",
        do="ALTER SYSTEM SET pg_stat_statements.max = 10000; and restart the server.",
        statistics=True,
    ),
    Check(
        name="slow query log",
        limit=Limit(
            SLOW_LOG_MS, "ms", "the deployment plan asks for it; a second is twenty times the limit of a statement"
        ),
        measure=slow_log,
        defect="log_min_duration_statement = -1",
        do=f"ALTER SYSTEM SET log_min_duration_statement = {SLOW_LOG_MS // 2}; SELECT pg_reload_conf();",
    ),
)
