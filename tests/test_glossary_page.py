"""docs/glossary.md: each word once, in order, in a plain sentence, and a module that exists and uses the word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| (?P<word>[a-z][a-z ]+) \| (?P<meaning>.+) \| `(?P<module>[\w/]+\.py)` \|$", re.MULTILINE)
PAGE = (ROOT / "docs" / "glossary.md").read_text("utf-8")
ROWS = [match.groupdict() for match in ROW.finditer(PAGE)]


def test_each_word_stands_there_once_and_in_order() -> None:
    words = [row["word"] for row in ROWS]
    assert len(words) > 30
    assert words == sorted(set(words))
    assert len(ROWS) == PAGE.count("\n|") - 2, "a row of another form"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["word"])
def test_the_module_of_a_word_is_there_and_uses_the_word(row: dict[str, str]) -> None:
    assert re.fullmatch(r"[A-Z].*\.", row["meaning"])
    module = ROOT / row["module"]
    assert module.is_file()
    text = module.read_text("utf-8").lower().replace("_", " ")
    stem = min(row["word"].split(), key=text.count).removesuffix("s")
    assert stem in text or stem.replace(" ", "") in text


def test_the_page_is_found_from_the_readme_and_the_architecture() -> None:
    assert "(docs/glossary.md)" in (ROOT / "README.md").read_text("utf-8")
    assert "(glossary.md)" in (ROOT / "docs" / "architecture.md").read_text("utf-8")
