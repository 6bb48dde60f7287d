"""Code that is right until something fails, to be put in the place of the game's, and runs of pytest over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.given_server import given

SCENARIOS = Path(__file__).parents[3] / "scenarios"
PLUGIN = ("-p", "harness.pytest_plugin.plugin", "-p", "no:cacheprovider", "-p", "no:unraisableexception")

MAIL = """\
about: A mail is claimed once.
given: {hana: {gold: 100, mail: {m1: {gold: 50}}}}
steps:
  - {by: hana, do: claim_mail, with: {mail: m1}, request: r1}
"""

FORGE = """\
about: The first star never fails.
given: {hana: {gold: 1000, bag: {fan: 푸른 바람 부채, stone: {name: 하급 강화석, quantity: 100}}}}
steps:
  - {by: hana, do: enhance, with: {item: fan}, dice: {success: 1, xp: 4}, request: r1}
"""

REFUSED = """\
about: Who owns no such mail is refused.
given: {hana: {}}
steps:
  - {by: hana, do: claim_mail, with: {mail: m1}, refused: no_such_mail}
"""

BROKEN = """
import dataclasses
import pytest
import game.dispatch
import game.postgres
import game.session
from game.errors import TryAgain
from game.rows import Rows

{body}

HELD = getattr({owner}, {name!r})

@pytest.hookimpl(tryfirst=True)  # before the first fixture, which may open a store
def pytest_runtest_setup(item):
    {owner}.{name} = broken

def pytest_runtest_teardown(item):
    {owner}.{name} = HELD
"""

NO_LOOKUP = """
def broken(unit, player, request_id, names):
    loaded = HELD(unit, player, request_id, names)
    loaded.rows["action_receipts"] = {}
    return loaded
"""

ANOTHER_ID_EACH_TIME = """
tried = []

def broken(store, request, *rest):
    tried.append(request)
    return HELD(store, dataclasses.replace(request, request_id=f"{request.request_id}-{len(tried)}"), *rest)
"""

TORN = """
def broken(unit, before, after):
    half = Rows({**after, **{name: before.get(name, {}) for name in ("currency_ledger", "action_receipts")}})
    HELD(unit, before, half)
    unit.connection.commit()
    HELD(unit, half, after)
"""


FROM_MEMORY = """
decided = []

def broken(loaded, after, request, outcome, now_ms):
    decided.append(outcome)
    return HELD(loaded, after, request, outcome, now_ms)

def pytest_runtest_call(item):
    attempt = game.dispatch._attempt

    def from_memory(*given):
        decided.clear()
        try:
            return attempt(*given)
        except TryAgain:
            if not decided:
                raise
            return game.dispatch.Answer(decided[0], replayed=False)

    game.dispatch._attempt = from_memory
"""

AS_NEW = """
def broken(receipt, request):
    return dataclasses.replace(HELD(receipt, request), replayed=False)
"""

ANOTHER_INSTANT_EACH_TIME = """
tried = []

def broken(store, request, now_ms, *rest):
    tried.append(request)
    return HELD(store, request, now_ms + len(tried), *rest)
"""

NOT_WAITED_FOR = """
def broken(schema, *settings):
    held = HELD(schema, *settings)
    return held.replace("synchronous_commit=on", "synchronous_commit=off") if settings else held
"""


@pytest.fixture
def suite(
    pytester: pytest.Pytester, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A tiny project, run on this run's own server."""
    server = request.getfixturevalue("server")
    monkeypatch.setenv("PYTEST_ADDOPTS", f"--postgres={given(server.url('postgres', 'superuser'), monkeypatch)}")
    return pytester


def write(suite: pytest.Pytester, name: str, text: str) -> Path:
    path = suite.path / "scenarios" / "reward" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def breaks(suite: pytest.Pytester, owner: str, name: str, body: str) -> None:
    suite.makeconftest(BROKEN.format(owner=owner, name=name, body=body))


def run(suite: pytest.Pytester, *options: str) -> pytest.RunResult:
    return suite.runpytest_inprocess(*PLUGIN, "-k", "fault", "scenarios", *options)


def table(result: pytest.RunResult) -> dict[str, list[str]]:
    """The summary's lines by fault."""
    lines = result.outlines[result.outlines.index(next(line for line in result.outlines if "- faults -" in line)) :]
    return {line.split()[0]: line.split()[1:] for line in lines[2:] if len(line.split()) == 6}
