"""The mutations of mutations.toml: each breaks one promise, by name, and says which test is to notice."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

_FILE = "mutations.toml"
_SUITES = {"game": "tests/game", "db": "tests/db", "harness": "tests/harness"}


@dataclass(frozen=True, slots=True)
class Mutation:
    """One find and replace in one file, and who is expected to catch it; wider: what is run when that one does not."""

    name: str
    file: str
    find: str
    replace: str
    catcher: str
    wider: tuple[str, ...]

    def trouble(self, root: Path) -> str:
        """Return why the mutation can't be applied to the tree; "" if it can."""
        path = root / self.file
        if not path.is_file():
            return f"{self.name}: no file {self.file}"
        times = path.read_text(encoding="utf-8").count(self.find)
        return "" if times == 1 else f"{self.name}: {times} times in {self.file}"

    def applied(self, text: str) -> str:
        """Return the file's text with the mutation."""
        return text.replace(self.find, self.replace, 1)


def _read() -> tuple[Mutation, ...]:
    """Read the file. Raises TypeError for an entry with another key, or without one."""
    entries = tomllib.loads(files("harness.audit").joinpath(_FILE).read_text("utf-8"))["mutation"]
    return tuple(Mutation(**entry, wider=(_SUITES[entry["file"].partition("/")[0]], "scenarios")) for entry in entries)


MUTATIONS = _read()
