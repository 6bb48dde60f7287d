"""Generates mutations from the source: each guard and comparison of the targets, and each element of their lists.

Deterministic, some 20 ms a file. A name says file, function and what is changed, never a line, so that it stays when
lines move: `game/dispatch.py:_check_open: not (loaded.fence != 'open')`.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from harness.audit.targets import TARGETS, AuditTarget

_NEGATED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_MOVED: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_WRAPPERS = frozenset({"frozenset", "tuple", "dict", "set", "list", "MappingProxyType"})
_LITERALS = (ast.Tuple, ast.List, ast.Set, ast.Dict)
_SMALL = 16
_LONGEST = 100
"""The longest quotation in a name, in characters."""


@dataclass(frozen=True, slots=True)
class GeneratedMutation:
    """One replacement in one file. start, end: in bytes of the file; first, last: the lines that the change stands on.

    users: the name of a list whose readers are affected; "" for a guard or a comparison.
    """

    name: str
    file: str
    start: int
    end: int
    replacement: str
    first: int
    last: int
    users: str = ""

    def applied(self, text: str) -> str:
        """Return the file's text with the mutation."""
        source = text.encode()
        return (source[: self.start] + self.replacement.encode() + source[self.end :]).decode()


def generate(root: Path, targets: Iterable[AuditTarget] = TARGETS) -> tuple[GeneratedMutation, ...]:
    """Return every mutation of the targets, in the targets' order, each with a name of its own."""
    return tuple(
        chain.from_iterable(
            of_file(file, (root / file).read_text("utf-8"), target) for target in targets for file in target.paths(root)
        )
    )


def of_file(file: str, text: str, target: AuditTarget) -> Iterator[GeneratedMutation]:
    """Yield the mutations of one file; two that would have one name are numbered."""
    times: Counter[str] = Counter()
    seen = set()
    for mutation in _ParsedFile(file, text, target).mutations():
        if (place := (mutation.start, mutation.end, mutation.replacement)) in seen:
            continue
        seen.add(place)
        times[mutation.name] += 1
        number = times[mutation.name]
        yield replace(mutation, name=f"{mutation.name} #{number}") if number > 1 else mutation


class _ParsedFile:
    """One file of a target, parsed, from which its mutations are made."""

    def __init__(self, file: str, text: str, target: AuditTarget) -> None:
        self._file, self._target = file, target
        self._tree = ast.parse(text)
        self._starts = [0]
        for line in text.encode().splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def mutations(self) -> Iterator[GeneratedMutation]:
        if self._target.lists:
            yield from self._lists()
        if self._target.guards:
            for scope, node in _nodes(self._tree, ""):
                yield from self._guard(scope, node)
            yield from self._numbers()

    def _guard(self, scope: str, node: ast.AST) -> Iterator[GeneratedMutation]:
        if isinstance(node, (ast.If, ast.IfExp, ast.While)):
            yield from self._negation(scope, node.test)
        elif isinstance(node, ast.comprehension):
            for condition in node.ifs:
                yield from self._negation(scope, condition)
        elif isinstance(node, ast.BoolOp):
            for operand in node.values:
                yield from self._negation(scope, operand)
        elif isinstance(node, ast.Compare):
            yield from self._negation(scope, node)
            yield from self._moves(scope, node)

    def _negation(self, scope: str, test: ast.expr) -> Iterator[GeneratedMutation]:
        yield self._mutation(scope, test, negated(test))

    def _moves(self, scope: str, node: ast.Compare) -> Iterator[GeneratedMutation]:
        for number, operator in enumerate(node.ops):
            if moved := _MOVED.get(type(operator)):
                changed = copy.deepcopy(node)
                changed.ops[number] = moved()
                yield self._mutation(scope, node, changed)
        for number, side in enumerate(node.comparators):
            if isinstance(side, ast.Constant) and type(side.value) is int:
                ordered = type(node.ops[number]) in _MOVED
                for by in (1,) if ordered else (1, -1):
                    changed = copy.deepcopy(node)
                    changed.comparators[number] = ast.Constant(side.value + by)
                    yield self._mutation(scope, node, changed)

    def _numbers(self) -> Iterator[GeneratedMutation]:
        """Yield a module's small whole numbers one up and one down. Of a thousand, one more would change nothing."""
        for statement in self._tree.body:
            name, value = _assigned(statement) or ("", None)
            if isinstance(value, ast.Constant) and type(value.value) is int and abs(value.value) <= _SMALL:
                for by in (1, -1):
                    number = ast.Constant(value.value + by)
                    yield self._mutation(name, value, number, users=name)

    def _lists(self) -> Iterator[GeneratedMutation]:
        for name, value in _named(self._tree.body, self._target):
            for number, (label, changed) in enumerate(_without_each(value)):
                quoted = label or str(number)
                yield self._mutation(name, value, changed, f"without {quoted}", users=name.rpartition(".")[2])

    def _mutation(
        self, scope: str, node: ast.expr, changed: ast.expr, what: str = "", users: str = ""
    ) -> GeneratedMutation:
        text = ast.unparse(changed)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return GeneratedMutation(
            f"{self._file}:{scope or 'module'}: {_shortened(what or text)}",
            self._file,
            self._starts[node.lineno - 1] + node.col_offset,
            self._starts[node.end_lineno - 1] + node.end_col_offset,
            # A statement's line may go on beneath: what is put there has to stand in brackets, and a tuple does anyway.
            text if isinstance(changed, _LITERALS) else f"({text})",
            node.lineno,
            node.end_lineno,
            users,
        )


def negated(test: ast.expr) -> ast.expr:
    """Return the opposite of a condition: by the opposite operator if it is one comparison, else by `not`."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return ast.Compare(test.left, [_NEGATED[type(test.ops[0])]()], test.comparators)
    return ast.UnaryOp(ast.Not(), test)


def _nodes(node: ast.AST, scope: str) -> Iterator[tuple[str, ast.AST]]:
    """Yield each node with the qualified name of its function; none inside an f-string, where places are not exact."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr) or _is_for_types_alone(child):
            continue
        inner = scope
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            inner = f"{scope}.{child.name}".lstrip(".")
        yield inner, child
        yield from _nodes(child, inner)


def _is_for_types_alone(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _named(body: list[ast.stmt], target: AuditTarget, scope: str = "") -> Iterator[tuple[str, ast.expr]]:
    """Yield the literals with a name: constants, keywords of a module's objects, what a listed function returns."""
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            yield from _named(statement.body, target, f"{scope}{statement.name}.")
        elif isinstance(statement, ast.FunctionDef) and statement.name in target.functions:
            for node in ast.walk(statement):
                if isinstance(node, (ast.Return, ast.For)):
                    value = node.value if isinstance(node, ast.Return) else node.iter
                    if isinstance(value, _LITERALS):
                        yield f"{scope}{statement.name}", value
        elif (assigned := _assigned(statement)) and (assigned[0].isupper() or assigned[0].startswith("_")):
            yield from _literals(f"{scope}{assigned[0]}", assigned[1])


def _assigned(statement: ast.stmt) -> tuple[str, ast.expr] | None:
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id, statement.value
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        return statement.target.id, statement.value
    return None


def _literals(name: str, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(value, _LITERALS):
        yield name, value
    elif isinstance(value, ast.Call):
        if isinstance(value.func, ast.Name) and value.func.id in _WRAPPERS:
            for argument in value.args:
                yield from _literals(name, argument)
        for keyword in value.keywords:
            if keyword.arg:
                for _, inner in _literals(name, keyword.value):
                    yield f"{name}", inner
    elif isinstance(value, ast.BinOp):
        yield from _literals(name, value.left)
        yield from _literals(name, value.right)


def _without_each(value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yield the literal without each of its elements, with what stood there."""
    if isinstance(value, ast.Dict):
        for number, key in enumerate(value.keys):
            label = ast.unparse(key) if key else f"**{ast.unparse(value.values[number])}"
            rest = [n for n in range(len(value.keys)) if n != number]
            yield label, ast.Dict([value.keys[n] for n in rest], [value.values[n] for n in rest])
    elif isinstance(value, (ast.Tuple, ast.List, ast.Set)):
        for number, element in enumerate(value.elts):
            rest_of = [other for n, other in enumerate(value.elts) if n != number]
            if isinstance(value, ast.Set):
                emptied: ast.expr = ast.Set(rest_of) if rest_of else ast.Call(ast.Name("set"), [], [])
                yield ast.unparse(element), emptied
            else:
                yield ast.unparse(element), type(value)(rest_of, ast.Load())


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
