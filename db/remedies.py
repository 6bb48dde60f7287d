"""Writes the SQL that a refusal tells an operator to run: every name is quoted, so capitals are kept."""

from __future__ import annotations

from typing import LiteralString

from psycopg import sql


def statement(template: LiteralString, **names: str | tuple[str, ...]) -> str:
    """Fill in the template's names as quoted identifiers; a tuple is one qualified name, such as schema and table."""
    identifiers = {key: sql.Identifier(*((name,) if isinstance(name, str) else name)) for key, name in names.items()}
    return sql.SQL(template).format(**identifiers).as_string(None)
