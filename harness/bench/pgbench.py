"""pgbench with the recorded SQL: what the server does for a client that costs next to nothing.

`-M extended`, because the driver speaks it too: parse, bind and execute in one message, nothing prepared ahead. Values
that stay the same are variables given on the command line; the player and the request are drawn.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from db.errors import Failure
from db.servers import Tool
from game.rows import Value
from harness.bench.setup import FIRST, RecordedStatement, Setup

PLACE = re.compile(r"%\((\w+)\)s|%%")
TPS = re.compile(r"^tps = ([0-9.]+) \(without initial connection time\)", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """A custom script, and the variables that go before it."""

    text: str
    variables: dict[str, str]


def script(statements: Sequence[RecordedStatement], players: int) -> Script:
    """Write one transaction of the statements, for a player and under a request id that pgbench draws."""
    lines = [
        f"\\set player random({FIRST}, {FIRST + players - 1})",
        "\\set request random(1, 9000000000000000000)",
        "BEGIN;",
    ]
    variables: dict[str, str] = {}
    for number, statement in enumerate(statements):
        lines.append(_written(statement, f"s{number}_", variables) + ";")
    return Script("\n".join([*lines, "COMMIT;", ""]), variables)


def _written(statement: RecordedStatement, prefix: str, variables: dict[str, str]) -> str:
    def place(hole: re.Match[str]) -> str:
        name = hole[1]
        if name is None:
            return "%"
        if name in statement.player:
            return ":player"
        if name in (*statement.request, *statement.number):
            return ":request"
        value = statement.values[name]
        if value is None:
            return "NULL"
        variables[prefix + name] = _text(value)
        return f":{prefix}{name}"

    return PLACE.sub(place, statement.sql)


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def run(tool: Tool, proxied: Setup, script: Script, *, clients: int, requests: int) -> float:
    """Return transactions a second, without the time to connect. Raises Failure with pgbench's error."""
    threads = min(clients, len(os.sched_getaffinity(0)))
    options = ["-n", "-M", "extended", "-c", clients, "-j", threads, "-t", max(1, requests // clients), "-f", "-"]
    variables = [part for name, value in script.variables.items() for part in ("-D", f"{name}={value}")]
    done: subprocess.CompletedProcess[str] = tool.run(
        [*map(str, options), *variables],
        proxied.service,
        input=script.text,
        capture_output=True,
        text=True,
    )
    tps = TPS.search(done.stdout)
    if done.returncode or tps is None:
        raise Failure(
            "pgbench to succeed", (done.stderr or done.stdout).strip()[-600:], where=f"exit {done.returncode}"
        )
    return float(tps[1])
