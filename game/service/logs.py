"""The log: one JSON object a line.

No line ever bears a secret: settings are SecretStr, headers and query strings are never logged, the drivers' errors
hide their parameters, and what looks like a secret all the same is redacted as the last thing. Each field is cut in
length, and control, bidirectional and invisible characters are written as JSON's escapes: a client chooses some texts.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from structlog.typing import Processor

from game import printable
from game.errors import TryAgain
from game.printable import FIELD_CHARACTERS

if TYPE_CHECKING:  # The supervisor logs too, and needs neither the rules nor Prometheus: a third of its start.
    from game.dispatch import Notice
    from game.service.metrics import Metrics

STRANGERS = ("request", "request_refused")
"""Events that anybody can cause, without a token."""

TRACE_CHARACTERS = 20_000

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def configure_logs() -> None:
    """Write every log line of the process, the libraries' too, as one JSON object to standard error."""
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    render = structlog.processors.JSONRenderer(serializer=printable.to_json)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _only_ours, _fitted, render],
        )
    )
    handler.addFilter(Sparing())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # A defect is logged by the service, with the request's id.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)


class Sparing(logging.Filter):
    """Leave out lines that strangers cause, beyond LINES of a kind in SECONDS; the next one says how many.

    A kind is a library's logger, or our event about a request without a known player. What players ask for, and every
    error of ours, is always logged.
    """

    LINES = 20
    SECONDS = 10.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[str, _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a record to drop; see `logging.Filter.filter`."""
        kind = _kind(record)
        if kind is None:
            return True
        now = self._clock()
        window = self._kinds.setdefault(kind, _Window(now))
        if now - window.since >= self.SECONDS:
            left_out = window.lines - self.LINES
            self._kinds[kind] = window = _Window(now)
            if left_out > 0:
                _add(record, left_out)
        window.lines += 1
        return window.lines <= self.LINES


@dataclass(slots=True)
class _Window:
    since: float
    lines: int = 0


def _kind(record: logging.LogRecord) -> str | None:
    if not isinstance(record.msg, dict):
        return record.name
    of_a_stranger = not record.msg.get("player") and record.levelno < logging.ERROR
    return str(record.msg["event"]) if of_a_stranger and record.msg.get("event") in STRANGERS else None


def _add(record: logging.LogRecord, left_out: int) -> None:
    if isinstance(record.msg, dict):
        record.msg["left_out"] = left_out
    else:
        record.msg = f"{record.getMessage()} ({left_out} lines like it were left out)"
        record.args = ()


def logger() -> structlog.stdlib.BoundLogger:
    """Return the service's own logger, which writes JSON lines."""
    log: structlog.stdlib.BoundLogger = structlog.get_logger("game.service")
    return log


def notice(metrics: Metrics, **about: str) -> Notice:
    """Return a function that counts and logs each attempt that failed for now."""

    def tell(error: TryAgain, attempt: int) -> None:
        metrics.retries.labels(error.code).inc()
        logger().warning(error.code, attempt=attempt, detail=error.detail, **about)

    return tell


def _only_ours(_log: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop a library's colored copy of its own message: it is noise."""
    event.pop("color_message", None)
    return event


def _fitted(_log: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redact and cut every field; the traceback may be longer."""
    return {
        printable.cut(name): printable.field(value, name, TRACE_CHARACTERS if name == "exception" else FIELD_CHARACTERS)
        for name, value in event.items()
    }
