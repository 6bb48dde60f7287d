"""Database URLs as people write them: Prisma's form for Postgres, `file:` and `sqlite:` for the legacy file.

What can't be honoured is refused by name rather than ignored: a dropped `pgbouncer=true` or `sslaccept=strict` would
be a promise that nobody keeps. Passwords are in `as_text`, `conninfo` and `sqlalchemy` alone, never in a repr, in
`redacted` or in an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

import sqlalchemy as sa
from psycopg.conninfo import make_conninfo

from game import session
from game.errors import BadUrl

DEFAULT_SCHEMA = "game"
DEFAULT_PORT = 5432
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
    "pgbouncer": "a URL without it: a pooler is noticed by itself",
    "pool_timeout": "the service's own pool settings",
    "socket_timeout": "tcp_user_timeout",
    "sslaccept": "sslmode=verify-full with sslrootcert=<file>, or sslmode=require",
    "sslidentity": "sslcert=<file> and sslkey=<file>",
    "user": "user:password@ in front of the host",
}
"""What to write in place of a parameter that others know and this house does not honour."""

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
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

    @property
    def conninfo(self) -> str:
        """libpq's keywords, the search path among them: what psycopg.connect takes. Bears the password."""
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
        """The same connection for SQLAlchemy. Bears the password."""
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
        """The URL for people: no password."""
        return self._text(quote(self.user, safe=""))

    def as_text(self) -> str:
        """The URL in Prisma's form, with the password: `read` gives an equal one back."""
        password = f":{quote(self.password, safe='')}" if self.password else ""
        return self._text(quote(self.user, safe="") + password)

    def with_(self, **changes: Any) -> PostgresUrl:
        """The URL with some fields changed, each as `read` would have given it."""
        return replace(self, **changes)

    def __str__(self) -> str:
        return self.redacted

    def _settings(self) -> dict[str, str]:
        return {
            "connect_timeout": DEFAULT_CONNECT_TIMEOUT,
            **dict(self.parameters),
            "client_encoding": session.CLIENT_ENCODING,
            "options": session.options(self.schema),
        }

    def _text(self, account: str) -> str:
        socket = self.host.startswith("/")
        host = "localhost" if socket else f"[{self.host}]" if ":" in self.host else self.host
        query = urlencode([("schema", self.schema), *([("host", self.host)] if socket else []), *self.parameters])
        return f"postgresql://{account}@{host}:{self.port}/{quote(self.dbname, safe='')}?{query}"


@dataclass(frozen=True)
class LegacyUrl:
    """The legacy file. The path is absolute."""

    path: Path

    @property
    def redacted(self) -> str:
        """The URL for people; a file has no password."""
        return self.as_text()

    def as_text(self) -> str:
        """`file:/abs/path`."""
        return f"file:{quote(str(self.path))}"

    def __str__(self) -> str:
        return self.as_text()


def read(url: str, *, base: Path | None = None) -> PostgresUrl | LegacyUrl:
    """The URL's parts; a relative path is the base's, or the working folder's.

    Raises BadUrl, naming what can't be honoured and what to write instead.
    """
    scheme = url.partition(":")[0].lower()
    if any(character.isspace() or not character.isprintable() for character in url):
        raise BadUrl("a URL on one line, blanks written %20", "a blank or a control character in it")
    if scheme in LEGACY_SCHEMES:
        return LegacyUrl((base or Path()).absolute() / _legacy_path(scheme, url.partition(":")[2]))
    if scheme in POSTGRES_SCHEMES:
        return _postgres(url)
    found = f"the scheme {scheme}:" if ":" in url and re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) else "no scheme"
    raise BadUrl("a URL that begins with postgresql://, file: or sqlite:", found)


def _legacy_path(scheme: str, rest: str) -> Path:
    text, _, query = rest.partition("?")
    if query:
        raise BadUrl(f"a path alone after {scheme}:", f"the parameter {query.partition('=')[0]}")
    if text.startswith("//"):
        text = _after_slashes(scheme, text)
    path = unquote(text)
    if not path or path == ":memory:" or path.endswith("/"):
        raise BadUrl(f"the path of a file after {scheme}:", path or "nothing")
    return Path(path)


def _after_slashes(scheme: str, text: str) -> str:
    """The path behind `//`, which `file:` and `sqlite:` read differently: one as a host, one as an option to it."""
    if scheme == "file" and text.startswith("///"):
        return text[2:]
    if scheme == "sqlite" and text.startswith("////"):
        return text[3:]
    if scheme == "sqlite" and text.startswith("///"):
        raise BadUrl(
            f"sqlite:{text[2:]} (from the root) or sqlite:{text[3:]} (from here)", f"sqlite:{text}, read as both"
        )
    raise BadUrl(f"a path on this machine, {scheme}:/path", f"a host, {scheme}:{text}")


def _postgres(url: str) -> PostgresUrl:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BadUrl(
            "postgresql://user:password@host:port/database (in a password, [ ] are %5B %5D)", "a stray [ or ]"
        ) from None
    if parts.fragment or "#" in url:
        raise BadUrl("a URL without #; in a password it is written %23", "a # in it")
    host, port = _address(parts)
    dbname = unquote(parts.path.removeprefix("/"))
    if not dbname or "/" in parts.path[1:]:
        raise BadUrl("one database after the host: postgresql://user:password@host:port/database", _missing(dbname))
    if not parts.username:
        raise BadUrl("a user before the host: postgresql://user:password@host:port/database", "none")
    parameters = _parameters(parts.query)
    return PostgresUrl(
        host=parameters.pop("host", host),
        port=port,
        user=unquote(parts.username),
        password=unquote(parts.password or ""),
        dbname=dbname,
        schema=_schema(parameters.pop("schema", DEFAULT_SCHEMA)),
        parameters=tuple(parameters.items()),
    )


def _missing(dbname: str) -> str:
    return "a path of several parts" if dbname else "none"


def _address(parts: SplitResult) -> tuple[str, int]:
    """Host and port; what is found is never quoted, for an unescaped password may have landed here."""
    address = parts.netloc.rpartition("@")[2]
    if "," in address:
        raise BadUrl("one host", "several, separated by commas")
    try:
        port = parts.port
    except ValueError:
        raise BadUrl("a port of digits after the host (in a password, : / ? # @ are written %XX)", "another") from None
    host = unquote(parts.hostname or "")
    if not host and "host=" not in parts.query:
        raise BadUrl("a host: postgresql://user:password@host:port/database", "none")
    return host, DEFAULT_PORT if port is None else port


def _parameters(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in parameters:
            raise BadUrl(f"the parameter {name} once", "twice")
        _check_parameter(name, value)
        parameters[name] = value
    return parameters


def _check_parameter(name: str, value: str) -> None:
    if name in INSTEAD:
        raise BadUrl(f"{INSTEAD[name]}", f"the parameter {name}, which can't be honoured here")
    if name not in (*HONOURED, "schema", "host"):
        raise BadUrl(f"parameters out of schema, host, {', '.join(HONOURED)}", f"the parameter {name}")
    if name == "sslmode" and value not in SSL_MODES:
        raise BadUrl(f"sslmode out of {', '.join(SSL_MODES)}", f"sslmode={value}")
    if name in NUMBERS and not (value.isascii() and value.isdigit()):
        raise BadUrl(f"{name}=<digits>", f"{name}={value}")
    if name == "host" and not value.startswith("/"):
        raise BadUrl("host=/folder of a socket; another host stands before the port", f"host={value}")


def _schema(name: str) -> str:
    if not SCHEMA_NAME.fullmatch(name) or name.startswith("pg_") or name in RESERVED_SCHEMAS:
        raise BadUrl("a schema of letters, digits and _, none of the server's and not ops", f"schema={name}")
    return name
