"""CONTRIBUTING.md: each path, name in the code, command and option that it names exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
CODE = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", PAGE)]
PARTS = ("game/", "db/", "harness/", "scenarios", "tests/", "docs/", ".ci/")
RECIPES = ("An action", "A column", "A legacy field", "A scenario", "A fault", "A step of a runbook")


def output(*command: str) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_each_recipe_has_its_files_in_steps_and_its_tests() -> None:
    parts = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
    assert tuple(parts) == RECIPES
    for text in parts.values():
        assert text.strip().startswith("1. ")
        assert re.search(r"held by\s+`pytest ", text)


def test_each_path_that_it_names_is_there() -> None:
    linked = re.findall(r"\]\(([^)#]+)\)", PAGE)
    named = [word for code in CODE for word in code.split() if word.startswith(PARTS) and "=" not in word]
    assert len(named) > 30
    assert [path for path in (*named, *linked) if not (ROOT / path).exists()] == []


def test_each_name_in_the_code_is_there() -> None:
    names = {code for code in CODE if re.fullmatch(r"[A-Z_]{4,}|[A-Z][a-z]+[A-Z]\w+", code)}
    assert {"COMMANDS", "ACTIONS", "FAULTS"} <= names
    modules = [path for code in CODE for path in code.split() if path.endswith(".py")]
    source = "\n".join((ROOT / path).read_text("utf-8") for path in modules)
    assert sorted(name for name in names if not re.search(rf"\b{name}\b", source)) == []


COMMANDS = sorted({code for code in CODE if code.startswith("invoke ")})


@pytest.mark.parametrize("command", COMMANDS)
def test_each_task_has_the_options_that_it_is_given(command: str) -> None:
    _invoke, task, *rest = command.split()
    text = output("invoke", "--help", task)
    for option in (word.partition("=")[0] for word in rest if word.startswith("--")):
        assert option in text, option


def test_each_option_of_pytest_is_known() -> None:
    known = output("pytest", "--help")
    options = {word.partition("=")[0] for code in CODE for word in code.split() if word.startswith("--")}
    options -= {word.partition("=")[0] for command in COMMANDS for word in command.split()}
    assert {"--faults", "--races", "--write-pages"} <= options
    assert [option for option in sorted(options) if option not in known] == []


def test_each_module_that_it_runs_exists() -> None:
    modules = re.findall(r"python -m ([\w.]+)", PAGE)
    assert modules
    assert [name for name in modules if not (ROOT / f"{name.replace('.', '/')}.py").is_file()] == []
