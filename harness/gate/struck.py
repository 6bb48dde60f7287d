"""The strikes of a gate, in a process of their own beside its other parts.

They wait most of the time for what was struck to end, and to be gone on with: one after the other they would cost a
gate over a minute.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from db import environments
from db.console.output import plain
from db.errors import Failure
from db.files import private
from db.processes import children
from db.servers import needed_secrets
from db.servers.vitals import Lost, lost
from game.redaction import redact
from harness.gate import parts
from harness.gate.report import GatePart

TIMEOUT_SECONDS = 1800
RESULT = "struck.json"
PROGRAM = "import sys; from harness.gate import struck; struck.main(*sys.argv[1:])"
"""No module is run by its name: the tools that are struck fork from a server that would import it anew each time."""


@dataclass(frozen=True, slots=True)
class Struck:
    """The result of the process. lost: why the strikes prove nothing; then there is no part."""

    part: GatePart | None
    lost: str = ""


_STRUCK = TypeAdapter(Struck)


@contextmanager
def beside(root: Path, kind: str | None) -> Iterator[Callable[[], GatePart]]:
    """Begin to strike; yields what waits for the end, and returns the part. It raises Lost, and Failure at no end.

    Leaving the block ends the strikes.
    """
    with tempfile.TemporaryDirectory(prefix="sudamr-gate-") as folder:
        log = Path(folder) / "struck.log"
        command = [sys.executable, "-c", PROGRAM, folder, *([kind] if kind else [])]
        variables = environments.child_variables(secrets=needed_secrets(kind))
        with (
            private.opened(log, "wb") as output,
            children.started(command, cwd=root, stdout=output, stderr=subprocess.STDOUT, env=variables) as process,
        ):
            yield lambda: _part(process, Path(folder) / RESULT, log)


def _part(process: subprocess.Popen[bytes], path: Path, log: Path) -> GatePart:
    """Wait for the process, and read what it found."""
    try:
        code = process.wait(TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failure(f"the strikes within {TIMEOUT_SECONDS} s", "no end", where="the gate's strikes") from None
    if code < 0:
        raise lost(f"the process of the strikes was ended by {signal.Signals(-code).name}")
    if code:
        last = " / ".join(redact(log.read_text(errors="replace")).strip().splitlines()[-3:])
        raise Failure("strikes to their end", f"exit code {code}: {last}", where="the gate's strikes")
    struck = _STRUCK.validate_json(path.read_bytes())
    if struck.part is None:
        raise lost(struck.lost)
    return struck.part


def main(folder: str, kind: str | None = None) -> None:
    """Strike, and write the result into the folder. The program of the process calls it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # So that the server is stopped.
    try:
        struck = Struck(parts.strike(kind, Path(folder)))
    except Lost as error:
        struck = Struck(None, error.found)
    private.write(Path(folder) / RESULT, json.dumps(plain(struck)))
