"""Versions of the program, each a tree of its own: this one, or a copy of it that has one revision more.

A process of a version runs that tree's code, as after a deployment.
"""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import ParamSpec, TypeVar

import game
from db.files import private
from db.schema import revisions

FOLDERS = ("game", "db", "harness", "scenarios")
ROOT = Path(game.__file__).parents[1]
_SPAWN = multiprocessing.get_context("spawn")
_REVISION = '''"""Have the planner look at more of the players' gold."""

from __future__ import annotations

from alembic import op

revision = "{number}"
down_revision = "{parent}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change what no row has, so that the tables are those of this version's code."""
    op.execute("alter table users alter column gold set statistics 200")
'''

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Version:
    """A tree of the program. Functions are named by their module: the tree's own runs."""

    tree: Path = ROOT

    def start(self, function: Callable[P, None], *given: P.args, **named: P.kwargs) -> BaseProcess:
        """Start the function in a process of this version."""
        process = _SPAWN.Process(target=function, args=given, kwargs=named)
        with self._first_on_the_path():
            process.start()
        return process

    def run(self, function: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
        """Run the function in a process of this version, and return what it returns. Raises what it raises."""
        with ProcessPoolExecutor(1, mp_context=_SPAWN) as pool:
            with self._first_on_the_path():
                running = pool.submit(function, *given, **named)
            return running.result()

    @contextmanager
    def _first_on_the_path(self) -> Iterator[None]:
        """Put the tree first on sys.path: a process that is spawned meanwhile inherits the path."""
        sys.path.insert(0, str(self.tree))
        try:
            yield
        finally:
            sys.path.remove(str(self.tree))


def newer(folder: Path) -> Version:
    """Copy this version into the folder, with one revision more."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name)
    head = revisions.read().head
    number = f"{int(head) + 1:04}"
    versions = folder / revisions.VERSIONS.relative_to(ROOT)
    private.write(versions / f"{number}_look_at_more_gold.py", _REVISION.format(number=number, parent=head))
    return Version(folder)


def folder_of_code() -> Path:
    """Return the folder of the tree whose code this process runs."""
    return Path(revisions.__file__).parents[2]
