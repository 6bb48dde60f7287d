"""The settings of a throwaway server, and the proof that it runs with them."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

from db.errors import Failure, Refusal

MAJOR = 15
"""The version that the game moves to; a newer server will do for a test, an older one won't."""

THROWAWAY: Mapping[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    # On: off loses acknowledged commits when the server is killed, and every crash test would lie.
    "synchronous_commit": "on",
    "deadlock_timeout": "10ms",
    "max_connections": "200",
    "timezone": "UTC",
}

SHARED: Mapping[str, str] = {"synchronous_commit": "on"}
"""The settings that are asked of a server that is not ours."""


DECISIVE = (
    "server_encoding",
    "default_transaction_isolation",
    "synchronous_commit",
    "standard_conforming_strings",
    "session_replication_role",
)
"""Settings that decide what a statement means and when it is kept: a proof under others proves nothing."""


def decisive(conn: psycopg.Connection) -> dict[str, str]:
    """Return the server's values of those, as a session of the role finds them."""
    rows = conn.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(DECISIVE)]).fetchall()
    return dict(sorted(rows))


def as_options(settings: Mapping[str, str]) -> list[str]:
    """Return the settings as arguments of `postgres`."""
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def prove(conn: psycopg.Connection, settings: Mapping[str, str]) -> str:
    """Return the server's version, "15.18". Raises Failure if a setting differs, Refusal if the server is too old."""
    current: dict[str, str] = dict(
        conn.execute("SELECT lower(name), current_setting(name) FROM pg_settings").fetchall()
    )
    for name, value in settings.items():
        if not _same(conn, name, value, current.get(name.lower())):
            raise Failure(f"{name} = {value}", f"{current.get(name.lower())}", where="settings of the server")
    version = str(current["server_version"]).split()[0]
    if int(version.partition(".")[0]) < MAJOR:
        raise Refusal(
            f"PostgreSQL {MAJOR} or newer",
            version,
            do=f"Name a server of PostgreSQL {MAJOR} or newer: --postgres URL, or --postgres docker",
        )
    return version


def _same(conn: psycopg.Connection, name: str, value: str, current: str | None) -> bool:
    """Compare two values as the server reads them: `128MB` and `131072kB` are one value."""
    if current == value:
        return True
    if current is None:
        return False
    with conn.transaction(force_rollback=True):
        try:
            conn.execute("SELECT set_config(%s, %s, true)", [name, value])
        except psycopg.errors.Error:
            return False
        row = conn.execute("SELECT current_setting(%s)", [name]).fetchone()
    return row is not None and row[0] == current
