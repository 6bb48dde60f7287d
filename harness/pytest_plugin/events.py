"""pytest's side of the gate: what each test found, as lines of JSON in a file, while the run goes on.

Loaded by name (`-p harness.pytest_plugin.events --events=PATH`), by the gate alone. A line is {"collected": n}, once,
or {"item": id, "verdict": passed | failed | skipped, "seconds": s, "found": text, "sweep": what a sweep says of
itself}. {"lost": cause}, once, says that the server, the machine or a worker was lost: no later line proves anything.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

import pytest

from db.files import private
from db.servers import Server
from db.servers.vitals import Lost, Vitals, silence, told_by
from harness.pytest_plugin.session import OWN, SERVER

OPTION = "--events"
LOST = "lost"
"""The name under which an item's `user_properties` carry that its error tells of the machine, such as a full disk."""

SWEEPS = ("sweep", "race")
"""The names under which an item's `user_properties` carry what its sweep found, as JSON text."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the file of events."""
    parser.getgroup("harness").addoption(OPTION, metavar="PATH", help="write what each test found, as lines of JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Register the writer, in the controller alone; workers send their reports to it."""
    path = config.getoption(OPTION)
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Writer(Path(path), config))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note a loss that this process alone can see: the controller gets an error's text, and knows one server."""
    report = yield
    if call.excinfo is not None and report.failed:
        crashed = item.config.stash.get(OWN, list[Server]())
        causes = (told_by(call.excinfo.value), *map(silence, crashed))
        item.user_properties += [(LOST, cause) for cause in causes if cause]
    return report


class Writer:
    """Writes a line as soon as a test has ended, however many reports it makes."""

    def __init__(self, path: Path, config: pytest.Config) -> None:
        self._config = config
        self._path = path
        self._file: IO[Any] | None = None
        self._failed: dict[str, list[str]] = {}
        self._skipped: set[str] = set()
        self._seconds: dict[str, float] = {}
        self._announced = False
        self._vitals: Vitals | None = None
        self._lost = ""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Write how many items there are, without workers."""
        if session.items:
            self._announce(len(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: list[str]) -> None:
        """Write how many items there are, as the first worker says."""
        del node
        self._announce(len(ids))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Write a file that can't be read as an item that failed."""
        if report.failed:
            self._write({"item": report.nodeid, "verdict": "failed", "seconds": 0.0, "found": report.longreprtext})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Set up, called, torn down: one line."""
        self._meet_server()
        name = report.nodeid
        self._seconds[name] = self._seconds.get(name, 0.0) + report.duration
        if report.failed:
            self._failed.setdefault(name, []).append(report.longreprtext)
        if report.skipped:
            self._skipped.add(name)
        if report.when == "teardown":
            self._end(name, dict(report.user_properties))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object, error: object) -> None:
        """Hear of a worker that was killed; xdist would say that its test failed."""
        if error:
            self._lose(f"a process that ran the tests ended: {node}: {error}")

    def pytest_sessionfinish(self) -> None:
        """End the tests without a teardown: those whose worker crashed."""
        for name in list(self._failed):
            self._end(name, {})
        if self._file is not None:
            self._file.close()

    def _end(self, name: str, properties: dict[str, object]) -> None:
        found = "\n".join(self._failed.pop(name, []))
        if found and (cause := str(properties.get(LOST, "")) or self._asked()):
            self._lose(cause)
            return
        verdict = "failed" if found else "skipped" if name in self._skipped else "passed"
        sweep = next((properties[name] for name in SWEEPS if name in properties), None)
        line: dict[str, Any] = {
            "item": name,
            "verdict": verdict,
            "seconds": round(self._seconds.get(name, 0.0), 3),
            "found": found,
            "sweep": json.loads(sweep) if isinstance(sweep, str) else None,
        }
        self._write(line)

    def _meet_server(self) -> None:
        """Read the vitals of the run's server while it is fresh: every worker's first test has asked for it."""
        if self._vitals is None and SERVER in self._config.stash and not self._lost:
            try:
                self._vitals = Vitals(self._config.stash[SERVER])
            except Lost as error:
                self._lose(error.found)

    def _asked(self) -> str:
        return self._vitals.cause() if self._vitals is not None else ""

    def _lose(self, cause: str) -> None:
        if not self._lost:
            self._lost = cause
            self._write({"lost": cause})

    def _announce(self, count: int) -> None:
        if not self._announced:
            self._announced = True
            self._write({"collected": count})

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is None:
            self._file = private.opened(self._path, "w")
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()
