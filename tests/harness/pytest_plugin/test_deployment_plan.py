"""A run of all tests names the lines of the plan that no test proved, under xdist too; with --plan it fails."""

from __future__ import annotations

import re

import pytest

from harness.pytest_plugin import deployment_plan
from harness.pytest_plugin.durations import QUICK

TESTS = """
import pytest

@pytest.mark.plan(1, 2)
def test_passes(): pass

@pytest.mark.plan(3)
def test_skips(): pytest.skip("without its program")

@pytest.mark.plan(4, cases=("b",))
@pytest.mark.parametrize("case", ["a", "b"])
def test_cases(case):
    if case == SKIPPED: pytest.skip("without its program")

@pytest.mark.plan(6)
def test_scenario_beside(): pass
"""
PLAN = "".join(f'[[line]]\nnumber = {n}\ntext = "do {n}"\ncommands = []\n' for n in range(1, 6))
PLAN += '[[line]]\nnumber = 6\ntext = "do 6"\ncommands = []\nscenarios = ["scenarios/test_six.py"]\n'
MISSING = '[[missing]]\nline = 5\nproof = "a test"\n[[missing]]\nline = 3\npart = "a half"\nproof = "a test"\n'


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    for folder in ("tests", "scenarios"):
        (pytester.path / folder).mkdir()
    write(pytester, skipped="a")
    (pytester.path / "scenarios" / "test_six.py").write_text("def test_six(): pass\n")
    (pytester.path / deployment_plan.FILE).write_text(PLAN + MISSING)
    plugins = "-p harness.pytest_plugin.durations -p harness.pytest_plugin.deployment_plan"
    pytester.makeini(f"[pytest]\naddopts = --strict-markers {plugins}\n")
    return pytester


def write(project: pytest.Pytester, *, skipped: str) -> None:
    (project.path / "tests" / "test_a.py").write_text(TESTS.replace("SKIPPED", repr(skipped)))


def named(result: pytest.RunResult) -> list[int]:
    return [int(number) for number in re.findall(r"(?m)^plan, line (\d+): .* do \1$", result.stdout.str())]


@pytest.mark.parametrize(("workers", "skipped", "lines"), [("0", "a", [3]), ("0", "b", [3, 4]), ("1", "b", [3, 4])])
def test_a_line_whose_tests_were_all_skipped_is_named_and_fails_a_run_that_asks_for_the_plan(
    project: pytest.Pytester, workers: str, skipped: str, lines: list[int]
) -> None:
    write(project, skipped=skipped)
    result = project.runpytest_inprocess("-p", "xdist.plugin", "-n", workers)
    assert (result.ret, named(result)) == (0, lines)
    result = project.runpytest_inprocess("-p", "xdist.plugin", "-n", workers, deployment_plan.PLAN)
    assert (result.ret, named(result)) == (1, lines)


def test_a_line_whose_tests_were_left_out_is_named_and_so_is_one_whose_scenario_was(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("-k", "not passes and not six", deployment_plan.PLAN)
    assert (result.ret, named(result)) == (1, [1, 2, 3, 6])


@pytest.mark.parametrize("choice", [("-k", "passes"), ("tests",), (QUICK,), ("--collect-only",)])
def test_a_run_of_some_tests_is_not_judged(project: pytest.Pytester, choice: tuple[str, ...]) -> None:
    result = project.runpytest_inprocess(*choice)
    assert (result.ret, named(result)) == (0, [])


def test_what_is_proven_passes(project: pytest.Pytester) -> None:
    test = project.path / "tests" / "test_a.py"
    test.write_text(test.read_text().replace('pytest.skip("without its program")', "pass"))
    result = project.runpytest_inprocess(deployment_plan.PLAN)
    assert (result.ret, named(result)) == (0, [])
