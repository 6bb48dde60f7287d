"""Clients in a process of their own: what is measured has another interpreter than they, as it has in production.

In one process they would share its lock, and wait for a copy that works beside them, whatever the service does.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Self

from db.errors import Failure
from harness.bench.workers import start
from harness.load.scripts import Script
from harness.load.steady import Answered, SteadyLoad

ANSWER_SECONDS = 120.0


class Clients:
    """A steady load while the context is entered. answers: of every request, once it is left.

    Their times are of this machine's monotonic clock, which all processes share.
    """

    def __init__(
        self, services: Sequence[str], scripts: Mapping[str, Script], tokens: Mapping[str, str], rate: float
    ) -> None:
        self.answers: list[Answered] = []
        context = multiprocessing.get_context("spawn")
        self._pipe, self._their_end = context.Pipe()
        arguments = (self._their_end, tuple(services), dict(scripts), dict(tokens), rate)
        self._process = context.Process(target=_play, args=arguments, daemon=True)

    def __enter__(self) -> Self:
        start(self._process)
        self._their_end.close()
        self._hear()
        return self

    def __exit__(self, kind: object, *_error: object) -> None:
        try:
            if kind is None:
                self._pipe.send(None)
                self.answers = self._hear()
        finally:
            self._pipe.close()  # It ends them, whatever they do.
            self._process.join()

    def burst(self, requests: int) -> None:
        """Send so many requests at once; returns when all are on their way."""
        self._pipe.send(requests)
        self._hear()

    def _hear(self) -> list[Answered]:
        try:
            if self._pipe.poll(ANSWER_SECONDS):
                answers: list[Answered] = self._pipe.recv()
                return answers
        except EOFError:
            raise Failure("clients that play", "their process ended", where="the clients' process") from None
        raise Failure(f"an answer within {ANSWER_SECONDS:.0f} s", "none", where="the clients' process")


def _play(
    pipe: Connection, services: Sequence[str], scripts: Mapping[str, Script], tokens: Mapping[str, str], rate: float
) -> None:
    """Play until the parent says that it is enough, or is gone."""
    load = SteadyLoad(services, scripts, tokens.__getitem__, rate)
    try:
        with load:
            pipe.send([])
            while (requests := pipe.recv()) is not None:
                load.burst(requests)
                pipe.send([])
        pipe.send(load.answers)
    except (EOFError, BrokenPipeError):
        return
