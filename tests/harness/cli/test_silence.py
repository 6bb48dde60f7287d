"""A command that waits for a server says so first. The audit names its servers, so it says it once they are chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from db.console.progress import Progress, Silent
from db.errors import Refusal
from db.samples import seed
from harness import gate, rehearsal
from harness.bench import actions, databases
from harness.cli.commands import transfers

ROOT = Path(__file__).parents[3]
NO_SERVER = "no server of this kind"


class Noted(Silent):
    """Keeps the lines that a task printed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def _nobody_asks(_change: object) -> None:
    raise AssertionError("nothing of an environment is changed")


COMMANDS: dict[str, Callable[[Progress, Path], object]] = {
    "rehearse": lambda progress, _: rehearsal.rehearse(5, None, NO_SERVER, progress),
    "bench.actions": lambda progress, _: actions.run(1, 10_000, NO_SERVER, progress),
    "bench.databases": lambda progress, _: databases.run(1, 0, NO_SERVER, progress),
    "transfer --env test": lambda progress, path: transfers.run(
        transfers.TransferOptions("test", path, None, back=False, max_held=None, postgres=NO_SERVER),
        progress,
        _nobody_asks,
    ),
    "gate": lambda progress, _: gate.run(gate.GateOptions("test", None, 5, NO_SERVER), ROOT, progress),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_it_says_what_it_does_before_it_waits_for_a_server(name: str, tmp_path: Path) -> None:
    path = tmp_path / "game.db"
    seed.seed_legacy(path, 1)
    noted = Noted()
    with pytest.raises(Refusal):
        COMMANDS[name](noted, path)
    assert noted.lines, "it was silent"
