"""A scenario file, read and checked: text in, one frozen model out; nothing is opened, drawn or run.

Two stages: its shape (`model`), then its meaning (`checks`). What is wrong is said all at once: file, line,
column, expected, found, nearest right name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails

from harness.scenarios import checks, yaml_reader
from harness.scenarios.model import EMPTY_KEYS, NAME, SENTENCE, UNKNOWN_KEYS, Scenario
from harness.scenarios.problems import Problem, nearest
from harness.scenarios.yaml_reader import Document

_PATTERNS = {
    NAME: "a name of lower-case letters, digits, - and _, beginning with a letter",
    SENTENCE: "a sentence, with a full stop",
}

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "tuple_type": "a list",
}


class BadScenario(Exception):
    """The file is no scenario; one line for each problem."""


@dataclass(frozen=True)
class ScenarioFile:
    """A scenario, and the text that it was read from."""

    name: str
    scenario: Scenario
    document: Document

    def line(self, problem: Problem) -> str:
        """The problem in one line, where it stands."""
        return _line(self.name, self.document, problem)


def read_file(path: Path, name: str | None = None) -> ScenarioFile:
    """The scenario in the file; BadScenario where it is none."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise BadScenario(f"{name or path}:1:1: expected UTF-8; found byte {error.start} that is none.") from None
    return read(text, name or str(path))


def read(text: str, name: str) -> ScenarioFile:
    """The scenario that `text` holds; BadScenario lists what is wrong, all of it."""
    try:
        document = yaml_reader.read(text)
    except yaml_reader.BadYaml as error:
        raise BadScenario(f"{name}:{error}.") from None
    try:
        scenario = Scenario.model_validate(document.data)
    except ValidationError as error:
        raise BadScenario(_lines(name, document, _shape_problems(document, error))) from None
    if problems := list(checks.check(scenario)):
        raise BadScenario(_lines(name, document, problems))
    return ScenarioFile(name, scenario, document)


def _lines(name: str, document: Document, problems: list[Problem]) -> str:
    ordered = sorted(problems, key=lambda problem: document.mark(problem.path))
    return "\n".join(dict.fromkeys(_line(name, document, problem) for problem in ordered))


def _line(name: str, document: Document, problem: Problem) -> str:
    mark = document.mark(problem.path)
    hint = f" {problem.hint}" if problem.hint else ""
    return f"{name}:{mark.line}:{mark.column}: expected {problem.expected}; found {problem.found}.{hint}"


def _shape_problems(document: Document, error: ValidationError) -> list[Problem]:
    """The problems, one a place: where several shapes would do, all of them are named."""
    by_path: dict[yaml_reader.Path, Problem] = {}
    for problem in (each for detail in error.errors(include_url=False) for each in _translate(document, detail)):
        known = by_path.get(problem.path)
        expected = f"{known.expected} or {problem.expected}" if known else problem.expected
        by_path[problem.path] = Problem(problem.path, expected, problem.found, problem.hint)
    return [problem for problem in by_path.values() if not _is_consequence(problem, by_path)]


def _is_consequence(problem: Problem, by_path: Collection[yaml_reader.Path]) -> bool:
    """A list is called too short where one of its elements is wrong; the element's own problem says more."""
    depth = len(problem.path)
    return problem.expected.endswith("of them") and any(p[:depth] == problem.path and len(p) > depth for p in by_path)


def _translate(document: Document, detail: ErrorDetails) -> Iterator[Problem]:
    path = document.within(detail["loc"])
    context = detail.get("ctx", {})
    if detail["type"] == UNKNOWN_KEYS:
        known = context["known"]
        for key in context["unknown"]:
            yield Problem((*path, key), f"one of {', '.join(known)}", repr(key), nearest(key, known))
    elif detail["type"] == EMPTY_KEYS:
        for key in context["empty"]:
            yield Problem((*path, key), f"a value for {key!r}", "nothing")
    elif detail["type"] == "missing":
        last = detail["loc"][-1]
        yield Problem(
            path, f"element {last + 1}" if isinstance(last, int) else f"the key {last!r}", _described(detail["input"])
        )
    else:
        yield Problem(path, _expected(detail), _described(detail["input"]))


def _expected(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    if detail["type"] == "value_error":
        return str(context["error"])
    if detail["type"] == "string_pattern_mismatch":
        return _PATTERNS[context["pattern"]]
    if detail["type"] == "literal_error":
        return str(context["expected"])
    if detail["type"] in ("too_short", "too_long"):
        return f"{context.get('min_length', context.get('max_length'))} of them"
    if detail["type"] in ("greater_than_equal", "less_than_equal"):
        return f"{context['ge']} or more" if "ge" in context else f"{context['le']} or less"
    return _EXPECTED.get(detail["type"]) or detail["msg"].removeprefix("Input should be ")


def _described(value: JsonValue) -> str:
    """A scalar as YAML writes it; of a container its kind and its keys."""
    if isinstance(value, dict):
        return f"a mapping of {', '.join(value)}" if value else "an empty mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "nothing" if value is None else yaml_reader.flow(value)
