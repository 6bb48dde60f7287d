"""Runs `invoke` as people do: in a folder of its own, with its own environments, on pipes or on a terminal."""

from __future__ import annotations

import ctypes
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[3]
INVOKE = Path(sys.executable).parent / "invoke"
COLUMNS = 80
CTRL_D = b"\x04"
SECONDS = 300
COLOR = re.compile(r"\x1b\[[0-9;]*m")

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2

ENVIRONMENTS = """
[{name}]
legacy = "file:game.db"
target = "postgresql://service:words@127.0.0.1:1/game"
target_direct = "postgresql://owner:words@127.0.0.1:1/game"
pointer = {{ path = "service.env" }}
snapshots = {{ folder = "snapshots" }}
"""
"""Nothing listens on port 1, so no task can change anything."""


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it printed. On a terminal both streams are in `output`."""

    code: int
    output: str
    errors: str = ""

    @property
    def everything(self) -> str:
        return self.output + self.errors

    @property
    def last_line(self) -> str:
        lines = COLOR.sub("", self.errors or self.output).strip().splitlines()
        return lines[-1].strip() if lines else ""


@dataclass(frozen=True)
class Folder:
    """A folder to run in; no task that is run there can reach a server, Docker or this checkout's own files."""

    path: Path
    variables: dict[str, str] = field(default_factory=dict)

    def make(self) -> Folder:
        text = "".join(ENVIRONMENTS.format(name=name) for name in ("development", "staging", "production"))
        (self.path / "environments.toml").write_text(text)
        (self.path / "service.env").write_text("DATABASE_URL=file:game.db\nTOKEN_SECRET=0123456789abcdef\n")
        (self.path / "bin").mkdir()
        return self

    def command(self, *arguments: str) -> list[str]:
        return [str(INVOKE), "--search-root", str(ROOT), *arguments]

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PYTEST", "SUDAMR"))}
        kept.pop("NO_COLOR", None)
        kept.pop("COLUMNS", None)
        return {**kept, "PATH": str(self.path / "bin"), "TERM": "xterm-256color", **self.variables, **more}

    def run(self, *arguments: str, closed: bool = False, bound: bool = False, **more: str) -> Ran:
        """Run on pipes, without a terminal. closed: without a standard input; bound: root has no more rights."""

        def prepare() -> None:
            if closed:
                os.close(0)
            if bound:
                give_up_privileges()

        done = subprocess.run(
            self.command(*arguments),
            cwd=self.path,
            env=self.environment(more),
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            preexec_fn=prepare,
            timeout=SECONDS,
            start_new_session=True,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def on_a_terminal(self, *arguments: str, typed: bytes = b"", **more: str) -> Ran:
        """Run on a terminal of 80 columns; `typed` waits there for whoever reads."""
        ours, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        os.write(ours, typed)
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.path,
            env=self.environment(more),
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)
        output = _everything(ours)
        code = process.wait(timeout=SECONDS)
        os.close(ours)
        return Ran(code, output.decode(errors="replace").replace("\r\n", "\n"))


def _everything(terminal: int) -> bytes:
    """Return what is printed until the last process closes the terminal."""
    output = b""
    while True:
        if not select.select([terminal], [], [], SECONDS)[0]:
            raise AssertionError(f"nothing was printed for {SECONDS} s after {output!r}")
        try:
            output += os.read(terminal, 65536)
        except OSError:  # Linux says EIO once nobody has the other side.
            return output


def give_up_privileges() -> None:
    """Let permissions bind root as they bind others, from the next exec on. Does nothing for another user."""
    if os.geteuid() == 0:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            if ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "the capability can't be given up")
