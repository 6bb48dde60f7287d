"""Reads the env file that the service reads. One that is missing or can't be read is named, never taken for empty."""

from __future__ import annotations

import io
from pathlib import Path

from dotenv import dotenv_values

from db.errors import Refusal
from db.files import private
from db.files.paths import require_file

_NAMED = "If it is another file, correct pointer.path where it is set (invoke status --env NAME: settings)."


def require(path: Path, variable: str) -> None:
    """Check that the service's env file is there. Raises Refusal with the lines that it needs."""
    require_file(
        path,
        "the env file that the service reads",
        do=f"Write three lines into it: {variable}=file:FILE, the file of `legacy`, and CHANCE_SECRET and"
        " TOKEN_SECRET, each a text of 16 characters or more; docs/service.md has them all. To make a legacy"
        " file: invoke seed --legacy FILE.",
    )


def text(path: Path) -> str:
    """Return the file's text. Raises Refusal if there is no such file, or it can't be read."""
    require_file(
        path, "the env file that the service reads", do=f"Put it back, or write it as docs/service.md says. {_NAMED}"
    )
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise Refusal(
            "the env file that the service reads", error.strerror or type(error).__name__, where=str(path), do=_NAMED
        ) from None
    except UnicodeDecodeError as error:
        raise Refusal(
            "an env file in UTF-8",
            f"another encoding, from byte {error.start} on",
            where=str(path),
            do="Save it as UTF-8: the service reads no other.",
        ) from None


def values(path: Path) -> dict[str, str | None]:
    """Return the variables of the file. Raises Refusal as `text` does, and for lines that set nothing."""
    content = text(path)
    private.require_well_formed(content, path)
    return dotenv_values(stream=io.StringIO(content))
