"""pytest's side of the harness: options, the header line and the fixtures; the engine below knows no pytest."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("harness.expect")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the harness."""
    group = parser.getgroup("harness", "Postgres to test against")
    group.addoption("--postgres", default=None, metavar="KIND", help="docker, local, embedded or a URL")
    group.addoption("--keep", action="store_true", help="leave the server running and print its URL")
