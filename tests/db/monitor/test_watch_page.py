"""docs/watch.md has every check of the watch, as the code lists them. `pytest --write-pages` writes them."""

from __future__ import annotations

import re

import pytest

from db.monitor.checks import GROUPS
from db.monitor.grants import GRANTS


def table() -> str:
    lines = []
    for group, checks in GROUPS.items():
        lines += [f"### {group.capitalize()}", ""]
        lines += [
            "| check | limit | source of the limit | planted defect | not judged when | do |",
            "|---|---|---|---|---|---|",
        ]
        for check in checks:
            cells = (check.name, str(check.limit), check.limit.source, check.defect, check.not_judged, check.do)
            name, *others = (cell.replace("|", "\\|").replace("{env}", "ENV") for cell in cells)
            lines.append(f'| <a id="{check.anchor}"></a>{name} | {" | ".join(others)} |')
        lines.append("")
    return "\n".join(lines)


def grants() -> str:
    names = {"database": "sudamr", "schema": "game", "monitor": "sudamr_monitor"}
    return GRANTS.format(**names)


@pytest.mark.parametrize(("title", "text"), [("checks of the watch", table()), ("grants of the watch", grants())])
def test_the_page_has_what_the_code_lists(title: str, text: str, pytestconfig: pytest.Config) -> None:
    path = pytestconfig.rootpath / "docs" / "watch.md"
    page = path.read_text("utf-8")
    part = re.compile(rf"(<!-- {title} -->\n)(.*?)((?:-- )?<!-- end -->)", re.DOTALL)
    if pytestconfig.getoption("--write-pages"):
        path.write_text(part.sub(lambda match: f"{match[1]}{text}{match[3]}", page), "utf-8")
        return
    match = part.search(page)
    assert match
    assert match[2] == text, "write it: pytest tests/db/monitor/test_watch_page.py --write-pages"
