"""Reads all counters of a look: those of the database, of its statements and indexes, and of the service."""

from __future__ import annotations

from datetime import datetime

import httpx
import psycopg

from db import ops, web
from db.environments import Environment
from db.monitor.checks import counters, indexes, statements
from db.monitor.checks.service import parsed
from db.monitor.samples import Sample

ANSWER_SECONDS = 2.0
MOST_BYTES = 4 << 20
"""Of one process's /metrics. Another program may answer there."""

BEGAN = """
select extract(epoch from greatest(pg_postmaster_start_time(), stats_reset))::float8,
    extract(epoch from pg_postmaster_start_time())::float8
from pg_stat_database where datname = current_database()
"""


def read(env: Environment, conn: ops.Connection, at: datetime) -> Sample:
    """Read the counters now. What the role may not read, and a process that does not answer, is left out."""
    row = conn.execute(BEGAN).fetchone()
    assert row is not None
    began, started = row
    counted = conn.execute(counters.DATABASE).fetchone()
    assert counted is not None
    values: dict[str, float] = dict(zip(counters.NAMES, map(float, counted), strict=True))
    values["started"] = started
    values |= _statements(conn)
    scanned = conn.execute(indexes.SCANNED, [env.target_direct.schema, indexes.LEAST_BYTES]).fetchall()
    values |= {f"{indexes.SCANS}{name}": float(scans) for name, scans in scanned}
    values |= parsed(_metrics(env))
    return Sample(at, began, values)


def _statements(conn: ops.Connection) -> dict[str, float]:
    schema = statements.extension(conn)
    if schema is None:
        return {}
    try:
        counted = conn.execute(statements.COUNTED.format(schema=schema), [statements.MOST_STATEMENTS]).fetchall()
        evicted = conn.execute(statements.EVICTIONS.format(schema=schema)).fetchone()
    except psycopg.Error:  # Created, but its library is not loaded; the checks of the statements say so.
        return {}
    values = {"statement evictions": float(evicted[0])} if evicted else {}
    for query, calls, milliseconds in counted:
        values[f"{statements.CALLS}{query}"] = values.get(f"{statements.CALLS}{query}", 0.0) + calls
        took = f"{statements.MILLISECONDS}{query}"
        values[took] = values.get(took, 0.0) + milliseconds
    return values


def _metrics(env: Environment) -> dict[str, str]:
    """Return the text of /metrics of each process that answers."""
    texts = {}
    for url in env.services:
        try:
            answer = httpx.get(
                f"{url.rstrip('/')}/metrics", timeout=ANSWER_SECONDS, trust_env=False, verify=web.authorities()
            )
        except (httpx.HTTPError, httpx.InvalidURL):
            continue  # The check of the processes names it.
        if answer.status_code == httpx.codes.OK and len(answer.content) <= MOST_BYTES:
            texts[url] = answer.text
    return texts
