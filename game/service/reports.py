"""Reports of defects to Sentry, where SENTRY_DSN names one. Refusals and stores that are away are none.

What is sent: the error, its traces without local variables, and which request it was. Nothing is taken from a request
but its action, its id and its player; all texts are redacted once more before they go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration

from game.redaction import HIDDEN, is_secret_name, redact

if TYPE_CHECKING:
    from game.service.traffic import RequestFacts
    from game.settings import Settings

NEVER_SENT = frozenset({"query_string", "data", "env", "vars"})
"""Places of an event that are never sent, whatever they hold. The names of secrets are in `game.redaction`."""

SHUTDOWN_SECONDS = 2

_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s?#'\"]*)\?[^\s'\"]*", re.IGNORECASE)
_ROW = re.compile(r"(\b(?:DETAIL|CONTEXT): ).*")
"""Where Postgres quotes the row, all of it, that a constraint did not take."""


def start(now: Settings, **options: Any) -> None:
    """Report this process's defects from now on; not at all without a DSN. `options`: the SDK's own, for its tests."""
    if now.sentry_dsn is None:
        return
    begin(now.sentry_dsn.get_secret_value(), now.sentry_environment, now.sentry_release, **options)


def begin(dsn: str, environment: str, release: str | None = None, **options: Any) -> None:
    """Report this process's defects to a DSN from now on, scrubbed; for the service and for the tools."""
    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        release=release or f"sudamr@{version('sudamr')}",
        include_local_variables=False,
        max_request_body_size="never",
        before_send=lambda event, _hint: scrubbed(event),
        before_breadcrumb=lambda crumb, _hint: scrubbed(crumb),
        # Those that read requests, log lines and libraries on their own would send more than we know of.
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            AtexitIntegration(callback=lambda _pending, _timeout: None),
            DedupeIntegration(),
            ExcepthookIntegration(),
            ThreadingIntegration(propagate_hub=False),
        ],
        auto_session_tracking=False,
        shutdown_timeout=SHUTDOWN_SECONDS,
        **options,
    )


def report(error: Exception, about: RequestFacts) -> None:
    """Report a defect with what is known of the request. Does nothing unless reports are set up."""
    with sentry_sdk.new_scope() as scope:
        for name in ("action", "request_id"):
            if value := getattr(about, name):
                scope.set_tag(name, value)
        if about.player:
            scope.set_user({"id": about.player})
        sentry_sdk.capture_exception(error, scope=scope)


def flush() -> None:
    """Send what is not sent yet, for as long as a process that ends may take."""
    sentry_sdk.flush(timeout=SHUTDOWN_SECONDS)


def scrubbed(value: Any) -> Any:
    """Return the event without passwords in URLs, query strings, tokens, passes, and the rows that Postgres quotes."""
    match value:
        case str():
            return _ROW.sub(rf"\1{HIDDEN}", redact(_QUERY.sub(rf"\1?{HIDDEN}", value)))
        case Mapping():
            return {key: HIDDEN if _is_hidden(key) else scrubbed(inner) for key, inner in value.items()}
        case list() | tuple():
            return [scrubbed(inner) for inner in value]
        case _:
            return value


def _is_hidden(key: object) -> bool:
    return str(key).lower() in NEVER_SENT or is_secret_name(str(key))
