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
from harness.bench.setup import FIRST, Setup, Statement

PLACE = re.compile(r"%\((\w+)\)s|%%")
TPS = re.compile(r"^tps = ([0-9.]+) \(without initial connection time\)", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """A custom script, and the variables that go before it."""

    text: str
    variables: dict[str, str]


def script(statements: Sequence[Statement], players: int) -> Script:
    """One transaction of the statements for one of the players, drawn, under a request id that is drawn too."""
    lines = [
        f"\\set player random({FIRST}, {FIRST + players - 1})",
        "\\set request random(1, 9000000000000000000)",
        "BEGIN;",
    ]
    variables: dict[str, str] = {}
    for number, statement in enumerate(statements):
        lines.append(_written(statement, f"s{number}_", variables) + ";")
    return Script("\n".join([*lines, "COMMIT;", ""]), variables)


def _written(statement: Statement, prefix: str, variables: dict[str, str]) -> str:
    def place(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "%"
        if name in statement.player:
            return ":player"
        if name in statement.request:
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
    """Transactions a second, the time to connect aside. Raises Failure with what pgbench said."""
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
    found = TPS.search(done.stdout)
    if done.returncode or found is None:
        raise Failure(
            "pgbench to succeed", (done.stderr or done.stdout).strip()[-600:], where=f"exit {done.returncode}"
        )
    return float(found[1])
