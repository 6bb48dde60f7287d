"""The targets of the generated mutations, from targets.toml: what is broken, and which tests are to notice."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AuditTarget:
    """Files to break, as paths or globs. tests: those that may notice, as pytest's arguments.

    guards: their guards and comparisons are broken; lists: each element of their named lists is dropped; functions:
    those whose returned tuple, or the tuple that they go through, is such a list.
    """

    files: tuple[str, ...]
    tests: tuple[str, ...]
    guards: bool = True
    lists: bool = True
    functions: frozenset[str] = frozenset()

    def paths(self, root: Path) -> Sequence[str]:
        """Return the files, relative to the root. Raises ValueError for a pattern that no file matches."""
        paths = []
        for pattern in self.files:
            matching = sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))
            if not matching:
                raise ValueError(f"harness/audit/targets.toml: no file {pattern}")
            paths += [path for path in matching if path not in paths]
        return paths


def _read() -> tuple[AuditTarget, ...]:
    entries = tomllib.loads(files("harness.audit").joinpath("targets.toml").read_text("utf-8"))["target"]
    return tuple(
        AuditTarget(
            tuple(entry.pop("files")),
            tuple(entry.pop("tests")),
            functions=frozenset(entry.pop("functions", ())),
            **entry,
        )
        for entry in entries
    )


TARGETS = _read()
