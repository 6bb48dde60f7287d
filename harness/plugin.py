"""pytest's side of the harness: options, the header line and the fixtures; the engine below knows no pytest."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from db.errors import ToolError
from db.servers import KINDS, Plan, Server, plan
from harness.databases import Database, Databases

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

pytest.register_assert_rewrite("harness.expect")

PLAN = pytest.StashKey[Plan]()
SERVER = pytest.StashKey[Server]()

HANDLE = "sudamr_server"
"""Under which the controller hands its server to xdist's workers."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the harness."""
    group = parser.getgroup("harness", "Postgres to test against")
    group.addoption(
        "--postgres",
        default=None,
        metavar="KIND",
        help=f"{', '.join(KINDS)} or a postgresql:// URL; default: the first of these that can be had",
    )
    group.addoption("--keep", action="store_true", help="leave the database of a failed test, and its server")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the kind of server; one that was asked for and can't be had is a usage error, before anything runs."""
    if _is_worker(config):
        return
    try:
        config.stash[PLAN] = plan(config.getoption("--postgres"))
    except ToolError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Which Postgres, of which version, and why no better kind."""
    return [f"postgres: {config.stash[PLAN]}"] if PLAN in config.stash else []


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Start the one server that all workers share, before the first of them begins."""
    node.workerinput[HANDLE] = _server(node.config).handle()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what we started. When this does not run (SIGTERM, kill -9), the server's guardian does it."""
    if SERVER in config.stash:
        config.stash[SERVER].stop()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Scenarios are tests: each YAML file under a folder `scenarios`."""
    if file_path.suffix != ".yaml" or "scenarios" not in file_path.parts or find_spec("harness.collect") is None:
        return None
    from harness import collect

    return collect.collect_file(file_path, parent)


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Server:
    """The run's Postgres: started when the first test asks for it, shared with xdist's workers."""
    return _server(pytestconfig)


@pytest.fixture(scope="session")
def databases(server: Server) -> Databases:
    """The run's templates and clones."""
    return Databases(server)


@pytest.fixture
def database(databases: Databases) -> Iterator[Database]:
    """A migrated, empty, open database of the test's own."""
    clone = databases.clone()
    yield clone
    databases.drop(clone)


@pytest.fixture
def fenced_database(databases: Databases) -> Iterator[Database]:
    """A migrated, empty database of the test's own, fenced still."""
    clone = databases.clone(fenced=True)
    yield clone
    databases.drop(clone)


def _server(config: pytest.Config) -> Server:
    if SERVER not in config.stash:
        given: dict[str, Any] = getattr(config, "workerinput", {})
        config.stash[SERVER] = Server.attach(given[HANDLE]) if HANDLE in given else config.stash[PLAN].start()
    return config.stash[SERVER]


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
