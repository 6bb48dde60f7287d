"""The text of a Postgres URL is read the same by every program, or is refused without being shown."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.dialects import registry

from db.servers import Server, Tool
from game.errors import BadUrl
from game.urls import CHOICES, FILES, HONOURED, MAX_NUMBER, NUMBERS, LegacyUrl, PostgresUrl, read

DIALECT = registry.load("postgresql.psycopg")()

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
NAME = TEXT.filter(lambda name: len(name.encode()) <= 63)
SOCKET = TEXT.map(lambda text: "/" + text.replace(",", ""))
ZONE = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,5}", fullmatch=True)
IPV6 = st.ip_addresses(v=6).map(str)
HOST = st.one_of(
    st.from_regex(r"[a-z0-9_][a-z0-9_-]{0,9}(\.[a-z0-9_-]{1,9}){0,2}\.?", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    IPV6,
    st.builds("{}%{}".format, IPV6.filter(lambda address: "." not in address), ZONE),
    SOCKET,
)


def _value(name: str) -> st.SearchStrategy[str]:
    if name in CHOICES:
        return st.sampled_from(CHOICES[name])
    if name in NUMBERS:
        return st.integers(0, MAX_NUMBER).map(str)
    return TEXT.map(lambda text: f"/{text}") if name in FILES else TEXT


PARAMETERS = st.fixed_dictionaries({}, optional={name: _value(name) for name in HONOURED}).map(lambda d: (*d.items(),))
URLS = st.builds(
    PostgresUrl,
    host=HOST,
    port=st.integers(1, 65535),
    user=NAME,
    password=TEXT | st.just(""),
    dbname=NAME,
    schema=st.from_regex(r"[A-Za-oq-z_][A-Za-z0-9_]{0,62}", fullmatch=True).filter(lambda name: name != "ops"),
    parameters=PARAMETERS,
)


@given(URLS)
def test_what_is_written_is_read_back_the_same(url: PostgresUrl) -> None:
    assert read(url.as_text()) == url
    assert read(url.as_text().replace("postgresql://", "POSTGRESQL://")) == url


@given(URLS)
def test_psycopg_sqlalchemy_and_programs_are_given_the_same_connection(url: PostgresUrl) -> None:
    by_psycopg = conninfo_to_dict(url.conninfo)
    _, by_sqlalchemy = DIALECT.create_connect_args(url.sqlalchemy)
    arguments, environment = _given_to_a_program(url)
    by_program = conninfo_to_dict(arguments.pop().removeprefix("--dbname="))

    assert conninfo_to_dict(make_conninfo(**by_sqlalchemy)) == by_psycopg
    assert by_program | ({"password": environment["PGPASSWORD"]} if url.password else {}) == by_psycopg
    assert {name: by_psycopg[name] for name in ("host", "port", "user", "dbname")} == {
        "host": url.host,
        "port": str(url.port),
        "user": url.user,
        "dbname": url.dbname,
    }
    assert by_psycopg.get("password", "") == url.password
    assert by_psycopg.items() >= dict(url.parameters).items()


def _given_to_a_program(url: PostgresUrl) -> tuple[list[str], dict[str, str]]:
    return Tool("pg_dump", ("pg_dump",), ("", 0), ("", 0)).invocation([], url)


HARD = "a b'\"\\%@:/?#[]+&=,;한\t"


def test_a_role_and_a_database_of_hard_names_are_reached_by_every_way(server: Server) -> None:
    url = server.maintenance.with_(user=f"{server.mark}{HARD}", password=HARD * 2, dbname=f"{server.mark}{HARD}")
    role, database = sql.Identifier(url.user), sql.Identifier(url.dbname)
    read_again = read(url.as_text())
    assert isinstance(read_again, PostgresUrl)
    with server.admin() as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(url.password)))
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 OWNER {}").format(database, role))
        try:
            _sees_itself(read_again, server)
        finally:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))
            conn.execute(sql.SQL("DROP ROLE {}").format(role))


def _sees_itself(url: PostgresUrl, server: Server) -> None:
    asked = "SELECT current_database(), current_user"
    with psycopg.connect(url.conninfo) as conn:
        assert conn.execute(asked.encode()).fetchone() == (url.dbname, url.user)
    with sa.create_engine(url.sqlalchemy, poolclass=sa.NullPool).connect() as connection:
        assert tuple(connection.execute(sa.text(asked)).one()) == (url.dbname, url.user)
    options = ["--tuples-only", "--no-align", f"--command={asked}"]
    printed = server.tool("psql").run(options, url, capture_output=True, text=True, check=True).stdout
    assert printed == f"{url.dbname}|{url.user}\n"


SECRET = "hunter2"
COMPONENTS = {
    "user": "{}",
    "password": "p",
    "host": "db.example",
    "port": "5432",
    "dbname": "games",
    "schema": "game",
    "sslmode": "prefer",
    "connect_timeout": "3",
    "sslcert": "/c.pem",
    "application_name": "app",
    "name": "keepalives",
}
FORM = (
    "postgresql://{user}:{password}@{host}:{port}/{dbname}?schema={schema}&sslmode={sslmode}"
    "&connect_timeout={connect_timeout}&sslcert={sslcert}&application_name={application_name}&{name}=1"
)
ODD = (
    "%zz",
    "%",
    "%0",
    "%00",
    "%ff",
    "%C3",
    "%ED%A0%80",
    "%C0%80",
    "+",
    "#",
    "/",
    "?",
    "@",
    ":",
    "[",
    "]",
    ",",
    ";",
    "&",
    "=",
    "//",
    "://",
    " ",
    "%20",
    "\n",
    "\\",
    "'",
    '"',
    "٣",
    "é",
    "．",
    "℀",
    "\udcff",
    "%2C",
    "%2F",
    "%40",
    "%26password%3D",
    "?password=",
    "&password=",
    "&sslpassword=",
    "&user=",
    "A",
)


SOME = st.lists(st.sampled_from(ODD), max_size=2).map("".join)


@given(st.sampled_from(sorted(COMPONENTS)), SOME, SOME)
@example("password", "pa%zz", "")
def test_no_refusal_shows_a_secret_wherever_it_stands(component: str, before: str, after: str) -> None:
    """The secret in any component, amid characters that have a meaning in a URL."""
    text = FORM.format(**(COMPONENTS | {component: f"{before}{SECRET}{after}"}))
    shown, url = _tried(text)
    # A name of a parameter is shown; no password can end up as one.
    assert SECRET not in shown or (component != "password" and f"the parameter {SECRET}" in shown)
    assert shown.isprintable()
    if url is not None:
        assert SECRET in str(asdict(url))
        assert component != "password" or SECRET not in f"{url} {url!r} {url.redacted}"


def _tried(text: str) -> tuple[str, PostgresUrl | None]:
    """The refusal's words, or the URL."""
    try:
        url = read(text)
    except BadUrl as refused:
        return str(refused), None
    assert isinstance(url, PostgresUrl)
    return "", url


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for form in (
        "{}",
        "postgresql://{}",
        "postgresql://u:p@{}",
        "postgres://u:{}@h/d",
        "file:{}",
        "sqlite:{}",
        "postgresql://u:p@h/d?{}",
        "postgresql://u@[{}]/d",
        "postgresql://u@h:{}/d",
    ):
        try:
            url = read(form.format(text), base=Path("/base"))
        except BadUrl:
            continue
        assert read(url.as_text()) == url


def postgres(**given: Any) -> PostgresUrl:
    """The URL that most examples mean, with other parts or parameters."""
    parameters = tuple((name, given.pop(name)) for name in HONOURED if name in given)
    return replace(PostgresUrl("h", 5432, "u", "p", "d", parameters=parameters), **given)


U = "postgresql://u:p@h/d"
REMEDIES = [
    # what is wrong, what the refusal says to write, and the same with that followed
    ("postgresql://u:pa%zzss@h/d", "%25", "postgresql://u:pa%25zzss@h/d", postgres(password="pa%zzss")),
    ("postgresql://u:100%@h/d", "%25", "postgresql://u:100%25@h/d", postgres(password="100%")),
    ("postgresql://u%q:p@h/d", "%25", "postgresql://u%25q:p@h/d", postgres(user="u%q")),
    ("postgresql://u:p@h/d%", "%25", "postgresql://u:p@h/d%25", postgres(dbname="d%")),
    ("postgresql://u:p%00q@h/d", "without %00", "postgresql://u:pq@h/d", postgres(password="pq")),
    ("postgresql://u:%e9@h/d", "%C3%A9", "postgresql://u:%C3%A9@h/d", postgres(password="é")),
    ("postgresql://u:p@h/%ff", "UTF-8", "postgresql://u:p@h/%C3%BF", postgres(dbname="ÿ")),
    ("postgresql://u:@h/d", "postgresql://user@host", "postgresql://u@h/d", postgres(password="")),
    ("postgresql://u:p#q@h/d", "%23", "postgresql://u:p%23q@h/d", postgres(password="p#q")),
    ("postgresql://u:p/q@h/d", "%2F", "postgresql://u:p%2Fq@h/d", postgres(password="p/q")),
    ("postgresql://u:5432/q@h/d", "%2F", "postgresql://u:5432%2Fq@h/d", postgres(password="5432/q")),
    ("postgresql://u:p@q/r@h/d", "%40", "postgresql://u:p%40q%2Fr@h/d", postgres(password="p@q/r")),
    ("postgresql://u:p?q@h/d", "%3F", "postgresql://u:p%3Fq@h/d", postgres(password="p?q")),
    ("postgresql://u:p'q@h/d", "%27", "postgresql://u:p%27q@h/d", postgres(password="p'q")),
    ('postgresql://u:p"q@h/d', "%22", "postgresql://u:p%22q@h/d", postgres(password='p"q')),
    ("postgresql://u:p[q@h/d", "%5B", "postgresql://u:p%5Bq@h/d", postgres(password="p[q")),
    ("postgresql://u:p q@h/d", "%20", "postgresql://u:p%20q@h/d", postgres(password="p q")),
    ("postgresql://h/d", "user:password@", "postgresql://u:p@h/d", postgres()),
    ("postgresql:u:p@h/d", "postgresql://", U, postgres()),
    ("postgresql://u:p@/d", "@host", U, postgres()),
    ("postgresql://u:p@h", "/database", U, postgres()),
    ("postgresql://u:p@h/", "/database", U, postgres()),
    ("postgresql://u:p@h/d/e", "%2F", "postgresql://u:p@h/d%2Fe", postgres(dbname="d/e")),
    ("postgresql://u:p@h/" + "d" * 64, "63 bytes", "postgresql://u:p@h/" + "d" * 63, postgres(dbname="d" * 63)),
    (f"postgresql://{'한' * 22}:p@h/d", "63 bytes", f"postgresql://{'한' * 21}:p@h/d", postgres(user="한" * 21)),
    ("postgresql://u:p@h:/d", "1 to 65535", "postgresql://u:p@h:5433/d", postgres(port=5433)),
    ("postgresql://u:p@h:0/d", "1 to 65535", "postgresql://u:p@h:1/d", postgres(port=1)),
    ("postgresql://u:p@h:99999/d", "1 to 65535", "postgresql://u:p@h:65535/d", postgres(port=65535)),
    ("postgresql://u:p@h:٣/d", "1 to 65535", "postgresql://u:p@h:3/d", postgres(port=3)),
    ("postgresql://u:p@h:" + "9" * 5000 + "/d", "1 to 65535", "postgresql://u:p@h:9/d", postgres(port=9)),
    ("postgresql://u:p@::1/d", "[ ]", "postgresql://u:p@[::1]/d", postgres(host="::1")),
    ("postgresql://u:p@%3A%3A1/d", "[ ]", "postgresql://u:p@[::1]/d", postgres(host="::1")),
    ("postgresql://u:p@[h]/d", "IPv6", U, postgres()),
    ("postgresql://u:p@[::1/d", "[::1]:5432", "postgresql://u:p@[::1]:5432/d", postgres(host="::1")),
    ("postgresql://u:p@[fe80::1%eth0]/d", "%25", "postgresql://u:p@[fe80::1%25eth0]/d", postgres(host="fe80::1%eth0")),
    ("postgresql://u:p@a,h/d", "one host", U, postgres()),
    ("postgresql://u:p@a..h/d", "between the dots", U, postgres()),
    (f"postgresql://u:p@{'h' * 64}/d", "63 characters", U, postgres()),
    ("postgresql://u:p@a%2Ch/d", "one host", U, postgres()),
    ("postgresql://u:p@%40h/d", "letters", U, postgres()),
    ("postgresql://u:p@münchen/d", "xn--", "postgresql://u:p@xn--mnchen-3ya/d", postgres(host="xn--mnchen-3ya")),
    ("postgresql://u:p@a/d?host=/s", "localhost", "postgresql://u:p@localhost/d?host=/s", postgres(host="/s")),
    ("postgresql://u:p@localhost/d?host=/s,/t", "without a comma", "postgresql://u:p@/d?host=/s", postgres(host="/s")),
    ("postgresql://u:p@/d?host=h", "before the port", U, postgres()),
    (f"{U}?application_name=a+b", "%20", f"{U}?application_name=a%20b", postgres(application_name="a b")),
    (f"{U}?sslcert=/a+b", "%2B", f"{U}?sslcert=/a%2Bb", postgres(sslcert="/a+b")),
    (f"{U}?application_name=a@b", "%40", f"{U}?application_name=a%40b", postgres(application_name="a@b")),
    (f"{U}?application_name=a&b", "%26", f"{U}?application_name=a%26b", postgres(application_name="a&b")),
    (f"{U}?application_name=", "a value", f"{U}?application_name=a", postgres(application_name="a")),
    (f"{U}?sslmode=", "a value", f"{U}?sslmode=require", postgres(sslmode="require")),
    (f"{U}?SSLMODE=require", "sslmode", f"{U}?sslmode=require", postgres(sslmode="require")),
    (f"{U}?sslmode=require&ssl%6dode=disable", "once", f"{U}?sslmode=require", postgres(sslmode="require")),
    (f"{U}?channel_binding=yes", "require", f"{U}?channel_binding=require", postgres(channel_binding="require")),
    (f"{U}?keepalives=٣", "digits", f"{U}?keepalives=1", postgres(keepalives="1")),
    (f"{U}?connect_timeout=99999999999", "2147483647 at most", f"{U}?connect_timeout=9", postgres(connect_timeout="9")),
    (f"{U}?sslrootcert=system", "/path", f"{U}?sslrootcert=/path", postgres(sslrootcert="/path")),
    (f"{U}?sslcert=c.pem", "/path", f"{U}?sslcert=/path", postgres(sslcert="/path")),
    (f"{U}?schema=", "a value", f"{U}?schema=game", postgres()),
    (f"{U}?schema=한", "letters, digits and _", f"{U}?schema=game", postgres()),
    (f"{U}?schema=pg_x", "reserved (by the server", f"{U}?schema=x", postgres(schema="x")),
    ("postgresql://u@h/d?password=p", "user:password@", U, postgres()),
    ("postgresql://h/d?user=u&password=p", "user:password@", U, postgres()),
    (f"{U}?sslaccept=strict", "sslmode=require", f"{U}?sslmode=require", postgres(sslmode="require")),
    (f"{U}?socket_timeout=9", "tcp_user_timeout", f"{U}?tcp_user_timeout=9", postgres(tcp_user_timeout="9")),
    ("mysql://u:p@h/d", "postgresql://", U, postgres()),
    ("file:/srv/a%zz.db", "%25", "file:/srv/a%25zz.db", LegacyUrl(Path("/srv/a%zz.db"))),
    ("file:/srv/a%00.db", "without %00", "file:/srv/a.db", LegacyUrl(Path("/srv/a.db"))),
    ("sqlite:/srv/%ff.db", "UTF-8", "sqlite:/srv/%C3%BF.db", LegacyUrl(Path("/srv/ÿ.db"))),
    ("file:/srv/a#b.db", "%23", "file:/srv/a%23b.db", LegacyUrl(Path("/srv/a#b.db"))),
    ("file:/srv/a?b.db", "%3F", "file:/srv/a%3Fb.db", LegacyUrl(Path("/srv/a?b.db"))),
    ("file://srv/a.db", "file:/path", "file:/srv/a.db", LegacyUrl(Path("/srv/a.db"))),
    ("sqlite:///srv/a.db", "sqlite:/path (from the root)", "sqlite:/srv/a.db", LegacyUrl(Path("/srv/a.db"))),
    ("sqlite:///a.db", "sqlite:path (from here)", "sqlite:a.db", LegacyUrl(Path("/base/a.db"))),
    ("file:/srv/..", "path of a file", "file:/srv/a.db", LegacyUrl(Path("/srv/a.db"))),
    ("file:", "path of a file", "FILE:a.db", LegacyUrl(Path("/base/a.db"))),
]


@pytest.mark.parametrize(("text", "says", "mended", "meant"), REMEDIES, ids=[row[0][:60] for row in REMEDIES])
def test_what_a_refusal_says_to_write_is_read_as_it_was_meant(
    text: str, says: str, mended: str, meant: PostgresUrl | LegacyUrl
) -> None:
    with pytest.raises(BadUrl) as refused:
        read(text, base=Path("/base"))
    assert says in refused.value.expected
    assert read(mended, base=Path("/base")) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("postgresql://u:a+b@h/d+e", postgres(password="a+b", dbname="d+e")),
        ("postgresql://u@azure:p@h/d", postgres(user="u@azure")),
        ("postgresql://u:p@H.Example/d", postgres(host="h.example")),
        ("postgresql://u:p@%2FTmp%2FPg/d", postgres(host="/Tmp/Pg")),
        ("postgresql://u:p:q@h/d?", postgres(password="p:q")),
        ("postgresql://u:p@h:05433/d?schema=game&", postgres(port=5433)),
        ("postgresql://u:비밀@h/한", postgres(password="비밀", dbname="한")),
    ],
)
def test_what_can_be_honoured_is(text: str, meant: PostgresUrl) -> None:
    assert read(text) == meant
