"""Measures what the change log costs a command, in processor time of the client and of Postgres, in pairs of blocks.

    python -m harness.bench.log_cost --blocks 40 --commands 60

Blocks of commands by the game's own store come in turn without the log's triggers, with them and the log off, and with
the log on. The figures are medians of the differences between neighbours, so that a machine that changes its speed
does not count.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import count, cycle
from pathlib import Path

import psutil

from db import ops, tables
from db.ops import change_log
from game.postgres.store import PostgresStore
from game.urls import PostgresUrl
from harness.bench import setup
from harness.bench.setup import COMMANDS, FIRST, Setup

STATES = ("without", "off", "on")
WARM_UP = 8
"""Commands of a block that are not counted: the first plan their statements, and the triggers', anew."""


def main() -> None:
    """Parse the arguments, measure, and print a line for each action."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--commands", type=int, default=60)
    arguments = parser.parse_args()
    players = arguments.commands + WARM_UP
    with setup.proxied(None, players) as made:
        for action in COMMANDS:
            blocks = list(_blocks(made, action, arguments.blocks, arguments.commands))
            print(_line(action, blocks))  # noqa: T201  # the output of a program


def _line(action: str, blocks: list[dict[str, tuple[float, float]]]) -> str:
    parts = [action]
    base = statistics.median(sum(block["without"]) for block in blocks)
    parts.append(f"without {base:.3f} ms")
    for state in STATES[1:]:
        client, server = (statistics.median(b[state][n] - b["without"][n] for b in blocks) for n in (0, 1))
        both = statistics.median(sum(b[state]) - sum(b["without"]) for b in blocks)
        parts.append(f"{state} {both:+.3f} ms ({both / base:+.1%}; client {client:+.3f}, server {server:+.3f})")
    return "; ".join(parts)


def _blocks(made: Setup, action: str, blocks: int, commands: int) -> Iterator[dict[str, tuple[float, float]]]:
    """Yield for each block the milliseconds of a command by state: of the client's thread, and of Postgres."""
    store = PostgresStore(made.service, pool_size=1)
    numbers = count(int(time.time() * 1000) * 1000)
    orders = cycle((STATES, tuple(reversed(STATES))))
    with ops.connect(made.owner) as owner:
        change_log.turn_on(owner, run="bench", peer="bench")
        on = owner.execute("select log from ops.fence where schema = current_schema()").fetchone()
        try:
            for _block in range(blocks):
                measured: dict[str, tuple[float, float]] = {}
                for state in next(orders):
                    made.refill()
                    _switch(owner, state, None if on is None else on[0])
                    measured[state] = _measured(store, made.service, action, commands, numbers)
                yield measured
        finally:
            _switch(owner, "off", None)
            store.close()


def _measured(
    store: PostgresStore, service: PostgresUrl, action: str, commands: int, numbers: Iterator[int]
) -> tuple[float, float]:
    spent: dict[str, float] = defaultdict(float)
    backend: int | None = None
    gc.disable()
    for n in range(commands + WARM_UP):
        if n == WARM_UP:
            backend = _backend(service)
            before = time.thread_time(), _nanoseconds(backend)
        setup.ask(store, str(FIRST + n), str(next(numbers)), COMMANDS[action])
    assert backend is not None
    spent["client"] = time.thread_time() - before[0]
    server = (_nanoseconds(backend) - before[1]) / 1e9
    gc.enable()
    return spent["client"] / commands * 1000, server / commands * 1000


def _switch(owner: ops.Connection, state: str, log: str | None) -> None:
    how = "disable" if state == "without" else "enable always"
    for table in tables.LOGGED:
        rows = tables.LOG_ROW_TRIGGERS if table in tables.ROWS_NOTED else {}
        for name in (*tables.LOG_TRIGGERS.values(), *rows.values()):
            owner.execute(f"alter table {table} {how} trigger {name}".encode())
    owner.execute("update ops.fence set log = %s", (log if state == "on" else None,))


def _backend(service: PostgresUrl) -> int:
    """Return the process, as this machine numbers it, that serves the one session of the service's role."""
    for process in psutil.process_iter():
        try:
            if " ".join(process.cmdline()).startswith(f"postgres: {service.user} {service.dbname} "):
                return process.pid
        except psutil.Error:  # It has ended.
            continue
    raise LookupError("the process of Postgres is not on this machine")


def _nanoseconds(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


if __name__ == "__main__":
    main()
