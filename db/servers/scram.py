"""What Postgres keeps of a password for SCRAM-SHA-256 (RFC 5802), with a single round of its hash.

The rounds are there to slow down who guesses a weak password. The passwords of a throwaway server are random, and a
harness connects thousands of times: 4,096 rounds would be most of what a connection costs the client.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64encode

ROUNDS = 1
SALT_BYTES = 16


def quick(password: str) -> str:
    """Return the text that `CREATE ROLE … PASSWORD` takes in place of the password; another one each time."""
    salt = secrets.token_bytes(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ROUNDS)
    client, server = (hmac.digest(salted, key, "sha256") for key in (b"Client Key", b"Server Key"))
    stored = hashlib.sha256(client).digest()
    return f"SCRAM-SHA-256${ROUNDS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def _text(data: bytes) -> str:
    return b64encode(data).decode()
