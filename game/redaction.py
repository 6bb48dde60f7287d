"""One redaction for logs, reports and errors: whatever looks like a secret becomes `***`.

It errs on the side of hiding: a password with an unescaped @ takes what follows it along. Takes time by the length of
the text, for hostile text too: no pattern begins anew within what another attempt has read. A search that begins anew
at each letter of a long word takes minutes, and holds the whole process.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "***"

_GLUED = (
    r"password(?:[_-]?hash)?|passwd|passphrase|secret|token|credential|dsn"
    r"|(?:api|signing|private)[_-]?key|fence[_-]?pass"
)
_ALONE = r"pass|pw|pwd|authorization|cookie"
_NAMES = rf"(?=[acdfpst])(?:{_GLUED}|(?<![^\W_])(?:{_ALONE}))"
"""Names of secrets; their first letters stand before them for speed. Those glued may follow other letters, as in
PGPASSWORD; those alone may not, as in compass."""

_NO_SENTENCE = r"(?<!invoke token)(?!: expected )"
"""After the task of that name, and after the place of an error, a sentence follows and no value."""

# Possessive (`++`, `*+`): an unclosed quote is read once, and not given back letter by letter.
_QUOTED = r"(?:'(?:[^'\\]++|\\[\s\S])*+'|\"(?:[^\"\\]++|\\[\s\S])*+\"|\\{1,8}['\"][^'\"]*+['\"])++"
# What ends a value (& , ; or a bracket) is part of it where something follows that is not the next name=.
_BARE = r"(?:[^\s&,;)'\"]++|[&,;)]++(?=[^\s'\"])(?![\w.-]{0,40}=))++"

# One slash or more: a URL that was taken for a path has lost one. A quote before a letter is no end of the word.
_URL = re.compile(
    r"(?:(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}:/|(?<![\w:/.])//)(?:[^\s'\"]++|['\"](?=\w))*+", re.IGNORECASE
)
_ACCOUNT = re.compile(r"(?:\A|:)/{1,3}[^\s:/@?#]*+:")
_PORT = re.compile(r"[0-9]{1,5}(?![^\s/?#'\",;)\]])")
_REST = re.compile(r"[^@\r\n]{1,200}@(?:[^\s@'\"]*+@)*+")
"""The rest of a password that a blank or a quote cuts, up to the last @ of a word."""

_OPTION = re.compile(rf"(?<![\w-])(--[\w-]++)(\s++)(?!--)(?:{_QUOTED}|\S++)")

_RULES = (
    # Authorization: Bearer ..., Authorization: Token ..., Cookie: a=...; b=...: the rest of the line
    (
        re.compile(r"((?<![^\W_])(?:authorization|cookie)\s*+[=:]\s*+)[^\s'\"][^\r\n'\"]*+", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    # Bearer ..., Basic ..., wherever they stand
    (re.compile(r"\b(bearer|basic)(\s++)(?!\*)[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1\2{HIDDEN}"),
    # a player's token: the id in base64, and 64 hexadecimal digits
    (re.compile(r"\.[0-9a-f]{64}\b"), f".{HIDDEN}"),
    # "passwordHash": "...", 'token': '...', and the same within a JSON text: \"token\": \"...\"
    (
        re.compile(rf"({_NAMES}\\{{0,8}}['\"]\s*+[:=,]\s*+)(?:{_QUOTED}|[^\s,}}\])]++)", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    # password=..., ?password=...&, password='a b', OPERATOR_TOKEN=..., X-Fence-Pass: ..., token%3D...
    (
        re.compile(
            rf"({_NAMES}{_NO_SENTENCE}\s*+(?:[=:]|%(?:25){{0,4}}3[ad])\s*+)(?:{_QUOTED}|\\{{0,8}}['\"]?{_BARE})",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    # ALTER ROLE ... PASSWORD '...'; the rest of the line where a dollar quotes it, or the end was cut off
    (re.compile(rf"(password\s++(?:e|u&)?)(?:{_QUOTED}|(?:'|\$\w{{0,63}}\$)[^\r\n]*+)", re.IGNORECASE), rf"\1{HIDDEN}"),
    # a line of a password file: host:port:database:user:...
    (re.compile(r"(?<![\w.*:-])([\w.*-]++:(?:[0-9]{1,5}|\*):[^:\s]++:[^:\s]++:)\S++"), rf"\1{HIDDEN}"),
    # password hashes standing alone: bcrypt, argon2, scrypt, SCRAM
    (re.compile(r"\$(?:2[abxy]?|argon2\w{0,8}|scrypt|5|6|7|y)\$[\w./$=,+-]{20,}+"), HIDDEN),
    (re.compile(r"SCRAM-SHA-256\$[\w:$+/=]++"), HIDDEN),
)

# `key` is a secret's name for a variable only: our messages speak of the keys of files and tables.
_SECRET_NAME = re.compile(rf"(?:{_GLUED}|(?<![^\W_])(?:{_ALONE}|apikey|key))s?(?![^\W\d_])", re.IGNORECASE)
"""Finds in a variable's name the word that says that its value is a secret."""

_GIVEN = re.compile(rf"{_NAMES}\s*+=\s*+[^\s&]", re.IGNORECASE)
"""A secret's name and a value, among a URL's parameters or libpq's keywords."""

_NO_SECRETS = frozenset({"PWD", "OLDPWD"})
"""The shell's folders."""


def redact(text: str) -> str:
    """Return the text without passwords, tokens and hashes. A second pass changes nothing."""
    text = _OPTION.sub(_without_value, _without_accounts(text))
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def is_secret_name(name: str) -> bool:
    """Return True if an environment variable of this name holds a secret."""
    return name not in _NO_SECRETS and _SECRET_NAME.search(name) is not None


def is_secret(name: str, value: str) -> bool:
    """Return True if an environment variable is a secret by its name, or holds one: a URL with a password, say."""
    return name not in _NO_SECRETS and (is_secret_name(name) or redact(value) != value)


def bears_password(text: str) -> bool:
    """Return True if the text, a URL or libpq's keywords, well formed or not, seems to hold a password."""
    account, at, _ = (text.partition("://")[2] or text).rpartition("@")
    if at and unquote(account).partition(":")[2]:
        return True
    return _GIVEN.search(unquote(unquote(text))) is not None


def _without_value(option: re.Match[str]) -> str:
    """Hide the value of --password and its like."""
    return f"{option[1]}{option[2]}{HIDDEN}" if is_secret_name(option[1]) else option[0]


def _without_accounts(text: str) -> str:
    """Hide the password of each URL."""
    parts, done = [], 0
    while url := _URL.search(text, done):
        begin, end = _password(text, url)
        parts += [text[done:begin], HIDDEN] if begin < end else [text[done:end]]
        done = end
    return "".join([*parts, text[done:]])


def _password(text: str, url: re.Match[str]) -> tuple[int, int]:
    """Return where a URL's password begins and ends: between scheme://user: and the last @ of the word.

    Of several accounts in a word it is the first. Without a password both are the URL's end.
    """
    account = _ACCOUNT.search(url[0])
    if account is None:
        return url.end(), url.end()
    begin = url.start() + account.end()
    end = text.rfind("@", begin, url.end())
    if end < 0 and not _PORT.match(text, begin) and (continuation := _REST.match(text, url.end())):
        end = continuation.end() - 1
    return (begin, end) if end >= 0 else (url.end(), url.end())
