"""Makes the page of a move from its folder: at the end of each move, and again by `invoke report --run`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from db.cutover import journal as journals
from db.cutover.context import RUNS
from db.cutover.cutover import CUTOVER
from db.environments import Environment
from db.files import private
from harness.rehearsal import Leg
from harness.report import move, move_page
from harness.report.move import MoveReport


class Says(Protocol):
    """The output of a command."""

    def say(self, line: str) -> None:
        """Print one line of the result."""
        ...


def make(run: str, clients: str, into: str) -> tuple[MoveReport, Path]:
    """Write a run's page, and return its report and the path. into: "" means beside the journal."""
    folder = move.folder_of(run)
    report = move.read(folder, move.read_clients(Path(clients)) if clients else None)
    path = Path(into) if into else folder / move_page.PAGE
    private.make_parent(path)
    return report, move_page.write(report, path)


def of_rehearsal(path: Path) -> Callable[[Path, Leg], None]:
    """Return what writes the page of a rehearsal's way there to the path, with what clients saw; of the way back beside
    it, as `NAME-back.html`.
    """

    def write(folder: Path, leg: Leg) -> None:
        seen = {name: getattr(leg, name) for name in move.ClientFigures.__dataclass_fields__}
        report = move.read(folder, move.ClientFigures(**seen))
        private.make_parent(path)
        back = path.with_name(f"{path.stem}-back{path.suffix}")
        move_page.write(report, path if report.verb == CUTOVER.verb else back)

    return write


@contextmanager
def written(env: Environment, verb: str, out: Says, runs: Path = RUNS) -> Iterator[None]:
    """Write the page of the run that the block carries on, however it ends; none where it changed nothing."""
    began = time.time()
    try:
        yield
    finally:
        known = journals.runs(runs, verb, env.name)
        if known and max((entry.at for entry in known[-1].entries()), default=0.0) >= began:
            try:
                out.say(f"report: {move_page.write(move.read(known[-1].folder), known[-1].folder / move_page.PAGE)}")
            except OSError as error:  # A page must not fail a move that is finished.
                out.say(f"the page can't be written: {error.strerror}")
