"""A scenario file, read and checked: text in, one frozen model out; nothing is opened, drawn or run.

Two stages: its shape (`model`), then its meaning (`checks`). What is wrong is said all at once: file, line,
column, expected, found, nearest right name or cure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from db.errors import folded
from harness.scenarios import checks, shapes, yaml_reader
from harness.scenarios.model import Scenario
from harness.scenarios.problems import ScenarioProblem
from harness.scenarios.yaml_errors import BadYaml
from harness.scenarios.yaml_reader import Path as YamlPath
from harness.scenarios.yaml_reader import YamlDocument

BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""The marks of UTF-16, which Windows' editors write as `Unicode`."""


class BadScenario(Exception):
    """The file is no scenario; one line for each problem."""


@dataclass(frozen=True)
class ScenarioFile:
    """A scenario, and the text that it was read from."""

    name: str
    scenario: Scenario
    document: YamlDocument

    def place(self, path: YamlPath) -> str:
        """Return where a path stands: the file's name, the line, and the path itself, for the head of a message."""
        return f"{self.name}:{self.document.mark(path).line}: {'.'.join(map(str, path))}"

    def line(self, problem: ScenarioProblem) -> str:
        """Return the problem in one line, with where it stands."""
        return _line(self.name, self.document, problem)


def read_file(path: Path, name: str | None = None) -> ScenarioFile:
    """Return the scenario in the file. Raises BadScenario if it holds none or can't be read."""
    shown = name or str(path)
    return read(read_text(path, shown), shown)


def read_files(paths: Mapping[str, Path]) -> list[ScenarioFile]:
    """Return the scenarios of the files, which are given by the names to show.

    Raises one BadScenario for all files that hold none: a line for each problem, folded where there are many.
    """
    files, problems = [], []
    for name, path in paths.items():
        try:
            files.append(read_file(path, name))
        except BadScenario as error:
            problems += str(error).splitlines()
    if problems:
        raise BadScenario("\n".join(folded(problems)))
    return files


def read_text(path: Path, shown: str) -> str:
    """Return the text of the file. Raises BadScenario if it can't be read, or is not in UTF-8."""
    try:
        written = path.read_bytes()
        return written.decode("utf-8")
    except OSError as error:
        raise BadScenario(f"{shown}:1:1: expected a file that can be read; found {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise BadScenario(f"{shown}:{_not_utf_8(written, error.start)}") from None


def _not_utf_8(written: bytes, at: int) -> str:
    if written.startswith(BYTE_ORDER_MARKS):
        return "1:1: expected UTF-8; found UTF-16. Save the file as UTF-8."
    line = written.count(b"\n", 0, at) + 1
    column = len(written[written.rfind(b"\n", 0, at) + 1 : at].decode("utf-8")) + 1
    return f"{line}:{column}: expected UTF-8; found the byte 0x{written[at]:02x}. Save the file as UTF-8."


def read(text: str, name: str) -> ScenarioFile:
    """Return the scenario that `text` holds. Raises BadScenario, which lists all that is wrong."""
    try:
        document = yaml_reader.read(text)
    except BadYaml as error:
        raise BadScenario(f"{name}:{error}") from None
    if document.data is None:
        raise BadScenario(f"{name}:1:1: expected a scenario; found nothing. {shapes.EXAMPLE}")
    try:
        scenario = Scenario.model_validate(document.data)
    except ValidationError as error:
        raise BadScenario(lines(name, document, shapes.problems(document, error))) from None
    if problems := list(checks.check(scenario, document)):
        raise BadScenario(lines(name, document, problems))
    return ScenarioFile(name, scenario, document)


def lines(name: str, document: YamlDocument, problems: list[ScenarioProblem]) -> str:
    """Return a line for each problem, in the order of the file."""
    ordered = sorted(problems, key=lambda problem: document.mark(problem.path))
    return "\n".join(dict.fromkeys(_line(name, document, problem) for problem in ordered))


def _line(name: str, document: YamlDocument, problem: ScenarioProblem) -> str:
    mark = document.mark(problem.path)
    hint = f" {problem.hint}" if problem.hint else ""
    return f"{name}:{mark.line}:{mark.column}: expected {problem.expected}; found {problem.found}.{hint}"
