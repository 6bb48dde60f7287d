"""Each remedy of the catalogue is followed to the letter in a scratch environment: the first command then works.

`pytest tests/remedies/test_followed.py --remedies SEED -rP` follows twelve that the seed draws, and prints a table.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from db.servers import Server
from tests.remedies import of_environments, of_snapshots, of_stores  # noqa: F401  # each fills the catalogue
from tests.remedies.scratch import FOLLOWED, scratch

DRAWN = 12


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All entries; with --remedies those that its seed draws."""
    if "name" in metafunc.fixturenames:
        seed, names = metafunc.config.getoption("remedies"), sorted(FOLLOWED)
        drawn = names if seed is None else random.Random(seed).sample(names, DRAWN)
        metafunc.parametrize("name", drawn)


def test_following_the_remedy_helps(name: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template, follow = FOLLOWED[name]
    with scratch(tmp_path, server, monkeypatch, template) as made:
        follow(made)
    assert made.refusal is not None
    assert made.steps
    print(f"refusal: {name}: {made.refusal.printed.strip().splitlines()[0]}")
    print(f"remedy:  {made.refusal.remedy}")
    print(f"was run: {' · '.join(made.steps)}")
    print("result:  it works")
