"""Makes the report of a defect as Sentry takes it: loaded for a defect alone, since the SDK takes a moment to load."""

from __future__ import annotations

import os

import sentry_sdk
from sentry_sdk.consts import EndpointType
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport
from sentry_sdk.utils import Dsn

from game.service import reports

ENVIRONMENT, RELEASE = "SENTRY_ENVIRONMENT", "SENTRY_RELEASE"


class _Kept(Transport):
    """Keeps what the SDK would send."""

    def __init__(self, options: dict[str, object]) -> None:
        super().__init__(options)
        self.envelopes: list[bytes] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Keep the envelope as the bytes that are sent."""
        self.envelopes.append(envelope.serialize())


def of(error: Exception, command: str, dsn: str) -> list[bytes]:
    """Return each report as a line with the address, a line with the authorization, and the envelope."""
    auth = Dsn(dsn).to_auth("sudamr")
    release = os.environ.get(RELEASE) or None
    reports.begin(dsn, os.environ.get(ENVIRONMENT) or "development", release, transport=_Kept)
    with sentry_sdk.new_scope() as scope:
        scope.set_tag("command", command)
        sentry_sdk.capture_exception(error, scope=scope)
    kept = sentry_sdk.get_client().transport
    sentry_sdk.get_global_scope().set_client(None)
    assert isinstance(kept, _Kept)
    head = f"{auth.get_api_url(EndpointType.ENVELOPE)}\n{auth.to_header()}\n".encode()
    return [head + envelope for envelope in kept.envelopes]
