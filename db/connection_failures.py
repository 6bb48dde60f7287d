"""Turns a connection that failed into a Refusal whose advice fits the cause.

libpq gives no SQLSTATE for a connection that failed, so its text and the server's are matched. A server may answer in
another language: a text that no rule matches is shown as it is, with advice that presumes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

import psycopg

from db.errors import Refusal
from db.remedies import ANOTHER_SERVER, statement
from game.redaction import redact
from game.urls import PostgresUrl

ANSWERS = "a Postgres that answers"


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause of failed connections. expected: in the Refusal. do: its advice. sql: a statement that mends it.

    reached: whether a server, or what stands in its place, answered at all.
    """

    pattern: re.Pattern[str]
    expected: str
    do: str
    sql: LiteralString = ""
    reached: bool = True


def _cause(pattern: str, expected: str, do: str, sql: LiteralString = "", *, reached: bool = True) -> Cause:
    return Cause(re.compile(pattern, re.IGNORECASE), expected, do, sql, reached)


UNKNOWN = _cause(
    "",
    "a connection to Postgres",
    "These are the words of the server, or of libpq. Mend what they name, and run the same command again.",
)

NOT_RUNNING = _cause(
    r"connection refused|no such file or directory|not a directory",
    ANSWERS,
    "Is it running, and is the address right? Start it, or correct host and port in the URL.",
    reached=False,
)

CAUSES = (
    # A pooler repeats what its server said, so it comes before what a server says.
    _cause(
        r"server[ _]login|query_wait_timeout|connect failed|cannot connect to server|server conn crashed",
        "a pooler whose server answers",
        "The pooler runs, and can't log in to its server: start that server, or correct the pooler's own settings.",
    ),
    _cause(
        r"no password supplied",
        "a password for this role",
        "The server runs. Write the password into the URL's variable in .env, or give it in PGPASSWORD or ~/.pgpass.",
    ),
    _cause(
        r"(peer|ident) authentication failed",
        "a role that this user of the machine may take",
        "The server runs. Name a host and a password in the URL, or change this role's line in its pg_hba.conf.",
    ),
    _cause(
        r"authentication failed|SCRAM|SASL|wrong password|incorrect server signature",
        "a role and its password",
        "The server runs. Correct the role in the URL, or its password in .env, PGPASSWORD or ~/.pgpass. In a URL a"
        " password's : / ? # @ [ ] % are written %XX.",
    ),
    _cause(
        r"pg_hba\.conf",
        "a server that lets this machine in",
        "The server runs. Add a line to its pg_hba.conf for this role, database and address, with the TLS that the URL"
        " asks for (sslmode), and run there: SELECT pg_reload_conf();",
    ),
    _cause(
        r"role \"\" is not permitted to log in",
        "a role that may log in",
        "The server runs. As a superuser:",
        "ALTER ROLE {role} LOGIN;",
    ),
    _cause(
        r"role \"\" does not exist|no such user",
        "a role of the server",
        "The server runs. Correct the role in the URL, or make it there.",
    ),
    _cause(
        r"database \"\" does not exist|no such database",
        "a database of the server",
        "The server runs. Correct the database's name in the URL, or make it, as the role of target_direct:",
        "CREATE DATABASE {database} ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0;",
    ),
    _cause(
        r"not currently accepting connections",
        "a database that takes connections",
        "The server runs. As a superuser, in another database:",
        "ALTER DATABASE {database} ALLOW_CONNECTIONS true;",
    ),
    _cause(
        r"permission denied for database",
        "a role that may connect to the database",
        "The server runs. As the database's owner:",
        "GRANT CONNECT ON DATABASE {database} TO {role};",
    ),
    _cause(
        r"too many (connections|clients)|connection slots are reserved|no more connections allowed",
        "a free connection of the server",
        "The server runs, and all its connections are taken. Stop a program that holds some, or raise the limit that"
        " the message names.",
    ),
    _cause(
        r"the database system is|not yet accepting connections",
        "a server that is up",
        "The server is starting or stopping. Wait until it is up, and run the same command again.",
    ),
    _cause(
        r"^invalid .* value|invalid connection option|invalid port",
        "parameters that libpq takes",
        "Correct this parameter in the URL.",
    ),
    _cause(
        r"does(n't| not) support (SSL|GSSAPI)",
        "a server with TLS, as sslmode in the URL asks",
        "The server runs, without TLS. Set ssl = on there, with a certificate, or correct sslmode in the URL.",
    ),
    _cause(
        r"(root certificate|certificate|private key|CRL).* file|sslrootcert|certificate store",
        "the files that TLS needs, readable",
        "This is about files of this machine: correct sslrootcert, sslcert or sslkey in the URL, or the file's rights.",
    ),
    _cause(
        r"expected authentication request|invalid response to|unexpected message|unencrypted data",
        "a Postgres at this address",
        "Another program listens there. Correct host and port in the URL.",
    ),
    _cause(
        r"(SSL|TLS) SYSCALL error: (EOF|Success|Connection)|SSL connection has been closed|closed the connection"
        r"|connection reset|broken pipe",
        ANSWERS,
        "It ended the connection at once: it may be starting or stopping, or a proxy stands between. Its log says why.",
    ),
    _cause(
        r"certificate|SSL|TLS|channel binding",
        "a server whose TLS is trusted",
        "Something answers, and TLS failed. The host in the URL must be a name in the server's certificate, and"
        " sslrootcert must hold the authority that signed it.",
    ),
    UNKNOWN,
    # Below, nothing answered. Of several addresses of a host, one that answered says more.
    _cause(
        r"^no answer$|timeout expired|timed out|no route to host|unreachable|host is down",
        ANSWERS,
        "Nothing came back. Check that the machine is on, that the address is right, and that no firewall is between.",
        reached=False,
    ),
    _cause(
        r"permission denied|operation not permitted",
        ANSWERS,
        "This user may not open the server's socket. Correct the rights of its folder, or name a host in the URL.",
        reached=False,
    ),
    NOT_RUNNING,
    _cause(
        r"temporary failure in name resolution",
        ANSWERS,
        "This machine can't look names up now. Mend its name service, and run the same command again.",
        reached=False,
    ),
    _cause(
        r"failed to resolve|could not translate host name|name or service not known|socket path .* too long",
        ANSWERS,
        "No machine has this name. Correct the host in the URL.",
        reached=False,
    ),
)
"""From the cause that got furthest to the one that got nowhere: of several attempts the first one here is told."""

_ATTEMPT = re.compile(
    r"^- host: .*?, port: .*?, hostaddr: .*?: |connection to server (?:at|on socket) .*? failed: ", re.M
)
"""Begins the text of one attempt: psycopg tries each address of a host, and libpq each with TLS and without."""
_NOISE = re.compile(
    r"connection (?:failed|is bad): |Multiple connection attempts failed\. All failures were:|\bFATAL: *"
)
_NAMES = re.compile(r"""((["'])).*?\2|(?<=no such )(user|database): .*""")
_HINT = re.compile(r"\s*(?:Is the server running|This probably means).*", re.DOTALL)


def refusal(url: PostgresUrl, error: psycopg.OperationalError) -> Refusal:
    """Make the Refusal for a connection that failed."""
    cause, message = explain(error)
    do = f"{cause.do} {_sql(cause, url)}" if cause.sql else cause.do
    if cause is NOT_RUNNING and url.started_by:
        do = f"Start it: {url.started_by} (it needs Docker with its Compose plugin).{ANOTHER_SERVER}"
    return Refusal(cause.expected, message, where=url.redacted, do=do)


def explain(error: psycopg.OperationalError) -> tuple[Cause, str]:
    """Return the cause, and the text of the attempt that got furthest, on one line."""
    attempts = list(_attempts(str(error)))
    causes = [_cause_of(_without_names(text)) for text in attempts]
    cause = min(causes, key=CAUSES.index)
    return cause, redact(attempts[causes.index(cause)])


def _cause_of(text: str) -> Cause:
    known = (cause for cause in CAUSES if cause is not UNKNOWN)  # It matches any text.
    return next((cause for cause in known if cause.pattern.search(text)), UNKNOWN)


def _without_names(text: str) -> str:
    """Empty the quotes: a database may be called `scram`, and its name says nothing of the cause."""
    return _NAMES.sub(lambda quoted: (quoted[1] or "") * 2 or str(quoted[3]), text)


def _attempts(text: str) -> Iterator[str]:
    any_line = False
    for part in _ATTEMPT.split(text):
        if line := " ".join(_HINT.sub("", _NOISE.sub("", part)).split()):
            any_line = True
            yield line
    if not any_line:
        yield "no answer"


def _sql(cause: Cause, url: PostgresUrl) -> str:
    return statement(cause.sql, database=url.dbname, role=url.user)
