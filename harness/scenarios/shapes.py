"""Translates what pydantic finds wrong with a document's shape into problems, some with a cure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails

from db.samples.given import EMPTY_KEYS, NAME, UNKNOWN_KEYS
from harness.scenarios import yaml_reader
from harness.scenarios.model import SENTENCE
from harness.scenarios.problems import ScenarioProblem, nearest
from harness.scenarios.yaml_reader import Path, YamlDocument

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

EXAMPLE = "scenarios/README.md has an example to begin with."
AT_LEAST_ONE = "one step at least"
ONE_STEP = "Write what a player does, such as - {by: hana, do: claim_mail, with: {mail: m1}}."
NO_OUTCOMES = (
    "Write outcomes: [] and run pytest with this file and --update-scenarios: it writes what the two orders give."
)


def problems(document: YamlDocument, error: ValidationError, within: Path = ()) -> list[ScenarioProblem]:
    """Return the problems, one a place: where several shapes would do, all of them are named.

    within: the path of the value that was validated.
    """
    by_path: dict[Path, ScenarioProblem] = {}
    for detail in error.errors(include_url=False):
        for problem in _translate(document, detail, within):
            known = by_path.get(problem.path)
            both = known is not None and known.expected != problem.expected
            expected = f"{known.expected} or {problem.expected}" if known and both else problem.expected
            by_path[problem.path] = ScenarioProblem(problem.path, expected, problem.found, problem.hint)
    return [problem for problem in by_path.values() if not _is_consequence(problem, by_path)]


def _is_consequence(problem: ScenarioProblem, by_path: Collection[Path]) -> bool:
    """Return True if a list is called too short because an element is wrong: the element's own problem says more."""
    depth = len(problem.path)
    counts = problem.expected.endswith("of them") or problem.expected == AT_LEAST_ONE
    return counts and any(p[:depth] == problem.path and len(p) > depth for p in by_path)


def _translate(document: YamlDocument, detail: ErrorDetails, within: Path) -> Iterator[ScenarioProblem]:
    path = document.within((*within, *detail["loc"]))
    context = detail.get("ctx", {})
    if detail["type"] == UNKNOWN_KEYS:
        known = context["known"]
        for key in context["unknown"]:
            yield ScenarioProblem((*path, key), f"one of {', '.join(known)}", repr(key), nearest(key, known))
    elif detail["type"] == EMPTY_KEYS:
        for key in context["empty"]:
            yield ScenarioProblem((*path, key), f"a value for {key!r}", "nothing", ONE_STEP if key == "steps" else "")
    elif detail["type"] == "missing":
        yield _missing(path, detail)
    elif detail["type"] == "literal_error":
        names = re.findall("'([^']*)'", str(context["expected"]))
        hint = nearest(str(detail["input"]), names)
        yield ScenarioProblem(path, str(context["expected"]), _described(detail["input"]), hint)
    else:
        yield ScenarioProblem(path, _expected(detail, path), _described(detail["input"]), _hint(detail, path))


def _missing(path: Path, detail: ErrorDetails) -> ScenarioProblem:
    last = detail["loc"][-1]
    found = _described(detail["input"])
    if isinstance(last, str):
        return ScenarioProblem((*path, last), f"the key {last!r}", found, NO_OUTCOMES if last == "outcomes" else "")
    return ScenarioProblem(path, "two commands" if path[-1:] == ("race",) else f"element {last + 1}", found)


def _hint(detail: ErrorDetails, path: Path) -> str:
    if not path and detail["type"] in ("model_type", "dict_type"):
        return EXAMPLE
    is_step = path[:1] == ("steps",) and len(path) <= len(("steps", 0))
    return ONE_STEP if is_step and detail["type"] in ("too_short", "tuple_type", "model_type", "dict_type") else ""


def _expected(detail: ErrorDetails, path: Path) -> str:
    context = detail.get("ctx", {})
    if detail["type"] == "value_error":
        return str(context["error"])
    if detail["type"] == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"text that matches {context['pattern']}")
    if detail["type"] == "too_short" and path == ("steps",):
        return AT_LEAST_ONE
    if detail["type"] in ("too_short", "too_long"):
        return f"{context.get('min_length', context.get('max_length'))} of them"
    if detail["type"] in ("greater_than_equal", "less_than_equal"):
        return f"{context['ge']} or more" if "ge" in context else f"{context['le']} or less"
    return _EXPECTED.get(detail["type"]) or detail["msg"].removeprefix("Input should be ")


def _described(value: JsonValue) -> str:
    """Return a scalar as YAML writes it; of a container its kind and its keys."""
    if isinstance(value, dict):
        return f"a mapping of {', '.join(value)}" if value else "an empty mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    return "nothing" if value is None else yaml_reader.flow(value)
