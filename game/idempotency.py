"""The two forms of an Idempotency-Key: bare, K, and "K", a string of structured fields as in the IETF draft.

Both name the same request. A receipt keeps the key as it was sent: a process of an earlier version looks for that form
alone, and must still find it.
"""

from __future__ import annotations

import re

_STRING = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
"""A string of RFC 8941. The service checks which characters a key may have."""

_ESCAPED = re.compile(r"\\(.)")


def forms(key: str) -> tuple[str, str]:
    """Return the key as it was sent, and its other form. forms("K") and forms('"K"') are the same two.

    The empty string, and a string that holds another one, have no bare form: the key is returned twice.
    """
    bare = unquoted(key)
    if bare is None:
        return key, '"' + re.sub(r'(["\\])', r"\\\1", key) + '"'
    return key, bare if bare and unquoted(bare) is None else key


def unquoted(key: str) -> str | None:
    """Return the content of a structured-field string, or None if the key is not one."""
    string = _STRING.fullmatch(key)
    return None if string is None else _ESCAPED.sub(r"\1", string[1])
