"""docs/service.md names every setting with its default, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic_core import PydanticUndefined

from game.settings import Settings

DOCS = Path(__file__).parents[2] / "docs" / "service.md"
ROW = re.compile(r"^\| `([A-Z_]+)` \| ([^|]*) \|", re.MULTILINE)


def test_the_table_of_settings_is_that_of_the_service() -> None:
    defaults = {name: default.strip().strip("`") for name, default in ROW.findall(DOCS.read_text("utf-8"))}
    assert defaults == {name.upper(): _default(field.default) for name, field in Settings.model_fields.items()}


def _default(value: object) -> str:
    if value is PydanticUndefined:
        return "required"
    return "none" if value is None else str(value)
