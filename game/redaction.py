"""One redaction for logs, reports and errors: whatever looks like a secret becomes `***`.

It errs on the side of hiding: a password with an unescaped @ takes what follows it along. What comes before a name is
bounded or left out: a search that begins anew at each letter of a long word takes minutes, and holds the whole process.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_NAMES = (
    r"(?:password|passwd|pwd|passphrase|password_?hash|secret|token"
    r"|api_?key|signing_?key|private_?key|fence[_-]?pass)"
)
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""

_RULES = (
    # scheme://user:password@host, the password up to the last @ of the word
    (re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@?#'\"]*:)[^\s'\"]{0,1000}@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    # Authorization: Bearer ..., Basic ...
    (re.compile(r"\b(bearer|basic)(\s+)(?!\*)[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1\2{HIDDEN}"),
    # a player's token: the id in base64, and 64 hexadecimal digits
    (re.compile(r"\.[0-9a-f]{64}\b"), f".{HIDDEN}"),
    # "passwordHash": "...", 'token': '...'
    (
        re.compile(rf"((['\"])[\w-]{{0,40}}{_NAMES}\2\s*[:=,]\s*)(?:{_QUOTED}|[^\s,}}\])]+)", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    # password=..., ?password=...&, password='a b', OPERATOR_TOKEN=..., X-Fence-Pass: ...
    (re.compile(rf"({_NAMES}\s*[=:]\s*)(?:{_QUOTED}|[^\s&,;)'\"]+)", re.IGNORECASE), rf"\1{HIDDEN}"),
    # password hashes standing alone: bcrypt, argon2, scrypt, SCRAM
    (re.compile(r"\$(?:2[abxy]?|argon2\w*|scrypt|5|6|7|y)\$[\w./$=,+-]{20,}"), HIDDEN),
    (re.compile(r"SCRAM-SHA-256\$[\w:$+/=]+"), HIDDEN),
)


def redact(text: str) -> str:
    """The text without passwords, tokens and hashes; the same where it has none, and unchanged by a second pass."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
