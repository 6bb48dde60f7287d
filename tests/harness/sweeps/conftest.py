"""The tiny project that the tests of the sweeps run."""

from __future__ import annotations

import pytest

from tests.fixtures.given_server import given


@pytest.fixture
def suite(
    pytester: pytest.Pytester, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A tiny project, run on this run's own server."""
    server = request.getfixturevalue("server")
    monkeypatch.setenv("PYTEST_ADDOPTS", f"--postgres={given(server.url('postgres', 'superuser'), monkeypatch)}")
    return pytester
