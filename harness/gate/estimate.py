"""Estimates how long each part of a gate takes: by the last gate on this machine; at first, by two idle cores."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import NonNegativeFloat, TypeAdapter

from db.errors import Refusal
from db.files import private
from db.files.json_files import MOST_BYTES_OF_A_NOTE, load_json

_SECONDS = TypeAdapter(dict[str, NonNegativeFloat])
SUITE = "suite"
BUILT_IN = {"servers": 15.0, SUITE: 255.0, "strikes": 1.0, "rehearsal": 65.0}
"""Seconds on two idle cores with docker and 100 players, for so many items of the suite. Strikes: waited for, once
the suite has ended."""

ITEMS = 1759
COUNTED = "items"
"""The name under which the file keeps how many items the suite had."""


@dataclass
class Estimate:
    """Seconds a part, kept in a file under out/: no part of any proof, so a file that can't be read is no matter.

    items: of the suite, whose time grows with them.
    """

    path: Path
    items: int = ITEMS
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = _read(self.path)
        self._is_first = not known.keys() >= BUILT_IN.keys()
        self._expected = {part: known.get(part, seconds) for part, seconds in BUILT_IN.items()}
        if self.items:
            self._expected[SUITE] *= self.items / (known.get(COUNTED) or ITEMS if SUITE in known else ITEMS)

    def line(self, part: str, what: str) -> str:
        """Say which part runs now, of how many, and how long this one and all of them will take."""
        names = list(BUILT_IN)
        seconds, after = self._expected[part], [name for name in names if name not in self.seconds]
        left = sum(self._expected[name] for name in after)
        by = " on two idle cores" if self._is_first else ""
        return f"{names.index(part) + 1} of {len(names)}: {what}; some {seconds:.0f} s, {_clock(left)} left in all{by}"

    def took(self, part: str, seconds: float) -> None:
        """Record that a part has ended, and its seconds."""
        self.seconds[part] = round(seconds, 1)

    def keep(self) -> None:
        """Remember it for the next time."""
        private.make_folder(self.path.parent)
        private.write(self.path, json.dumps({**self.seconds, COUNTED: self.items}) + "\n")


def _read(path: Path) -> dict[str, float]:
    try:
        noted = load_json(path, _SECONDS, "seconds by part", do="", most_bytes=MOST_BYTES_OF_A_NOTE)
    except Refusal:
        return {}
    return {name: noted[name] for name in (*BUILT_IN, COUNTED) if name in noted}


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
