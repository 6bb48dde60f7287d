"""Checks of what the database has counted since the look before: rollbacks, deadlocks, cache, files, lost sessions."""

from __future__ import annotations

from db.monitor.check import Check, Limit, Measured, NotApplicable, NotJudged
from db.monitor.look import Look

LEAST_TRANSACTIONS = 100
LEAST_BLOCKS = 10_000

DATABASE = """
select xact_commit, xact_rollback, blks_read, blks_hit, temp_bytes, deadlocks, coalesce(checksum_failures, -1),
    sessions_abandoned, sessions_fatal, sessions_killed, conflicts
from pg_stat_database where datname = current_database()
"""
NAMES = (
    "commits",
    "rollbacks",
    "blocks read",
    "blocks hit",
    "temporary bytes",
    "deadlocks",
    "checksum failures",
    "sessions abandoned",
    "sessions fatal",
    "sessions killed",
    "conflicts",
)

OF_SHARES = frozenset({"commits", "rollbacks", "blocks read", "blocks hit"})
OWN = "of the look itself: "


def rollbacks(look: Look) -> Measured:
    """Measure the share of transactions that were rolled back, in percent."""
    return _share(look, "rollbacks", "commits", LEAST_TRANSACTIONS, "transactions")


def cache(look: Look) -> Measured:
    """Measure the share of blocks that were found in the server's memory, in percent."""
    return _share(look, "blocks hit", "blocks read", LEAST_BLOCKS, "blocks")


def _share(look: Look, part: str, rest: str, least: int, unit: str) -> Measured:
    """Measure one counter in percent of its sum with the other. Raises NotApplicable if the sum is below the least."""
    counted = _beside_own(look, part)
    total = counted + _beside_own(look, rest)
    if total < least:
        raise NotApplicable(f"{total:,.0f} {unit} in the window; fewer than {least:,} say nothing")
    return Measured(100.0 * counted / total, f"{counted:,.0f} of {total:,.0f} {unit}", look.window_seconds)


def _beside_own(look: Look, name: str) -> float:
    """Return how much a counter grew since the look before, less what that look itself added."""
    grown, _ = look.increase(name)
    return max(0.0, grown - look.earlier_sample.counters.get(f"{OWN}{name}", 0.0))


def temporary_files(look: Look) -> Measured:
    """Measure the temporary files that were written, in MB a minute."""
    written, seconds = look.increase("temporary bytes")
    return Measured(written / 1e6 / seconds * 60, f"{written / 1e6:,.1f} MB", seconds)


def deadlocks(look: Look) -> Measured:
    """Measure the deadlocks that the server ended since the look before."""
    many, seconds = look.increase("deadlocks")
    return Measured(many, f"{many:,.0f}", seconds)


def lost_sessions(look: Look) -> Measured:
    """Measure the sessions that ended otherwise than by their client's wish."""
    kinds = ("sessions abandoned", "sessions fatal", "sessions killed")
    counted = {kind: look.increase(kind) for kind in kinds}
    evidence = ", ".join(f"{many:,.0f} {kind.removeprefix('sessions ')}" for kind, (many, _) in counted.items())
    return Measured(sum(many for many, _ in counted.values()), evidence, look.window_seconds)


def checksum_failures(look: Look) -> Measured:
    """Measure the pages that were damaged on the disk, since the server counts."""
    many = look.sample.counters.get("checksum failures")
    if many is None:
        raise NotJudged("the server does not count them")
    if many < 0:
        raise NotApplicable("the cluster was made without data checksums")
    return Measured(many, f"{many:,.0f} in this database")


CHECKS = (
    Check(
        name="rolled back transactions",
        limit=Limit(10, "%", "a refusal rolls back; more than one in ten are not mistakes of players"),
        measure=rollbacks,
        defect="twice as many transactions that are rolled back as committed",
        not_judged="the first look, counters that were reset since the look before",
        do="See the codes: sudamr_refusals_total and sudamr_retries_total at the service's /metrics.",
    ),
    Check(
        name="deadlocks",
        limit=Limit(0, "deadlocks", "every command locks its player's row first, so none can happen between two"),
        measure=deadlocks,
        defect="two sessions that lock two rows in opposite orders",
        not_judged="the first look, counters that were reset since the look before",
        do="Read the server's log: it names both statements.",
    ),
    Check(
        name="cache hits",
        limit=Limit(99, "%", "PostgreSQL wiki, rule of thumb for online games and shops", least=True),
        measure=cache,
        defect="a table larger than shared_buffers that is read from its beginning to its end",
        not_judged="the first look, counters that were reset since the look before",
        do="Raise shared_buffers to a quarter of the memory, or find the statement that reads whole tables.",
    ),
    Check(
        name="temporary files",
        limit=Limit(100, "MB/min", "no statement of the game sorts more than work_mem holds"),
        measure=temporary_files,
        defect="a sort of more than work_mem",
        not_judged="the first look, counters that were reset since the look before",
        do="ALTER SYSTEM SET log_temp_files = 0; SELECT pg_reload_conf(); and read the log: it names the statement.",
    ),
    Check(
        name="lost sessions",
        limit=Limit(5, "sessions", "a network or a client that fails now and then loses one"),
        measure=lost_sessions,
        defect="sessions that an administrator ends",
        not_judged="the first look, counters that were reset since the look before",
        do="Read the server's log for FATAL; look at the network between service and server.",
    ),
    Check(
        name="damaged pages",
        limit=Limit(0, "pages", "PostgreSQL documentation, data checksums: each is damage of the storage"),
        measure=checksum_failures,
        defect="a page of a table whose bytes are changed on the disk",
        do="Stop the service; put back the newest verified snapshot: invoke snapshot.restore --env {env} --path FOLDER",
    ),
)
