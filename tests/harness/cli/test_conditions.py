"""Each task under each condition that people run into: an exit code as designed, a sentence, and no traceback.

Nothing can be reached from where they run, so each ends soon. Every run of the tests plays a sixth, another each day;
`--exhaustive` plays all. `-rP` prints the table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

import pytest
from invoke.parser.context import ParserContext

import tasks
from db.console import layout
from harness.cli.framework import command_line
from harness.cli.framework.options import Option
from tests.harness.cli.running_tasks import COLOR, COLUMNS, CTRL_D, Folder, Ran

SHARE = 6
TASKS = {context.name: context for context in tasks.namespace.to_contexts()}
UNTRIED = {"lint": "it has no option, and checks this whole tree"}

USUAL = {
    "test": ("--postgres", "nonsense"),
    "nightly": ("--postgres", "nonsense"),
    "rehearse": ("--postgres", "nonsense"),
    "audit": ("--postgres", "nonsense"),
    "bench.actions": ("--postgres", "nonsense"),
    "bench.databases": ("--postgres", "nonsense"),
    "bench.round": ("--postgres", "nonsense"),
    "bench.window": ("--postgres", "nonsense"),
    "bench.follow": ("--postgres", "nonsense"),
    "gate": ("--env", "development", "--postgres", "nonsense"),
    "report": ("--from", "none.json"),
    "transfer.transfer": ("--env", "development", "--source", "none.db"),
    "transfer.profile": ("--source", "none.db"),
    "transfer.mapping": (),
    "transfer.convert": ("--source", "none.db", "--into", "new.db"),
    "watch": ("--env", "development", "--once"),
    "fence": ("--env", "development", "--reason", "a test", "--on"),
    "snapshot.verify": ("--env", "development", "--path", "none"),
    "snapshot.restore": ("--env", "development", "--path", "none"),
}
"""Arguments with which a task ends soon where nothing can be reached; --env development alone for the others."""

DESIGNED = {0, 1, 2, 3, 4}
ESCAPE = "\x1b["
ENDS = re.compile(r"[.;:?!`)}┘]$| · |^next: |invoke [a-z.]+( --[a-z-]+( \w+)?)*$| required$")
"""How the last line of what failed ends: a sentence, JSON, a table, a move's line, or pydantic's word for a setting."""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    condition: str
    arguments: tuple[str, ...]
    ran: Ran


def usual(context: ParserContext) -> tuple[str, ...]:
    return USUAL.get(context.name, ("--env", "development") if "env" in context.args else ())


def options(context: ParserContext) -> list[Option]:
    return [one for one in context.flags.values() if isinstance(one, Option)]


def no_env(folder: Folder, context: ParserContext) -> Iterator[tuple[tuple[str, ...], Ran]]:
    if "env" in context.args and context.name != "seed":
        rest = [word for pair in _pairs(usual(context)) if pair[0] != "--env" for word in pair]
        yield (*rest,), folder.run(context.name, *rest)


def wrong_confirm(folder: Folder, context: ParserContext) -> Iterator[tuple[tuple[str, ...], Ran]]:
    if "confirm" in context.args:
        given = (*_in_production(context), "--yes", "--confirm", "staging")
        yield given, folder.run(context.name, *given)


def ctrl_d(folder: Folder, context: ParserContext) -> Iterator[tuple[tuple[str, ...], Ran]]:
    given = _in_production(context) if "confirm" in context.args else usual(context)
    yield given, folder.on_a_terminal(context.name, *given, typed=CTRL_D)


def closed_stdin(folder: Folder, context: ParserContext) -> Iterator[tuple[tuple[str, ...], Ran]]:
    yield usual(context), folder.run(context.name, *usual(context), closed=True)


def no_terminal(folder: Folder, context: ParserContext) -> Iterator[tuple[tuple[str, ...], Ran]]:
    ran = folder.run(context.name, *usual(context))
    assert ESCAPE not in ran.everything, ran
    if "Connection refused" in ran.everything and "--env" in usual(context):
        assert "invoke up" in ran.everything, ran
    yield usual(context), ran


def eighty_columns(folder: Folder, context: ParserContext) -> Iterator[tuple[tuple[str, ...], Ran]]:
    ran = folder.on_a_terminal(context.name, *usual(context))
    lines = COLOR.sub("", ran.output).splitlines()
    # A longer line is one word, a command, or the text of a program that we run.
    assert [line for line in lines if len(line) > COLUMNS and len(layout.words(line)) > 1 and line[0] != "$"] == []
    yield usual(context), ran


def no_color(folder: Folder, context: ParserContext) -> Iterator[tuple[tuple[str, ...], Ran]]:
    ran = folder.on_a_terminal(context.name, *usual(context), NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", ran.output), ran
    yield usual(context), ran


def json_to_stdout(folder: Folder, context: ParserContext) -> Iterator[tuple[tuple[str, ...], Ran]]:
    if "json" in context.args:
        given = (*usual(context), "--json", "-")
        ran = folder.run(context.name, *given)
        assert json.loads(ran.output), ran
        yield given, ran


def folder_for_a_file(folder: Folder, context: ParserContext) -> Iterator[tuple[tuple[str, ...], Ran]]:
    (folder.path / "folder").mkdir(exist_ok=True)
    for option in _files(context):
        given = _with(context, option, "folder")
        yield given, folder.run(context.name, *given)


def file_in_a_new_folder(folder: Folder, context: ParserContext) -> Iterator[tuple[tuple[str, ...], Ran]]:
    """Name a file to write in a folder that is not there: it is made for the file alone, never for a refusal."""
    for option in _written(context):
        given = _with(context, option, f"new-{option.names[0]}/below/file")
        ran = folder.run(context.name, *given)
        new = folder.path / f"new-{option.names[0]}"
        assert not new.exists() or (new / "below" / "file").is_file(), (given, ran)
        assert not new.exists() or not ran.code or option.flag == "--json", (given, ran)
        yield given, ran


def unreadable_file(folder: Folder, context: ParserContext) -> Iterator[tuple[tuple[str, ...], Ran]]:
    closed = folder.path / "closed"
    closed.write_text("closed")
    closed.chmod(0)
    for option in _files(context):
        given = _with(context, option, "closed")
        yield given, folder.run(context.name, *given, bound=True)
    if "env" in context.args:
        for name in (".env", "environments.toml"):
            yield usual(context), _without(folder, name, context)


def numbers(value: str) -> Callable[[Folder, ParserContext], Iterator[tuple[tuple[str, ...], Ran]]]:
    def run(folder: Folder, context: ParserContext) -> Iterator[tuple[tuple[str, ...], Ran]]:
        for option in options(context):
            if option.whole is not None:
                given = _with(context, option, value)
                ran = folder.run(context.name, *given)
                assert ran.code == 2, (given, ran)
                assert option.flag in ran.errors, (given, ran)
                yield given, ran

    return run


CONDITIONS: dict[str, Callable[[Folder, ParserContext], Iterator[tuple[tuple[str, ...], Ran]]]] = {
    "no --env": no_env,
    "wrong --confirm": wrong_confirm,
    "Ctrl-D": ctrl_d,
    "closed stdin": closed_stdin,
    "no terminal": no_terminal,
    "80 columns": eighty_columns,
    "NO_COLOR": no_color,
    "--json -": json_to_stdout,
    "a folder for a file": folder_for_a_file,
    "a file in a new folder": file_in_a_new_folder,
    "an unreadable file": unreadable_file,
    "a negative number": numbers("-1"),
    "a huge number": numbers("9" * 24),
}
REFUSED = {"no --env", "wrong --confirm", "a negative number", "a huge number"}


@pytest.mark.parametrize("name", sorted(TASKS.keys() - UNTRIED.keys()))
def test_a_task_ends_with_a_designed_code_and_a_sentence(
    name: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    day = datetime.now(UTC).toordinal()
    rows = []
    for number, condition in enumerate(CONDITIONS):
        chosen = (crc32(f"{name} {condition}".encode()) + day) % SHARE == 0
        if pytestconfig.getoption("--exhaustive") or chosen:
            own = tmp_path / str(number)
            own.mkdir()
            ran = CONDITIONS[condition](Folder(own).make(), TASKS[name])
            rows += [Row(condition, given, result) for given, result in ran]
    for row in rows:
        print(f"| {name} {' '.join(row.arguments)} | {row.condition} | {row.ran.code} | {row.ran.last_line} |")
    assert [fault for row in rows for fault in faults(row)] == []


def faults(row: Row) -> Iterator[str]:
    """Say what is wrong with how a command ended."""
    shown = f"{row.condition}: {' '.join(row.arguments)}: {row.ran.code}: {row.ran.everything[-2000:]}"
    if "Traceback" in row.ran.everything:
        yield f"a traceback: {shown}"
    if row.ran.code not in ({2} if row.condition in REFUSED else DESIGNED):
        yield f"another exit code: {shown}"
    if row.ran.code and not ENDS.search(_end(row.ran.everything)):
        yield f"no sentence at the end: {shown}"


def _end(text: str) -> str:
    """Return the last line; one that a terminal's width broke is joined."""
    lines = text.rstrip().splitlines() or [""]
    first = max((n for n, line in enumerate(lines) if not line.startswith("    ")), default=0)
    return " ".join(line.strip() for line in lines[first:])


def _pairs(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [words[at : at + 2] for at in range(0, len(words), 2)]


def _in_production(context: ParserContext) -> tuple[str, ...]:
    words = usual(context)
    given = tuple("production" if word == "development" else word for word in words)
    return (*given, "--replace") if "replace" in context.args else given


def _files(context: ParserContext) -> list[Option]:
    return [one for one in options(context) if re.search("=(FILE|PATH|FOLDER)$", one.shown[0])]


def _written(context: ParserContext) -> list[Option]:
    names = {*command_line.OUTPUTS, *tasks.namespace[context.name].writes}
    return [one for one in options(context) if one.names[0] in names]


def _with(context: ParserContext, option: Option, value: str) -> tuple[str, ...]:
    """Return the usual arguments with one option more, and with what it needs."""
    name = option.names[0]
    task = tasks.namespace[context.name]
    ignored = {f"--{other}" for other in task.ignores.get(name, ())} | {option.flag}
    kept = [word for pair in _pairs(usual(context)) if pair[0] not in ignored for word in pair]
    given = {word for word in kept if word.startswith("--")}
    needed = [f"--{other}" for other in task.needs.get(name, ())[:1] if f"--{other}" not in given]
    more = [f"{word}=1" if TASKS[context.name].flags[word].kind is not bool else word for word in needed]
    return (*kept, *more, f"{option.flag}={value}")


def _without(folder: Folder, name: str, context: ParserContext) -> Ran:
    """Run with a file that this user can't read."""
    path = folder.path / name
    path.touch()
    path.chmod(0)
    try:
        return folder.run(context.name, *usual(context), bound=True)
    finally:
        path.chmod(0o600)


def _needed() -> list[tuple[str, str]]:
    """List each task with each option that it may need. Of --postgres, every task has a default that would do work."""
    usual_ones = {(name, flag) for name, context in TASKS.items() for flag, *_ in _pairs(usual(context))}
    printed = {(name, one.flag) for name, context in TASKS.items() for one in options(context) if _is_required(one)}
    # Without --once, watch looks on until somebody ends it.
    left_out = {("seed", "--env"), ("watch", "--once")}
    return sorted(pair for pair in usual_ones | printed if pair[1] != "--postgres" and pair not in left_out)


def _is_required(option: Option) -> bool:
    return re.search("required(?! without)", option.help or "") is not None


@pytest.mark.parametrize(("name", "flag"), _needed())
def test_an_option_without_which_a_task_refuses_says_required_in_its_help(name: str, flag: str, tmp_path: Path) -> None:
    given = [word for pair in _pairs(usual(TASKS[name])) if pair[0] not in (flag, "--postgres") for word in pair]
    ran = Folder(tmp_path).make().run(name, *given)
    is_refused = ran.code == 2 and re.search(rf"expected [^;]*{flag}[ ;]", ran.everything) is not None
    says = next(one for one in options(TASKS[name]) if one.flag == flag).help or ""
    assert is_refused == ("required" in says), ran.everything
