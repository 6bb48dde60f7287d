"""Adds to pytest's reports what the gate needs besides: a failure's whole text, and the cause of a loss.

Loaded by name (`-p harness.pytest_plugin.losses`), by the gate alone, beside pytest-reportlog, which writes reports as
JSON. The `user_properties` of a report get `text` for a failure, and `lost` once the server, the machine or a worker
was lost: neither that report nor a later one proves anything.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from db.servers import Server
from db.servers.vitals import Lost, Vitals, cause_in, silence
from harness.pytest_plugin.session import OWN, SERVER

LOST, TEXT = "lost", "text"


def pytest_configure(config: pytest.Config) -> None:
    """Look for losses in the controller, which alone sees every report and the death of a worker."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Losses(config))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note a failure's text, and a loss that this process alone can see: the controller gets no exception."""
    report = yield
    if call.excinfo is not None and report.failed:
        crashed = item.config.stash.get(OWN, list[Server]())
        causes = (cause_in(call.excinfo.value), *map(silence, crashed))
        report.user_properties += [(TEXT, report.longreprtext), *((LOST, cause) for cause in causes if cause)]
    return report


class Losses:
    """Notes on each report from the first loss on."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._vitals: Vitals | None = None
        self._failed: set[str] = set()
        self._lost = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a loss on the report before it is written. Ask the server after the teardown of a failed test."""
        self._meet_server()
        if report.failed:
            self._failed.add(report.nodeid)
        if report.when == "teardown" and report.nodeid in self._failed and self._vitals is not None:
            self._lost = self._lost or self._vitals.cause()
        if self._lost:
            report.user_properties.append((LOST, self._lost))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object, error: object) -> None:
        """Note that a worker was killed; xdist then reports its test as one that failed."""
        if error:
            self._lost = self._lost or f"a process that ran the tests ended: {node}: {error}"

    def _meet_server(self) -> None:
        """Read the vitals of the run's server while it is fresh: every worker's first test has asked for it."""
        if self._vitals is None and SERVER in self._config.stash and not self._lost:
            try:
                self._vitals = Vitals(self._config.stash[SERVER])
            except Lost as error:
                self._lost = error.found
