"""Checks of the tables: dead rows, age of vacuum and analyze, wraparound, bloat, sequences, triggers, constraints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from db.monitor.check import Check, Limit, Measured, NotJudged
from db.monitor.look import Look, greatest
from db.ops import fence

LEAST_ROWS = 1_000
"""In a smaller table nothing of this costs anything."""

DEAD = """
select (100.0 * n_dead_tup / (n_live_tup + n_dead_tup))::float8,
    format('%%I: %%s dead, %%s live', relname, n_dead_tup, n_live_tup)
from pg_stat_user_tables where schemaname = %s and n_dead_tup > %s order by 1 desc
"""
DUE = """
select relname::text, extract(epoch from greatest(last_vacuum, last_autovacuum))::float8,
    format('%%I: %%s dead rows, vacuumed %%s', relname, n_dead_tup,
        coalesce(to_char(greatest(last_vacuum, last_autovacuum), 'YYYY-MM-DD HH24:MI'), 'never'))
from pg_stat_user_tables
where schemaname = %s and n_dead_tup > %s
    and n_dead_tup > current_setting('autovacuum_vacuum_threshold')::int
        + current_setting('autovacuum_vacuum_scale_factor')::float8 * n_live_tup
"""
PAST_THRESHOLD = "vacuum is due of "
DUE_HOURS = 1.0
"""Autovacuum comes by each minute. What it has not vacuumed for weeks may have been past its threshold for one."""

UNANALYZED = """
select (100.0 * n_mod_since_analyze / greatest(n_live_tup, 1))::float8,
    format('%%I: %%s of %%s rows changed, analyzed %%s', relname, n_mod_since_analyze, n_live_tup,
        coalesce(to_char(greatest(last_analyze, last_autoanalyze), 'YYYY-MM-DD HH24:MI'), 'never'))
from pg_stat_user_tables where schemaname = %s and n_mod_since_analyze > %s order by 1 desc
"""
WRAPAROUND = """
select (100.0 * age(datfrozenxid) / current_setting('autovacuum_freeze_max_age')::float8)::float8,
    format('database %s: age %s', datname, age(datfrozenxid))
from pg_database where datallowconn order by 1 desc
"""
MULTIXACT = """
select (100.0 * mxid_age(datminmxid) / current_setting('autovacuum_multixact_freeze_max_age')::float8)::float8,
    format('database %s: age %s', datname, mxid_age(datminmxid))
from pg_database where datallowconn order by 1 desc
"""
AUTOVACUUM = """
select 1::float8, 'autovacuum or track_counts is off in the whole server'
where not (current_setting('autovacuum')::bool and current_setting('track_counts')::bool)
union all
select count(*) over ()::float8, c.relname::text
from pg_class c where relnamespace = to_regnamespace(quote_ident(%s)) and relkind = 'r'
    and exists (select from pg_options_to_table(reloptions)
        where option_name = 'autovacuum_enabled' and not option_value::bool)
order by 1 desc
"""
# What the rows need is estimated from the widths that ANALYZE saw: 23 bytes of header, 4 of line pointer, 8 of padding.
BLOAT = """
select (100.0 * (1 - needed / (relpages * current_setting('block_size')::float8)))::float8,
    format('%%I: about %%s of %%s MB unused', relname,
        ((relpages * current_setting('block_size')::float8 - needed) / 1e6)::int,
        (relpages * current_setting('block_size')::float8 / 1e6)::int)
from (
    select c.relname, c.relpages, c.reltuples * (35 + coalesce(sum(s.avg_width * (1 - s.null_frac)), 0)) as needed
    from pg_class c join pg_stats s on s.schemaname = %s and s.tablename = c.relname
    where c.relnamespace = to_regnamespace(quote_ident(%s)) and c.relkind = 'r' and c.relpages > %s and c.reltuples >= 0
        -- pg_stats shows the columns that the role may read alone, and by a part of them every table is bloated.
        and has_table_privilege(c.oid, 'select')
    group by c.oid, c.relname, c.relpages, c.reltuples
) sized where needed < relpages * current_setting('block_size')::float8 order by 1 desc
"""
BLOAT_PAGES = 1_280
"""10 MB."""

BLOAT_UNSEEN = """
select count(*) filter (where has_table_privilege(oid, 'select')),
    coalesce(string_agg(relname, ', ' order by relname) filter (where not has_table_privilege(oid, 'select')), '')
from pg_class
where relnamespace = to_regnamespace(quote_ident(%s)) and relkind = 'r' and relpages > %s and reltuples >= 0
"""
SEQUENCES = """
select (100.0 * coalesce(last_value, start_value) / max_value)::float8,
    format('%%I: %%s of %%s', sequencename, coalesce(last_value, start_value), max_value)
from pg_sequences where schemaname = %s and increment_by > 0 and not cycle order by 1 desc
"""
SEQUENCES_UNSEEN = """
select count(*) from pg_class c where relnamespace = to_regnamespace(quote_ident(%s))
    -- In a CASE: the order in which AND asks is the planner's, and the function fails on a table.
    and case when relkind = 'S' then not has_sequence_privilege(oid, 'usage, select') else false end
"""
NOT_VALID = """
select count(*) over ()::float8, format('%%I on %%s', conname, conrelid::regclass)
from pg_constraint where connamespace = to_regnamespace(quote_ident(%s)) and not convalidated order by conname
"""


def fence_triggers(look: Look) -> Measured:
    """Measure how many tables have the fence's trigger off: such a table takes writes even when the fence is up."""
    wrong = fence.without_trigger(look.conn)
    return Measured(float(len(wrong)), ", ".join(wrong[:3]) or "every trigger is on")


def unvacuumed(look: Look) -> Measured:
    """Measure the hours since the last vacuum of a table that has been past autovacuum's threshold for an hour."""
    due = look.rows(DUE, [look.env.target_direct.schema, LEAST_ROWS])
    look.sample.counters.update({f"{PAST_THRESHOLD}{table}": 1.0 for table, _, _ in due})
    if not due:
        return Measured(0.0, "none is past the threshold")
    old = look.sample_at(DUE_HOURS / 24)
    if old is None:
        raise NotJudged(f"{len(due)} tables are past the threshold now, and no look of an hour ago is kept")
    long = [
        # Of one that was never vacuumed the hours are counted from when it was first known to be due.
        ((look.at.timestamp() - (vacuumed or old.at.timestamp())) / 3600, subject)
        for table, vacuumed, subject in due
        if f"{PAST_THRESHOLD}{table}" in old.counters and (vacuumed is None or vacuumed < old.at.timestamp())
    ]
    return greatest(sorted(long, reverse=True), none=f"{len(due)} have passed the threshold within the hour")


def sequences(look: Look) -> Measured:
    """Measure the sequence that is nearest to its end, in percent."""
    schema = look.env.target_direct.schema
    if unseen := look.value(SEQUENCES_UNSEEN, [schema]):
        raise NotJudged(f"the role {look.conn.info.user} may not read {unseen} sequences of the schema {schema}")
    return look.worst(SEQUENCES, [schema])


def bloat(look: Look) -> Measured:
    """Measure the share of the table that is the most unused, in percent, by an estimate."""
    schema = look.env.target_direct.schema
    read, unread = look.row(BLOAT_UNSEEN, [schema, BLOAT_PAGES])
    if unread and not read:
        raise NotJudged(
            f"the role {look.conn.info.user} may not read the large tables of the schema {schema}: {unread}"
        )
    none = f"no table of more than {BLOAT_PAGES * 8 // 1024} MB"
    worst = look.worst(BLOAT, [schema, schema, BLOAT_PAGES], none=none)
    return replace(worst, evidence=f"{worst.evidence}; not read: {unread}") if unread else worst


def _of_schema(query: str, *parameters: object) -> Callable[[Look], Measured]:
    return lambda look: look.worst(query, [look.env.target_direct.schema, *parameters])


CHECKS = (
    Check(
        name="dead rows",
        limit=Limit(35, "%", "autovacuum begins at 20 %; more means that it does not keep up"),
        measure=_of_schema(DEAD, LEAST_ROWS),
        defect="a table whose rows were updated while autovacuum was off",
        do="VACUUM (ANALYZE) NAME; then see `horizon of dead rows` for what kept autovacuum from it.",
    ),
    Check(
        name="age of vacuum",
        limit=Limit(24, "h", "a table past autovacuum's own threshold is due within minutes"),
        measure=unvacuumed,
        defect="a table past the threshold that nothing has vacuumed, now and in a look of an hour ago",
        not_judged="a table is past the threshold now, and no look of an hour ago is kept",
        do="VACUUM (ANALYZE) NAME; and read the server's log with log_autovacuum_min_duration = 0.",
    ),
    Check(
        name="age of analyze",
        limit=Limit(50, "%", "autovacuum analyzes at 10 %; past half of the rows its statistics mislead the planner"),
        measure=_of_schema(UNANALYZED, LEAST_ROWS),
        defect="a table whose rows were all updated after it was analyzed",
        do="invoke upkeep --env {env}",
    ),
    Check(
        name="wraparound",
        limit=Limit(
            125, "%", "PostgreSQL documentation, 25.1.5: autovacuum freezes at autovacuum_freeze_max_age, 100 %"
        ),
        measure=lambda look: look.worst(WRAPAROUND),
        defect="more transactions than autovacuum_freeze_max_age while a session holds its snapshot",
        do="End what `horizon of dead rows` names, then VACUUM (FREEZE) in the database that is named.",
    ),
    Check(
        name="wraparound of row locks",
        limit=Limit(125, "%", "PostgreSQL documentation, 25.1.5.1: autovacuum_multixact_freeze_max_age is 100 %"),
        measure=lambda look: look.worst(MULTIXACT),
        defect="more shared row locks than autovacuum_multixact_freeze_max_age while a session holds its snapshot",
        do="End what `horizon of dead rows` names, then VACUUM (FREEZE) in the database that is named.",
    ),
    Check(
        name="autovacuum",
        limit=Limit(0, "tables", "PostgreSQL documentation, 25.1: the server relies on it"),
        measure=_of_schema(AUTOVACUUM),
        defect="ALTER TABLE ... SET (autovacuum_enabled = off)",
        do="ALTER TABLE NAME RESET (autovacuum_enabled); or ALTER SYSTEM RESET autovacuum; SELECT pg_reload_conf();",
    ),
    Check(
        name="bloat",
        limit=Limit(60, "%", "an estimate; autovacuum leaves up to about 40 % free for new rows"),
        measure=bloat,
        defect="a table of which nine rows in ten were deleted and vacuumed",
        not_judged="the role may not read the table's statistics",
        do="With space for a copy: pg_repack. In a quiet hour, since it locks the table: VACUUM (FULL) NAME;",
    ),
    Check(
        name="sequences",
        limit=Limit(70, "%", "the numbers left give time for a revision that widens the column"),
        measure=sequences,
        defect="a sequence at nine tenths of its greatest value",
        not_judged="the role may not read the sequence",
        do="invoke revision --env development --message 'widen the column', with ALTER COLUMN ... TYPE bigint.",
    ),
    Check(
        name="triggers of the fence",
        limit=Limit(0, "tables", "a table without it takes writes while the game is closed"),
        measure=fence_triggers,
        defect="ALTER TABLE ... DISABLE TRIGGER on one table of an open store",
        not_judged="the schema is not migrated",
        do="ALTER TABLE NAME ENABLE ALWAYS TRIGGER sudamr_fence; as the owner, for each.",
    ),
    Check(
        name="constraints not validated",
        limit=Limit(0, "constraints", "a revision adds one NOT VALID, and validates it in its next statement"),
        measure=_of_schema(NOT_VALID),
        defect="a CHECK that was added NOT VALID",
        do="ALTER TABLE NAME VALIDATE CONSTRAINT THIS;",
    ),
)
