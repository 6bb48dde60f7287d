"""Generated mutations: what is broken, under which name, and which tests are asked."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from db.console.progress import Silent
from db.errors import Refusal
from db.servers import Server
from harness import audit
from harness.audit import coverage, generated_run
from harness.audit.copies import FAILED, PASSED, Copy
from harness.audit.generated import GeneratedMutation, generate, of_file
from harness.audit.preloaded import LATE
from harness.audit.targets import TARGETS, AuditTarget

ROOT = Path(__file__).parents[3]
SOURCE = """
CODES = frozenset({"a", "b"})
BY_NAME = {"one": 1, **OTHERS}
PLAN = Plan(steps=(FIRST, SECOND), name="plan")
MOST = 3
LONG_SECONDS = 3600
if TYPE_CHECKING:
    from x import Y

def fits(n: int, *, most: int = MOST) -> bool:
    if n < most and not closed(n):
        return True
    return [x for x in CODES if x] and (1 if n == 2 else f"{n > 1}")

class Box:
    def listed(self):
        return (self.a, self.b)
"""


def names(target: AuditTarget | None = None) -> dict[str, GeneratedMutation]:
    of = target or AuditTarget(("x.py",), (), functions=frozenset({"listed"}))
    made = [*of_file("x.py", SOURCE, of)]
    assert len({mutation.name for mutation in made}) == len(made)
    return {mutation.name.removeprefix("x.py:"): mutation for mutation in made}


def test_every_kind_is_generated_once_under_a_name_without_a_line() -> None:
    assert [*names()] == [
        "CODES: without 'a'",
        "CODES: without 'b'",
        "BY_NAME: without 'one'",
        "BY_NAME: without **OTHERS",
        "PLAN: without FIRST",
        "PLAN: without SECOND",
        "Box.listed: without self.a",
        "Box.listed: without self.b",
        "fits: not (n < most and (not closed(n)))",
        "fits: n >= most",
        "fits: closed(n)",
        "fits: n <= most",
        "fits: not [x for x in CODES if x]",
        "fits: not (1 if n == 2 else f'{n > 1}')",
        "fits: not x",
        "fits: n != 2",
        "fits: n == 3",
        "fits: n == 1",
        "MOST: 4",
        "MOST: 2",
    ]


def test_a_target_may_be_of_lists_or_of_guards_alone() -> None:
    assert all("fits" not in name for name in names(AuditTarget(("x.py",), (), guards=False)))
    assert all("without" not in name for name in names(AuditTarget(("x.py",), (), lists=False)))


def test_what_is_put_there_is_what_the_name_says_and_nothing_else_changes() -> None:
    made = names()
    assert "if (n >= most) and not closed(n):" in made["fits: n >= most"].applied(SOURCE)
    assert "steps=(SECOND,), name" in made["PLAN: without FIRST"].applied(SOURCE)
    assert "CODES = frozenset({'b'})" in made["CODES: without 'a'"].applied(SOURCE)
    for mutation in made.values():
        lines = zip(SOURCE.splitlines(), mutation.applied(SOURCE).splitlines(), strict=True)
        assert len([old for old, new in lines if old != new]) == 1


@pytest.fixture(scope="module")
def generated() -> tuple[GeneratedMutation, ...]:
    return generate(ROOT)


def test_each_of_the_tree_has_a_name_of_its_own_and_is_python(generated: tuple[GeneratedMutation, ...]) -> None:
    texts = {file: (ROOT / file).read_text() for file in {mutation.file for mutation in generated}}
    assert len(generated) > 900
    assert [name for name, times in Counter(mutation.name for mutation in generated).items() if times > 1] == []
    for mutation in generated[::7]:
        changed = ast.dump(ast.parse(mutation.applied(texts[mutation.file])))
        assert changed != ast.dump(ast.parse(texts[mutation.file])), mutation.name


def test_a_file_stands_in_one_target_and_each_targets_tests_exist() -> None:
    times = Counter(file for target in TARGETS for file in target.paths(ROOT))
    assert [file for file, number in times.items() if number > 1] == []
    assert [test for target in TARGETS for test in target.tests if not (ROOT / test).exists()] == []


def test_a_pattern_that_no_file_matches_is_named() -> None:
    with pytest.raises(ValueError, match="no file game/none"):
        AuditTarget(("game/none*.py",), ()).paths(ROOT)


def test_what_changes_nothing_is_still_generated_has_a_reason_and_is_little(
    generated: tuple[GeneratedMutation, ...],
) -> None:
    known = generated_run.equivalent()
    assert sorted(known.keys() - {mutation.name for mutation in generated}) == []
    assert [name for name, reason in known.items() if not reason.endswith(".") or len(reason) < 20] == []
    assert len(known) * 20 <= len(generated)


def test_shards_share_everything_out(generated: tuple[GeneratedMutation, ...]) -> None:
    parts = [generated_run.selected(generated, "", f"{part}/3") for part in (1, 2, 3)]
    assert {mutation.name for part in parts for mutation in part} == {mutation.name for mutation in generated}
    assert sum(map(len, parts)) == len(generated)


@pytest.mark.parametrize(
    ("select", "shard", "says"),
    [
        ("no such mutation", "", "'no such mutation' in its name; found none"),
        ("", "0/3", "found '0/3'"),
        ("", "4/3", "found '4/3'"),
        ("", "half", "found 'half'"),
        ("game/dispatch.py:_attempt: loaded is not None", "2/2", "found 1"),
    ],
)
def test_a_selection_of_nothing_is_refused(
    generated: tuple[GeneratedMutation, ...], select: str, shard: str, says: str
) -> None:
    with pytest.raises(Refusal) as caught:
        generated_run.selected(generated, select, shard)
    assert says in str(caught.value)


def test_tests_that_run_the_line_are_asked_each_functions_quickest_first() -> None:
    known = coverage.Coverage({"t::a[1]": 3.0, "t::a[2]": 0.1, "t::b": 1.0, "t::c": 0.2, "t::fails": 0.0})
    del known.seconds["t::fails"]
    for line, tests in ((4, ("t::a[1]", "t::a[2]")), (5, ("t::b", "t::fails")), (9, ("t::c",))):
        known.lines["x.py", line] |= set(tests)
    mutation = GeneratedMutation("x.py:f: x", "x.py", 0, 1, "y", 4, 5)
    assert known.catchers(mutation, {}) == ["t::a[2]", "t::b", "t::a[1]"]
    of_list = GeneratedMutation("x.py:A: without 1", "x.py", 0, 1, "()", 1, 1, users="A")
    assert known.catchers(of_list, {"A": {("x.py", 9)}}) == ["t::c"]


def test_the_nearest_tests_are_asked_first() -> None:
    near = [
        "tests/game/postgres/test_a.py::a",
        "tests/game/test_b.py::b",
        "tests/game/rules/test_c.py::c",
        "tests/db/d.py::d",
    ]
    known = coverage.Coverage({test: 4.0 - number for number, test in enumerate(near)})
    known.lines["game/postgres/store.py", 4] |= set(near)
    mutation = GeneratedMutation("x", "game/postgres/store.py", 0, 1, "y", 4, 4)
    assert known.catchers(mutation, {}) == near


def test_readers_of_a_constant_are_found_through_other_constants_and_defaults(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(
        "A = (1,)\nB = frozenset(A)\n\n\ndef f(n=A):\n    return n\n\n\ndef g():\n    return B\n"
    )
    assert coverage.readers(tmp_path, ["x.py"])["A"] == {("x.py", line) for line in (1, 2, 5, 6, 10)}


@pytest.fixture
def copy(tmp_path: Path, server: Server) -> Copy:
    """A copy of the tree with a test of its own."""
    made = Copy(tmp_path / "copy", server)
    made.folder.mkdir()
    made.fill(ROOT)
    (made.folder / "tests" / "test_own.py").write_text(
        "import subprocess, sys, time\n"
        "from game.counting import small\n"
        "def test_small(): assert small(1)\n"
        "def test_child(): subprocess.run([sys.executable, '-c', 'from game.counting import small; small(3)'])\n"
        "def test_fails(): assert small(5)\n"
        "def test_slow(): time.sleep(60 if not small(2) else 0)\n"
    )
    (made.folder / "game" / "counting.py").write_text(
        "def small(n):\n    if n < 3:\n        return True\n    return False\n"
    )
    return made


def test_lines_are_recorded_of_each_test_and_of_the_processes_that_it_starts(copy: Copy) -> None:
    known, ran = coverage.record(copy, ["game/counting.py"], ["tests/test_own.py"], 120)
    copy.close()
    assert ran.code == FAILED
    test = "tests/test_own.py::test_"
    assert {*known.seconds} == {f"{test}small", f"{test}child", f"{test}slow"}
    assert known.lines["game/counting.py", 3] == {f"{test}small", f"{test}slow"}
    assert known.lines["game/counting.py", 4] == {f"{test}child", f"{test}fails"}


def test_a_run_reads_the_files_as_they_stand_and_ends_in_time(copy: Copy) -> None:
    mutation = GeneratedMutation("x", "game/counting.py", 18, 26, "if n < 2", 2, 2)
    test = "tests/test_own.py::test_"
    try:
        assert copy.pytest([f"{test}small", f"{test}slow"]).code == PASSED
        with copy.mutated(mutation):
            assert copy.pytest([f"{test}small"]).code == PASSED
            late = copy.pytest([f"{test}slow"], seconds=8)
        assert (late.code, late.last_lines) == (LATE, "no end within 8 s")
        assert copy.pytest([f"{test}fails", f"{test}small"], "-x").failed == (f"{test}fails",)
    finally:
        copy.close()


def test_a_whole_run_tells_what_is_caught_and_what_no_test_runs(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = AuditTarget(("game/idempotency.py",), ("tests/game/test_chain.py",))
    monkeypatch.setattr(generated_run, "TARGETS", (target,))
    monkeypatch.setattr(generated_run, "generate", lambda root: generate(root, (target,)))
    report = audit.run_generated(ROOT, pytestconfig.getoption("--postgres"), "", Silent())
    assert report.verdict == "fail"
    assert report.mutations == report.caught + report.survived == 5
    assert report.caught > 0
    assert {result.broken for result in report.results if not result.caught_by} <= {
        "no test runs it",
        *(f"{number:,} tests run it" for number in range(2, 99)),
    }
