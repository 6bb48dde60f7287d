"""A test fails that leaves a session of a pool unlike a fresh one, whatever it is that the session keeps."""

from __future__ import annotations

import pytest

from tests.fixtures.given_server import given

OPTIONS = ("-p", "harness.pytest_plugin.plugin", "-p", "no:cacheprovider", "-p", "no:xdist", "-q")

LEAVES = """
import pytest
from game.postgres.store import PostgresStore

@pytest.fixture(scope="session")
def store(databases):
    clone = databases.clone()
    store = PostgresStore(clone.service, pool_size=1)
    yield store
    store.close()
    databases.drop(clone)

@pytest.mark.parametrize("statement", {statements!r})
def test_leaves(store, statement):
    with store.begin() as unit:
        unit.connection_kept = unit.connection.connection.driver_connection
        unit.connection.exec_driver_sql(statement)
        unit.connection.commit()
    {then}
"""

KEPT = {
    "SET lock_timeout = '1min'": "the setting lock_timeout = 60000",
    "SELECT set_config('sudamr.fence_pass', 'planted', false)": "a pass of the fence",
    "SELECT pg_advisory_lock(1)": "an advisory lock, ExclusiveLock",
    "CREATE TEMPORARY TABLE planted (n int)": "the temporary table planted",
    "PREPARE planted AS SELECT 1": "the prepared statement planted",
    "LISTEN planted": "the channel planted",
    "DECLARE planted CURSOR WITH HOLD FOR SELECT 1": "the cursor planted",
}
ENDS = (
    "SET LOCAL lock_timeout = '1min'",
    "SELECT set_config('sudamr.fence_pass', 'planted', true)",
    "SELECT pg_advisory_xact_lock(1)",
    "CREATE TEMPORARY TABLE planted (n int) ON COMMIT DROP",
    "DECLARE planted CURSOR FOR SELECT 1",
    "NOTIFY planted",
)


@pytest.fixture
def suite(
    pytester: pytest.Pytester, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A tiny project in a process of its own: what it leaves in a pool is not this run's."""
    server = request.getfixturevalue("server")
    monkeypatch.setenv("PYTEST_ADDOPTS", f"--postgres={given(server.url('postgres', 'superuser'), monkeypatch)}")
    return pytester


def write(suite: pytest.Pytester, statements: tuple[str, ...], then: str = "") -> None:
    suite.makepyfile(LEAVES.format(statements=list(statements), then=then))


def test_what_a_session_keeps_fails_the_test_that_left_it_there(suite: pytest.Pytester) -> None:
    write(suite, tuple(KEPT), "store.close()")
    result = suite.runpytest_subprocess(*OPTIONS)
    result.assert_outcomes(passed=len(KEPT), errors=len(KEPT))
    for kept in KEPT.values():
        result.stdout.fnmatch_lines([f"*expected each session of a pool as a fresh one; found {kept} (session *"])
    result.stdout.no_fnmatch_line("*= planted*")


def test_a_session_that_stays_in_its_pool_is_looked_at_after_each_test(suite: pytest.Pytester) -> None:
    write(suite, ("SELECT 1", "SELECT pg_advisory_lock(1)", "SELECT 2"))
    result = suite.runpytest_subprocess(*OPTIONS)
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["ERROR *test_leaves*advisory_lock*"])


def test_what_ends_with_its_transaction_is_left_to_nobody(suite: pytest.Pytester) -> None:
    write(suite, ENDS, "store.close()")
    suite.runpytest_subprocess(*OPTIONS).assert_outcomes(passed=len(ENDS))


def test_a_transaction_that_is_begun_in_a_session_given_back_fails(suite: pytest.Pytester) -> None:
    write(suite, ("SELECT 1",), "unit.connection_kept.execute('BEGIN'); unit.connection_kept.execute('SELECT 1')")
    result = suite.runpytest_subprocess(*OPTIONS)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*found a transaction that is open (session *"])


def test_a_session_whose_server_is_gone_is_not_waited_for(suite: pytest.Pytester) -> None:
    write(suite, ("SELECT pg_terminate_backend(pg_backend_pid())",))
    result = suite.runpytest_subprocess(*OPTIONS)
    result.assert_outcomes(failed=1)
