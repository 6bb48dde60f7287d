"""Every remedy of the source is accounted for: followed here, by a named test, or excused with a reason."""

from __future__ import annotations

import ast
from collections import Counter

from tests.remedies import of_environments, of_snapshots, of_stores  # noqa: F401  # each fills the catalogue
from tests.remedies.accounts import NOT_FOLLOWED, TESTED
from tests.remedies.collecting import ROOT, texts
from tests.remedies.scratch import FOLLOWED, matches

OF_MOVES = ROOT / "tests" / "db" / "cutover" / "test_remedies_of_moves.py"


def of_moves() -> set[str]:
    """The remedies that test_remedies_of_moves follows: the second argument of its decorator."""
    calls = [node for node in ast.walk(ast.parse(OF_MOVES.read_text())) if isinstance(node, ast.Call)]
    entries = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "refused"]
    return {str(ast.literal_eval(call.args[1])) for call in entries}


def followed() -> set[str]:
    return {template for template, _ in FOLLOWED.values()} | of_moves()


def left() -> Counter[str]:
    """Count by module the remedies that no test here follows."""
    ours = followed()
    return Counter(
        where.partition(":")[0] for text, where in texts().items() if not any(matches(one, text) for one in ours)
    )


def test_there_are_refusals_of_every_family_in_the_catalogue() -> None:
    assert len(followed()) > 80


def test_every_entry_follows_a_remedy_that_the_source_has() -> None:
    assert [one for one in followed() if not any(matches(one, text) for text in texts())] == []


def test_every_remedy_is_followed_or_tested_elsewhere_or_excused_with_a_reason() -> None:
    accounted = Counter({module: many for module, (many, _) in TESTED.items()})
    accounted += Counter({module: many for module, (many, _) in NOT_FOLLOWED.items()})
    assert left() == accounted


def test_the_tests_that_follow_elsewhere_exist() -> None:
    assert [path for _, path in TESTED.values() if not (ROOT / path).is_file()] == []
