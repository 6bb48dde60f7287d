"""Signs what this program has to know again as its own: a gate's report, a plan, and the manifest of a snapshot.

One key signs all: it must be on every machine that moves staging or production, for no cutover begins without it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping

from db.errors import Refusal

SIGNING_KEY = "GATE_SIGNING_KEY"
"""The variable that holds the key: exported, or in .env."""

UNSIGNED_STAGES = ("development", "test")
"""The environments that admit what nobody signed."""

KEY_LENGTH = 16
"""The fewest characters of a key that nobody guesses."""


def sign(document: Mapping[str, object], key: str) -> str:
    """Return the HMAC-SHA256, in hex, of the document's canonical JSON. Raises Refusal of a key that could be guessed.

    Documents of two kinds differ in their outermost names, so that a signature of one never fits the other.
    """
    if len(key) < KEY_LENGTH:
        raise Refusal(
            f"a {SIGNING_KEY} of {KEY_LENGTH} characters or more",
            f"one of {len(key)}",
            do='Make one, and write it into .env: python3 -c "import secrets; print(secrets.token_urlsafe(32))"',
        )
    return hmac.new(key.encode(), canonical(document), hashlib.sha256).hexdigest()


def canonical(document: Mapping[str, object]) -> bytes:
    """Return the document's JSON in the one form that is signed, whatever the order of its keys."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def fits(document: Mapping[str, object], given: str, key: str) -> bool:
    """Return True if the signature is that of this document by this key; takes as long whatever was given."""
    return hmac.compare_digest(sign(document, key).encode(), given.encode())
