"""Each counter moves when it should, and docs/service.md knows each by name."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from httpx import Client
from prometheus_client.parser import text_string_to_metric_families

from db.samples import builders
from game.legacy import fence
from game.postgres.store import Timeouts
from game.service import connections
from game.service.app import WAITING_PER_CONNECTION
from game.service.metrics import Closed, Held, Metrics
from game.service.problems import PROBLEMS, end_of
from game.stores import open_store
from tests.game.places import LegacyPlace, PostgresPlace
from tests.game.playing_on_stores import Failing, lost
from tests.game.service.running import eventually, one_waits
from tests.game.service.serving import HANA, act, assert_problem, bearer, client_of

DOCS = Path(__file__).parents[3] / "docs" / "service.md"
KINDS = ("lock", "load", "save", "commit")


@contextmanager
def serving(url: str, *, pool_size: int = 2) -> Iterator[Client]:
    metrics = Metrics()
    store = open_store(url, pool_size=pool_size, timeouts=Timeouts(pool_seconds=0.2), watch=metrics)
    with client_of(store, metrics=metrics, pool_size=pool_size) as client:
        yield client


def value(client: Client, name: str, **labels: str) -> float:
    """Return the counter's value, 0 where nothing was counted."""
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return 0.0


ENDS = {"granted", "replayed", "refused", "fenced", "moved", "turned_away", "failed"}
FAILED = {"store_unavailable", "internal_error"}
"""All that nobody planned. Whoever adds a code decides whether it wakes somebody at night."""


def test_only_what_nobody_planned_is_a_failure() -> None:
    ends = {code: end_of(code) for code in PROBLEMS}
    assert set(ends.values()) | {"granted", "replayed"} == ENDS
    assert {code for code, end in ends.items() if end == "failed"} == FAILED


def test_each_end_is_documented() -> None:
    assert documented("end") == ENDS


def test_each_reason_to_close_a_connection_is_documented_and_given() -> None:
    assert documented("reason") == set(Closed)
    given = Path(connections.__file__).read_text("utf-8")
    assert [reason for reason in Closed if f"Closed.{reason.name}" not in given] == []


def test_each_end_of_a_hold_is_documented() -> None:
    assert documented("hold") == set(Held)


def documented(head: str) -> set[str]:
    """Return the names in the first column of the table of docs/service.md that this head begins."""
    page = DOCS.read_text("utf-8").partition("## Metrics")[2]
    table = page.partition(f"| `{head}` |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return set(re.findall(r"`(\w+)`", "".join(rows)))


@pytest.mark.parametrize("place", ["postgres", "legacy"])
@pytest.mark.parametrize("state", ["fenced", "moved"])
def test_a_request_that_meets_a_move_is_no_failure(
    place: str, state: fence.FenceState, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    at: PostgresPlace | LegacyPlace = request.getfixturevalue(place)
    at.put(builders.player("hana", **HANA))
    with serving(at.url) as client, caplog.at_level("INFO"):
        act(client)
        at.fence(state)
        again, new, read = act(client), act(client, "equip", "r2", item="fan"), client.get("/players/hana")
        assert_problem(new, state)
        assert (again.is_success, read.is_success) == (state == "fenced", state == "fenced")
        assert value(client, "sudamr_requests_total", action="equip", end=state) == 1
        assert value(client, "sudamr_requests_total", action="show", end="moved") == (state == "moved")
        for action in ("claim_mail", "equip", "show"):
            assert value(client, "sudamr_requests_total", action=action, end="failed") == 0
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


@pytest.mark.parametrize("place", ["postgres", "legacy"])
def test_requests_refusals_rollbacks_and_query_times_are_counted(place: str, request: pytest.FixtureRequest) -> None:
    at: PostgresPlace | LegacyPlace = request.getfixturevalue(place)
    at.put(builders.player("hana", **HANA))
    with serving(at.url) as client:
        act(client)
        act(client)
        assert_problem(act(client, key="r2"), "already_claimed")
        client.get("/players/hana")
        for end in ("granted", "replayed", "refused"):
            assert value(client, "sudamr_requests_total", action="claim_mail", end=end) == 1
        assert value(client, "sudamr_requests_total", action="show", end="granted") == 1
        assert value(client, "sudamr_refusals_total", code="already_claimed") == 1
        assert value(client, "sudamr_rollbacks_total") == 1
        assert value(client, "sudamr_request_seconds_count", action="claim_mail") == 3
        counted = {kind: value(client, "sudamr_query_seconds_count", statement=kind) for kind in KINDS}
        assert counted == {"lock": 3, "load": 3, "save": 1, "commit": 1}
        assert (value(client, "sudamr_pool_in_use"), value(client, "sudamr_pool_waiting")) == (0, 0)


def test_retries_and_failures_are_counted(legacy: LegacyPlace) -> None:
    legacy.put(builders.player("hana", **HANA))
    with client_of(Failing(legacy.store, "save", lost(), times=4)) as client:
        assert_problem(act(client), "store_unavailable")
        assert value(client, "sudamr_retries_total", code="db_unreachable") == 4
        assert value(client, "sudamr_requests_total", action="claim_mail", end="failed") == 1


def test_a_full_pool_is_seen_and_answered_503_quickly(postgres: PostgresPlace) -> None:
    postgres.put(builders.player("hana", **HANA))
    with serving(postgres.url, pool_size=1) as client, ThreadPoolExecutor() as threads:
        owner = psycopg.connect(postgres.database.owner.conninfo)
        with owner as blocker:
            blocker.execute("select from users where id = 'hana' for update")
            first = threads.submit(act, client)
            eventually(lambda: one_waits(blocker))
            assert value(client, "sudamr_pool_in_use") == 1
            assert_problem(act(client, key="r2"), "store_unavailable")
            blocker.rollback()
        assert first.result().is_success
        assert value(client, "sudamr_pool_in_use") == 0


def test_more_requests_than_could_wait_are_turned_away_at_once(legacy: LegacyPlace) -> None:
    legacy.put(builders.player("hana", **HANA))
    gate = threading.Event()

    class Slow(Failing):
        def fail(self, step: str) -> None:
            gate.wait()

    with client_of(Slow(legacy.store, "", lost()), pool_size=1) as client, ThreadPoolExecutor(40) as threads:
        try:
            waiting = [threads.submit(act, client, key=f"r{n}") for n in range(WAITING_PER_CONNECTION * 3)]
            eventually(lambda: busy(client))
            assert client.get("/readyz").is_success
        finally:
            gate.set()
        ends = [answer.result().json().get("code", "granted") for answer in waiting]
    assert ends.count("too_busy") >= 1
    assert ends.count("granted") == 1


def busy(client: Client) -> None:
    assert value(client, "sudamr_refusals_total", code="too_busy") >= WAITING_PER_CONNECTION


def test_every_name_is_documented() -> None:
    page = DOCS.read_text("utf-8")
    names = {family.name for family in Metrics().registry.collect()}
    assert len(names) == 15
    assert {name for name in names if f"`{name}" not in page} == set()


def test_only_the_metrics_that_are_named_are_shown(legacy: LegacyPlace) -> None:
    legacy.put(builders.player("hana", **HANA))
    names = ["sudamr_request_seconds_count", "sudamr_request_seconds_sum", "sudamr_retries_total", "sudamr_nothing"]
    with client_of(legacy.store) as client:
        act(client)
        assert samples(client) > set(names[:3]), "without names all are shown"
        assert samples(client, *names) == set(names[:3])
        assert samples(client, names[3]) == set()
        shown = client.get("/metrics", params=[("name[]", names[0])]).text
        assert 'sudamr_request_seconds_count{action="claim_mail"} 1.0' in shown


def samples(client: Client, *names: str) -> set[str]:
    """Return the names of the samples that are shown."""
    text = client.get("/metrics", params=[("name[]", name) for name in names]).text
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def test_a_players_token_is_no_label(legacy: LegacyPlace) -> None:
    legacy.put(builders.player("hana", **HANA))
    with client_of(legacy.store) as client:
        act(client)
        assert bearer("hana")["Authorization"].split()[1] not in client.get("/metrics").text
