"""Secrets are compared in constant time: an `==` ends at the first byte that differs, and can be measured."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [*(path for room in ("game", "db", "harness") for path in (ROOT / room).rglob("*.py")), ROOT / "tasks.py"]
SECRET = re.compile(
    r"(?:^|_)(?:secrets?|tokens?|passwords?|passwd|pass|bearer|credentials?|signatures?|hmac|mac)(?:_|$)|(?:signing|private|api|secret)_key$|signature",
)
NO_SECRETS = {
    "secrets": "names of variables",
    "token": "a word of a YAML file or a statement; a token of ours is compared by `tokens.same`",
}
"""Names that look like a secret's and are none, with what they are."""


def compared(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every comparison by value of something whose name is a secret's: line and name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(
            isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops
        ):
            operands = [node.left, *node.comparators]
            if any(is_plain(operand) for operand in operands):
                continue
            for operand in operands:
                yield from ((node.lineno, name) for name in names(operand) if SECRET.search(name))
        elif isinstance(node, ast.match_case) and isinstance(node.pattern, ast.MatchValue):
            yield from ((node.pattern.lineno, name) for name in names(node.pattern.value) if SECRET.search(name))


def is_plain(operand: ast.expr) -> bool:
    """True for a constant of the source: whether a text is empty, or a name, is no secret."""
    if isinstance(operand, ast.Tuple | ast.Set | ast.List):
        return all(is_plain(one) for one in operand.elts)
    return isinstance(operand, ast.Constant)


def names(operand: ast.expr) -> Iterator[str]:
    """The last name of what is compared: of a.b the b, of f(x) both f and x."""
    match operand:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            yield name
        case ast.Call():
            if isinstance(operand.func, ast.Name) and operand.func.id in ("len", "type", "set", "sorted"):
                return
            yield from names(operand.func)
            for argument in operand.args:
                yield from names(argument)
        case ast.Subscript():
            yield from names(operand.value)
            if isinstance(operand.slice, ast.Constant) and isinstance(operand.slice.value, str):
                yield operand.slice.value
        case ast.BinOp():
            yield from names(operand.left)
            yield from names(operand.right)
        case ast.Tuple() | ast.List() | ast.Set():
            for one in operand.elts:
                yield from names(one)


def test_no_secret_is_compared_by_a_comparison_that_ends_early() -> None:
    result = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in SOURCES
        for line, name in compared(ast.parse(path.read_text("utf-8")))
        if name not in NO_SECRETS
    ]
    assert result == []


@pytest.mark.parametrize(
    "line",
    [
        "given == self._operator_token",
        "secret != given",
        "pass_sha256 != _sha256(given)",
        "_sha256(token_given) == row",
        "headers['X-Fence-Pass'.lower()] == settings.fence_pass",
        "given in (self.token_secret, self.previous_token_secret)",
        "signature(report, key) == given",
    ],
)
def test_the_test_sees_such_a_comparison(line: str) -> None:
    assert [name for _, name in compared(ast.parse(line)) if name not in NO_SECRETS]


@pytest.mark.parametrize("line", ["token == ''", "hmac.compare_digest(a, b)", "len(secret) == 16", "secret is None"])
def test_the_test_lets_the_others_be(line: str) -> None:
    assert [name for _, name in compared(ast.parse(line)) if name not in NO_SECRETS] == []
