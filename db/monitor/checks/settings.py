"""Checks of the server's settings: against the certificate's, pending a restart, and those that keep data."""

from __future__ import annotations

from db.monitor.check import Check, Limit, Measured, NotApplicable, NotJudged
from db.monitor.look import Look
from db.servers.settings import decisive

DURABLE = ("fsync", "full_page_writes")
"""synchronous_commit is none of them: every session of the service and the tools pins it (game/session.py)."""

PENDING = """
select count(*) over ()::float8, format('%s runs with %s', name, setting)
from pg_settings where pending_restart order by name
"""


def certified(look: Look) -> Measured:
    """Measure the settings that differ from those that the certificate was given for."""
    expected = look.expected_settings
    if expected is None:
        raise NotJudged("no certificate of this environment is known here: invoke gate writes out/certificate-ENV.json")
    now = decisive(look.conn)
    differing = [
        f"{name} {value!r}, certified {expected.get(name)!r}"
        for name, value in now.items()
        if expected.get(name) != value
    ]
    return Measured(float(len(differing)), "; ".join(differing) or "as certified")


def durable(look: Look) -> Measured:
    """Measure the settings with which a crash loses what was acknowledged."""
    if look.env.name == "test":
        raise NotApplicable("a throwaway server need not survive a crash")
    rows = look.rows("select name, reset_val from pg_settings where name = any(%s) order by name", [list(DURABLE)])
    off = [f"{name} = {value}" for name, value in rows if value == "off"]
    return Measured(float(len(off)), ", ".join(off) or "on: " + ", ".join(DURABLE))


CHECKS = (
    Check(
        name="settings of the certificate",
        limit=Limit(0, "settings", "docs/gate.md: a certificate proves the code under these settings"),
        measure=certified,
        defect="ALTER DATABASE ... SET session_replication_role = 'replica'",
        not_judged="no certificate is known on this machine",
        do="Restore the setting, or run the gate again: invoke gate --env {env} --json out/certificate-{env}.json",
    ),
    Check(
        name="settings that wait for a restart",
        limit=Limit(0, "settings", "a setting in the file that the server has not applied yet"),
        measure=lambda look: look.worst(PENDING),
        defect="ALTER SYSTEM SET max_connections and a reload",
        # RESET would leave the mark where the running value is the default.
        do="ALTER SYSTEM SET NAME = 'VALUE'; SELECT pg_reload_conf(); with the value in use; or restart the server.",
    ),
    Check(
        name="durability",
        limit=Limit(0, "settings", "PostgreSQL documentation, 20.5.1: with any of them off a crash loses commits"),
        measure=durable,
        defect="ALTER SYSTEM SET full_page_writes = off and a reload",
        do="ALTER SYSTEM SET NAME = on; SELECT pg_reload_conf();",
    ),
)
