"""Defines the options of the tests, for pytest."""

from __future__ import annotations

import pytest

from harness.pytest_plugin.items import whole


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that say how far an endless search goes."""
    parser.addoption(
        "--sequences", type=whole(1), default=200, metavar="N", help="random sequences of actions on both stores"
    )
    parser.addoption(
        "--exhaustive", action="store_true", help="every state, point and signal of a move instead of a sample; nightly"
    )
    parser.addoption(
        "--remedies",
        type=whole(0, 2**32),  # a date, say: 20261129
        metavar="SEED",
        help="follow twelve remedies that the seed draws, not all",
    )
    parser.addoption(
        "--trips-seed",
        type=whole(0, 2**32),
        metavar="SEED",
        help="the round trips under kills that this seed draws, not new ones",
    )
    parser.addoption("--write-pages", action="store_true", help="write what the commands of a page print into it")
