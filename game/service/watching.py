"""What an operator sees of a process: counters for Prometheus, and one JSON object a log line.

No line and no label ever bears a secret: settings are SecretStr, passes and tokens are never handed to this module, and
the drivers' errors hide their parameters.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from structlog.typing import Processor

from game.dispatch import Notice
from game.errors import TryAgain

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "sudamr_requests", "Actions asked for, by how they ended.", ["action", "end"], registry=self.registry
        )
        self.refusals = Counter("sudamr_refusals", "Requests not granted, by code.", ["code"], registry=self.registry)
        self.retries = Counter(
            "sudamr_retries", "Attempts that failed for now, by code.", ["code"], registry=self.registry
        )
        self.seconds = Histogram("sudamr_request_seconds", "How long actions took.", ["action"], registry=self.registry)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)


def configure_logs() -> None:
    """Every log line of the process, the libraries' included, as one JSON object on standard error."""
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    render = structlog.processors.JSONRenderer(ensure_ascii=False)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _only_ours, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # An unhandled error is logged by the service, with the request's id.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)


def logger() -> structlog.stdlib.BoundLogger:
    """The service's log."""
    log: structlog.stdlib.BoundLogger = structlog.get_logger("game.service")
    return log


def notice(metrics: Metrics, **about: str) -> Notice:
    """Counts and logs each attempt that failed for now."""

    def tell(error: TryAgain, attempt: int) -> None:
        metrics.retries.labels(error.code).inc()
        logger().warning(error.code, attempt=attempt, detail=error.detail, **about)

    return tell


def _only_ours(_log: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A library's colored copy of its own message is noise."""
    event.pop("color_message", None)
    return event
