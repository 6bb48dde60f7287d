"""The log: one JSON object a line.

No line ever bears a secret: settings are SecretStr, headers and query strings are never logged, the drivers' errors
hide their parameters, and what looks like a secret all the same is redacted as the last thing.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.typing import Processor

from game.dispatch import Notice
from game.errors import TryAgain
from game.redaction import redact
from game.service.metrics import Metrics

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


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
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _only_ours, _redacted, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # A defect is logged by the service, with the request's id.
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


def _redacted(_log: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = redact(value)
    return event
