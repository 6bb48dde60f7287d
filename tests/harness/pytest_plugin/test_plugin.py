"""The plugin by tiny suites that it runs: the header, the options, one server for all workers, what is kept."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import psutil
import pytest

from db.servers import Server
from tests.fixtures.given_server import given
from tests.fixtures.kept import commands, opened, opening
from tests.fixtures.server_kinds import HERE
from tests.fixtures.waiting import answers, until

ROOT = Path(__file__).parents[3]

PLAIN = "def test_plain() -> None:\n    assert True\n"

USES_A_DATABASE = """
import os
import psycopg

def test_uses_it(database, server):
    with psycopg.connect(database.service.conninfo) as conn:
        conn.execute("INSERT INTO users (id) VALUES ('mina')")
    print(f"worker {os.environ['PYTEST_XDIST_WORKER']} mark {server.mark}")
"""

FAILS = """
import psycopg

def test_fails(database):
    with psycopg.connect(database.service.conninfo) as conn:
        conn.execute("INSERT INTO users (id, gold) VALUES ('mina', 7)")
    assert False, "gold is 7"

def test_passes(database, server):
    print("mark", server.mark)
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Make a folder for a tiny suite, run with the plugin in this process: another interpreter costs seconds."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p harness.pytest_plugin.plugin -W error -p no:cacheprovider")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return pytester


def databases(server: Server) -> set[str]:
    with server.admin() as conn:
        return {name for (name,) in conn.execute("SELECT datname FROM pg_database").fetchall()}


@pytest.mark.parametrize("kind", HERE)
def test_the_header_names_the_kind_and_the_version(suite: pytest.Pytester, kind: str) -> None:
    suite.makepyfile(PLAIN)
    result = suite.runpytest_inprocess(f"--postgres={kind}")
    result.stdout.re_match_lines([rf"postgres: {kind} (postgres:)?\d\d"])
    assert result.ret == 0


def test_the_header_says_why_docker_was_passed_over(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{suite.path}/no-daemon.sock")
    suite.makepyfile(PLAIN)
    result = suite.runpytest_inprocess()
    result.stdout.re_match_lines(
        [r"postgres: (local|embedded) [\d.]+ \(docker passed over: its daemon does not answer \(.*\)\)"]
    )


def test_a_run_that_asks_for_no_server_starts_none(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import psutil

        def test_children():
            print("children", sorted(child.pid for child in psutil.Process().children()))
        """
    )
    before = sorted(child.pid for child in psutil.Process().children())
    result = suite.runpytest_inprocess("-rP")
    result.stdout.fnmatch_lines([f"children [[]{', '.join(map(str, before))}]"])
    assert len(re.findall("^postgres:", result.stdout.str(), re.MULTILINE)) == 1


def test_without_any_postgres_tests_that_need_none_run_and_the_first_that_needs_one_ends_the_run(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.servers.providers.PREFERRED", ())
    suite.makepyfile(test_a=PLAIN, test_b=FAILS)
    result = suite.runpytest_inprocess()
    result.stdout.fnmatch_lines(["postgres: none *", "*Exit: expected Postgres from docker, local binaries or *"])
    result.assert_outcomes(passed=1)
    assert result.ret == 2


def test_a_kind_that_does_not_exist_is_refused_in_two_lines(suite: pytest.Pytester) -> None:
    suite.makepyfile(PLAIN)
    result = suite.runpytest_subprocess("--postgres=nonsense")
    assert result.ret == 2
    assert [line for line in result.errlines if line] == [
        "ERROR: kind of Postgres: expected docker, local, embedded, embedded18 or a postgresql:// URL; found nonsense.",
        "  Name with --postgres one of docker, local, embedded, embedded18, or postgresql://USER@HOST:PORT/DATABASE.",
    ]
    assert "passed" not in result.stdout.str()


def test_a_server_that_does_not_answer_is_refused_without_the_password(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "hidden")
    suite.makepyfile(PLAIN)
    result = suite.runpytest_subprocess("--postgres=postgresql://u@127.0.0.1:1/d")
    assert result.ret == 2
    result.stderr.re_match_lines([r"ERROR: expected Postgres from that server; found .*u@127\.0\.0\.1:1.*refused.*"])
    assert "hidden" not in result.stdout.str() + result.stderr.str()


def test_a_failed_tests_database_is_kept_when_asked_for_and_how_to_open_it_said(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.makepyfile(FAILS)
    result = suite.runpytest_inprocess("--keep", f"--postgres={HERE[-1]}")
    result.assert_outcomes(passed=1, failed=1)
    ((_, command),) = commands(result.outlines, "::test_fails")
    conninfo = opening(command)
    (removal,) = re.findall(r"^remove it all with: (.*)$", result.stdout.str(), re.MULTILINE)
    with opened(command, monkeypatch) as conn:
        assert conn.execute("SELECT gold FROM users").fetchone() == (7,)
    subprocess.run(removal, shell=True, check=True, capture_output=True)
    until(lambda: ["the server answers"] if answers(conninfo) else [])


def test_workers_share_one_server_and_tell_what_they_kept(
    suite: pytest.Pytester, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.makepyfile(test_uses=USES_A_DATABASE, test_fails=FAILS)
    result = suite.runpytest_inprocess(
        "-p",
        "xdist.plugin",
        "-n2",
        "--dist=each",
        "-rP",
        "--keep",
        f"--postgres={given(server.maintenance, monkeypatch)}",
    )
    result.assert_outcomes(passed=4, failed=2)
    workers = re.findall(r"^worker (\w+) mark (sudamr_(\w+)_)$", result.stdout.str(), re.MULTILINE)
    assert {worker for worker, _, _ in workers} == {"gw0", "gw1"}
    ((mark, run),) = {(mark, run) for _, mark, run in workers}
    kept = commands(result.outlines, "::test_fails")
    assert len(kept) == 2
    for _, command in kept:
        with opened(command, monkeypatch) as conn:
            assert conn.info.dbname.startswith(mark)
            assert conn.execute("SELECT gold FROM users").fetchone() == (7,)
    result.stdout.fnmatch_lines([f"remove it all with: drop * {run} in their names"])


def test_half_a_character_in_a_workers_report_ends_no_run(
    suite: pytest.Pytester, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.makepyfile(
        r"""
        import logging

        def test_logs():
            logging.error("half \ud800 a character")
            assert False, "failed"

        def test_goes_on():
            pass
        """
    )
    result = suite.runpytest_inprocess(
        "-p", "xdist.plugin", "-n1", f"--postgres={given(server.maintenance, monkeypatch)}"
    )
    result.assert_outcomes(passed=1, failed=1)


def test_without_keep_nothing_of_a_failed_test_stays(
    suite: pytest.Pytester, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.makepyfile(FAILS)
    result = suite.runpytest_inprocess("-rP", f"--postgres={given(server.maintenance, monkeypatch)}")
    result.assert_outcomes(passed=1, failed=1)
    assert "kept:" not in result.stdout.str()
    (mark,) = re.findall(r"^mark (\w+)$", result.stdout.str(), re.MULTILINE)
    assert not [name for name in databases(server) if name.startswith(mark)]


def test_the_id_of_a_test_is_readable_whatever_its_values_are(suite: pytest.Pytester) -> None:
    """Use the project's own settings: pytest escapes Korean, or with another setting nothing at all."""
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("item", ["푸른 바람 부채", "a\\nb", "\\ud800", b"\\x00\\xff", "\\x1b[1m"])
        def test_item(item): ...

        @pytest.mark.parametrize("item", ["fan"], ids=lambda item: "부채")
        def test_named(item): ...
        """
    )
    result = suite.runpytest_inprocess("-c", str(ROOT / "pyproject.toml"), "--rootdir=.", "--collect-only", "-q", ".")
    assert [line.partition("[")[2] for line in result.outlines if "::" in line] == [
        "푸른 바람 부채]",
        r"a\nb]",
        r"\ud800]",
        r"\x00\xff]",
        r"\x1b[1m]",
        "부채]",
    ]
