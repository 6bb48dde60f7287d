"""Decide which environment variables may reach a Postgres connection.

libpq reads PG* variables for whatever a connection leaves open, and a few of them whatever it says. Each is one of:

- kept: PGPASSWORD and PGPASSFILE. They hold a password for the URL's own account and nothing else.
- pinned: the connection names the value itself (`game.urls`), so the variable has no effect.
- refused by name: everything else. Most of these ask for a stricter connection (PGSSLMODE, PGREQUIREAUTH), which must
  not be dropped in silence; the rest can't be pinned (PGSERVICE, PGTZ). The URL's own parameter is an answer to its
  variable, for libpq prefers it. A variable that a newer libpq brings is refused until someone decides about it.

Programs that we start (pg_dump, the service) are given none of them but the kept ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from psycopg.pq import Conninfo

KEPT = frozenset({"PGPASSWORD", "PGPASSFILE"})

PINS: Mapping[str, str] = {"application_name": "", "client_encoding": "UTF8", "hostaddr": ""}
"""What every connection names beside its URL's parts. An empty value means unset, and hides the variable."""

PINNED = frozenset({*PINS, "connect_timeout", "dbname", "host", "options", "port", "user"})

UNLISTED = frozenset(
    {"PGDATESTYLE", "PGGEQO", "PGLOCALEDIR", "PGOAUTHDEBUG", "PGREQUIRESSL", "PGSERVICEFILE", "PGSYSCONFDIR", "PGTZ"}
)
"""Variables that libpq reads and PQconndefaults does not list."""

IDLE_WITHOUT_TLS = frozenset({"sslcert", "sslcrl", "sslcrldir", "sslkey", "sslrootcert"})
"""Parameters that sslmode=disable answers too. libpq checks the others of TLS even then, and stops at a wrong value."""

PREFIXES = ("PG", "PSQL")
"""How the variables of libpq and of Postgres's programs begin."""


def refused(environ: Iterable[str], parameters: Iterable[tuple[str, str]]) -> list[str]:
    """The variables that must be unset before a connection with these URL parameters is made, sorted."""
    return sorted({*environ} & {*UNLISTED, *_listed(dict(parameters))})


def without(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a program of ours: nothing that libpq reads but the password."""
    return {name: value for name, value in environ.items() if name in KEPT or not name.startswith(PREFIXES)}


def remedy(names: Iterable[str]) -> str:
    """What to do about refused variables: a shell command, and where else to say what they said."""
    return (
        f"Run: unset {' '.join(names)}. libpq would read them for itself; what a connection needs stands in its URL, "
        "such as ?sslmode=verify-full&sslrootcert=/path."
    )


def _listed(parameters: Mapping[str, str]) -> Iterator[str]:
    for option in Conninfo.get_defaults():
        keyword, variable = option.keyword.decode(), (option.envvar or b"").decode()
        if variable and variable not in KEPT and keyword not in PINNED and not _answered(keyword, parameters):
            yield variable


def _answered(keyword: str, parameters: Mapping[str, str]) -> bool:
    return keyword in parameters or (keyword in IDLE_WITHOUT_TLS and parameters.get("sslmode") == "disable")
