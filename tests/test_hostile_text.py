"""Text of players, files and servers: redacted in time, cut, and without what a terminal or a reader acts on."""

from __future__ import annotations

import ast
import io
import json
import logging
import sys
import time
import timeit
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from rich.console import Console
from ruamel.yaml.error import YAMLError

from db.console.output import outcome
from db.console.progress import TerminalBars, countdown
from db.cutover.journal import JOURNAL, Journal
from db.errors import Failure
from game import printable
from game.redaction import is_secret, redact
from game.service import logs
from harness import scenarios
from harness.play import update

ROOT = Path(__file__).parents[1]
JOINERS = "\u200c\u200d"
HOSTILE = "가\x1b]0;owned\x07\x1b[2J\r\u202egnp.exe\u2066\x9b31m\u200b\ufeff\u2028\U000e0041\ud800\x7f가"
SECRET = "s3cr3t-of-mine"


def unsafe(text: str) -> list[str]:
    """Return the characters that a reader or a terminal acts on; \\n and \\t are layout."""
    return [each for each in text if each not in f"\n\t{JOINERS}" and unicodedata.category(each) in ACTED_ON]


ACTED_ON = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_every_character_that_is_acted_on_is_escaped_and_no_other() -> None:
    for number in range(sys.maxunicode + 1):
        letter = chr(number)
        if unicodedata.category(letter) == "Cn":  # Assigned in another version of Unicode, perhaps.
            continue
        assert (printable.line(letter) == letter) is (
            unicodedata.category(letter) not in ACTED_ON or letter in JOINERS
        ), f"U+{number:04X}"


def test_json_gives_each_character_back() -> None:
    text = printable.to_json({HOSTILE: [HOSTILE]})
    assert unsafe(text) == []
    assert json.loads(text) == {HOSTILE: [HOSTILE]}


def test_a_terminal_gets_no_control_character_of_anybodys(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        speak_and_fail()
    shown = capsys.readouterr()
    assert "gnp.exe" in shown.out
    assert "gnp.exe" in shown.err
    assert unsafe(shown.out + shown.err + (tmp_path / "out.json").read_text("utf-8")) == []


def test_a_defects_traceback_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        speak_and_break()
    shown = capsys.readouterr()
    assert "gnp.exe" in shown.err
    assert unsafe(shown.out + shown.err) == []
    assert SECRET not in shown.out + shown.err


def speak_and_fail() -> None:
    with outcome("out.json") as out:
        out.say(HOSTILE)
        out.table(HOSTILE, ("what", HOSTILE), [(HOSTILE, HOSTILE)])
        out.table(HOSTILE, ("a", "b", "c"), [(HOSTILE, HOSTILE, 1)])
        out.fields([("name", HOSTILE)])
        out.progress.say(HOSTILE)
        out.json({HOSTILE: HOSTILE})
        raise Failure(HOSTILE, HOSTILE, where=HOSTILE, do=HOSTILE)


def speak_and_break() -> None:
    with outcome(None) as out:
        out.at_end = lambda _outcome, _todo="": _Ended()
        raise ValueError(f"{HOSTILE} password={SECRET}")


class _Ended:
    line = HOSTILE


def test_a_hooks_last_line_beside_a_bar_is_no_markup() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=200)
    with countdown(TerminalBars(console), "watch", 1.0) as shown:
        shown.seen(f"[/red] [bold]{HOSTILE}", last=True)
    assert "[/red] [bold]" in written.getvalue()
    assert "\x1b]0;" not in written.getvalue()
    assert "\u202e" not in written.getvalue()


def test_a_journals_line_is_cut_redacted_and_escaped(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run")
    journal.write(
        "hook",
        "restart",
        output="x" * 1_000_000 + HOSTILE,
        password=SECRET,
        players=[SECRET] * 100_000,
        deep={"a": {"token": SECRET, HOSTILE: HOSTILE}},
        error=f"postgresql://u:{SECRET}@h/d",
        seconds=1.5,
        done=True,
    )
    text = (tmp_path / "run" / JOURNAL).read_text("utf-8")
    (line,) = journal.entries()
    assert unsafe(text) == []
    assert len(text) < 20_000
    assert (line.facts["seconds"], line.facts["done"], line.facts["password"]) == (1.5, True, "***")
    assert line.facts["output"].startswith("xxx")
    assert line.facts["output"].endswith("가")
    assert SECRET not in json.dumps([line.facts["deep"], line.facts["error"]])


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Return the service's log, with logging configured as in production."""
    root, handlers, level = logging.getLogger(), logging.getLogger().handlers, logging.getLogger().level
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.configure_logs()
    yield written
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_a_line_of_the_service_is_cut_redacted_and_escaped(log: io.StringIO) -> None:
    try:
        raise ValueError("y" * 1_000_000 + f"password={SECRET}")  # noqa: TRY301  # a traceback is what is logged
    except ValueError:
        logs.logger().exception("failed", player=HOSTILE, path="/" + "p" * 1_000_000, nested={"token": [SECRET]})
    logging.getLogger("a.library").warning(HOSTILE + "z" * 1_000_000)
    text = log.getvalue()
    assert [json.loads(line)["level"] for line in text.splitlines()] == ["error", "warning"]
    assert unsafe(text) == []
    assert len(text) < 60_000
    assert SECRET not in text
    assert json.loads(text.splitlines()[0])["player"] == HOSTILE.replace("\ud800", "\\ud800")


UNITS = [
    "a-",
    "a.",
    "a+",
    "password",
    '"password',
    "password\\",
    "password\\\\",
    "token-",
    "token ",
    "token = ",
    "token='",
    "token=\"'",
    "token='\\",
    "token='\\'",
    'token\\"',
    "'token',",
    "a://",
    "a:/",
    "a://b:",
    "a://b:c@",
    "'",
    "\\'",
    "bearer ",
    "$2b$",
    "$argon2",
    "SCRAM-SHA-256$",
    ".0",
    "0" * 64,
    "x" * 30 + "=",
    "token:",
    "dsn=",
    " ",
    "\\",
    "가",
    "a://u: x",
    "a://u:'",
    "'\"a:/",
    "//",
    "//u:",
    "--",
    "--token ",
    "pass",
    "password='a'",
    "password '",
    "password $$",
    "password=&",
    "token%253d",
    "token%25",
    "cookie: ",
    "authorization: '",
    "a:1:b:",
    "a:1:b:c:",
    "*:",
]


@pytest.mark.parametrize("unit", UNITS)
def test_a_megabyte_is_redacted_in_time_by_its_length(unit: str) -> None:
    """Eight times the text takes some eight times as long; the square would be sixty-four."""
    short, long = (unit * (size // len(unit)) for size in (125_000, 1_000_000))
    assert _seconds(long, 1) < 24 * max(_seconds(short, 3), 1e-2)


def _seconds(text: str, times: int) -> float:
    """Return the least of this process's own time: other programs do not count."""
    return min(timeit.repeat(lambda: redact(text), timer=time.process_time, number=1, repeat=times))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASS", "x"),
        ("PGPASSWORD", "x"),
        ("MYSQL_PWD", "x"),
        ("STRIPE_API_KEY", "x"),
        ("GITHUB_TOKEN", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("SENTRY_DSN", "https://a@b/1"),
        ("session_cookie", "x"),
        ("DB_PW", "x"),
        ("ANY", "postgresql://u:p@h/d"),
        ("ANY", "host=h password=p"),
        ("ANY", "postgresql://u:a'p@h/d"),
        ("ANY", "h:5432:d:u:p"),
        ("ANY", "Bearer abcdefgh"),
    ],
)
def test_a_variable_is_a_secret_by_its_name_or_its_value(name: str, value: str) -> None:
    assert is_secret(name, value)


@pytest.mark.parametrize("name", ["PATH", "PWD", "OLDPWD", "HOME", "SSH_AUTH_SOCK", "PGPASSFILE", "MONKEY", "TZ"])
def test_an_ordinary_variable_is_none(name: str) -> None:
    assert not is_secret(name, "/some/where")


TAGS = [
    "!!python/object/apply:os.system ['touch made']",
    "!!python/object/new:os.system ['touch made']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch made']",
]


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_of_a_scenario_file_makes_no_object(tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"name: x\nstart: {tag}\n"
    with pytest.raises(scenarios.BadScenario):
        scenarios.read(text, "x.yaml")
    try:
        loaded = update._yaml().load(text)
    except YAMLError:
        loaded = None
    assert not callable((loaded or {}).get("start"))
    assert list(tmp_path.iterdir()) == []


OWN_PIPES = {"db/cutover/watchdog.py": "an object from the process that has just started this one, by their pipe"}


def test_nothing_loads_what_could_run_code() -> None:
    result = [
        str(path.relative_to(ROOT))
        for top in ("db", "game", "harness")
        for path in (ROOT / top).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and _is_unsafe(call)
    ]
    assert result == list(OWN_PIPES)


def _is_unsafe(call: ast.Call) -> bool:
    written = ast.unparse(call.func)
    if written.rpartition(".")[2] == "YAML":
        kinds = [ast.literal_eval(word.value) for word in call.keywords if word.arg == "typ"]
        return kinds not in (["rt"], ["safe"])
    return written in {
        "eval",
        "exec",
        "pickle.load",
        "pickle.loads",
        "marshal.loads",
        "yaml.unsafe_load",
        "shelve.open",
    }
