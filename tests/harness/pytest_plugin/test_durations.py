"""A quick run leaves long tests out by their durations; a run can write them; the file names tests that exist."""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path

import pytest

from harness.pytest_plugin import durations

ROOT = Path(__file__).parents[3]
TESTS = """
import pytest

@pytest.mark.parametrize("n", range(10))
def test_many(n): pass

@pytest.mark.core
def test_core(): pass

def test_long(): pass

def test_new(): pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    (pytester.path / "tests").mkdir()
    (pytester.path / "tests" / "test_a.py").write_text(TESTS)
    pytester.makeini("[pytest]\naddopts = -p harness.pytest_plugin.durations\n")
    return pytester


def test_a_quick_run_takes_the_cases_that_fit_and_what_is_core_or_new(project: pytest.Pytester) -> None:
    budget = durations.SECONDS_OF_A_FUNCTION
    known = {"many": (budget * 5, 10), "core": (budget * 9, 1), "long": (budget * 1.1, 1)}
    text = json.dumps({f"tests/test_a.py::test_{name}": value for name, value in known.items()})
    (project.path / durations.DURATIONS).write_text(text)
    shown = project.runpytest_inprocess("-v", durations.QUICK).stdout
    shown.fnmatch_lines(
        ["*test_many[[]0]*", "*test_many[[]5]*", "*test_core*", "*test_new*", "*4 passed, 9 deselected*"]
    )
    shown.no_fnmatch_line("*test_long*")
    assert project.runpytest_inprocess().ret == 0
    project.runpytest_inprocess().assert_outcomes(passed=13)


def test_a_run_writes_the_functions_that_take_longer_than_a_quick_run_gives_one(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durations, "SECONDS_OF_A_FUNCTION", 0.0)
    project.runpytest_inprocess(durations.WRITE)
    written = durations.read(project.path / durations.DURATIONS)
    assert {name: cases for name, (_, cases) in written.items()} == {
        f"tests/test_a.py::test_{name}": cases for name, cases in {"many": 10, "core": 1, "long": 1, "new": 1}.items()
    }


def test_a_quick_run_writes_what_is_new_and_keeps_the_figures_of_what_it_ran_in_part(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"tests/test_a.py::test_long": (9.0, 1), "tests/test_a.py::test_many": (9.0, 10)}
    (project.path / durations.DURATIONS).write_text(json.dumps(known))
    monkeypatch.setattr(durations, "SECONDS_OF_A_FUNCTION", 0.0)
    project.runpytest_inprocess(durations.QUICK, durations.WRITE)
    written = durations.read(project.path / durations.DURATIONS)
    assert written.keys() == {f"tests/test_a.py::test_{name}" for name in ("core", "long", "many", "new")}
    assert written.items() >= known.items()


def test_the_file_names_tests_that_exist_and_is_sorted() -> None:
    known = list(durations.read(ROOT / durations.DURATIONS))
    assert known == sorted(known)
    assert [name for name in known if name not in _functions(name.partition("::")[0])] == []


@cache  # a file is named once for each of its long tests, and parsing one takes a tenth of a second
def _functions(file: str) -> set[str]:
    path = ROOT / file
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.exists() else ast.Module([], [])
    return {f"{file}::{node.name}" for node in tree.body if isinstance(node, ast.FunctionDef)}
