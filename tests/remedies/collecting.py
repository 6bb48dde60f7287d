"""Collects from the source every remedy: the texts that can reach `do=` of an error of db/errors.py.

Read from the syntax tree, so that one that no test meets is read too. A part that only a run knows is a hole, `{}`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOLE = "{}"
ERRORS = ("Refusal", "Failure", "Inconclusive", "Undone", "DeadlinePassed")
OWN_ERRORS = {
    "db.cutover.catching_up": {"LeftToGoOn"},
    "db.cutover.deadline": {"DeadlinePassed"},
    "db.cutover.taking_over": {"LeftToGoOn"},
    "db.cutover.window": {"WindowMissed"},
    "db.follow.lock": {"AnotherFollows"},
    "db.snapshots.dump": {"Foreign", "Unsound"},
    "db.snapshots.legacy": {"Unsound"},
    "db.snapshots.staging_schema": {"Unsound"},
    "db.transfer.live.capture": {"LogOutgrown"},
    "db.transfer.live_back.anew": {"LogOfFileGrows"},
    "db.transfer.live_back.session": {"WritesInFlight"},
    "db.transfer.preconditions": {"TransferUnderWay"},
    "db.transfer.write_back": {"TakenOver"},
}
"""Errors that are derived from these, by the modules that raise them."""

CHECKS = ("require_file", "require_folder", "read_json", "load_json")
"""Functions of db/files/paths.py and db/files/json_files.py that raise a Refusal with the `do` that they are given."""

SQL = ("statement", "SQL", "format", "as_string", "strip")
"""Calls that give their text on: SQL's own, and those of str."""

DEPTH = 8


@dataclass(frozen=True)
class Remedy:
    """One call of an error's class. texts: what its `do` can be, with holes; none where it has no `do`."""

    where: str
    error: str
    texts: tuple[str, ...]
    given: bool


@dataclass(frozen=True, eq=False)
class Module:
    """A module of the source, parsed; each of its nodes is looked at once, for to walk a tree takes milliseconds."""

    path: Path
    tree: ast.Module

    @property
    def name(self) -> str:
        """Return the name by which it is imported."""
        return ".".join(self.path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")

    @cached_property
    def calls(self) -> list[tuple[ast.FunctionDef | None, ast.Call]]:
        """Return each call with the function around it."""
        return [*_calls(self.tree)]

    @cached_property
    def imports(self) -> list[ast.ImportFrom]:
        """Return each import of names from a module."""
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.ImportFrom) and node.module]

    @cached_property
    def functions(self) -> dict[str, ast.FunctionDef]:
        """Return the first function of each name."""
        every = [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)]
        return {node.name: node for node in reversed(every)}


@cache
def modules() -> dict[str, Module]:
    """All that ships, by name."""
    # Sorted: a text that two modules have counts for the first of them, on every file system the same.
    paths = sorted(path for folder in ("game", "db", "harness") for path in (ROOT / folder).rglob("*.py"))
    result = [Module(path, ast.parse(path.read_text(encoding="utf-8"))) for path in (*paths, ROOT / "tasks.py")]
    return {module.name: module for module in result}


@cache
def remedies() -> tuple[Remedy, ...]:
    """Every call of an error's class, in the order of files and lines."""
    return tuple(remedy for _, module in sorted(modules().items()) for remedy in _of(module))


@cache
def texts() -> dict[str, str]:
    """Every distinct remedy, with the place of the first that gives it."""
    result: dict[str, str] = {}
    for remedy in remedies():
        for text in remedy.texts:
            result.setdefault(text, remedy.where)
    return result


def _of(module: Module) -> Iterator[Remedy]:
    ours = {
        alias.asname or alias.name
        for node in module.imports
        if node.module == "db.errors"
        for alias in node.names
        if alias.name in ERRORS
    } | OWN_ERRORS.get(module.name, set())
    for function, node in module.calls:
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        error = "Refusal" if name in CHECKS or (name == "kind" and "Refusal" in ours) else name
        if error not in ours and name not in CHECKS:
            continue
        do = next((keyword.value for keyword in node.keywords if keyword.arg == "do"), None)
        result = () if do is None else tuple(sorted(_Reader(module, function).read(do)))
        where = f"{module.path.relative_to(ROOT)}:{node.lineno}"
        yield Remedy(where, error, tuple(text for text in result if text.strip(HOLE + " ")), do is not None)


def _calls(tree: ast.AST, function: ast.FunctionDef | None = None) -> Iterator[tuple[ast.FunctionDef | None, ast.Call]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call):
            yield function, node
        yield from _calls(node, node if isinstance(node, ast.FunctionDef) else function)


@dataclass(frozen=True)
class _Reader:
    """Reads an expression of a module, within a function, as the texts that it can be."""

    module: Module
    function: ast.FunctionDef | None
    depth: int = 0

    def read(self, node: ast.expr) -> set[str]:
        if self.depth > DEPTH:
            return {HOLE}
        readers: dict[type[ast.expr], Callable[..., set[str]]] = {
            ast.Constant: lambda n: {n.value if isinstance(n.value, str) else HOLE},
            ast.JoinedStr: lambda n: self._joined([self.read(part) for part in n.values]),
            ast.FormattedValue: lambda n: self.read(n.value),
            ast.BinOp: lambda n: self._joined([self.read(n.left), self.read(n.right)]),
            ast.IfExp: lambda n: self.read(n.body) | self.read(n.orelse),
            ast.Name: self._name,
            ast.Subscript: lambda n: self._of_a_table(n.value),
            ast.Call: self._call,
            ast.Attribute: self._attribute,
        }
        return readers.get(type(node), lambda _: {HOLE})(node)

    def _joined(self, parts: list[set[str]]) -> set[str]:
        return {"".join(chosen) for chosen in product(*parts)}

    def _name(self, node: ast.Name) -> set[str]:
        return self._local(node.id) or self._constant(node.id) or {HOLE}

    def _local(self, name: str) -> set[str]:
        """Return what the function assigns to the name, or what its callers in the module pass."""
        if self.function is None:
            return set()
        result: set[str] = set()
        for node in ast.walk(self.function):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    result |= self._assigned(target, node.value, name)
        names = [argument.arg for argument in (*self.function.args.args, *self.function.args.kwonlyargs)]
        if name in names:
            result |= self._given(name, names.index(name))
        return result

    def _assigned(self, target: ast.expr, value: ast.expr, name: str) -> set[str]:
        if isinstance(target, ast.Name) and target.id == name:
            return self.deeper.read(value)
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = zip(target.elts, value.elts, strict=True)
            return set().union(*(self._assigned(one, given, name) for one, given in pairs))
        return set()

    def _given(self, name: str, position: int) -> set[str]:
        assert self.function is not None
        result: set[str] = set()
        for caller, call in self.module.calls:
            called = call.func
            of_self = isinstance(called, ast.Attribute) and getattr(called.value, "id", "") == "self"
            if (called.attr if of_self else getattr(called, "id", "")) == self.function.name:
                at = position - of_self
                values = [k.value for k in call.keywords if k.arg == name] or call.args[at : at + 1]
                for value in values:
                    result |= _Reader(self.module, caller, self.depth + 1).read(value)
        return result

    @property
    def deeper(self) -> _Reader:
        return _Reader(self.module, self.function, self.depth + 1)

    def _constant(self, name: str) -> set[str]:
        """A constant of this module, or of the one from which it is imported."""
        for node in self.module.tree.body:
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                return _Reader(self.module, None, self.depth + 1).read(node.value)
        home = self._home(name)
        return _Reader(home, None, self.depth + 1)._constant(name) if home is not None else set()

    def _home(self, name: str) -> Module | None:
        for node in self.module.imports:
            if any(name == (alias.asname or alias.name) for alias in node.names):
                return modules().get(str(node.module))
        return None

    def _attribute(self, node: ast.Attribute) -> set[str]:
        """A constant of an imported module; what another error said is read where it is made."""
        home = self._module(node.value)
        return (_Reader(home, None, self.depth + 1)._constant(node.attr) if home else set()) or {HOLE}

    def _module(self, node: ast.expr) -> Module | None:
        if not isinstance(node, ast.Name):
            return None
        for result in self.module.imports:
            for alias in result.names:
                if node.id == (alias.asname or alias.name):
                    return modules().get(f"{result.module}.{alias.name}")
        return None

    def _of_a_table(self, node: ast.expr) -> set[str]:
        """Any value of a dict that is a constant of the module."""
        name = node.id if isinstance(node, ast.Name) else ""
        for result in self.module.tree.body:
            target = result.targets[0] if isinstance(result, ast.Assign) else getattr(result, "target", None)
            value = getattr(result, "value", None)
            if isinstance(target, ast.Name) and target.id == name and isinstance(value, ast.Dict):
                return set().union(*(self.deeper.read(one) for one in value.values))
        return {HOLE}

    def _call(self, node: ast.Call) -> set[str]:
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr == "get":
            return self._of_a_table(called.value) | set().union(*(self.deeper.read(one) for one in node.args[1:]))
        if isinstance(called, ast.Attribute) and called.attr in ("format", "as_string", "replace"):
            return self.deeper.read(called.value)
        if isinstance(called, ast.Attribute) and called.attr == "join":
            return self._listed(node.args[0])
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if name in SQL and node.args:
            return self.deeper.read(node.args[0])
        home = self._module(called.value) if isinstance(called, ast.Attribute) else self._home(name) or self.module
        return self._returned(home, name) or {HOLE}

    def _listed(self, node: ast.expr) -> set[str]:
        """The parts of a list that is joined; of one that is made in a loop, one part."""
        if isinstance(node, ast.GeneratorExp | ast.ListComp):
            return self.deeper.read(node.elt)
        if isinstance(node, ast.List):
            parts = [HOLE_PART if isinstance(one, ast.Starred) else self.deeper.read(one) for one in node.elts]
            return {" ".join(chosen) for chosen in product(*parts)}
        return {HOLE}

    def _returned(self, home: Module | None, name: str) -> set[str]:
        """Return the texts that a function of the project can return."""
        if home is None:
            return set()
        function = home.functions.get(name)
        if function is None:
            return set()
        reader = _Reader(home, function, self.depth + 1)
        values = [one.value for one in ast.walk(function) if isinstance(one, ast.Return) and one.value is not None]
        return set().union(*(reader.read(value) for value in values))


HOLE_PART = {HOLE}
