"""Fixtures of all packages of the harness."""

from __future__ import annotations

import pytest


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Provide pytest's own, whose runs load only the plugins that they name: `-p xdist.plugin` for -n.

    The others that are installed (hypothesis, schemathesis, faker) cost 3 s of CPU in each process that a run starts.
    A run in this process is shorter by a second with `-p no:unraisableexception`, which collects no garbage of its own;
    the outer run reports what nobody raised.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)
    return pytester
