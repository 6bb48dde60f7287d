"""Checks of the service's processes, from their /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite

from prometheus_client.parser import text_string_to_metric_families

from db import environments, ops
from db.cutover.services import OK, Ready
from db.monitor.check import Check, Limit, Measured, NotApplicable, NotJudged
from db.monitor.look import Look

SERVICE = "service: "
"""Before the URL of a process and the name of a counter of it, in a sample."""

WANTED = (
    "sudamr_requests_total",
    "sudamr_refusals_total",
    "sudamr_rollbacks_total",
    "sudamr_retries_total",
    "sudamr_request_seconds_bucket",
    "sudamr_request_seconds_count",
    "sudamr_pool_in_use",
    "sudamr_pool_waiting",
)
BY_CODE = ("sudamr_requests_total", "sudamr_refusals_total", "sudamr_retries_total")
"""A process shows them for every code from its start on."""

STORE = """
select format('postgres:%s/%s/%s', system_identifier, current_database(), current_schema()) from pg_control_system()
"""
"""As the service names its store at /readyz."""

LEAST_REQUESTS = 50
LATENCY_SHARE = 0.95


def parsed(texts: Mapping[str, str]) -> dict[str, float]:
    """Return the counters and gauges of each process, from the text of its /metrics; of all actions together.

    Another program may answer at a URL: a text that is not of Prometheus's form gives nothing.
    """
    counters: dict[str, float] = {}
    for url, text in texts.items():
        try:
            counters |= _of_process(f"{SERVICE}{url} ", text)
        except ValueError:
            continue
    return counters


def _of_process(prefix: str, text: str) -> dict[str, float]:
    counters: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # What was never counted need not be kept: where a counter is absent, it is 0.
            if sample.name not in WANTED or not isfinite(sample.value) or (sample.name in BY_CODE and not sample.value):
                continue
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()) if name != "action")
            name = f"{prefix}{sample.name}{{{labels}}}"
            counters[name] = counters.get(name, 0.0) + sample.value
    return counters


def processes(look: Look) -> Measured:
    """Measure the processes of the service that are not ready."""
    _require_services(look)
    wrong = [
        f"{url}: {ready if isinstance(ready, str) else f'status {ready.status}, {ready.engine}, fence {ready.fence}'}"
        for url, ready in look.ready.items()
        if not isinstance(ready, Ready) or ready.status != OK
    ]
    return Measured(float(len(wrong)), "; ".join(wrong[:3]) or f"all {len(look.ready)} are ready")


def stores(look: Look) -> Measured:
    """Measure the stores beside one that the processes serve, and that the phase names: two are two truths."""
    _require_services(look)
    served = sorted({f"{ready.engine} {ready.store}" for ready in look.ready.values() if isinstance(ready, Ready)})
    if not served:
        raise NotJudged("no process of the service answers")
    look.require_usage(look.env.target_direct.schema)
    if look.phase is ops.Phase.LIVE:  # All on one store that is not this one is as wrong.
        served = sorted({*served, f"postgres {look.value(STORE)}"})
    return Measured(float(len(served) - 1), "; ".join(served))


def pool_in_use(look: Look) -> Measured:
    """Measure the fullest connection pool, in percent."""
    size = environments.pool_size(look.env)
    in_use, url = max((value, url) for url, value in _gauge(look, "sudamr_pool_in_use").items())
    return Measured(100.0 * in_use / size, f"{in_use:g} of {size} at {url}")


def pool_waiting(look: Look) -> Measured:
    """Measure the requests that wait for a connection, on the process with the most. Waits for a slot do not count."""
    waiting, url = max((value, url) for url, value in _gauge(look, "sudamr_pool_waiting").items())
    return Measured(waiting, f"{waiting:g} at {url}")


def code(name: str, counter: str) -> Callable[[Look], Measured]:
    """Return the measure of how often the service counted this code since the look before."""

    def measure(look: Look) -> Measured:
        _require_services(look)
        many, seconds = _grown(look, counter, f"code={name}")
        return Measured(many, f"{many:,.0f} {name}", seconds)

    return measure


def failed(look: Look) -> Measured:
    """Measure the requests that ended with a defect of the service."""
    _require_services(look)
    many, seconds = _grown(look, "sudamr_requests_total", "end=failed")
    return Measured(many, f"{many:,.0f} ended failed", seconds)


def refused_share(look: Look) -> Measured:
    """Measure the share of requests that were refused by a rule, in percent."""
    _require_services(look)
    total, seconds = _grown(look, "sudamr_requests_total", "")
    if total < LEAST_REQUESTS:
        raise NotApplicable(f"{total:,.0f} requests in the window; fewer than {LEAST_REQUESTS} say nothing")
    refused, _ = _grown(look, "sudamr_requests_total", "end=refused")
    return Measured(100.0 * refused / total, f"{refused:,.0f} of {total:,.0f}{_codes(look)}", seconds)


def latency(look: Look) -> Measured:
    """Measure the milliseconds within which 95 of 100 requests were answered: the bound of the histogram's bucket."""
    _require_services(look)
    total, seconds = _grown(look, "sudamr_request_seconds_count", "")
    if total < LEAST_REQUESTS:
        raise NotApplicable(f"{total:,.0f} requests in the window; fewer than {LEAST_REQUESTS} say nothing")
    marked = "sudamr_request_seconds_bucket{le="
    bounds = {name.partition(marked)[2].removesuffix("}") for name in look.sample.counters if marked in name}
    finite = sorted((bound for bound in bounds if isfinite(float(bound))), key=float)
    for bound in finite:
        within, _ = _grown(look, "sudamr_request_seconds_bucket", f"le={bound}")
        if within >= LATENCY_SHARE * total:
            return Measured(float(bound) * 1000, f"{within:,.0f} of {total:,.0f} within it", seconds)
    if not finite:
        raise NotJudged("the histogram of the service has no buckets")
    return Measured(float(finite[-1]) * 1000 + 1, f"95 of 100 took more than {finite[-1]} s", seconds)


def _codes(look: Look) -> str:
    marked = "sudamr_refusals_total{code="
    codes = {name.partition(marked)[2].removesuffix("}") for name in look.sample.counters if marked in name}
    grown = {code: _grown(look, "sudamr_refusals_total", f"code={code}")[0] for code in codes}
    most = sorted(grown.items(), key=lambda pair: -pair[1])[:3]
    return "".join(f"; {code} {value:,.0f}" for code, value in most if value)


def _grown(look: Look, counter: str, labels: str) -> tuple[float, float]:
    """Return how much the counters of this name and label grew in all processes, and the seconds.

    A process that was restarted counts from 0. One that did not answer at the look before is not counted yet: what it
    counts is of its whole life. Raises NotJudged where no process answered at both.
    """
    earlier = look.earlier_sample.counters
    now = _answering(look, look.sample.counters)
    if not now:
        raise NotJudged("no process of the service answers at /metrics")
    both = now & _answering(look, earlier)
    if not both:
        raise NotJudged("no process of the service answered at the look before")
    grown = 0.0
    for name, value in look.sample.counters.items():
        url, _, rest = name.removeprefix(SERVICE).partition(" ")
        of_name, _, of_labels = rest.removesuffix("}").partition("{")
        if of_name == counter and url in both and (not labels or labels in of_labels.split(",")):
            before = earlier.get(name, 0.0)
            grown += value - before if value >= before else value
    return grown, look.window_seconds


def _answering(look: Look, counters: Mapping[str, float]) -> set[str]:
    """Return the URLs of the processes whose /metrics are in these counters; each has a gauge from its start on."""
    return {url for url in look.env.services if f"{SERVICE}{url} sudamr_pool_in_use{{}}" in counters}


def _gauge(look: Look, name: str) -> dict[str, float]:
    _require_services(look)
    answering = _answering(look, look.sample.counters)
    if not answering:
        raise NotJudged("no process of the service answers at /metrics")
    return {url: look.sample.counters.get(f"{SERVICE}{url} {name}{{}}", 0.0) for url in answering}


def _require_services(look: Look) -> None:
    if not look.env.services:
        raise NotApplicable("the environment lists no services")


CHECKS = (
    Check(
        name="processes of the service",
        limit=Limit(0, "processes", "docs/service.md: a process that is not ready at /readyz serves no player"),
        measure=processes,
        defect="a listed process that is down",
        do="Start the process that is named; its log says why it ended.",
    ),
    Check(
        name="one store",
        limit=Limit(0, "further stores", "two processes on two stores let the players' data diverge"),
        measure=stores,
        defect="two processes, one on Postgres and one on the legacy file",
        not_judged="no process answers, the role may not read ops.phase",
        do="invoke status --env {env} says which store is right; restart the other process.",
    ),
    Check(
        name="connection pool in use",
        limit=Limit(80, "%", "of POOL_SIZE; the rest is for bursts"),
        measure=pool_in_use,
        defect="requests that hold every connection behind a locked row",
        not_judged="no process answers, POOL_SIZE in the pointer's file is no number",
        do="See `blocked sessions` and `slow statements`; else raise POOL_SIZE in the pointer's file and restart.",
    ),
    Check(
        name="waiting for a connection",
        limit=Limit(
            1, "requests", "on the legacy file one may wait for the write lock; commands without a slot do not count"
        ),
        measure=pool_waiting,
        defect="more reads than connections, behind a locked table",
        not_judged="no process answers",
        do="See `blocked sessions` and `slow statements`; else raise POOL_SIZE in the pointer's file and restart.",
    ),
    Check(
        name="requests that failed",
        limit=Limit(0, "requests", "docs/service.md: each is a defect or a store that was away"),
        measure=failed,
        defect="requests while the database is closed to the service's role",
        not_judged="no process answers, the first look",
        do="Read the service's log for the level error.",
    ),
    Check(
        name="database unreachable",
        limit=Limit(0, "attempts", "docs/service.md: db_unreachable"),
        measure=code("db_unreachable", "sudamr_retries_total"),
        defect="sessions of the service that an administrator ends while they work",
        not_judged="no process answers, the first look",
        do="invoke status --env {env}; then the server's log.",
    ),
    Check(
        name="transactions tried again",
        limit=Limit(
            10, "attempts", "docs/service.md: tx_rolled_back; a lock timeout now and then is one player on two devices"
        ),
        measure=code("tx_rolled_back", "sudamr_retries_total"),
        defect="a row that is locked for longer than the service's lock timeout, for twenty requests",
        not_judged="no process answers, the first look",
        do="See `blocked sessions` and `deadlocks`.",
    ),
    Check(
        name="turned away",
        limit=Limit(0, "requests", "docs/service.md: too_busy; each is a request that got no place"),
        measure=code("too_busy", "sudamr_refusals_total"),
        defect="more requests at once than a process admits",
        not_judged="no process answers, the first look",
        do="Start another process of the service and list it in `services`; see `connections` first.",
    ),
    Check(
        name="refused requests",
        limit=Limit(30, "%", "players make mistakes; if a third of requests are refused, a client or a rule is wrong"),
        measure=refused_share,
        defect="a client that asks for what its player lacks, a hundred times",
        not_judged="no process answers, the first look",
        do="Look up the codes that are named: docs/refusals.md has the rules' codes, docs/service.md the others.",
    ),
    Check(
        name="time to answer",
        limit=Limit(250, "ms", "for 95 of 100 requests; players notice a quarter of a second"),
        measure=latency,
        defect="requests that wait for a locked row",
        not_judged="no process answers, the first look",
        do="See `slow statements`, `blocked sessions` and `connection pool in use`.",
    ),
)
