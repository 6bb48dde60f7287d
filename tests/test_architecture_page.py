"""docs/architecture.md has the packages in the order that import-linter holds; files that it names exist."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ("harness", "db", "game")


def layers(package: str) -> list[str]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if each.get("containers") == [package]]
    return [str(layer) for layer in contract["layers"]]


def purpose(package: str, part: str) -> str:
    """Return the first line of the part's docstring."""
    path = ROOT / package / part / "__init__.py"
    source = path if path.is_file() else ROOT / package / f"{part}.py"
    line = (ast.get_docstring(ast.parse(source.read_text("utf-8"))) or "").splitlines()[0]
    return line.replace("|", "\\|")


def table(package: str) -> str:
    rows = ["| package | |", "|---|---|"]
    for layer in layers(package):
        parts = [part.strip() for part in layer.split("|")]
        rows += [f"| `{part}`{' ·' if len(parts) > 1 else ''} | {purpose(package, part)} |" for part in parts]
    return "\n".join(rows)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_page_has_the_parts_of_a_package_in_their_order(package: str, pytestconfig: pytest.Config) -> None:
    text = PAGE.read_text("utf-8")
    part = re.compile(rf"(<!-- packages of {package} -->\n)(.*?)(<!-- end -->)", re.DOTALL)
    expected = f"{table(package)}\n"
    if pytestconfig.getoption("--write-pages"):
        PAGE.write_text(part.sub(lambda match: match[1] + expected + match[3], text), "utf-8")
        return
    match = part.search(text)
    assert match, package
    assert match[2] == expected, "write it: pytest tests/test_architecture_page.py --write-pages"


def test_each_file_that_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:game|db|harness)/[\w/]+\.py)`", PAGE.read_text("utf-8"))
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).is_file()] == []
