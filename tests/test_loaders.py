"""No file is read by a loader that can make objects or run code: no pickle, no eval, YAML by its safe forms alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import scenarios
from harness.scenarios import BadScenario
from tests.test_hostile_text import OWN_PIPES

ROOT = Path(__file__).parents[1]
SOURCES = [*(path for room in ("game", "db", "harness") for path in (ROOT / room).rglob("*.py")), ROOT / "tasks.py"]
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "yaml", "jsonpickle"}
FORBIDDEN_CALLS = {"eval", "exec", "__import__", "unsafe_load", "full_load", "yaml_object", "register_class"}
SAFE = {"safe", "rt"}
"""The loaders of ruamel.yaml that make plain values: the round-trip one keeps a tag as a text."""


def unsafe(tree: ast.AST) -> Iterator[str]:
    """Yield each import, call and kind of loader that could run what a file says."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names if one.name.partition(".")[0] in FORBIDDEN_MODULES)
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in FORBIDDEN_MODULES:
                yield module
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in FORBIDDEN_CALLS:
                yield name
            case ast.Call(func=ast.Name(id="YAML")):
                kinds = {one.value.value for one in node.keywords if isinstance(one.value, ast.Constant)} & {*SAFE}
                if len(kinds) != 1:
                    yield "YAML"


def test_the_source_has_no_loader_that_runs_what_a_file_says() -> None:
    uses = {str(path.relative_to(ROOT)): list(unsafe(ast.parse(path.read_text("utf-8")))) for path in SOURCES}
    assert {path: names for path, names in uses.items() if names} == {path: ["pickle"] for path in OWN_PIPES}


@pytest.mark.parametrize(
    "source", ["import pickle", "from yaml import load", "eval(x)", "YAML()", "YAML(typ='unsafe')", "yaml.full_load(x)"]
)
def test_an_unsafe_loader_is_seen(source: str) -> None:
    assert list(unsafe(ast.parse(source)))


def test_a_scenario_runs_nothing_and_grows_to_nothing(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    laughs = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))
    for text in (
        f"about: !!python/object/apply:os.system ['touch {touched}']",
        f"about: !!python/object/apply:subprocess.run [[touch, {touched}]]",
        f"about: !!python/name:os.system\nafter: {{x: '{touched}'}}",
        f"a0: &a0 lol\n{laughs}",
    ):
        with pytest.raises(BadScenario):
            scenarios.read(text, "evil.yaml")
    assert not touched.exists()
