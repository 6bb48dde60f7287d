"""The audit tells what is caught, by whom, and what survives; and what runs in its copies is the copies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from db import environments
from db.console.progress import Silent
from db.errors import Failure, Inconclusive, Refusal
from db.servers import Server
from harness import audit
from harness.audit import MUTATIONS, Mutation, Result
from harness.audit.copies import PACKAGES, Copy
from harness.audit.report import judged

ROOT = Path(__file__).parents[3]
AGE = "tests/harness/gate/test_certificate.py::test_what_holds_here_and_now_counts"
OTHER = "tests/harness/gate/test_certificate.py::test_the_digest_is_of_every_scenarios_path_and_content"


def of_age(name: str, replace: str, *, catcher: str = AGE, wider: tuple[str, ...] = ()) -> Mutation:
    """A mutation of how old a certificate may be."""
    return Mutation(name, "harness/gate/certificate.py", "MAX_AGE = timedelta(hours=24)", replace, catcher, wider)


def run(config: pytest.Config, *mutations: Mutation) -> dict[str, Result]:
    report = audit.run(ROOT, config.getoption("--postgres"), "", Silent(), mutations=mutations)
    return {result.name: result for result in report.results}


def test_there_are_enough_of_them_and_each_has_a_name_of_its_own() -> None:
    assert len(MUTATIONS) >= 40
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_matches_once_and_its_catcher_exists(mutation: Mutation) -> None:
    assert mutation.trouble(ROOT) == ""
    assert mutation.replace != mutation.find
    file, _, test = mutation.catcher.partition("::")
    assert (ROOT / file).is_file()
    if file.endswith(".py") and test:
        assert f"def {test.partition('[')[0]}(" in (ROOT / file).read_text()


def test_what_is_caught_by_whom_and_what_survives(pytestconfig: pytest.Config) -> None:
    report = run(
        pytestconfig,
        of_age("caught", "MAX_AGE = timedelta(hours=48)"),
        of_age("caught by another", "MAX_AGE = timedelta(hours=48)", catcher=OTHER, wider=(OTHER, AGE)),
        of_age("survives", "MAX_AGE = timedelta(days=1)", wider=(AGE, OTHER)),
        of_age("breaks it all", "MAX_AGE = timedelta(hours=24"),
    )
    assert report["caught"].caught_by == AGE
    assert report["caught by another"].caught_by.startswith(AGE)
    assert (report["survives"].caught_by, report["survives"].broken) == ("", "")
    assert (report["breaks it all"].caught_by, report["breaks it all"].broken != "") == ("", True)


def test_a_catcher_that_runs_a_suite_of_its_own_can_pass_in_a_copy(pytestconfig: pytest.Config) -> None:
    """The copy's server is given by a URL without its password, and the catcher hands it on."""
    mutation = next(each for each in MUTATIONS if each.catcher.startswith("tests/harness/sweeps/test_races.py"))
    assert run(pytestconfig, mutation)[mutation.name].caught_by == mutation.catcher


def test_one_that_nothing_catches_fails_the_audit_and_so_does_none() -> None:
    caught = Result("a", "file", "test", "test", 1.0)
    survived = Result("b", "file", "test", "", 1.0)
    assert judged([caught], 1.0).verdict == "pass"
    assert judged([], 1.0).verdict == "fail"
    report = judged([caught, survived], 1.0)
    assert (report.verdict, report.mutations, report.caught, report.survived) == ("fail", 2, 1, 1)


def test_one_that_does_not_match_is_named_before_anything_runs(pytestconfig: pytest.Config) -> None:
    gone = Mutation("gone", "harness/gate/certificate.py", "no such words", "", AGE, ())
    twice = Mutation("twice", "harness/gate/certificate.py", "def ", "", AGE, ())
    with pytest.raises(Failure) as caught:
        run(pytestconfig, gone, twice)
    assert "gone: 0 times in harness/gate/certificate.py" in str(caught.value)
    assert "twice: " in str(caught.value)


def test_a_catcher_that_fails_anyway_proves_nothing(pytestconfig: pytest.Config) -> None:
    missing = of_age("caught", "MAX_AGE = timedelta(hours=48)", catcher=f"{AGE}_not")
    with pytest.raises(Inconclusive, match="each catcher to pass"):
        run(pytestconfig, missing)


def test_a_selection_of_nothing_is_refused() -> None:
    with pytest.raises(Refusal, match="no such mutation"):
        audit.run(ROOT, None, "no such mutation", Silent())


@pytest.fixture
def copy(tmp_path: Path, server: Server) -> Copy:
    made = Copy(tmp_path / "copy", server)
    made.folder.mkdir()
    made.fill(ROOT)
    return made


def test_the_copy_is_what_runs_in_every_process(copy: Copy) -> None:
    copy.prove()
    for package in PACKAGES:
        name = f"{package}/__init__.py"
        assert (copy.folder / name).read_text() == (ROOT / name).read_text()


def test_another_tree_in_a_child_is_noticed(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_path(settings: Mapping[str, str] | None = None, **_: object) -> dict[str, str]:
        return {**os.environ, **{name: value for name, value in (settings or {}).items() if name != "PYTHONPATH"}}

    monkeypatch.setattr(environments, "child_variables", without_path)
    with pytest.raises(Failure, match="another tree in game-"):
        copy.prove()
