"""One redaction for logs, reports and errors: whatever looks like a secret becomes `***`.

It errs on the side of hiding: a password with an unescaped @ takes what follows it along. Takes time by the length of
the text, for hostile text too: no pattern begins anew within what another attempt has read. A search that begins anew
at each letter of a long word takes minutes, and holds the whole process.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_NAMES = (
    r"(?:password|passwd|pwd|passphrase|password_?hash|secret|token"
    r"|api_?key|signing_?key|private_?key|fence[_-]?pass|dsn)"
)
# Possessive (`++`, `*+`): an unclosed quote is read once, and not given back letter by letter.
_QUOTED = r"'(?:[^'\\]++|\\[\s\S])*+'|\"(?:[^\"\\]++|\\[\s\S])*+\"|\\{1,8}['\"][^'\"]*+['\"]"

# One slash or more: a URL that was taken for a path has lost one.
_URL = re.compile(r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}:/[^\s'\"]*+", re.IGNORECASE)
_ACCOUNT = re.compile(r":/{1,3}[^\s:/@?#'\"]*+:")

_RULES = (
    # Authorization: Bearer ..., Basic ...
    (re.compile(r"\b(bearer|basic)(\s++)(?!\*)[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1\2{HIDDEN}"),
    # a player's token: the id in base64, and 64 hexadecimal digits
    (re.compile(r"\.[0-9a-f]{64}\b"), f".{HIDDEN}"),
    # "passwordHash": "...", 'token': '...', and the same within a JSON text: \"token\": \"...\"
    (
        re.compile(rf"({_NAMES}\\{{0,8}}['\"]\s*+[:=,]\s*+)(?:{_QUOTED}|[^\s,}}\])]++)", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    # password=..., ?password=...&, password='a b', OPERATOR_TOKEN=..., X-Fence-Pass: ...
    (re.compile(rf"({_NAMES}\s*+[=:]\s*+)(?:{_QUOTED}|\\{{0,8}}['\"]?[^\s&,;)'\"]++)", re.IGNORECASE), rf"\1{HIDDEN}"),
    # password hashes standing alone: bcrypt, argon2, scrypt, SCRAM
    (re.compile(r"\$(?:2[abxy]?|argon2\w{0,8}|scrypt|5|6|7|y)\$[\w./$=,+-]{20,}+"), HIDDEN),
    (re.compile(r"SCRAM-SHA-256\$[\w:$+/=]++"), HIDDEN),
)

_SECRET_NAME = re.compile(
    r"(?:.*_)?(?:APIKEY|AUTHORIZATION|COOKIE|CREDENTIALS?|DSN|KEYS?|PASS|PASSPHRASE|\w*PASSWD|\w*PASSWORDS?|PW|PWD"
    r"|SECRETS?|TOKENS?)(?:_.*)?",
    re.IGNORECASE,
)
"""Matches a variable whose name has, between its underscores, a word that says that its value is a secret."""

_NO_SECRETS = frozenset({"PWD", "OLDPWD"})
"""The shell's folders."""


def redact(text: str) -> str:
    """The text without passwords, tokens and hashes; the same where it has none, and unchanged by a second pass."""
    text = _URL.sub(_without_password, text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def is_secret_name(name: str) -> bool:
    """Return True if an environment variable of this name holds a secret."""
    return name not in _NO_SECRETS and _SECRET_NAME.fullmatch(name) is not None


def is_secret(name: str, value: str) -> bool:
    """Return True if an environment variable is a secret by its name, or holds one: a URL with a password, say."""
    return name not in _NO_SECRETS and (is_secret_name(name) or redact(value) != value)


def _without_password(word: re.Match[str]) -> str:
    """Hide what is between scheme://user: and the last @ of a word; the first such account of several."""
    text = word[0]
    account = _ACCOUNT.search(text)
    if account is None or (end := text.rfind("@")) < account.end():
        return text
    return text[: account.end()] + HIDDEN + text[end:]
