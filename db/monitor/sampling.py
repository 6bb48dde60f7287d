"""Reads all counters of a look: those of the database, of its statements and indexes, and of the service."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import httpx
import psycopg

from db import ops, web
from db.environments import Environment
from db.monitor.checks import counters, indexes, statements
from db.monitor.checks.service import parsed
from db.monitor.look import MOST_AT_ONCE
from db.monitor.samples import Sample

ANSWER_SECONDS = 2.0
MOST_BYTES = 4 << 20
"""The largest /metrics of one process. Another program may answer there."""

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
    for part in (_statements, lambda own: _scans(own, env.target_direct.schema)):
        try:
            values |= part(conn)
        except psycopg.Error:  # Such as a library that is not loaded: the check that needs it asks again, and says so.
            continue
    values |= parsed(_metrics(env.services))
    return Sample(at, began, values)


def note_own(conn: ops.Connection, sample: Sample) -> None:
    """Note in the sample what the look itself has added to the database's counters, for the next look to subtract.

    What others did meanwhile, some tenths of a second, is subtracted too: only shares are made of these counters.
    """
    try:
        conn.execute("select pg_stat_force_next_flush()")
        counted = conn.execute(counters.DATABASE).fetchone()
    except psycopg.Error:
        return  # The judgements are made; the next look then counts ours among the others.
    assert counted is not None
    for name, value in zip(counters.NAMES, map(float, counted), strict=True):
        if name in counters.OF_SHARES:
            sample.counters[f"{counters.OWN}{name}"] = value - sample.counters[name]


def _scans(conn: ops.Connection, schema: str) -> dict[str, float]:
    rows = conn.execute(indexes.SCANNED, [schema, indexes.LEAST_BYTES]).fetchall()
    return {f"{indexes.SCANS}{name}": float(scans) for name, scans in rows}


def _statements(conn: ops.Connection) -> dict[str, float]:
    schema = statements.extension(conn)
    if schema is None:
        return {}
    counted = conn.execute(statements.COUNTED.format(schema=schema), [statements.MOST_STATEMENTS]).fetchall()
    evicted = conn.execute(statements.EVICTIONS.format(schema=schema)).fetchone()
    values = {statements.EVICTED: float(evicted[0]), statements.RESET: float(evicted[1])} if evicted else {}
    for query, calls, milliseconds in counted:
        values[f"{statements.CALLS}{query}"] = values.get(f"{statements.CALLS}{query}", 0.0) + calls
        took = f"{statements.MILLISECONDS}{query}"
        values[took] = values.get(took, 0.0) + milliseconds
    return values


def _metrics(urls: Sequence[str]) -> dict[str, str]:
    """Return the text of /metrics of each process that answers. All are asked at once."""
    with ThreadPoolExecutor(max_workers=MOST_AT_ONCE) as pool:
        texts = dict(zip(urls, pool.map(_text, urls), strict=True))
    return {url: text for url, text in texts.items() if text is not None}


def _text(url: str) -> str | None:
    try:
        answer = httpx.get(
            f"{url.rstrip('/')}/metrics", timeout=ANSWER_SECONDS, trust_env=False, verify=web.authorities()
        )
    except (httpx.HTTPError, httpx.InvalidURL):
        return None  # The check of the processes names it.
    return answer.text if answer.status_code == httpx.codes.OK and len(answer.content) <= MOST_BYTES else None
