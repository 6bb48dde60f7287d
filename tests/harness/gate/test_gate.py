"""The gate passes what holds wholly, fails what does not, and is in doubt where something was not tried."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from db import environments
from db.console.progress import Plain, Silent
from db.errors import Failure, Inconclusive, Refusal
from db.schema import migrate
from db.servers.vitals import Lost
from harness.gate import Ended, due, estimate, struck, suite
from harness.gate import parts as gate_parts
from harness.gate.report import Item
from harness.strikes.sweep import moves
from tests.fixtures.gates import FILE, HOLDS, item, items, parts, report
from tests.fixtures.waiting import until

ROOT = Path(__file__).parents[3]


def test_a_gate_in_which_all_was_tried_and_held_passes() -> None:
    gated = report(items(), parts())
    assert (gated.verdict, gated.doubts) == (Ended.PASS, ())
    assert (gated.scenarios.count, gated.twins.count) == (1, 1)
    assert (gated.faults.cases, gated.faults.fired, gated.races.orders) == (9, 8, 20)


@pytest.mark.parametrize("way", ["postgres", "legacy", "twins", "fault-cut", "races"])
def test_whatever_failed_fails_the_gate(way: str) -> None:
    failed = [item(way, found="expected 1; found 2") if one.way == way else one for one in items()]
    assert report(failed, parts()).verdict is Ended.FAIL


def test_a_part_that_failed_fails_the_gate() -> None:
    assert report(items(), parts(Ended.FAIL, "drift: missing: table users")).verdict is Ended.FAIL


@pytest.mark.parametrize(
    ("left_out", "doubt"),
    [
        ({"postgres", "legacy"}, "no scenario was run"),
        ({"twins"}, "of 1 scenario 0 were run side by side on both stores"),
        ({"fault-cut"}, "no fault fired"),
        ({"races"}, "no order of two sessions was tried"),
    ],
)
def test_what_was_not_tried_is_no_pass(left_out: set[str], doubt: str) -> None:
    gated = report([one for one in items() if one.way not in left_out], parts())
    assert gated.verdict is Ended.INCONCLUSIVE
    assert doubt in gated.doubts


def test_a_part_that_could_not_be_tried_is_no_pass() -> None:
    gated = report(items(), parts(Ended.INCONCLUSIVE, "no pg_dump"))
    assert gated.verdict is Ended.INCONCLUSIVE
    assert gated.doubts == ("backup: no pg_dump",)


def test_nothing_at_all_is_no_pass() -> None:
    assert report([], []).verdict is Ended.INCONCLUSIVE


def test_a_scenario_that_fails_on_one_store_is_one_failure() -> None:
    gated = report([*items()[2:], item("legacy", found="x"), item("postgres", found="y")], parts())
    assert (gated.scenarios.count, gated.scenarios.failures) == (1, 1)


def raising(error: Exception) -> gate_parts.PartResult:
    raise error


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (Failure("a", "b"), Ended.FAIL),
        (Refusal("a", "b"), Ended.INCONCLUSIVE),
        (Inconclusive("a", "b"), Ended.INCONCLUSIVE),
    ],
)
def test_what_stops_a_part_is_its_verdict(error: Exception, ended: Ended) -> None:
    part = gate_parts.attempt("backup", lambda: raising(error))
    assert (part.verdict, part.problems) == (ended, (str(error),))


def test_a_part_with_problems_fails_and_one_without_passes() -> None:
    assert gate_parts.attempt("backup", lambda: ({}, ("one row is missing",))).verdict is Ended.FAIL
    assert gate_parts.attempt("backup", lambda: ({"rows": 3}, ())).verdict is Ended.PASS


@pytest.mark.plan(15)
def test_migrations_and_a_backup_are_tried_on_a_server_of_their_own(pytestconfig: pytest.Config) -> None:
    (migrations, backup), settings = gate_parts.run(pytestconfig.getoption("--postgres"), 5, Silent())
    assert (migrations.verdict, migrations.problems) == (Ended.PASS, ())
    assert migrations.found["on top"] == [f"{int(migrate.head()) + n:04}" for n in (1, 2)]
    assert (backup.verdict, backup.problems) == (Ended.PASS, ())
    assert backup.found["players"] == 5
    assert settings["synchronous_commit"] == "on"


def test_a_selection_of_strikes_is_tried_on_a_server_of_its_own(pytestconfig: pytest.Config) -> None:
    with struck.beside(ROOT, pytestconfig.getoption("--postgres")) as strikes:
        part = strikes()
    assert (part.verdict, part.problems) == (Ended.PASS, ())
    assert part.found["moves"] == part.found["strikes"] == len(moves())
    assert [part.found[name] for name in ("lost", "doubled", "dead ends")] == [0, 0, 0]


def test_strikes_that_are_killed_prove_nothing(pytestconfig: pytest.Config) -> None:
    with struck.beside(ROOT, pytestconfig.getoption("--postgres")) as strikes:
        of_strikes().kill()
        with pytest.raises(Lost, match="the process of the strikes was ended by SIGKILL"):
            strikes()


def test_strikes_that_stumble_fail_the_gate() -> None:
    with (
        struck.beside(ROOT, "sqlite") as strikes,
        pytest.raises(Failure, match=r"expected strikes to their end; found exit code 1: .*sqlite"),
    ):
        strikes()


def test_strikes_end_with_their_gate(pytestconfig: pytest.Config) -> None:
    with struck.beside(ROOT, pytestconfig.getoption("--postgres")):
        process = of_strikes()
    until(lambda: [str(process)] if process.is_running() and process.status() != psutil.STATUS_ZOMBIE else [])


def of_strikes() -> psutil.Process:
    """Return the process that strikes, once its leash has started it."""
    children = psutil.Process().children
    until(lambda: [] if any(map(_strikes, children(recursive=True))) else ["no strikes yet"])
    return next(filter(_strikes, children(recursive=True)))


def _strikes(process: psutil.Process) -> bool:
    return process.cmdline()[1:3] == ["-c", struck.PROGRAM]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with one scenario that holds."""
    folder = tmp_path / "tree" / "scenarios" / "reward"
    folder.mkdir(parents=True)
    (folder / "mail.yaml").write_text(HOLDS)
    (tmp_path / "tree" / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\naddopts = "-p harness.pytest_plugin.plugin"\n'
    )
    return tmp_path / "tree"


def ran(tree: Path, config: pytest.Config, progress: Plain | Silent | None = None) -> dict[str, Item]:
    kind = config.getoption("--postgres")
    return {one.way: one for one in suite.run(tree, kind, progress or Silent(), 3, sweeps=(), workers=1)}


def test_every_way_to_run_a_scenario_is_an_item(tree: Path, pytestconfig: pytest.Config) -> None:
    lines: list[str] = []
    ran_items = ran(tree, pytestconfig, Plain(lines.append))
    assert set(ran_items) == {"postgres", "legacy", "twins"}
    assert all(one.passed and one.seconds > 0 for one in ran_items.values()), ran_items
    assert {one.file for one in ran_items.values()} == {"scenarios/reward/mail.yaml"}
    assert any(line.startswith("scenarios: 3 items in") for line in lines)


def test_an_item_that_failed_says_what_was_found(tree: Path, pytestconfig: pytest.Config) -> None:
    (tree / "scenarios" / "reward" / "mail.yaml").write_text(HOLDS + "after: {}\n")
    ran_items = ran(tree, pytestconfig)
    assert not ran_items["postgres"].passed
    assert "gold: [0, 5]" in ran_items["postgres"].found


def test_a_file_that_is_no_scenario_fails(tree: Path, pytestconfig: pytest.Config) -> None:
    (tree / "scenarios" / "reward" / "broken.yaml").write_text("abuot: nothing\n")
    broken = ran(tree, pytestconfig)["collection"]
    assert (broken.passed, broken.file) == (False, "scenarios/reward/broken.yaml")
    assert "abuot" in broken.found


def test_what_a_sweep_says_of_itself_arrives(tree: Path, pytestconfig: pytest.Config) -> None:
    (tree / "conftest.py").write_text(
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        "        item.user_properties.append(('sweep', '{\"cases\": 3, \"fired\": 2}'))\n"
    )
    ran_items = ran(tree, pytestconfig)
    assert (ran_items["twins"].figure("cases"), ran_items["twins"].figure("fired")) == (3, 2)


def test_the_reports_of_a_run_are_for_their_owner_alone(tree: Path, pytestconfig: pytest.Config) -> None:
    (tree / "conftest.py").write_text(
        "import os, pathlib\n"
        "def pytest_configure(config):\n"
        "    path = pathlib.Path(config.getoption('--report-log'))\n"
        "    (config.rootpath / 'mode').write_text(f'{path.stat().st_mode & 0o777:o}')\n"
    )
    ran(tree, pytestconfig)
    assert (tree / "mode").read_text() == "600"


def test_a_failure_that_is_no_difference_keeps_its_traceback(tree: Path, pytestconfig: pytest.Config) -> None:
    (tree / "conftest.py").write_text(
        "def pytest_runtest_setup(item):\n    if item.name == 'twins':\n        raise ZeroDivisionError('a defect')\n"
    )
    twins = ran(tree, pytestconfig)["twins"]
    assert not twins.passed
    assert "conftest.py:3: ZeroDivisionError" in twins.found


def test_no_scenario_is_no_item(tree: Path, pytestconfig: pytest.Config) -> None:
    (tree / "scenarios" / "reward" / "mail.yaml").unlink()
    assert ran(tree, pytestconfig) == {}


@pytest.mark.parametrize("ways", [{"legacy"}, {"postgres", "legacy", "twins"}])
def test_what_is_due_and_was_not_run_is_in_doubt(ways: set[str]) -> None:
    due = {f"{FILE}::{way}" for way in ("postgres", "legacy", "twins", "fault-cut", "races")}
    assert report(items(), parts(), due).verdict is Ended.PASS
    gated = report([one for one in items() if one.way not in ways], parts(), due)
    named = ", ".join(f"{FILE}::{way}" for way in sorted(ways))
    assert gated.doubts[0] == f"of 5 items {len(ways)} were not run: {named}"
    assert gated.verdict is Ended.INCONCLUSIVE


def test_due_is_what_pytest_collects_for_a_gate() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "scenarios",
        *suite.SWEEPS,
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, env=environments.child_variables(suite.ITS_OWN)
    )
    assert {line for line in done.stdout.splitlines() if "::" in line} == due.items(ROOT)


LEAVES_OUT = """
import pytest
def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if item.name != 'legacy']
    for item in items:
        if item.name == 'twins':
            item.add_marker(pytest.mark.skip(reason='later'))
"""


def test_what_is_left_out_is_missed_and_options_of_somebodys_own_runs_leave_out_nothing(
    tree: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k legacy")
    monkeypatch.setenv("PYTEST_PLUGINS", "no.such.plugin")
    (tree / "conftest.py").write_text(LEAVES_OUT)
    ran_items = ran(tree, pytestconfig)
    assert set(ran_items) == {"postgres"}
    (doubt, *_) = report(list(ran_items.values()), parts(), due.items(tree)).doubts
    assert "were not run: scenarios/reward/mail.yaml::" in doubt


def test_a_gate_that_is_terminated_leaves_no_pytest_behind(tree: Path, pytestconfig: pytest.Config) -> None:
    (tree / "conftest.py").write_text("import time\ndef pytest_runtest_setup(item):\n    time.sleep(600)\n")
    program = (
        "from pathlib import Path; from db.console.progress import Silent; from harness.gate import suite;"
        f"suite.run(Path('.'), {pytestconfig.getoption('--postgres')!r}, Silent(), 3)"
    )
    gate = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tree,
        stderr=subprocess.PIPE,
        env=environments.child_variables({"PYTHONPATH": str(ROOT)}),
    )
    until(
        lambda: [] if len(psutil.Process(gate.pid).children(recursive=True)) > 2 else ["no pytest with two workers yet"]
    )
    started = psutil.Process(gate.pid).children(recursive=True)
    gate.terminate()
    errors = gate.communicate()[1]
    assert b"KeyboardInterrupt" in errors
    until(
        lambda: [
            str(process) for process in started if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        ]
    )


def test_it_says_what_it_does_and_how_long_is_left(tmp_path: Path) -> None:
    path = tmp_path / "out" / "durations.json"
    first = estimate.Estimate(path)
    assert first.line("servers", "migrations") == "1 of 4: migrations; some 15 s, 5:36 left in all on two idle cores"
    assert "some 510 s" in estimate.Estimate(path, 2 * estimate.ITEMS).line("suite", "scenarios")
    for part, seconds in (("servers", 10.0), ("suite", 100.0), ("strikes", 20.0), ("rehearsal", 30.0)):
        first.took(part, seconds)
    first.keep()
    second = estimate.Estimate(path)
    second.took("servers", 9.0)
    assert second.line("suite", "scenarios") == "2 of 4: scenarios; some 100 s, 2:30 left in all"
    assert "some 50 s" in estimate.Estimate(path, estimate.ITEMS // 2).line("suite", "half of them")
