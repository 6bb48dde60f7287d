"""docs/plan.md has each line of the deployment plan with the tests that are marked for it; none is without a proof.

`pytest --write-pages` writes the page. The marks are read from the source of the tests, so nothing has to be collected.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from harness.pytest_plugin import deployment_plan
from harness.pytest_plugin.deployment_plan import MARKER, PlanLine
from tasks import namespace

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "plan.md"
PLAN = deployment_plan.read(ROOT / deployment_plan.FILE)
NUMBERS = [line.number for line in PLAN.line]
COMMANDS = sorted({command for line in PLAN.line for command in line.commands})


@cache
def marked() -> list[tuple[Path, str, tuple[int, ...], tuple[str, ...]]]:
    """Return file, function, lines and cases of each mark in the tests' source."""
    marks = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        if f"@pytest.mark.{MARKER}(" in text:
            functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
            marks += [(path, one.name, *mark) for one in functions for mark in marks_of(one)]
    return marks


def marks_of(function: ast.FunctionDef) -> list[tuple[tuple[int, ...], tuple[str, ...]]]:
    calls = [call for call in function.decorator_list if isinstance(call, ast.Call)]
    return [
        (
            tuple(ast.literal_eval(argument) for argument in call.args),
            next((ast.literal_eval(word.value) for word in call.keywords if word.arg == "cases"), ()),
        )
        for call in calls
        if ast.unparse(call.func) == f"pytest.mark.{MARKER}"
    ]


def proofs() -> dict[int, list[str]]:
    """Return the links to the tests of each line."""
    links = defaultdict(list)
    for path, name, lines, cases in marked():
        link = f"[{name}](../{path.relative_to(ROOT).as_posix()})"
        for line in lines:
            links[line].append(link + (f" ({', '.join(cases)})" if cases else ""))
    return links


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    assert not any("|" in cell for line in lines for cell in line)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def lines_table() -> str:
    links = proofs()

    def row(line: PlanLine) -> tuple[str, ...]:
        scenarios = [f"[{Path(path).stem}](../{path})" for path in line.scenarios]
        commands = "<br>".join(f"`{command}`" for command in line.commands)
        tests = "<br>".join([*links[line.number], *scenarios]) or "not proven yet"
        return (str(line.number), line.text, commands, tests)

    return table(("", "the plan", "command", "proven by"), [row(line) for line in PLAN.line])


def missing_table() -> str:
    rows = [(str(one.line), one.part or "all of it", one.proof) for one in PLAN.missing]
    return table(("line", "not proven", "what would prove it"), rows)


def not_run_table() -> str:
    return table(("not run", "what the tests ask instead"), list(PLAN.not_run.items()))


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("lines of the plan", lines_table()),
        ("not proven yet", missing_table()),
        ("not run", not_run_table()),
    ],
    ids=lambda value: value.partition("\n")[0][:20],
)
def test_the_page_has_the_plan_and_its_marks(title: str, expected: str, pytestconfig: pytest.Config) -> None:
    text = PAGE.read_text("utf-8")
    part = re.compile(rf"(<!-- {title} -->\n)(.*?)(<!-- end -->)", re.DOTALL)
    if pytestconfig.getoption("--write-pages"):
        PAGE.write_text(part.sub(lambda match: match[1] + expected + match[3], text), "utf-8")
        return
    match = part.search(text)
    assert match, title
    assert match[2] == expected, "write it: pytest tests/test_plan_page.py --write-pages"


def test_the_plan_has_its_34_lines() -> None:
    assert list(range(1, 35)) == NUMBERS


def test_each_mark_is_of_a_line_and_each_line_has_a_mark_or_is_said_to_be_unproven() -> None:
    lines = set(proofs())
    unproven = {one.line for one in PLAN.missing if not one.part}
    assert sorted(lines - set(NUMBERS)) == [], "no line of the plan"
    assert sorted(set(NUMBERS) - lines - unproven) == [], "lines without a test: mark one, or add a [[missing]]"
    assert sorted(lines & unproven) == [], "lines that have a test by now"
    assert {one.line for one in PLAN.missing} <= set(NUMBERS)


def test_each_case_of_a_mark_is_named_beside_its_test() -> None:
    for path, name, _, cases in marked():
        sources = "".join(each.read_text("utf-8") for each in path.parent.glob("*.py") if each != path) if cases else ""
        own = re.sub(rf"@pytest\.mark\.{MARKER}\(.*\)\n", "", path.read_text("utf-8"))
        assert [case for case in cases if f'"{case}": ' not in sources + own] == [], name


def test_each_scenario_is_there() -> None:
    named = [path for line in PLAN.line for path in line.scenarios]
    assert [path for path in named if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_a_task_with_these_options(command: str) -> None:
    invoke, name, *words = command.split()
    flags = {flag for argument in namespace[name].get_arguments() for flag in argument.names}
    assert invoke == "invoke"
    options = {word.removeprefix("--") for word in words if word.startswith("--")}
    assert sorted(options - flags) == []


def test_the_page_is_found_from_the_readme_and_the_architecture() -> None:
    assert "(docs/plan.md)" in (ROOT / "README.md").read_text("utf-8")
    assert "(plan.md)" in (ROOT / "docs" / "architecture.md").read_text("utf-8")
