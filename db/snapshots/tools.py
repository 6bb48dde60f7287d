"""pg_dump and pg_restore that fit a server: not older than it, for an older one refuses a newer server.

A throwaway server brings its own (`db.servers`); for one that is only a URL they are looked for on this machine, where
a client's package is enough.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeAlias

from db import environments
from db.counts import few
from db.errors import Failure, Refusal
from db.servers.binaries import FOLDERS
from db.servers.tools import Tool
from game.redaction import redact
from game.urls import PostgresUrl

Tools: TypeAlias = Callable[[str], Tool]
"""The program of this name that fits the server; Refusal where there is none."""


def installed(major: int) -> Tools:
    """Return this machine's programs that serve a server of this major version."""
    return partial(_installed, major)


def run(
    tool: Tool,
    args: Sequence[str],
    url: PostgresUrl,
    *,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
) -> None:
    """Run the program on the database. Raises Failure with what it said if it ends with another code than 0."""
    streams: dict[str, Any] = {"stdin": stdin or subprocess.DEVNULL, "stdout": stdout or subprocess.DEVNULL}
    ended = tool.run(args, url, stderr=subprocess.PIPE, **streams)
    if ended.returncode != 0:
        lines = redact(ended.stderr.decode(errors="replace")).strip().splitlines()
        raise Failure(
            f"{tool.name} to end with 0",
            f"{ended.returncode}: {few(lines, 3, between='; ') or 'it said nothing'}",
            where=url.redacted,
            do=f"Its arguments were: {' '.join(args)}",
        )


def _installed(major: int, name: str) -> Tool:
    """Return the oldest program that is not older than the server. Raises Refusal if there is none."""
    versions = sorted(_versions(name))
    fitting = [path for version, path in versions if version >= major]
    if not fitting:
        have = ", ".join(f"{version} in {path.parent}" for version, path in versions) or "none"
        raise Refusal(
            f"{name} of version {major} or newer on this machine",
            have,
            do=f"Install Postgres's client programs of version {major} or newer.",
        )
    # The oldest, because most servers can read what it writes.
    return Tool(name, (str(fitting[0]),), ("", 0), ("", 0))


def _versions(name: str) -> Iterator[tuple[int, Path]]:
    folders = [folder for pattern in FOLDERS for folder in map(str, Path("/").glob(pattern.lstrip("/")))]
    for path in {shutil.which(name), *(shutil.which(name, path=folder) for folder in folders)}:
        if path is not None:
            version_text = subprocess.run(
                [path, "--version"], capture_output=True, text=True, check=False, env=environments.child_variables()
            ).stdout
            if version := re.search(r"\b(\d+)(?:\.\d+|beta|rc|devel|\b)", version_text):
                yield int(version.group(1)), Path(os.path.realpath(path))
