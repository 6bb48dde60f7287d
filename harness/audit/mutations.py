"""The mutations: each breaks one promise, by name, and says which test is to notice.

`find` stands exactly once in its file. A catcher is a pytest node id: a test, or a scenario in one of its ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_SUITES = {"game": "tests/game", "db": "tests/db", "harness": "tests/harness"}


@dataclass(frozen=True, slots=True)
class Mutation:
    """One find and replace in one file, and who is expected to catch it."""

    name: str
    file: str
    find: str
    replace: str
    catcher: str

    @property
    def wider(self) -> tuple[str, ...]:
        """What is run when the expected catcher notices nothing: the tests of its floor, then every scenario."""
        return (_SUITES[self.file.partition("/")[0]], "scenarios")

    def trouble(self, root: Path) -> str:
        """Why it can't be applied to the tree; nothing where it can."""
        path = root / self.file
        if not path.is_file():
            return f"{self.name}: no file {self.file}"
        times = path.read_text(encoding="utf-8").count(self.find)
        return "" if times == 1 else f"{self.name}: {times} times in {self.file}"

    def applied(self, text: str) -> str:
        """The file's text with it."""
        return text.replace(self.find, self.replace, 1)


def _of(file: str, *mutations: tuple[str, str, str, str]) -> tuple[Mutation, ...]:
    """Mutations of one file: name, find, replace, catcher."""
    return tuple(Mutation(name, file, find, replace, catcher) for name, find, replace, catcher in mutations)


_DISPATCH = "tests/game/test_dispatch.py::"
_POSTGRES = "tests/game/test_postgres_store.py::"
_LEGACY = "tests/game/test_legacy_store.py::"
_FENCE = "tests/db/test_fence.py::"
_OPS = "tests/db/test_ops.py::"
_TRANSFER = "tests/db/test_transfer.py::"

MUTATIONS: tuple[Mutation, ...] = (
    *_of(
        "game/dispatch.py",
        (
            "receipt: not looked for",
            'for receipt in loaded.rows.get("action_receipts", {}).values():',
            "for receipt in ():",
            f"{_DISPATCH}test_the_same_request_again_answers_the_same_and_changes_nothing",
        ),
        (
            "receipt: answers another body",
            'if receipt["command"] != request.command.body():',
            "if False:",
            f"{_DISPATCH}test_the_same_id_with_another_body_is_refused",
        ),
        (
            "receipt: instant of another time",
            '"at": now_ms,',
            '"at": now_ms + 1,',
            f"{_DISPATCH}test_a_receipt_keeps_the_command_its_outcome_and_its_instant",
        ),
        ("commit: left out", "        unit.commit()\n", "", f"{_DISPATCH}test_every_action_is_granted_and_adds_up"),
        (
            "commit: before the save",
            "        unit.save(loaded.rows, rows)\n        unit.commit()\n",
            "        unit.commit()\n        unit.save(loaded.rows, rows)\n",
            f"{_DISPATCH}test_every_action_is_granted_and_adds_up",
        ),
        (
            "held player: may play",
            'if loaded.rows["users"][(request.player,)]["held"]:',
            "if False:",
            f"{_DISPATCH}test_nobody_and_a_held_player_are_refused",
        ),
        (
            "fence: not asked by dispatch",
            'if loaded.fence != "open" and fence_pass is None:',
            "if False:",
            "tests/game/test_postgres_store.py::test_a_command_behind_a_fence_that_waits_finds_it_set",
        ),
        (
            "retries: one attempt fewer",
            "ATTEMPTS = 4",
            "ATTEMPTS = 3",
            f"{_DISPATCH}test_after_four_attempts_the_store_is_unavailable",
        ),
        (
            "opening: without the diamonds",
            '"diamonds": user["diamonds"],',
            '"diamonds": 0,',
            f"{_DISPATCH}test_the_opening_is_what_was_owned_before_the_first_granted_command",
        ),
    ),
    *_of(
        "game/postgres.py",
        (
            "lock: the player is read without FOR UPDATE",
            "player.with_for_update()",
            "player",
            f"{_POSTGRES}test_two_at_once_are_granted_one_after_the_other",
        ),
        (
            "retry: a deadlock is a defect",
            '        "55P03",  # lock_not_available\n',
            "",
            f"{_POSTGRES}test_a_player_locked_for_too_long_is_a_503_and_changes_nothing",
        ),
        (
            "retry: a timeout is a defect",
            '        "57014",  # query_canceled, by the statement timeout or by an operator\n',
            "",
            f"{_POSTGRES}test_a_slow_statement_is_cut_off_by_the_server",
        ),
        (
            "retry: a lost connection is a defect",
            'UNREACHABLE_CLASSES = ("08", "53", "57")',
            'UNREACHABLE_CLASSES = ("08", "53")',
            f"{_POSTGRES}test_a_session_that_is_terminated_within_a_command_costs_an_attempt",
        ),
        (
            "fence: moved reads as fenced",
            'return Moved(said) if said.endswith("moved") else Fenced(said)',
            "return Fenced(said)",
            f"{_DISPATCH}test_a_store_that_moved_serves_nothing",
        ),
        (
            "values: shown in errors",
            "hide_parameters=True,",
            "hide_parameters=False,",
            f"{_POSTGRES}test_a_broken_rule_is_stopped_by_the_database_and_shows_no_values",
        ),
    ),
    *_of(
        "game/legacy/store.py",
        (
            "lock: BEGIN without IMMEDIATE",
            '"BEGIN IMMEDIATE"',
            '"BEGIN"',
            f"{_LEGACY}test_what_another_writer_saved_meanwhile_is_what_counts",
        ),
        (
            "commit: not synced",
            "PRAGMA synchronous=FULL",
            "PRAGMA synchronous=OFF",
            f"{_LEGACY}test_the_files_journal_mode_stays_and_every_commit_is_synced",
        ),
        (
            "journals: not appended on legacy",
            "self._append(name, change.inserts.values())",
            "pass",
            "scenarios/reward/mail_is_claimed_once.yaml::legacy",
        ),
        (
            "busy: no reason to try again",
            "if _code(error) in BUSY:\n        return TryAgain",
            "if False:\n        return TryAgain",
            f"{_LEGACY}test_another_writers_lock_is_waited_for_and_then_a_503",
        ),
    ),
)
