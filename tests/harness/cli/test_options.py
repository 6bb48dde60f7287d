"""The options of all tasks: each explains itself, none has a letter, and what can't be meant is refused by its name."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from string import ascii_lowercase

import pytest
from invoke.main import program
from invoke.parser import Parser

import tasks
from db.errors import Refusal
from harness.cli.framework import Consent, check, letters
from harness.cli.framework.command_line import INERT, OUTPUTS
from harness.cli.framework.letters import OF_HELP, OF_PYTEST
from harness.cli.framework.options import Option
from harness.cli.framework.tasks import Task
from tests.harness.cli.running_tasks import COLUMNS, ROOT, Folder

CONTEXTS = {context.name: context for context in tasks.namespace.to_contexts()}
ALL = [(name, option) for name, context in CONTEXTS.items() for option in context.flags.values()]
NUMBERS = [(name, option) for name, option in ALL if option.kind is int]
Refused = Callable[..., str]


def task(name: str) -> Task:
    result = tasks.namespace[name]
    assert isinstance(result, Task), f"{name} is made by another decorator than ours"
    return result


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Checks a command line as Invoke's program does before it runs the first task."""

    def run(*words: str) -> None:
        core = Parser(initial=program.initial_context, ignore_unknown=True).parse_argv(list(words))
        monkeypatch.setattr(program, "core", core, raising=False)
        check(tasks.namespace)

    return run


@pytest.fixture
def refused(
    command_line: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Refused:
    """The refusal of a command line, as it is printed. What it writes goes into a folder of the test's own."""
    monkeypatch.chdir(tmp_path_factory.mktemp("refused"))

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            command_line(*words)
        assert ended.value.code == 2
        return " ".join(capsys.readouterr().err.split())

    return run


def test_each_option_has_a_help_and_no_letter() -> None:
    assert len(ALL) > 80
    assert [(name, option) for name, option in ALL if not isinstance(option, Option) or not option.help] == []
    assert [(name, option) for name, option in ALL if len(option.names) > 1 or len(option.names[0]) < 2] == []


@pytest.mark.parametrize("name", CONTEXTS)
def test_each_letter_is_refused_with_the_options_that_it_may_mean(name: str) -> None:
    tasks_by_name = Parser(contexts=list(CONTEXTS.values())).contexts
    for letter in ascii_lowercase:
        for form in ([f"-{letter}"], [f"-{letter}", "5"], [f"-{letter}5"], [f"-{letter}=5"]):
            if form[0] == OF_HELP:
                continue
            with pytest.raises(Refusal, match="none has a letter") as caught:
                letters.check([name, *form], tasks_by_name)
            assert caught.value.found == repr(form[0])
            meant = [flag for flag in CONTEXTS[name].flags if flag.startswith(f"--{letter}")]
            if f"-{letter}" not in OF_PYTEST:
                assert all(flag in caught.value.do for flag in meant), caught.value.do


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["seed", "-p", "5"], "Write it in full: --players."),
        (["test", "-k", "forge"], "Write it in full: --select."),
        (["test", "-n4"], "Write it in full: --workers."),
        (["status", "-env", "staging"], "Write it in full: --env."),
        (["rollback", "-d"], "Write it in full: --dry-run or --discard-writes."),
        (["seed", "--legacy", "game.db", "-p"], "invoke seed"),
        (["cutover", "-e", "staging"], "Write it in full: --env."),
        (["-p", "5"], "Invoke's own --pty (-p)"),
    ],
    ids=" ".join,
)
def test_a_letter_on_the_command_line_is_answered_with_the_long_option(
    words: list[str], told: str, refused: Refused
) -> None:
    assert told in refused(*words)


def test_a_value_that_looks_like_a_letter_is_a_value() -> None:
    letters.check(["revision", "--message", "-p", "--env", "x"], Parser(contexts=list(CONTEXTS.values())).contexts)


def test_each_value_has_a_name_and_each_default_is_shown() -> None:
    for name, option in ALL:
        spec, text = option.shown
        assert (option.kind is bool) != ("=" in spec), (name, spec)
        if option.default and (option.whole is None or option.whole.is_given):
            assert text.endswith(f"({'yes' if option.default is True else option.default})"), (name, text)


def test_each_number_has_a_range() -> None:
    assert len(NUMBERS) > 10
    assert [(name, option) for name, option in NUMBERS if option.whole is None] == []
    parameters = [
        (name, parameter.name)
        for name in CONTEXTS
        for parameter in inspect.signature(task(name).body).parameters.values()
        if isinstance(parameter.default, float) or type(parameter.default) is int
    ]
    assert parameters == [], "a bare number has no range: give a Whole"


def test_tasks_take_the_options_of_consent_as_one_group() -> None:
    names = {one.name for one in fields(Consent)}
    takers = [name for name, context in CONTEXTS.items() if names <= set(context.args)]
    assert len(takers) > 5
    own = {name: set(inspect.signature(inspect.unwrap(task(name).body)).parameters) & names for name in CONTEXTS}
    assert [name for name, listed in own.items() if listed] == []


@pytest.mark.parametrize("name", CONTEXTS)
def test_help_fits_80_columns(
    name: str, command_line: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invoke.program.pty_size", lambda: (COLUMNS, 24))
    monkeypatch.setattr("harness.cli.framework.command_line.pty_size", lambda: (COLUMNS, 24))
    for words in (("--help", name), (name, "--help")):
        with pytest.raises(SystemExit) as ended:
            command_line(*words)
        printed = capsys.readouterr().out
        assert ended.value.code == 0
        assert max(map(len, printed.splitlines())) <= COLUMNS
        for option in CONTEXTS[name].flags.values():
            assert option.shown[0] in printed


def test_the_list_has_one_line_a_task(tmp_path: Path) -> None:
    ran = Folder(tmp_path).make().on_a_terminal("--list")
    assert ran.code == 0
    lines = [line for line in ran.output.splitlines()[1:] if line.strip()]
    assert len(lines) == len(CONTEXTS)
    assert [line for line in lines if not line.startswith("  ") or line[2] == " " or len(line) > COLUMNS] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["seed", "--plyers", "5"], ["invoke seed", "--plyers", "Did you mean --players?"]),
        (["transfer", "--sourc=game.db"], ["invoke transfer:", "--sourc", "Did you mean --source?"]),
        (["rollback", "-i"], ["invoke rollback", "'-i'", "invoke --help rollback"]),
        (["tset"], ["expected a task", "Did you mean test?"]),
        (["transfer.clean"], ["Did you mean transfer.cleanup?"]),
        (["--players=5", "seed"], ["a task first"]),
        (["seed", "game.db"], ["--option=VALUE", "game.db"]),
        (["seed", "--legacy"], ["a value for --legacy"]),
        (["--help", "cutovr"], ["Did you mean cutover?"]),
        (["cutover", "--env", "production", "--dry"], ["Invoke's own --dry (-R)", "Did you mean --dry-run?"]),
        (["cutover", "--env", "production", "--" + "x" * 9000], ["and more"]),
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_what_nobody_knows_is_refused_with_the_nearest(words: list[str], told: list[str], refused: Refused) -> None:
    text = refused(*words)
    assert [part for part in told if part not in text] == []
    assert len(text) < 400


@pytest.mark.parametrize("name", INERT)
@pytest.mark.parametrize("before", [True, False])
def test_an_option_of_invoke_that_does_nothing_is_refused(name: str, before: bool, refused: Refused) -> None:
    core = program.initial_context.args[name]
    word = f"--{name}" if core.kind is bool else f"--{name}=1"
    assert f"--{name}" in refused(*([word, "status"] if before else ["status", word]))


@pytest.mark.parametrize(("name", "option"), NUMBERS, ids=str)
def test_a_number_outside_its_range_is_refused_by_name(name: str, option: Option, refused: Refused) -> None:
    assert option.whole is not None
    outside = [option.whole.least - 1, option.whole.most + 1, "9" * 24, "9" * 9000, "abc", "1.5", "", "nan", "1e3"]
    for value in outside:
        assert option.flag in refused(name, f"{option.flag}={value}")
        assert option.flag in refused(name, option.flag, str(value))


TEXTS = [(name, option) for name, option in ALL if option.kind is str]


@pytest.mark.parametrize(("name", "option"), TEXTS, ids=str)
def test_an_empty_text_is_refused_by_name(name: str, option: Option, refused: Refused) -> None:
    assert f"a value for {option.flag}; found an empty one" in refused(name, option.flag, "")


def test_companions_are_options_of_the_task() -> None:
    for name, context in CONTEXTS.items():
        one = task(name)
        named = [*one.writes, *one.needs, *one.ignores]
        named += [other for alternatives in one.required for other in alternatives.split("|")]
        named += [other.partition("=")[0] for others in one.needs.values() for other in others]
        named += [other for others in one.ignores.values() for other in others]
        assert [other for other in named if f"--{other}" not in context.flags] == [], name


SPAN = re.compile(r"`(?:\.venv/bin/)?invoke ([^`\n…]+)`")


def of_the_pages() -> list[str]:
    """The command lines of the README's tables, and those with options that it and the docs name elsewhere."""
    pages = [page.read_text("utf-8") for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))]
    rows = [line for line in pages[0].splitlines() if line.startswith("|")]
    spans = {span for page in pages for span in SPAN.findall(page) if " --" in span}
    return sorted(spans | {span for row in rows for span in SPAN.findall(row)})


@pytest.mark.parametrize("line", of_the_pages())
def test_a_command_of_the_pages_can_be_typed_as_it_stands(
    line: str, command_line: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    command_line(*shlex.split(line))


def word(name: str, option: str) -> str:
    result = CONTEXTS[name].flags[f"--{option}"]
    return result.flag if result.kind is bool else f"{result.flag}={'1' if result.whole is not None else 'x'}"


def met(name: str) -> list[str]:
    return [word(name, option.partition("|")[0]) for option in task(name).required]


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in CONTEXTS for option in task(name).needs])
def test_an_option_without_its_companion_is_refused(name: str, option: str, refused: Refused) -> None:
    text = refused(name, *met(name), word(name, option))
    assert f"--{option}" in text
    assert any(f"--{other.partition('=')[0]}" in text for other in task(name).needs[option])


@pytest.mark.parametrize(
    ("name", "option", "idle"),
    [(name, option, idle) for name in CONTEXTS for option, idles in task(name).ignores.items() for idle in idles],
)
def test_an_option_beside_one_that_ignores_it_is_refused(name: str, option: str, idle: str, refused: Refused) -> None:
    needed = [word(name, other.partition("=")[0]) for other in task(name).needs.get(idle, ())]
    others = [one for one in met(name) if one not in (word(name, option), word(name, idle), *needed)]
    text = refused(name, *others, word(name, option), word(name, idle), *needed)
    assert f"expected --{option} without --" in text


def test_nothing_of_a_line_is_begun_if_its_last_task_can_not_be_meant(tmp_path: Path) -> None:
    ran = (
        Folder(tmp_path).make().run("seed", "--legacy", "game.db", "--players", "1", "seed", "--env", "test", "--clean")
    )
    assert (ran.code, (tmp_path / "game.db").exists()) == (2, False), ran


def test_a_refused_line_writes_its_json_too(tmp_path: Path) -> None:
    folder = Folder(tmp_path).make()
    assert folder.run("transfer.profile", "--json", "out.json").code == 2
    assert json.loads((tmp_path / "out.json").read_text())["expected"] == "--source FILE"
    assert json.loads(folder.run("transfer.profile", "--json", "-").output)["verdict"] == "refused"


@pytest.mark.parametrize(
    ("name", "option"),
    [
        (name, f"--{one}")
        for name, context in CONTEXTS.items()
        for one in (*OUTPUTS, *task(name).writes)
        if f"--{one}" in context.flags
    ],
)
def test_a_path_that_can_not_be_written_is_refused_at_once(
    name: str, option: str, refused: Refused, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    needed = [word(name, one) for one in task(name).needs.get(option[2:], ())]
    bad = [tmp_path, file / "in" / "a" / "file", tmp_path / "none" / "out", Path("/proc/none"), tmp_path / ("x" * 300)]
    for path in bad:
        assert option in refused(name, *met(name), *needed, f"{option}={path}"), path
    assert option in refused(name, *met(name), *needed, f"{option}=")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "kept"


def test_every_number_of_pytest_s_options_is_checked(pytestconfig: pytest.Config) -> None:
    """Of ours: those of the harness and of tests/conftest.py."""
    parser = pytestconfig._parser
    ours = [*parser.getgroup("harness").options, *parser._anonymous.options]
    assert {"--fault-at", "--sequences"} <= {name for option in ours for name in option.names()}
    bare = [option.names() for option in ours if option.attrs().get("type") in {int, float}]
    assert [names for names in bare if names[0].startswith("--")] == []


@pytest.mark.parametrize(
    "options",
    [
        ["--fault-at=-1", "--faults=all"],
        ["--fault-at=x", "--faults=all"],
        ["--fault-at=9999999999", "--faults=all"],
        ["--fault-at=0"],
        ["--fault-at=0", "--faults=none"],
        ["--race-order=ab"],
        ["--race-order=", "--races=all"],
    ],
    ids=" ".join,
)
def test_what_pytest_s_options_can_not_mean_is_a_usage_error(
    options: list[str], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p harness.pytest_plugin.plugin -p no:cacheprovider")
    done = pytester.runpytest_inprocess("--collect-only", "--postgres=local", *options)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert options[0].partition("=")[0] in "\n".join([*done.errlines, *done.outlines])
