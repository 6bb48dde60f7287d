"""How long each part of a gate takes, by the last one on this machine; before the first, by a machine of two cores."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

BUILT_IN = {"servers": 15.0, "suite": 150.0, "rehearsal": 45.0}
"""Seconds on two cores with docker."""


@dataclass
class Estimate:
    """Seconds a part, kept in a file under out/: no part of any proof, so a file that can't be read is no matter."""

    path: Path
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._last = {**BUILT_IN, **_read(self.path)}

    def line(self, part: str, what: str) -> str:
        """What is done now, which of how many, and how long this and all of it will take."""
        names = list(BUILT_IN)
        here, after = self._last[part], [name for name in names if name not in self.seconds]
        left = sum(self._last[name] for name in after)
        return f"{names.index(part) + 1} of {len(names)}: {what}; some {here:.0f} s, {_clock(left)} left in all"

    def took(self, part: str, seconds: float) -> None:
        """A part has ended."""
        self.seconds[part] = round(seconds, 1)

    def keep(self, parts: Iterable[str] = BUILT_IN) -> None:
        """Remember it for the next time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps({part: self.seconds[part] for part in parts if part in self.seconds}) + "\n")


def _read(path: Path) -> dict[str, float]:
    try:
        found = json.loads(path.read_text())
        return {str(name): float(value) for name, value in found.items() if name in BUILT_IN}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
