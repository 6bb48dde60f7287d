"""Decides which environment variables may reach a Postgres connection.

libpq reads a PG* variable for each parameter that a connection does not set, and a few variables always. Each is:

- kept: PGPASSWORD and PGPASSFILE. They hold a password for the URL's own account and nothing else.
- pinned: the connection sets the value itself (`game.urls`), so the variable has no effect.
- refused by name: everything else. Most of these ask for a stricter connection (PGSSLMODE, PGREQUIREAUTH), which must
  not be dropped in silence; the rest can't be pinned (PGSERVICE, PGTZ). A variable is not refused if the URL has its
  parameter, because libpq prefers the parameter. New variables of a newer libpq are refused until this list names them.

Programs that we start get only the kept variables, and PGPASSWORD only if they connect: see
`db.environments.child_variables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from psycopg.pq import Conninfo

KEPT = frozenset({"PGPASSWORD", "PGPASSFILE"})

PINS: Mapping[str, str] = {"application_name": "", "client_encoding": "UTF8", "hostaddr": ""}
"""Parameters that every connection sets besides those of its URL. An empty value means unset, and hides a variable."""

PINNED = frozenset({*PINS, "connect_timeout", "dbname", "host", "options", "port", "user"})

UNLISTED = frozenset(
    {"PGDATESTYLE", "PGGEQO", "PGLOCALEDIR", "PGOAUTHDEBUG", "PGREQUIRESSL", "PGSERVICEFILE", "PGSYSCONFDIR", "PGTZ"}
)
"""Variables that libpq reads and PQconndefaults does not list."""

IDLE_WITHOUT_TLS = frozenset({"sslcert", "sslcrl", "sslcrldir", "sslkey", "sslrootcert"})
"""Parameters that libpq ignores with sslmode=disable. It checks the other TLS parameters even then."""

PREFIXES = ("PG", "PSQL")
"""Prefixes of the variables that libpq and Postgres's programs read."""


def refused(environ: Iterable[str], parameters: Iterable[tuple[str, str]]) -> list[str]:
    """Return the variables, sorted, that must be unset before a connection with these URL parameters is made."""
    return sorted({*environ} & {*UNLISTED, *_listed(dict(parameters))})


def without(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a program that we start: of the variables that libpq reads, only the kept ones."""
    return {name: value for name, value in environ.items() if name in KEPT or not name.startswith(PREFIXES)}


def remedy(names: Iterable[str]) -> str:
    """Tell how to unset the variables, and where to set their values instead."""
    return (
        f"Run: unset {' '.join(names)}. libpq would read them by itself. Set connection parameters in the URL, "
        "such as ?sslmode=verify-full&sslrootcert=/path."
    )


def _listed(parameters: Mapping[str, str]) -> Iterator[str]:
    """Yield the variables that libpq would read for what the parameters leave open, without KEPT and PINNED ones."""
    for option in Conninfo.get_defaults():
        keyword, variable = option.keyword.decode(), (option.envvar or b"").decode()
        if variable and variable not in KEPT and keyword not in PINNED and not _answered(keyword, parameters):
            yield variable


def _answered(keyword: str, parameters: Mapping[str, str]) -> bool:
    return keyword in parameters or (keyword in IDLE_WITHOUT_TLS and parameters.get("sslmode") == "disable")
