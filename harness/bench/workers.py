"""Worker processes that carry out requests on threads: as many as the machine has cores, for a process has one lock.

A round is a number of requests, shared among the clients; clients are shared among the processes. All of them connect
before the clock starts.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Self

from db import environments
from db.errors import Failure
from harness.bench.targets import Act, BenchTarget

START_SECONDS = 60.0
ROUND_SECONDS = 600.0


@dataclass(frozen=True)
class Job:
    """The work of one process in a round: the action once for each of the players, by so many clients."""

    target: BenchTarget
    action: str
    players: tuple[str, ...]
    clients: int
    run: str


@dataclass(frozen=True)
class Timing:
    """The times of a job by the machine's monotonic clock: first request begun, last one ended, seconds of each."""

    began: float
    ended: float
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Round:
    """A round of all workers: requests a second, and seconds of each request."""

    tps: float
    seconds: tuple[float, ...]

    @classmethod
    def of(cls, timings: Sequence[Timing]) -> Self:
        """Return the round of the processes' timings, from the first begin to the last end."""
        spent = max(timing.ended for timing in timings) - min(timing.began for timing in timings)
        seconds = tuple(second for timing in timings for second in timing.seconds)
        return cls(len(seconds) / spent, seconds)


def processes() -> int:
    """Return how many worker processes there are: one a core that we may use."""
    return len(os.sched_getaffinity(0))


class WorkerPool:
    """The worker processes of one benchmark, started once; they end with us, for their pipes close."""

    def __init__(self, size: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(size):
            parent_end, child_end = context.Pipe()
            process = context.Process(target=_work, args=(child_end,), daemon=True)
            start(process)
            child_end.close()
            self._pipes.append(parent_end)
            self._processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_cause: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()

    def play(self, target: BenchTarget, action: str, players: Sequence[str], clients: int, run: str) -> Round:
        """Run one round. Raises Failure with the error of a client."""
        size = min(len(self._pipes), clients)
        pipes = self._pipes[:size]
        for n, pipe in enumerate(pipes):
            pipe.send(Job(target, action, tuple(players[n::size]), _share(clients, size, n), f"{run}{n}"))
        for pipe in pipes:
            _hear(pipe, START_SECONDS)
        for pipe in pipes:
            pipe.send("go")
        return Round.of([_hear(pipe, ROUND_SECONDS) for pipe in pipes])


def start(process: BaseProcess) -> None:
    """Start a process that ends with its pipe: without secrets, and without Ctrl-C.

    Ctrl-C reaches the whole group of a terminal, and the process would print a traceback.
    """
    # The tracker is started first, for its start lifts the mask: the first process would be without it.
    with _without_secrets():
        resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _without_secrets():
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def _without_secrets() -> Iterator[None]:
    """Keep secrets from what starts meanwhile: multiprocessing gives it this process's environment, and no other."""
    hidden = {name: os.environ.pop(name) for name in os.environ.keys() - environments.child_variables().keys()}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _share(clients: int, size: int, n: int) -> int:
    return clients // size + (n < clients % size)


def _hear(pipe: Connection, seconds: float) -> Timing:
    if not pipe.poll(seconds):
        raise Failure(f"a worker's answer within {seconds:.0f} s", "none", where="a worker process")
    answer = pipe.recv()
    if isinstance(answer, str):
        raise Failure("every request to be carried out", answer, where="a worker process")
    assert isinstance(answer, Timing)
    return answer


def _work(pipe: Connection) -> None:
    """Run a worker process: a job, a timing, the next job. An error is sent to the parent, which raises it."""
    try:
        while True:
            job: Job = pipe.recv()
            try:
                _carry_out(job, pipe)
            except Exception:  # noqa: BLE001  # the parent raises it
                pipe.send(traceback.format_exc(limit=-3))
    except EOFError:
        return


def _carry_out(job: Job, pipe: Connection) -> None:
    with ExitStack() as stack:
        acts = job.target.open(job.clients, stack)
        gate = threading.Barrier(job.clients + 1)
        threads = stack.enter_context(ThreadPoolExecutor(job.clients))
        shares = [job.players[n :: job.clients] for n in range(job.clients)]
        done = [
            threads.submit(_client, act, job, n, share, gate)
            for n, (act, share) in enumerate(zip(acts, shares, strict=True))
        ]
        pipe.send(Timing(0.0, 0.0, ()))
        pipe.recv()
        began = time.monotonic()
        gate.wait()
        seconds = [second for future in done for second in future.result()]
        pipe.send(Timing(began, time.monotonic(), tuple(seconds)))


def _client(act: Act, job: Job, n: int, players: Sequence[str], gate: threading.Barrier) -> list[float]:
    gate.wait()
    seconds = []
    for turn, player in enumerate(players):
        began = time.perf_counter()
        act(job.action, player, f"{job.run}{n:02}{turn:05}")
        seconds.append(time.perf_counter() - began)
    return seconds
