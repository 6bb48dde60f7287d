"""Tells the objects of extensions from the game's. The game neither fences, dumps, compares nor moves the former."""

from __future__ import annotations


def not_an_extensions(catalog: str, oid: str) -> str:
    """Return the SQL condition that an object belongs to no extension.

    catalog: the system table that has a row for the object. oid: the SQL expression of its oid. Neither is escaped.
    """
    return (
        f"not exists (select from pg_depend member where member.classid = '{catalog}'::regclass"
        f" and member.objid = {oid} and member.deptype = 'e')"
    )
