"""pytest's side of the harness: options, the header line and the fixtures; the engine below knows no pytest.

The server is started when the first test asks for it; under xdist by the controller, before the workers, who share it.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from typing import Any, Protocol

import pytest

from db.errors import ToolError
from db.servers import KINDS, Server, plan
from game.printable import escaped
from game.redaction import redact
from harness.databases import Database, Databases
from harness.pytest_plugin.session import FAILED, KEEP, KEPT, NONE, PLAN, SERVER, keeps, note_kept_database

pytest_plugins = [
    "harness.pytest_plugin.durations",
    "harness.pytest_plugin.deployment_plan",
    "harness.pytest_plugin.scenario_items",
    "harness.pytest_plugin.fault_items",
    "harness.pytest_plugin.race_items",
    "harness.pytest_plugin.pooled_sessions",
    "harness.pytest_plugin.collect",
]

HANDLE = "sudamr_server"
"""The key under which the controller hands its server to xdist's workers."""

KEPT_BY_WORKER = "sudamr_kept"
"""The key under which a worker tells the controller how to open the databases that it left."""


class NoServer(Exception):
    """A worker's test asks for a server, and there is none."""


class Node(Protocol):
    """A worker, as xdist's controller sees it."""

    config: pytest.Config
    workerinput: dict[str, Any]
    workeroutput: dict[str, Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the harness."""
    group = parser.getgroup("harness", "Postgres to test against")
    group.addoption(
        "--postgres",
        default=None,
        metavar="KIND",
        help=f"{', '.join(KINDS)} or a URL, its password in PGPASSWORD; default: the first that can be had",
    )
    group.addoption(
        KEEP,
        action="store_true",
        help="leave the databases of failed tests, and their server; say how to open them; a sweep ends at its first",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Choose the kind of server; one that was asked for and can't be had is refused, before anything runs.

    Where none was asked for and none can be had, tests that need none run all the same.
    """
    if _is_worker(config):
        return None
    try:
        config.stash[PLAN] = plan(config.getoption("--postgres"), say=_say)
    except ToolError as error:
        if config.getoption("--postgres") is not None:
            _say(f"ERROR: {error}")
            return error.exit_code
        config.stash[NONE] = error
    return None


def pytest_configure(config: pytest.Config) -> None:
    """Prepare what is told at the end. A failure has one line there, also in CI: it is whole further up."""
    config.stash[KEPT] = []
    config.option.force_short_summary = True


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Return the line that names the Postgres, its version, and why no better kind was used."""
    if NONE in config.stash:
        return [f"postgres: none ({config.stash[NONE].found})"]
    return [f"postgres: {config.stash[PLAN]}"] if PLAN in config.stash else []


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Node) -> None:
    """Start the one server that all workers share, before the first of them begins."""
    if NONE not in node.config.stash:
        node.workerinput[HANDLE] = _server(node.config).handle()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Node) -> None:
    """Hear from a worker which databases it left; one that crashed says nothing."""
    node.config.stash[KEPT] += getattr(node, "workeroutput", {}).get(KEPT_BY_WORKER, [])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note on each item whether it failed, for the fixtures that clear up after it."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    # A worker sends its reports in UTF-8, and one that can't be sent ends the whole run: xdist's internal error.
    report.sections = [(name, _in_utf_8(text)) for name, text in report.sections]
    if isinstance(report.longrepr, str):
        report.longrepr = _in_utf_8(report.longrepr)
    return report


def _in_utf_8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the controller what was left."""
    if _is_worker(session.config):
        output: dict[str, Any] = session.config.workeroutput  # type: ignore[attr-defined]  # xdist's, in a worker
        output[KEPT_BY_WORKER] = session.config.stash[KEPT]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the server that was used, to the last figure of its version, and what was left of it."""
    for line in config.stash[KEPT]:
        terminalreporter.write_line(f"kept: {line}")
    if SERVER not in config.stash:
        return
    terminalreporter.write_line(f"postgres: {config.stash[SERVER]}")
    if any(": database " in line for line in config.stash[KEPT]):
        terminalreporter.write_line(f"remove it all with: {config.stash[SERVER].keep()}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what we started. When this does not run (SIGTERM, kill -9), the server's reaper does it."""
    if SERVER in config.stash:
        config.stash[SERVER].stop()


def pytest_make_parametrize_id(val: object) -> str | None:
    """Escape in a test's id what can't be printed; pytest itself escapes every letter that is not English, or none."""
    # pytest 9 without its own escaping fails at an id of bytes.
    text = val.decode("ascii", "backslashreplace") if isinstance(val, bytes) else val
    if not isinstance(text, str) or (text is val and text.isprintable()):
        return None
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Server:
    """Provide the run's Postgres: started when the first test asks for it, shared with xdist's workers."""
    return _server(pytestconfig)


@pytest.fixture(scope="session")
def databases(server: Server) -> Iterator[Databases]:
    """Provide the run's templates, and make and drop their clones."""
    with Databases(server) as made:
        yield made


@pytest.fixture
def database(databases: Databases, request: pytest.FixtureRequest) -> Iterator[Database]:
    """Provide a migrated, empty, open database of the test's own."""
    yield from _clone(databases, request, fenced=False)


@pytest.fixture
def fenced_database(databases: Databases, request: pytest.FixtureRequest) -> Iterator[Database]:
    """Provide a migrated, empty database of the test's own, fenced still."""
    yield from _clone(databases, request, fenced=True)


def _clone(databases: Databases, request: pytest.FixtureRequest, *, fenced: bool) -> Iterator[Database]:
    clone = databases.clone(fenced=fenced)
    yield clone
    if keeps(request):
        note_kept_database(request, clone)
    else:
        databases.drop(clone)


def _server(config: pytest.Config) -> Server:
    if SERVER not in config.stash:
        given: dict[str, Any] = getattr(config, "workerinput", {})
        if _is_worker(config) and HANDLE not in given:
            raise NoServer("the controller could start none; its header says why")
        config.stash[SERVER] = Server.attach(given[HANDLE]) if HANDLE in given else _start(config)
    return config.stash[SERVER]


def _start(config: pytest.Config) -> Server:
    """Start the run's server, or end the run: without it, each test would fail with the same words."""
    try:
        if NONE in config.stash:
            raise config.stash[NONE]
        return config.stash[PLAN].start()
    except ToolError as error:
        pytest.exit(str(error), returncode=error.exit_code)


def _say(line: str) -> None:
    sys.stderr.write(escaped(redact(line)) + "\n")


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
