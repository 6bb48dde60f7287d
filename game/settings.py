"""The service's settings: exported variables, then the env file that SUDAMR_ENV_FILE names, then defaults."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from game import urls
from game.errors import BadSettings, BadUrl

ENV_FILE = "SUDAMR_ENV_FILE"


class Settings(BaseSettings):
    """What a process of the service needs to know. Secrets show as asterisks wherever they are printed."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, env_file_encoding="utf-8")

    database_url: SecretStr
    """Which store: postgresql://… or file:/…"""
    chance_secret: SecretStr = Field(min_length=16)
    """What the server's dice follow from; whoever knows it can foretell them."""
    operator_token: SecretStr | None = Field(default=None, min_length=16)
    """Who bears it may use a fence's pass over HTTP; without one nobody may."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    """Of the first process; the others take the ports after it."""
    processes: int = Field(default=1, ge=1, le=64)
    pidfile: Path | None = None
    """Where the supervisor writes its process id: SIGHUP to it restarts every process."""


def load() -> Settings:
    """The settings as they stand now; read again at each restart. Raises BadSettings, which shows no value."""
    try:
        settings = Settings(_env_file=_env_file())
        urls.read(settings.database_url.get_secret_value())
    except ValidationError as error:
        wrong = [f"{str(found['loc'][0]).upper()}: {found['msg']}" for found in error.errors(include_input=False)]
        raise BadSettings("; ".join(wrong)) from None
    except BadUrl as error:
        raise BadSettings(f"DATABASE_URL: {error}") from None
    return settings


def _env_file() -> Path | None:
    named = os.environ.get(ENV_FILE)
    if not named:
        return None
    path = Path(named)
    if not path.is_file():
        raise BadSettings(f"{ENV_FILE}: expected a file, found none at {path}")
    return path
