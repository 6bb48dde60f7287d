"""Serves the watch's last look to Prometheus: value, limit, breach and judged of each check, and when it looked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from db.errors import Refusal
from db.monitor.check import CheckOutcome
from db.monitor.watching import Looked

LABELS = ("environment", "check")


class LastLook(Collector):
    """The newest look, as gauges. Of a check that was not judged there is no value."""

    def __init__(self) -> None:
        self.looked: Looked | None = None

    def collect(self) -> Iterator[Metric]:
        """Give the gauges; none before the first look."""
        if self.looked is None:
            return
        looked = self.looked
        value = GaugeMetricFamily("sudamr_check_value", "What the check measured.", labels=LABELS)
        limit = GaugeMetricFamily("sudamr_check_limit", "The limit of the check.", labels=LABELS)
        breach = GaugeMetricFamily("sudamr_check_breach", "1 beyond the limit, 0 within it.", labels=LABELS)
        judged = GaugeMetricFamily("sudamr_check_judged", "0 where the value can't be known now.", labels=LABELS)
        for each in looked.judgements:
            labels = (looked.environment, each.check)
            if each.outcome is CheckOutcome.NOT_APPLICABLE:
                continue
            judged.add_metric(labels, float(each.outcome is not CheckOutcome.NOT_JUDGED))
            limit.add_metric(labels, each.limit)
            if each.value is not None:
                value.add_metric(labels, each.value)
                breach.add_metric(labels, float(each.outcome is CheckOutcome.BREACH))
        at = GaugeMetricFamily("sudamr_look_timestamp_seconds", "When it looked last.", labels=LABELS[:1])
        at.add_metric((looked.environment,), looked.at.timestamp())
        answers = GaugeMetricFamily("sudamr_server_answers", "1 if the server answered the look.", labels=LABELS[:1])
        answers.add_metric((looked.environment,), float(not looked.error))
        yield from (value, limit, breach, judged, at, answers)


@contextmanager
def serving(address: str) -> Iterator[LastLook]:
    """Serve /metrics on HOST:PORT while the block runs; "": nowhere. Raises Refusal if the address can't be had."""
    last = LastLook()
    if not address:
        yield last
        return
    registry = CollectorRegistry()
    registry.register(last)
    host, _, port = address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), registry)
    except (OSError, ValueError, OverflowError) as error:
        raise Refusal(
            "an address HOST:PORT that is free on this machine",
            f"{address}: {error}",
            where="watch.listen",
            do="Name another in watch.listen, or leave it out: then nothing is served.",
        ) from None
    try:
        yield last
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
