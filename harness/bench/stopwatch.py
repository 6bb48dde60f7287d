"""Times parts of a run by the processor time of its thread; the clock of a part stands while one within it runs."""

from __future__ import annotations

import functools
import inspect
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any

REST = "the rest"
"""The time of no part."""


class Stopwatch:
    """Seconds by part. clock: in seconds, of the one thread that uses it."""

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._clock = clock
        self._running = [REST]
        self._since = clock()

    def start(self) -> None:
        """Count from now on: what was between two runs is of no part."""
        self._since = self._clock()

    def stop(self) -> None:
        """Count what has passed since the last change of part."""
        now = self._clock()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block for this part, but for the parts within it."""
        self.stop()
        self._running.append(name)
        try:
            yield
        finally:
            self.stop()
            self._running.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its time counted for this part. One that yields gives a list, read at once."""
        yields = inspect.isgeneratorfunction(function)

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                result = function(*arguments, **named)
                return list(result) if yields else result

        return timed

    @contextmanager
    def timing(self, functions: Sequence[tuple[ModuleType, str, str]]) -> Iterator[None]:
        """Time these functions while the block runs: (module, its name there, part). Raises AttributeError for none."""
        real = [(module, name, getattr(module, name)) for module, name, _part in functions]
        for (module, name, function), (_module, _name, part) in zip(real, functions, strict=True):
            setattr(module, name, self.timed(part, function))
        try:
            yield
        finally:
            for module, name, function in real:
                setattr(module, name, function)

    def ending(self, name: str, opened: Callable[[], AbstractContextManager[None]]) -> Any:
        """Return a function that opens the same, with the time of its end counted for this part."""

        @contextmanager
        def timed() -> Iterator[None]:
            manager = opened()
            manager.__enter__()
            try:
                yield
            except BaseException as error:  # As `with` does: the manager is told of whatever ends its block.
                if not manager.__exit__(type(error), error, error.__traceback__):
                    raise
            else:
                with self.part(name):
                    manager.__exit__(None, None, None)

        return timed
