"""Database URLs as people write them: Prisma's form for Postgres, `file:` and `sqlite:` for the legacy file.

What can't be honoured is refused by name rather than ignored: a dropped `pgbouncer=true` or `sslaccept=strict` would
be a promise that nobody keeps. Passwords are in `as_text`, `conninfo` and `sqlalchemy` alone, never in a repr, in
`redacted` or in an error. An error shows no text of the URL except a parameter's name: see `game.url_text`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from psycopg.conninfo import make_conninfo

from game import session, url_text
from game.errors import BadUrl
from game.libpq import PINS
from game.url_text import decoded, named, pairs

if TYPE_CHECKING:
    import sqlalchemy as sa

DEFAULT_SCHEMA = "game"
DEFAULT_CONNECT_TIMEOUT = "10"
"""Seconds. Without one, libpq waits for a silent server for as long as the kernel does: minutes."""

HONOURED = (
    "application_name",
    "channel_binding",
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "tcp_user_timeout",
)
"""Parameters passed on to libpq as they are; beside them stand `schema` and `host` (a socket's folder)."""

INSTEAD = {
    "connection_limit": "the service's own pool size",
    "options": "role or database settings: ALTER ROLE ... SET ...",
    "password": "user:password@ in front of the host",
    "pgbouncer": "a URL without it: the service itself notices a pooler",
    "pool_timeout": "the service's own pool settings",
    "socket_timeout": "tcp_user_timeout",
    "sslaccept": "sslmode=verify-full with sslrootcert=<file>, or sslmode=require",
    "sslidentity": "sslcert=<file> and sslkey=<file>",
    "user": "user:password@ in front of the host",
}
"""What to write in place of a parameter that others know and this house does not honour."""

CHOICES = {
    "channel_binding": ("disable", "prefer", "require"),
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
}
FILES = ("sslcert", "sslkey", "sslrootcert")
"""Parameters that take an absolute path: service and tools run in different folders. pg_dump 15 has no `system`."""

MAX_NUMBER = 2**31 - 1
NUMBER = re.compile(r"[0-9]{1,10}")
NUMBERS = (
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "tcp_user_timeout",
)
POSTGRES_SCHEMES = ("postgresql", "postgres")
LEGACY_SCHEMES = ("file", "sqlite")
KNOWN_SCHEMES = ("http", "https", "mariadb", "mongodb", "mysql", "postgresql+psycopg", "prisma", "sqlserver")
"""Schemes that an error may show. Any other text before the colon could be a secret."""

SCHEMA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
RESERVED_SCHEMAS = ("ops", "information_schema")


@dataclass(frozen=True)
class PostgresUrl:
    """A database, the role that opens it, and the schema that the role's statements mean."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    dbname: str
    schema: str = DEFAULT_SCHEMA
    parameters: tuple[tuple[str, str], ...] = ()
    started_by: str = field(default="", repr=False, compare=False)
    """The command that starts the server, for the advice where it does not run; "" if it is not known."""

    @property
    def conninfo(self) -> str:
        """Return libpq's keywords as psycopg.connect takes them, with the search path. Contains the password."""
        return make_conninfo(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password or None,
            dbname=self.dbname,
            **self._settings(),
        )

    @property
    def sqlalchemy(self) -> sa.URL:
        """Return the URL for SQLAlchemy. Bears the password."""
        import sqlalchemy as sa  # noqa: PLC0415  # a third of the supervisor's start, which reads a URL and connects nowhere

        return sa.URL.create(
            "postgresql+psycopg",
            username=self.user,
            password=self.password or None,
            host=self.host,
            port=self.port,
            database=self.dbname,
            query=self._settings(),
        )

    @property
    def redacted(self) -> str:
        """Return the URL for people: no password."""
        return self._text(quote(self.user, safe=""))

    def as_text(self) -> str:
        """Return the URL in Prisma's form, with the password: `read` gives an equal one back."""
        password = f":{quote(self.password, safe='')}" if self.password else ""
        return self._text(quote(self.user, safe="") + password)

    def with_(self, **changes: Any) -> PostgresUrl:
        """Return the URL with some fields changed, each as `read` would have given it."""
        return replace(self, **changes)

    def __str__(self) -> str:
        return self.redacted

    def _settings(self) -> dict[str, str]:
        return {
            **PINS,
            "connect_timeout": DEFAULT_CONNECT_TIMEOUT,
            **dict(self.parameters),
            "options": session.options(self.schema),
        }

    def _text(self, account: str) -> str:
        socket = self.host.startswith("/")
        host = "localhost" if socket else f"[{quote(self.host, safe=':')}]" if ":" in self.host else self.host
        parameters = [("schema", self.schema), *([("host", self.host)] if socket else []), *self.parameters]
        query = urlencode(parameters, quote_via=quote)
        return f"postgresql://{account}@{host}:{self.port}/{quote(self.dbname, safe='')}?{query}"


@dataclass(frozen=True)
class LegacyUrl:
    """The legacy file. The path is absolute."""

    path: Path

    @property
    def redacted(self) -> str:
        """Return the URL for people; a file has no password."""
        return self.as_text()

    def as_text(self) -> str:
        """Return the URL as text: `file:/abs/path`."""
        return f"file:{quote(str(self.path))}"

    def __str__(self) -> str:
        return self.as_text()


def read(url: str, *, base: Path | None = None) -> PostgresUrl | LegacyUrl:
    """Return the URL's parts; a relative path is the base's, or the working folder's.

    Raises BadUrl, naming what can't be honoured and what to write instead.
    """
    scheme = url.partition(":")[0].lower()
    if any(character.isspace() or not character.isprintable() for character in url):
        raise BadUrl("a URL on one line (a blank is written %20)", "a blank or an unprintable character in it")
    if scheme in LEGACY_SCHEMES:
        return LegacyUrl((base or Path()).absolute() / _legacy_path(scheme, url.partition(":")[2]))
    if scheme in POSTGRES_SCHEMES:
        return _postgres(url)
    unknown = "another scheme" if ":" in url else "no scheme"
    raise BadUrl(
        "a URL that begins with postgresql://, file: or sqlite:",
        f"the scheme {scheme}:" if scheme in KNOWN_SCHEMES else unknown,
    )


def _legacy_path(scheme: str, after_scheme: str) -> Path:
    text, _, query = after_scheme.partition("?")
    if query:
        name = query.partition("=")[0]
        raise BadUrl(f"a path alone after {scheme}: (in it ? is written %3F)", f"{named(name)} after it")
    if "#" in text:
        raise BadUrl(f"a path without # after {scheme}: (in it # is written %23)", "a #")
    path = decoded(_after_slashes(scheme, text), "the path")
    if not path or path == ":memory:":
        raise BadUrl(f"the path of a file after {scheme}:", path or "nothing")
    if path.rpartition("/")[2] in {"", ".", ".."}:
        raise BadUrl(f"the path of a file after {scheme}:", "a folder")
    return Path("/" + path.lstrip("/") if path.startswith("//") else path)


def _after_slashes(scheme: str, text: str) -> str:
    """Return the path behind `//`: `file:` reads it as a host, `sqlite:` as an option to it."""
    if not text.startswith("//"):
        return text
    if scheme == "file" and text.startswith("///"):
        return text[2:]
    if scheme == "sqlite" and text.startswith("////"):
        return text[3:]
    if scheme == "sqlite" and text.startswith("///"):
        raise BadUrl("sqlite:/path (from the root) or sqlite:path (from here)", "sqlite:///, which is read as both")
    raise BadUrl(f"a path on this machine, {scheme}:/path", f"a host after {scheme}://")


def _postgres(url: str) -> PostgresUrl:
    parts = url_text.split(url)
    parameters = _parameters(parts.query)
    return PostgresUrl(
        host=url_text.host(parts.host, parameters.pop("host", None)),
        port=parts.port,
        user=parts.user,
        password=parts.password,
        dbname=parts.dbname,
        schema=_schema(parameters.pop("schema", DEFAULT_SCHEMA)),
        parameters=tuple(parameters.items()),
    )


def _parameters(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in pairs(query):
        if name in parameters:
            raise BadUrl(f"the parameter {name} once", "twice")
        _check_parameter(name, value)
        parameters[name] = value
    return parameters


def _check_parameter(name: str, value: str) -> None:
    """Raise BadUrl if the parameter can't be honoured. The value is not shown: it may be a misplaced secret."""
    if name in INSTEAD:
        raise BadUrl(f"{INSTEAD[name]}", f"the parameter {name}, which can't be honoured here")
    if name not in (*HONOURED, "schema", "host"):
        raise BadUrl(f"parameters out of schema, host, {', '.join(HONOURED)}", named(name))
    if not value:
        raise BadUrl(f"a value after {name}=", "none")
    if name in CHOICES and value not in CHOICES[name]:
        raise BadUrl(f"{name} out of {', '.join(CHOICES[name])}", f"another value of {name}")
    if name in NUMBERS and not (NUMBER.fullmatch(value) and int(value) <= MAX_NUMBER):
        raise BadUrl(f"{name}=<digits>, {MAX_NUMBER} at most", f"another value of {name}")
    if name in FILES and not value.startswith("/"):
        raise BadUrl(f"{name}=/path of a file, from the root", f"another value of {name}")


def _schema(name: str) -> str:
    if name.startswith("pg_") or name in RESERVED_SCHEMAS:
        raise BadUrl("a schema that is not reserved (by the server, or ops)", "a reserved name in schema")
    if not SCHEMA_NAME.fullmatch(name):
        raise BadUrl("a schema of letters, digits and _, 63 at most", "another value of schema")
    return name
