"""The service's settings: exported variables, then the env file that SUDAMR_ENV_FILE names, then defaults."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import AwareDatetime, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from game import env_file, libpq, paths, urls
from game.errors import BadSettings, BadUrl

ENV_FILE = "SUDAMR_ENV_FILE"
PRIVATE_ABOVE = 1000
LAST_PORT = 65535


class Settings(BaseSettings):
    """The settings of a process of the service. Secrets show as asterisks wherever they are printed."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, env_file_encoding="utf-8")

    database_url: SecretStr
    """Which store: postgresql://… or file:/…"""
    database_url_next: SecretStr | None = None
    """The store that the game will move to, or has come from. It is opened ahead, and served once the game is there."""
    hold_ms: int = Field(default=2_000, ge=100, le=60_000)
    """How long a request waits in the window of a move, if DATABASE_URL_NEXT names a store."""
    chance_secret: SecretStr = Field(min_length=16)
    """The secret from which the server's dice follow: a person who knows it can foretell them."""
    token_secret: SecretStr = Field(min_length=16)
    """What the players' bearer tokens follow from; who knows it can act as any player. Another ends them all."""
    previous_token_secret: SecretStr | None = Field(default=None, min_length=16)
    """Tokens that follow from it are good too: TOKEN_SECRET as it was, while players get tokens of the new one."""
    token_lifetime_seconds: int = Field(default=604_800, ge=60, le=31_536_000)
    """From a token's time of issue until it has expired."""
    revoked_tokens: Path | None = None
    """The file of revoked tokens, by its path from the root: `game.service.revocations`."""
    undated_tokens_until: AwareDatetime | None = None
    """Until then a token of the old form, which bears no time of issue, is good; without it none is."""
    operator_token: SecretStr | None = Field(default=None, min_length=16)
    """Who bears it acts for any player, and may use a fence's pass; without one nobody does."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    """Of the first process; the others take the ports after it."""
    private_host: str = "127.0.0.1"
    private_port: int | None = Field(default=None, ge=1, le=65535)
    """Of the first process: probes and all that PORT serves, for the tools. PORT + 1000 by default."""
    connections: int = Field(default=1000, ge=16, le=100_000)
    """Open connections of each process on its PORT; fewer where the process may not have so many descriptors."""
    request_timeout_seconds: float = Field(default=10.0, gt=0, le=600)
    """For a client to send a request, head and body."""
    send_timeout_seconds: float = Field(default=10.0, gt=0, le=600)
    """For a client to read an answer."""
    processes: int = Field(default=1, ge=1, le=64)
    pidfile: Path | None = None
    """Where the supervisor writes its process id: SIGHUP to it restarts every process."""
    pool_size: int = Field(default=10, ge=1, le=200)
    """Connections to the store of each process."""
    pool_timeout_seconds: float = Field(default=1.0, gt=0, le=60)
    """A request waits so long for one of them, then is answered 503."""
    connect_timeout_seconds: int = Field(default=3, ge=2, le=60)
    """Patience with a Postgres that does not answer; libpq knows none below two seconds."""
    statement_timeout_ms: int = Field(default=5_000, ge=1)
    """Postgres ends a statement that takes longer; the command is tried again."""
    lock_timeout_ms: int = Field(default=2_000, ge=1)
    """Postgres ends a wait for a lock that takes longer; the command is tried again."""
    idle_in_transaction_timeout_ms: int = Field(default=10_000, ge=1)
    """Postgres ends a session that keeps a transaction open and says nothing for longer."""
    sentry_dsn: SecretStr | None = None
    """Where defects are reported to; nowhere without one."""
    sentry_environment: str = "development"
    """How Sentry names the environment that a report comes from."""
    sentry_release: str | None = None
    """How Sentry names the version that a report comes from; the package's own by default."""


def load() -> Settings:
    """Return the settings as they stand now; read again at each restart. Raises BadSettings, which shows no value."""
    try:
        settings = Settings(_env_file=_env_file())
    except ValidationError as error:
        # In brackets: what follows `SECRET:` is hidden as if it were one.
        wrong = [
            f"{str(problem['loc'][0]).upper()} ({problem['msg']})" for problem in error.errors(include_input=False)
        ]
        raise BadSettings("; ".join(wrong)) from None
    url = _url("DATABASE_URL", settings.database_url)
    _check_libpq(url)
    if settings.database_url_next is not None:
        following = _url("DATABASE_URL_NEXT", settings.database_url_next)
        _check_libpq(following)
        if _place(url) == _place(following):
            raise BadSettings("DATABASE_URL_NEXT: expected another store than DATABASE_URL; found the same one")
    _check_ports(settings)
    if settings.revoked_tokens is not None and not settings.revoked_tokens.is_absolute():
        # The service and the tools may run in different folders, and would take two files for this one.
        raise BadSettings("REVOKED_TOKENS: expected a path from the root, such as /etc/sudamr/revoked.json")
    return settings


def private_port(settings: Settings) -> int:
    """Return the first process's private port."""
    return settings.port + PRIVATE_ABOVE if settings.private_port is None else settings.private_port


def _url(name: str, value: SecretStr) -> urls.PostgresUrl | urls.LegacyUrl:
    try:
        return urls.read(value.get_secret_value())
    except BadUrl as error:
        raise BadSettings(f"{name}: {error}") from None


def _place(url: urls.PostgresUrl | urls.LegacyUrl) -> tuple[object, ...]:
    """Return the part of the URL that identifies the store, whatever role opens it."""
    if isinstance(url, urls.LegacyUrl):
        return (os.path.realpath(url.path),)
    return url.host, url.port, url.dbname, url.schema


def _check_ports(settings: Settings) -> None:
    """Raise BadSettings if the two ranges of ports overlap or end beyond the last port."""
    private, last = private_port(settings), LAST_PORT - settings.processes + 1
    if max(private, settings.port) > last:
        raise BadSettings(f"PRIVATE_PORT: expected PORT and it at most {last}, for PROCESSES of each; found {private}")
    if abs(private - settings.port) < settings.processes:
        raise BadSettings(f"PRIVATE_PORT: expected PROCESSES ports beside those of PORT; found {private}")


def _check_libpq(url: urls.PostgresUrl | urls.LegacyUrl) -> None:
    """Raise BadSettings naming the variables that libpq would read by itself."""
    # On the legacy store too, which uses none: otherwise the switch to Postgres would be the first to fail on them.
    names = libpq.refused(os.environ, url.parameters if isinstance(url, urls.PostgresUrl) else ())
    if names:
        raise BadSettings(f"expected an environment without {', '.join(names)}. {libpq.remedy(names)}")


def _env_file() -> Path | None:
    named = os.environ.get(ENV_FILE)
    if not named:
        return None
    path = Path(named)
    file_state = paths.describe(path)
    if file_state not in (paths.FILE, paths.EMPTY):
        raise BadSettings(f"{ENV_FILE}: expected a file, found {file_state} at {path}")
    if wrong := env_file.malformed(path.read_bytes().decode(errors="replace")):
        raise BadSettings(f"{ENV_FILE}: expected {env_file.EXPECTED}, found {wrong} of {path}. {env_file.REMEDY}")
    return path
