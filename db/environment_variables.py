"""Variables in environments.toml: `${NAME}` in a value is taken from the process, then from the env files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from db.errors import Refusal, all_of
from db.files import private

HOOKS = "hooks"

VARIABLE = re.compile(r"\$\{(?P<name>[^}]*?)(:-(?P<default>[^}]*))?\}")
"""`${NAME}`, or `${NAME:-default}` as in Docker Compose: the default is for a variable that is not set, or empty."""


class Variables:
    """Variables by name: exported ones win, then `.env.<environment>`, then `.env`."""

    def __init__(self, base: Path, name: str) -> None:
        self.files = (base / f".env.{name}", base / ".env")
        self.of_files = {
            key: value
            for file in reversed(self.files)
            for key, value in private.variables(file, interpolate=False).items()
            if value is not None
        }
        self._values = {**self.of_files, **os.environ}

    def find(self, name: str) -> str | None:
        """Return the variable's value, or None if it is set nowhere."""
        return self._values.get(name)

    def get(self, name: str, where: str, default: str | None = None) -> str:
        """Return the variable's value, or the default. Raises Refusal if it is missing or empty and has no default."""
        value = self._values.get(name)
        if not value and default is not None:
            return default  # It may be empty: `${STAGING_WEBHOOK:-}` is for nobody to be told.
        if not value:
            raise Refusal(
                f"the variable {name}",
                "none" if value is None else "an empty one",
                where=where,
                do=f"Export it, or write it into {' or '.join(file.name for file in self.files)}; see .env.example.",
            )
        return value


def expand(value: Any, variables: Variables, where: Callable[[str], str], key: str) -> Any:
    """Return the value with every `${NAME}` replaced, but for the hooks'.

    Their shell does it, so that no secret stands in a command line. Raises Refusal for a variable without a value.
    """
    match value:
        case str():
            return _filled(value, variables, where(key))
        case dict():
            if key == HOOKS:
                return value
            expanding = (partial(expand, inner, variables, where, f"{key}.{name}") for name, inner in value.items())
            return dict(zip(value, all_of(expanding), strict=True))
        case list():
            return all_of(partial(expand, inner, variables, where, key) for inner in value)
        case _:
            return value


def _filled(text: str, variables: Variables, where: str) -> str:
    matches = list(VARIABLE.finditer(text))
    values = iter(all_of(partial(variables.get, match["name"], where, match["default"]) for match in matches))
    return VARIABLE.sub(lambda _match: next(values), text)
