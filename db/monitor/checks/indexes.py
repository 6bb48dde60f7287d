"""Checks of the indexes: invalid, duplicate, unused."""

from __future__ import annotations

from db.monitor.check import Check, Limit, Measured, NotJudged
from db.monitor.look import Look

DAYS_UNUSED = 14.0
LEAST_BYTES = 1 << 20
SCANS = "scans of "

INVALID = """
select count(*) over ()::float8, format('%%I on %%s', c.relname, i.indrelid::regclass)
from pg_index i join pg_class c on c.oid = i.indexrelid
where c.relnamespace = to_regnamespace(quote_ident(%s)) and not (i.indisvalid and i.indisready)
    -- One that is being built is not valid yet.
    and not exists (select from pg_stat_progress_create_index p where p.index_relid = i.indexrelid) order by 2
"""
DUPLICATE = """
select count(*) over ()::float8, string_agg(format('%%I', c.relname), ' and ' order by c.relname)
from pg_index i join pg_class c on c.oid = i.indexrelid
where c.relnamespace = to_regnamespace(quote_ident(%s)) and i.indisvalid
group by i.indrelid, i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text, c.relam,
    coalesce(pg_get_expr(i.indexprs, i.indrelid), ''), coalesce(pg_get_expr(i.indpred, i.indrelid), '')
having count(*) > 1 order by 2
"""
# An index of a constraint is needed though nobody reads by it. A unique one decides what may be written.
SCANNED = """
select s.indexrelname::text, s.idx_scan
from pg_stat_user_indexes s join pg_index i using (indexrelid) join pg_class c on c.oid = s.indexrelid
-- By relpages: pg_relation_size would wait for whoever locks the index.
where s.schemaname = %s and not i.indisunique and c.relpages * current_setting('block_size')::float8 >= %s
    and not exists (select from pg_constraint c where c.conindid = s.indexrelid)
"""


def unused(look: Look) -> Measured:
    """Measure the indexes of more than a megabyte that nothing has read for fourteen days, by our own looks."""
    now = {name: n for name, n in look.sample.counters.items() if name.startswith(SCANS)}
    if not now:
        return Measured(0.0, f"no index of {LEAST_BYTES >> 20} MB or more that only serves reads")
    old = look.sample_at(DAYS_UNUSED)
    if old is None:
        raise NotJudged(f"no look of {DAYS_UNUSED:.0f} days ago is kept on this machine")
    if old.began != look.sample.began:
        raise NotJudged(f"the server's counters were reset within {DAYS_UNUSED:.0f} days")
    same = sorted(name.removeprefix(SCANS) for name, scans in now.items() if old.counters.get(name) == scans)
    seconds = (look.sample.at - old.at).total_seconds()
    return Measured(float(len(same)), ", ".join(same[:3]) or f"none of {len(now)}", seconds)


CHECKS = (
    Check(
        name="invalid indexes",
        limit=Limit(
            0, "indexes", "PostgreSQL documentation, CREATE INDEX CONCURRENTLY: one that failed is left invalid"
        ),
        measure=lambda look: look.worst(INVALID, [look.env.target_direct.schema]),
        defect="CREATE UNIQUE INDEX CONCURRENTLY on values that are not unique",
        do="invoke upkeep --env {env}",
    ),
    Check(
        name="duplicate indexes",
        limit=Limit(0, "pairs", "the second slows every write and helps no read"),
        measure=lambda look: look.worst(DUPLICATE, [look.env.target_direct.schema]),
        defect="a second index on the same column",
        do="DROP INDEX CONCURRENTLY NAME; by a revision: invoke revision --env development --message 'drop NAME'.",
    ),
    Check(
        name="unused indexes",
        limit=Limit(0, "indexes", "PostgreSQL wiki, index maintenance; a weekly job runs twice in fourteen days"),
        measure=unused,
        defect="an index that no statement reads, and a look of fourteen days ago",
        not_judged="fewer than fourteen days of looks, counters that were reset since",
        do="invoke revision --env development --message 'drop NAME', if no rare job needs it.",
    ),
)
