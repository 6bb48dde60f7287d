"""The two ways to write an Idempotency-Key: bare, K, or as the IETF draft has it, a structured-field string, "K".

Both name the same request. A receipt keeps the key as it was sent, so that a process of an earlier version, which knows
only that form, still finds it.
"""

from __future__ import annotations

import re

_STRING = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
"""A string of RFC 8941; of which characters a key may be is the service's to check."""

_ESCAPED = re.compile(r"\\(.)")


def forms(key: str) -> tuple[str, str]:
    """The key as it was sent, and its other form. Each is the other's: forms("K") and forms('"K"') name the same two.

    A string of nothing, or of what is itself a string, has no bare form: it stands for itself alone, twice.
    """
    bare = unquoted(key)
    if bare is None:
        return key, '"' + re.sub(r'(["\\])', r"\\\1", key) + '"'
    return key, bare if bare and unquoted(bare) is None else key


def unquoted(key: str) -> str | None:
    """What the key is as a structured-field string; None where it is none."""
    found = _STRING.fullmatch(key)
    return None if found is None else _ESCAPED.sub(r"\1", found[1])
