"""A copy of the tree in a folder of its own, with a server of its own; what runs there is proven to be the copy.

The environment's editable install names the original tree, so the copy goes first on every process's path.
"""

from __future__ import annotations

import compileall
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from db import environments
from db.errors import Failure, Refusal
from db.servers import Server
from game import libpq
from game.redaction import redact
from harness.audit.preloaded import LATE, ForkedPytest

TIMEOUT_SECONDS = 300
PACKAGES = ("game", "db", "harness")
MARK = """
import os, pathlib
pathlib.Path({folder!r}, f"{package}-{{os.getpid()}}").touch()
"""
PROBE = Path("harness/audit/probe.py")
PASSED, FAILED = 0, 1
"""pytest's exit codes; any other says that it could not run."""

_FAILED_TEST = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


class AnyMutation(Protocol):
    """A change of one file."""

    @property
    def file(self) -> str:
        """Return the file's path in the tree."""

    def applied(self, text: str) -> str:
        """Return the file's text with the change."""


@dataclass(frozen=True, slots=True)
class Ran:
    """The end of a run of tests. failed: the names of those that did; last_lines: of its output."""

    code: int
    failed: tuple[str, ...]
    last_lines: str


@dataclass(frozen=True)
class Copy:
    """A copy of the tree, and the server that its tests use. stopping: set to end the runs in it.

    before: where modules are looked for before the copy; settings: more for the environment of its processes.
    """

    folder: Path
    server: Server
    stopping: threading.Event = field(default_factory=threading.Event, compare=False)
    before: tuple[Path, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    def fill(self, root: Path) -> None:
        """Copy the files that git knows of, as they stand now. Raises Refusal if the tree is no checkout."""
        done = subprocess.run(
            ["git", "ls-files", "-z"],
            cwd=root,
            check=False,
            capture_output=True,
            text=True,
            env=environments.child_variables(),
        )
        if done.returncode:
            raise Refusal(
                "a git checkout, to copy what belongs to it",
                done.stderr.strip(),
                where=str(root),
                do="Run from a git checkout: a copy without .git has no commit.",
            )
        for name in filter(None, done.stdout.split("\0")):
            if (source := root / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, self.folder / name)
        compileall.compile_dir(self.folder, quiet=2)

    def pytest(self, tests: Sequence[str], *options: str, seconds: float = TIMEOUT_SECONDS) -> Ran:
        """Run these tests of the copy in a process of its own."""
        arguments = [
            *tests,
            "-q",
            "-rfE",
            "-p",
            "no:cacheprovider",
            "--tb=no",
            "--no-header",
            "-Wignore::pytest.PytestAssertRewriteWarning",  # of plugins that the fork finds loaded
            f"--rootdir={self.folder}",
            f"--postgres={self.server.maintenance.redacted}",
            *_sweeps(tests),
            *options,
        ]
        # None is written: bytecode is told apart by second and size, and two mutations of one length would be one.
        code, output = self._forked.run(arguments, {"PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "400"}, seconds)
        if code == LATE:
            return Ran(LATE, (), f"no end within {seconds:.0f} s")
        return Ran(code, tuple(_FAILED_TEST.findall(output)), redact(" / ".join(output.splitlines()[-4:])))

    def close(self) -> None:
        """End what runs in the copy."""
        self._forked.close()

    @cached_property
    def _forked(self) -> ForkedPytest:
        url = self.server.maintenance
        settings = {**self.settings, "PYTHONPATH": os.pathsep.join(map(str, (*self.before, self.folder)))}
        if url.password:  # Not in the URL: everybody on the machine sees a command's arguments.
            settings["PGPASSWORD"] = url.password
        variables = environments.child_variables(settings, secrets=libpq.KEPT)
        return ForkedPytest(self.folder, variables, self.stopping)

    @contextmanager
    def mutated(self, mutation: AnyMutation) -> Iterator[None]:
        """Apply one mutation to the copy for the block."""
        path = self.folder / mutation.file
        before = path.read_bytes()
        path.write_bytes(mutation.applied(before.decode()).encode())
        for bytecode in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            bytecode.unlink()
        try:
            yield
        finally:
            path.write_bytes(before)

    def prove(self) -> None:
        """Raise Failure unless the copy is what runs: in the test process, in a child, in every process of the service.

        Each package of the copy is made to leave a mark when it is loaded, named by the process that loaded it.
        """
        marks = self.folder / "marks"
        marks.mkdir()
        before = {name: (self.folder / name / "__init__.py").read_text() for name in PACKAGES}
        for name, text in before.items():
            mark = MARK.format(folder=str(marks), package=name)
            (self.folder / name / "__init__.py").write_text(text + mark)
        try:
            ran = self.pytest([str(PROBE)])
        finally:
            for name, text in before.items():
                (self.folder / name / "__init__.py").write_text(text)
        if ran.code != PASSED:
            raise Failure("the audit's probe to run in the copy", ran.last_lines, where=str(self.folder))
        self._check(marks)

    def _check(self, marks: Path) -> None:
        processes = json.loads((self.folder / PROBE).with_suffix(".json").read_text())
        expected = [f"{name}-{processes[who]}" for who in ("test", "child") for name in PACKAGES]
        expected += [f"game-{pid}" for pid in processes["service"]]
        loaded = {mark.name for mark in marks.iterdir()}
        if missing := [name for name in expected if name not in loaded]:
            raise Failure(
                "the copy to be what every process loads",
                f"another tree in {', '.join(missing)}",
                where=str(self.folder),
                do="Look for a path in the environment that comes before PYTHONPATH.",
            )


def _sweeps(tests: Sequence[str]) -> Iterator[str]:
    """Return the options without which pytest does not collect these items of scenarios."""
    ways = {test.partition(".yaml::")[2] for test in tests}
    if faults := sorted(way.removeprefix("fault-") for way in ways if way.startswith("fault-")):
        yield f"--faults={','.join(faults)}"
    if any("race" in way for way in ways) or any(".toml::" in test for test in tests):
        yield "--races=gate"
