"""A look disturbs nobody and is not disturbed: locks, its own sessions, failing checks, processes that come and go."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from db.monitor import judging
from db.monitor.check import Check, CheckOutcome, Limit, Measured, NotJudged
from db.monitor.checks import service
from db.monitor.checks.server import not_after
from db.monitor.look import Look
from db.monitor.samples import Sample
from game import tables
from tests.db.monitor.plants_of_tables import gold_by_hand
from tests.db.monitor.watched import BY_NAME, Watched, own_watched

MOST_SECONDS = 30.0
"""Of a whole look while tables are locked, on a busy machine: a look that waits for a lock never ends."""

OF_LOCKED_TABLES = {"players held", "balances", "stock", "schema"}
URL = "http://127.0.0.1:1"
ENDS_2036 = """
MIIBbTCCAROgAwIBAgIUdFfT01YQxwtMWAVDuj2YGj4dxaYwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBYTAeFw0yNjExMjkxMDEwNDZaFw0zNjEx
MjYxMDEwNDZaMAwxCjAIBgNVBAMMAWEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ/7Yhjvh5Y0SzIkJjjqmFJESjYN2QOFNsOv3HHPDGzoiKb
CrVOLEDRkzh9Fy+4rV7IiBzBvwMNAps8nhfEhC45o1MwUTAdBgNVHQ4EFgQUhxwu38tSyZb+a4v8mOnKliJDwC4wHwYDVR0jBBgwFoAUhxwu38tS
yZb+a4v8mOnKliJDwC4wDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEAuidTrOFUKFMVqUBXkEBhxdNRPsV+VQSRm4rv8RdT6BwC
IDvRyynC73oU5oGqxeULLq9Nk2MvGMxOmU6mEjpw3+2Q
"""
ENDS_2081 = """
MIIBbzCCARWgAwIBAgIUDshaNQplYiSZpq5raRnSUAMT+yAwCgYIKoZIzj0EAwIwDDEKMAgGA1UEAwwBYTAgFw0yNjExMjkxMDEwNDdaGA8yMDgx
MDkwMTEwMTA0N1owDDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOHj6nr5kSB/BVS7glAW1rtXbHmATqUs3E1Y0U6OhY7i
0hAZ+bLxKRcb4416n4SssxIKGRer0W9KM5wqfuu6N/ijUzBRMB0GA1UdDgQWBBTZL6sggSfyUpgX5KcU/wV3fW6vRjAfBgNVHSMEGDAWgBTZL6sg
gSfyUpgX5KcU/wV3fW6vRjAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIGwz+vvg1/Cufrlh8ZpTgHJxIhQVr7O6DEXVucFhOhNh
AiEAq90JZkjAHzW1N1TvjXGSWChBcmc6BAM2o5heD2aEAcc=
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with own_watched(tmp_path_factory.mktemp("watched"), {"shared_preload_libraries": "pg_stat_statements"}) as watched:
        watched.look()
        yield watched


def not_judged(own: Watched) -> set[str]:
    return {each.check for each in own.look().of(CheckOutcome.NOT_JUDGED)}


def test_a_table_that_is_locked_is_waited_for_by_no_check_and_hides_no_other(own: Watched) -> None:
    usual = not_judged(own)
    with own.superuser() as conn:
        conn.execute("begin")
        conn.execute(f"lock table {', '.join(tables.BY_NAME)} in access exclusive mode")
        conn.execute("reindex index legacy_rows_source_key_idx")  # An index has a lock of its own.
        began = time.monotonic()
        looked = own.look()
        seconds = time.monotonic() - began
        conn.execute("rollback")
    assert seconds < MOST_SECONDS
    beyond = {each.check: each.why for each in looked.of(CheckOutcome.NOT_JUDGED) if each.check not in usual}
    assert set(beyond) == OF_LOCKED_TABLES
    assert all("lock timeout" in why or "another session alters it" in why for why in beyond.values())


def test_a_look_needs_no_lock_that_a_player_who_writes_would_wait_for(own: Watched) -> None:
    usual = not_judged(own)
    with own.superuser() as conn:
        conn.execute("begin")
        # A mode that conflicts with this one, which every write takes, would not be had within the look's lock timeout.
        conn.execute(f"lock table {', '.join(tables.BY_NAME)} in row exclusive mode")
        conn.execute("select from users for update")
        assert not_judged(own) == usual
        conn.execute("rollback")


def test_the_sessions_of_the_look_are_not_counted(own: Watched) -> None:
    others = own.value(
        "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
    )
    assert own.judge("connections").evidence.startswith(f"{others} of ")
    for name in ("idle in transaction", "long transactions", "blocked sessions"):
        assert own.judge(name).evidence == "none"


def test_what_the_look_itself_reads_is_not_counted(own: Watched) -> None:
    own.look()
    own.look()
    looked = own.look("rolled back transactions", "cache hits")
    transactions, blocks = (int(each.why.split()[0].replace(",", "")) for each in looked.judgements)
    assert transactions < 10
    assert blocks < 1000


def check_of(name: str, measured: Any) -> Check:
    def measure(_look: Look) -> Measured:
        if isinstance(measured, Exception):
            raise measured
        return Measured(measured)

    return Check(name=name, limit=Limit(0, "", ""), measure=measure, defect="", not_judged="", do="")


def test_a_check_that_fails_itself_hides_no_other() -> None:
    # A look without a server: the checks that are tried ask for none.
    look: Any = Look(env=None, at=datetime.now(UTC), conn=None, sample=Sample(datetime.now(UTC), 0.0), earlier=None)  # type: ignore[arg-type]
    judged = [
        judging.judge(each, look, {}) for each in (check_of("broken", ZeroDivisionError("x")), check_of("good", 1.0))
    ]
    assert [(each.outcome, each.why) for each in judged] == [
        (CheckOutcome.NOT_JUDGED, "the check itself failed: ZeroDivisionError: x"),
        (CheckOutcome.BREACH, ""),
    ]


def test_a_wrong_balance_stays_a_breach_after_the_player_has_left(own: Watched) -> None:
    own.judge("balances")
    with gold_by_hand(own):
        assert own.judge("balances").outcome is CheckOutcome.BREACH
        own.run("alter table action_receipts disable trigger user", "update action_receipts set at = 0")
        own.judge("deadlocks")
        assert own.judge("balances").outcome is CheckOutcome.BREACH
    assert own.judge("balances").outcome is CheckOutcome.OK
    assert own.judge("balances").outcome is CheckOutcome.OK


def looked_at(earlier: Mapping[str, str], now: Mapping[str, str], urls: tuple[str, ...]) -> Look:
    at = datetime.now(UTC)
    samples = [Sample(at + timedelta(seconds=n), 0.0, service.parsed(texts)) for n, texts in enumerate((earlier, now))]
    env: Any = SimpleNamespace(services=urls)
    # Without a server: only the counters are asked.
    return Look(env=env, at=at, conn=None, sample=samples[1], earlier=samples[0])  # type: ignore[arg-type]


def metrics(failed: int) -> str:
    return f'sudamr_pool_in_use 0.0\nsudamr_requests_total{{action="equip",end="failed"}} {failed}.0\n'


@pytest.mark.parametrize(
    ("earlier", "now", "grown"),
    [
        ({"a": 3}, {"a": 5}, 2),
        ({"a": 100}, {"a": 4}, 4),  # restarted
        ({"a": 3}, {"a": 3, "b": 900}, 0),  # b was not seen before
        ({"a": 3, "b": 900}, {"a": 4}, 1),  # b is gone
        ({"a": 100, "b": 0}, {"a": 0, "b": 2}, 2),
    ],
)
def test_a_process_that_comes_or_goes_adds_only_what_it_counted_in_the_window(
    earlier: Mapping[str, int], now: Mapping[str, int], grown: int
) -> None:
    texts = [{url: metrics(n) for url, n in each.items()} for each in (earlier, now)]
    assert service.failed(looked_at(*texts, ("a", "b"))).value == grown


def test_another_program_at_a_processs_url_is_no_process() -> None:
    look = looked_at({URL: "<html>{}"}, {URL: 'x{y="'}, (URL,))
    with pytest.raises(NotJudged, match="no process of the service answers"):
        service.failed(look)


@pytest.mark.parametrize(
    ("name", "sound"), [("cache hits", 99.9), ("certificate of the server", 90.0), ("disk of the server", 40.0)]
)
def test_an_alarm_of_a_lower_bound_ends_at_a_sound_value(name: str, sound: float) -> None:
    limit = BY_NAME[name].limit
    assert not limit.cleared(limit.value)
    assert limit.cleared(sound)


def test_an_alarm_of_an_upper_bound_ends_at_the_value_of_a_sound_database() -> None:
    for check in BY_NAME.values():
        if not check.limit.least:
            assert check.limit.cleared(0.0), check.name


@pytest.mark.parametrize(
    ("pem", "ends"), [(ENDS_2036, "2036-11-26"), (ENDS_2081, "2081-09-01")], ids=["UTCTime", "GeneralizedTime"]
)
def test_the_end_of_a_certificate_is_read_of_both_forms_of_time(pem: str, ends: str) -> None:
    der = base64.b64decode(pem)
    assert f"{not_after(der):%Y-%m-%d}" == ends
    for length in range(0, len(der) // 2, 7):
        with pytest.raises((ValueError, IndexError)):
            not_after(der[:length])
