"""docs/cutover.md has the steps of each runbook and the checks of step 1, as the code lists them.

`pytest --write-pages` writes them into the page.
"""

from __future__ import annotations

import inspect
import re
from functools import partial
from pathlib import Path

import pytest

from db import environments
from db.cutover.back import LIVE_ROLLBACK
from db.cutover.checks import PreflightCheck
from db.cutover.context import RunConfig
from db.cutover.cutover import CUTOVER
from db.cutover.live import LIVE_CUTOVER
from db.cutover.rollback import ROLLBACK
from db.cutover.runbook import Runbook
from game.urls import PostgresUrl
from harness.cli.commands import cutovers
from tests.db.cutover.cutover_world import quiet_smoke

PAGE = Path(__file__).parents[3] / "docs" / "cutover.md"


def steps(runbook: Runbook) -> str:
    rows = ["| | step | true after it | when it refuses or fails |", "|---|---|---|---|"]
    rows += [f"| {row.number} | {row.name} | {row.true_after} | {row.on_failure} |" for row in runbook.rows]
    return "\n".join(rows)


def checks() -> str:
    """Return every check of either direction, with the first line of its function's docstring."""
    there, back = checks_of(CUTOVER), checks_of(ROLLBACK)
    names = list(dict.fromkeys([*there, *back]))
    rows = ["| check | what has to be so | cutover | rollback |", "|---|---|---|---|"]
    for name in names:
        texts = list(dict.fromkeys(text(runbook[name]) for runbook in (there, back) if name in runbook))
        marks = " | ".join("✓" if name in runbook else "" for runbook in (there, back))
        rows.append(f"| {name} | {'; of a rollback: '.join(texts)} | {marks} |")
    return "\n".join(rows)


def checks_of(runbook: Runbook) -> dict[str, PreflightCheck]:
    nowhere = PostgresUrl("127.0.0.1", 1, "nobody", "", "nothing")
    env = environments.throwaway(owner=nowhere, service=nowhere, legacy=Path("game.db"), folder=Path())
    certificate = (("certificate", cutovers._admit),) if runbook is CUTOVER else ()
    config = RunConfig(quiet_smoke, demands=(*certificate, *cutovers.DEMANDS))
    return {check.name: check for check in runbook.preflight(config.new_context(runbook.verb, env, run=None))}


def text(check: PreflightCheck) -> str:
    function = check.run.func if isinstance(check.run, partial) else check.run
    line = (inspect.getdoc(function) or "").splitlines()[0]
    sentence = re.match(r"Check (?:that|for) (.*?)\.(?: |$)", line)
    assert sentence, f"the docstring of the check {check.name} begins with 'Check that': {line}"
    return sentence[1].replace("|", "\\|")


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("steps of the cutover", steps(CUTOVER)),
        ("steps of the live cutover", steps(LIVE_CUTOVER)),
        ("steps of the rollback", steps(ROLLBACK)),
        ("steps of the live rollback", steps(LIVE_ROLLBACK)),
        ("checks of step 1", checks()),
    ],
)
def test_the_page_has_what_the_code_lists(title: str, expected: str, pytestconfig: pytest.Config) -> None:
    page = PAGE.read_text("utf-8")
    part = re.compile(rf"(<!-- {title} -->\n)(.*?)(<!-- end -->)", re.DOTALL)
    if pytestconfig.getoption("--write-pages"):
        PAGE.write_text(part.sub(lambda section: f"{section[1]}{expected}\n{section[3]}", page), "utf-8")
        return
    section = part.search(page)
    assert section, title
    assert section[2] == f"{expected}\n", "write it: pytest tests/db/cutover/test_runbook_tables.py --write-pages"


def test_a_row_says_what_to_do_about_each_step() -> None:
    for runbook in (CUTOVER, ROLLBACK):
        assert all(row.on_failure for row in runbook.rows), runbook.verb
