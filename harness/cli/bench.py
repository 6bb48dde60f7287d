"""Benchmarks: what commands, fresh databases and the parts of a live move cost, beside what others take."""

from __future__ import annotations

from functools import partial

from invoke.context import Context

from harness.cli.framework import Whole, task
from harness.cli.framework.running import judged
from harness.cli.texts import (
    JSON,
    POSTGRES,
)


@task(
    name="actions",
    help={
        "rounds": "how often each side has its turn",
        "requests": "how many a side carries out in one turn",
        "postgres": POSTGRES,
        "json": JSON,
    },
)
def bench_actions(
    _c: Context, rounds: int = Whole(5), requests: int = Whole(600), postgres: str = "", json: str = ""
) -> None:
    """Measure commands through dispatch and HTTP: beside the bare driver and pgbench with the same SQL."""
    from harness.bench import actions

    judged(json, partial(actions.run, rounds, requests, postgres or None), actions.show)


@task(
    name="databases",
    help={
        "rounds": "how many databases each way makes",
        "containers": "how many containers are started",
        "postgres": POSTGRES,
        "json": JSON,
    },
)
def bench_databases(
    _c: Context, rounds: int = Whole(100), containers: int = Whole(3, 0, 100), postgres: str = "", json: str = ""
) -> None:
    """Measure clones and resets of databases: beside the ways that others take."""
    from harness.bench import databases

    judged(json, partial(databases.run, rounds, containers, postgres or None), databases.show)


@task(
    name="window",
    help={
        "players": "how many players each file has",
        "runs": "how many live cutovers are made",
        "rate": "how many commands a second the clients send",
        "turns": "how often a copy beside the load is begun and ended before the first one",
        "postgres": POSTGRES,
        "json": JSON,
    },
)
def bench_window(
    _c: Context,
    players: int = Whole(1000),
    runs: int = Whole(3),
    rate: int = Whole(200),
    turns: int = Whole(10),
    postgres: str = "",
    json: str = "",
) -> None:
    """Measure the windows of live moves: both ways, under load, as clients see them."""
    from harness.bench import window

    judged(json, partial(window.run, players, runs, rate, turns, postgres or None), window.show)


@task(
    name="follow",
    help={
        "players": "how many players the file has",
        "minutes": "how long the file follows",
        "rate": "how many commands a second the clients send",
        "postgres": POSTGRES,
        "json": JSON,
    },
)
def bench_follow(
    _c: Context,
    players: int = Whole(1000),
    minutes: int = Whole(30),
    rate: int = Whole(100),
    postgres: str = "",
    json: str = "",
) -> None:
    """Measure how far a file that follows is behind: under load, to the rollback."""
    from harness.bench import follow

    judged(json, partial(follow.run, players, minutes, rate, postgres or None), follow.show)


@task(
    name="round",
    help={
        "rounds": "how many rounds of each kind of action are measured",
        "players": "how many players act before each",
        "postgres": POSTGRES,
        "json": JSON,
    },
)
def bench_round(
    _c: Context, rounds: int = Whole(8), players: int = Whole(50), postgres: str = "", json: str = ""
) -> None:
    """Measure a round of a live copy: processor time a player, by parts."""
    from harness.bench import round as rounds_of_copy

    judged(json, partial(rounds_of_copy.run, rounds, players, postgres or None), rounds_of_copy.show)
