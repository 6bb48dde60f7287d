"""The mutations: each breaks one promise, by name, and says which test is to notice.

`find` stands exactly once in its file. A catcher is a pytest node id: a test, or a scenario in one of its ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_STOPPED = "tests/db/cutover/test_cutover_stopped.py::test_a_run_that_lost_its_lock_and_wakes_"
_ENDS = "tests/db/cutover/test_endings.py::test_the_last_line_of_every_end_is_true"
_SUITES = {"game": "tests/game", "db": "tests/db", "harness": "tests/harness"}


@dataclass(frozen=True, slots=True)
class Mutation:
    """One find and replace in one file, and who is expected to catch it; wider: what is run when that one does not."""

    name: str
    file: str
    find: str
    replace: str
    catcher: str
    wider: tuple[str, ...]

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
    """Mutations of one file: name, find, replace, catcher. Wider are the tests of its floor, then every scenario."""
    wider = (_SUITES[file.partition("/")[0]], "scenarios")
    return tuple(Mutation(name, file, find, replace, catcher, wider) for name, find, replace, catcher in mutations)


MUTATIONS: tuple[Mutation, ...] = (
    *_of(
        "game/dispatch.py",
        (
            "receipt: not looked for",
            "for form in idempotency.forms(request.request_id):",
            "for form in ():",
            "tests/game/test_dispatch.py::test_the_same_request_again_answers_the_same_and_changes_nothing",
        ),
        (
            "receipt: answers another body",
            'if receipt["command"] != request.command.body():',
            "if False:",
            "tests/game/test_dispatch.py::test_the_same_id_with_another_body_is_refused",
        ),
        (
            "receipt: of another instant",
            '"at": now_ms,',
            '"at": now_ms + 1,',
            "tests/game/test_dispatch.py::test_a_receipt_keeps_the_command_its_outcome_and_its_instant",
        ),
        (
            "receipt: not written",
            '    after.table("action_receipts")[(request.player, request.request_id)] = {',
            "    _unkept = {",
            "scenarios/reward/mail_is_claimed_once.yaml::postgres",
        ),
        (
            "commit: left out",
            "        unit.commit()\n",
            "",
            "tests/game/test_dispatch.py::test_every_action_is_granted_and_adds_up",
        ),
        (
            "commit: before the save",
            "        unit.save(loaded.rows, rows)\n        unit.commit()\n",
            "        unit.commit()\n        unit.save(loaded.rows, rows)\n",
            "tests/game/test_dispatch.py::test_every_action_is_granted_and_adds_up",
        ),
        (
            "held: may play",
            'if loaded.rows["users"][(request.player,)]["held"]:',
            "if False:",
            "tests/game/test_dispatch.py::test_nobody_and_a_held_player_are_refused",
        ),
        (
            "retry: one attempt fewer",
            "ATTEMPTS = 4",
            "ATTEMPTS = 3",
            "tests/game/test_dispatch.py::test_after_four_attempts_the_store_is_unavailable",
        ),
        (
            "opening: without the diamonds",
            '"diamonds": user["diamonds"],',
            '"diamonds": 0,',
            "tests/game/test_dispatch.py::test_the_opening_is_what_was_owned_before_the_first_granted_command",
        ),
    ),
    *_of(
        "game/postgres/statements.py",
        (
            "lock: the player is read without FOR UPDATE",
            'locked = player.with_for_update().cte("player")',
            'locked = player.cte("player")',
            "tests/game/postgres/test_postgres_store.py::test_two_at_once_are_granted_one_after_the_other",
        ),
    ),
    *_of(
        "game/postgres/store.py",
        (
            "lock: its timeout is a defect",
            '        "55P03",  # lock_not_available\n',
            "",
            "tests/game/postgres/test_postgres_store.py::test_a_player_locked_for_too_long_is_a_503_and_changes_nothing",
        ),
        (
            "retry: a serialization failure is a defect",
            '        "40001",  # serialization_failure\n',
            "",
            "scenarios/reward/mail_is_claimed_once.yaml::fault-40001",
        ),
        (
            "retry: a deadlock is a defect",
            '        "40P01",  # deadlock_detected\n',
            "",
            "scenarios/reward/mail_is_claimed_once.yaml::fault-40P01",
        ),
        (
            "retry: a lost connection is a defect",
            "if lost or (state is not None and state.startswith(UNREACHABLE_CLASSES)):",
            "if False:",
            "scenarios/reward/mail_is_claimed_once.yaml::fault-lost",
        ),
        (
            "fence: moved is not told from fenced",
            'if fence == "moved" and self._fence_pass is None:',
            "if False:",
            "tests/game/test_dispatch.py::test_a_store_that_moved_serves_nothing",
        ),
        (
            "timeout: a statement may run for ever",
            '"statement_timeout": str(self.statement_ms),',
            '"statement_timeout": "0",',
            "tests/game/postgres/test_postgres_store.py::test_a_slow_statement_is_cut_off_by_the_server",
        ),
        (
            "secrets: values in errors",
            "hide_parameters=True,",
            "hide_parameters=False,",
            "tests/game/postgres/test_postgres_store.py::test_a_broken_rule_is_stopped_by_the_database_and_shows_no_values",
        ),
    ),
    *_of(
        "game/session.py",
        (
            "pooler: settings left to its next client",
            'f"SET LOCAL {name}',
            'f"SET {name}',
            "tests/game/postgres/test_pooler.py::test_nothing_is_left_to_the_next_client_of_the_pooler",
        ),
        (
            "settings: one of the role's reaches our sessions",
            '"bytea_output": "hex",',
            "",
            "tests/db/target/test_server_settings.py::test_each_session_of_ours_has_its_own_settings",
        ),
    ),
    *_of(
        "game/legacy/store.py",
        (
            "lock: BEGIN without IMMEDIATE",
            'self._transaction("BEGIN IMMEDIATE")',
            'self._transaction("BEGIN")',
            "tests/game/legacy/test_legacy_store.py::test_a_command_has_the_write_lock_before_it_reads",
        ),
        (
            "commit: not synced",
            "PRAGMA synchronous=FULL",
            "PRAGMA synchronous=OFF",
            "tests/game/legacy/test_legacy_store.py::test_the_files_journal_mode_stays_and_every_commit_is_synced",
        ),
        (
            "journals: not kept in the file",
            "self._append(name, change.inserts.values())",
            "pass",
            "scenarios/reward/mail_is_claimed_once.yaml::legacy",
        ),
        (
            "retry: a busy file is a defect",
            "if _code(error) in BUSY:\n        return TryAgain",
            "if False:\n        return TryAgain",
            "tests/game/legacy/test_legacy_store.py::test_another_writers_lock_is_waited_for_and_then_a_503",
        ),
    ),
    *_of(
        "game/rules/actions/__init__.py",
        (
            "documents: what can't be read is written over",
            "if (player.id, UNREADABLE_KEY) in player.rows.get(table, {}):",
            "if False:",
            "tests/game/legacy/test_unreadable_documents.py::test_what_is_worn_can_not_be_read_and_everything_else_goes_on",
        ),
    ),
    *_of(
        "game/legacy/fence.py",
        (
            "pass: any token",
            "if not token or not hmac.compare_digest(str(pass_sha256).encode(), str(_sha256(token)).encode()):",
            "if not token:",
            "tests/game/legacy/test_legacy_fence.py::test_a_wrong_pass_opens_nothing",
        ),
    ),
    *_of(
        "game/legacy/fence_schema.py",
        (
            "fence: deletes go through",
            'EVENTS = ("insert", "update", "delete")',
            'EVENTS = ("insert", "update")',
            "tests/game/legacy/test_legacy_fence.py::test_no_write_of_any_kind_gets_through",
        ),
    ),
    *_of(
        "game/legacy/codec/mapping.py",
        (
            "codec: another key of an item",
            '"enhancementFails": _number("fails"),',
            '"enhancementFail": _number("fails"),',
            "tests/db/samples/test_builders.py::test_a_legacy_row_reads_as_the_player_it_was_made_for",
        ),
        (
            "codec: another key of a mail",
            '"attachmentsClaimed": Field(',
            '"attachmentClaimed": Field(',
            "tests/db/samples/test_builders.py::test_a_legacy_row_reads_as_the_player_it_was_made_for",
        ),
        (
            "quarantine: unreadable gold holds nobody",
            '"gold": Scalar("gold", int, 0, low=0, holds=True),',
            '"gold": Scalar("gold", int, 0, low=0),',
            "tests/db/samples/test_seed.py::test_who_is_held_is_known_and_the_others_can_play",
        ),
    ),
    *_of(
        "game/rules/player.py",
        (
            "purse: below nothing",
            "if have + amount < 0:",
            "if False:",
            "scenarios/forge/what_it_costs_must_be_there.yaml::postgres",
        ),
        (
            "ledger: no line",
            "self._journals.currency(currency, amount, reason, have + amount)",
            "pass",
            "scenarios/reward/mail_is_claimed_once.yaml::postgres",
        ),
        (
            "history: no line of what is taken off",
            'self._touched("unequip", self.bag.item(replaced))',
            "pass",
            "scenarios/equip/item_takes_the_place_of_another.yaml::postgres",
        ),
    ),
    *_of(
        "game/rules/bag.py",
        (
            "bag: one place too many",
            "if number > 0 and taken + number > places:",
            "if number > 0 and taken + number > places + 1:",
            "tests/game/rules/test_rewards.py::test_the_last_place_is_enough_and_one_more_is_not",
        ),
        (
            "history: no line of what is spent",
            'self._journals.item("spend", text(item, "id"), -number, left)',
            "pass",
            "scenarios/forge/failure_spends_and_counts.yaml::postgres",
        ),
        (
            "material: spent without being there",
            "        if have < number:\n",
            "        if False:\n",
            "tests/game/rules/test_forge.py::test_gold_and_materials_that_are_just_enough_do",
        ),
    ),
    *_of(
        "game/rules/actions/reward.py",
        (
            "mail: claimed again",
            '    if mail["claimed"]:\n        raise',
            "    if False:\n        raise",
            "scenarios/reward/mail_is_claimed_once.yaml::postgres",
        ),
    ),
    *_of(
        "game/rules/data/forge.toml",
        (
            "odds: of the eighth star",
            "success_percent = [100, 90, 80, 70, 60, 50, 40, 30, 20, 10]",
            "success_percent = [100, 90, 80, 70, 60, 50, 40, 31, 20, 10]",
            "tests/game/rules/test_catalog.py",
        ),
        (
            "cost: of the mythic grade",
            "gold = 2000",
            "gold = 2001",
            "tests/game/rules/test_catalog.py::test_a_grade_has_the_figures_of_the_rules",
        ),
        (
            "cost: materials of a rare star",
            "materials = [[2, 10], [2, 15],",
            "materials = [[2, 10], [2, 16],",
            "tests/game/rules/test_catalog.py::test_a_star_takes_the_materials_of_the_table",
        ),
    ),
    *_of(
        "game/rules/catalog.py",
        (
            "rounding: halves to the even",
            "return math.floor(value + Fraction(1, 2))",
            "return round(value)",
            "tests/game/rules/test_catalog.py::test_halves_go_up_where_python_goes_to_the_even",
        ),
    ),
    *_of(
        "game/rules/chance.py",
        (
            "dice: the same for every player",
            '"\\0".join((of, self._request_id',
            '"\\0".join(("", self._request_id',
            "tests/game/rules/test_chance.py::test_secret_player_request_and_name_all_count",
        ),
        (
            "ids: of another namespace",
            "3d0a4f0c-6c1f-5f0e-9c6e-5b6f6a1d7c11",
            "3d0a4f0c-6c1f-5f0e-9c6e-5b6f6a1d7c12",
            "tests/game/rules/test_chance.py::test_ids_follow_from_request_and_place_and_are_here_to_stay",
        ),
    ),
    *_of(
        "game/service/tokens.py",
        (
            "token: anybody's",
            'return hmac.compare_digest(given.encode(errors="surrogatepass"), secret.encode(errors="surrogatepass"))',
            "return True",
            "tests/game/service/test_service.py::test_only_the_operator_passes_the_fence",
        ),
        (
            "token: never expires",
            "    if at_ms >= expires_ms:",
            "    if at_ms >= expires_ms + 10**18:",
            "tests/game/service/test_tokens.py::test_a_token_is_good_from_its_issue_until_its_lifetime_is_over",
        ),
        (
            "token: revoked in vain",
            "issued_ms <= revoked_ms",
            "issued_ms <= 0",
            "tests/game/service/test_tokens.py::test_a_revocation_ends_the_tokens_of_one_player_until_its_time",
        ),
    ),
    *_of(
        "db/migrations/versions/0001_game.py",
        (
            "constraint: gold may be negative",
            "        constraint users_gold_check check (gold >= 0),\n",
            "",
            "tests/db/schema/test_constraints.py::test_a_constraint_refuses_what_it_forbids[users_gold_check]",
        ),
        (
            "constraint: eleven stars",
            "check (stars between 0 and 10)",
            "check (stars between 0 and 11)",
            "tests/db/schema/test_constraints.py::test_a_constraint_refuses_what_it_forbids[user_inventory_stars_check]",
        ),
        (
            "constraint: one item in two slots",
            "        constraint user_equipment_user_id_item_id_key unique (user_id, item_id),\n",
            "",
            "tests/db/schema/test_constraints.py::test_a_constraint_refuses_what_it_forbids[user_equipment_user_id_item_id_key]",
        ),
        (
            "fence: truncate goes through",
            "before insert or update or delete or truncate on",
            "before insert or update or delete on",
            "tests/db/ops/test_fence.py::test_no_write_of_any_kind_gets_through_the_owners_included",
        ),
        (
            "journal: may be rewritten",
            "before update or delete or truncate on",
            "before truncate on",
            "tests/db/ops/test_fence.py::test_a_journal_refuses_changes_even_when_open",
        ),
    ),
    *_of(
        "db/ops/control.py",
        (
            "phase: whatever it was",
            'since = now() where phase = %s", (to, self.run, from_)',
            "since = now() where %s <> ''\", (to, self.run, from_)",
            "tests/db/ops/test_ops.py::test_of_two_that_race_one_fails_and_says_how_it_stands",
        ),
        (
            "marker: another environment's will do",
            "    if found != environment:\n        raise _wrong",
            "    if False:\n        raise _wrong",
            "tests/db/ops/test_ops.py::test_a_database_of_another_environment_stays_its_own",
        ),
        (
            "lock: taken by two",
            'if not _value(conn, "select pg_try_advisory_lock(%s, %s)", (locks.LOCK_CLASS, locks.RUN_LOCK)):',
            "if False:",
            "tests/db/ops/test_ops.py::test_a_second_holder_is_refused_naming_the_first",
        ),
    ),
    *_of(
        "db/ops/fence.py",
        (
            "fence: does not wait for commands",
            '        conn.execute("lock table users in exclusive mode")\n',
            "",
            "tests/db/ops/test_fence.py::test_a_command_in_flight_is_waited_for",
        ),
        (
            "pass: outlives its transaction",
            '        conn.execute("delete from ops.fence_passes where schema = %s and pass_sha256 = %s", parameters)\n',
            "",
            "tests/db/ops/test_fence.py::test_the_owners_own_pass_is_gone_with_its_transaction",
        ),
        (
            "proof of the fence: no hole is seen",
            "        if found != expected:\n",
            "        if False:\n",
            "tests/db/ops/test_fence.py::test_the_proof_finds_a_function_that_lets_writes_through",
        ),
    ),
    *_of(
        "db/cutover/turning.py",
        (
            "fence: turned by a run that lost its lock",
            "        move.require_phase(*phases)\n",
            "",
            f"{_STOPPED}leaves_no_dead_end[cutover-sqlite-BEGIN-1-0]",
        ),
    ),
    *_of(
        "db/cutover/undo.py",
        (
            "undo: a file that looks open is not waited for",
            '"the legacy file takes writes, as before", None,',
            '"the legacy file takes writes, as before", lambda move: move.legacy_fence().state == "open",',
            f"{_STOPPED}leaves_no_dead_end[cutover-sqlite-COMMIT-1-0]",
        ),
    ),
    *_of(
        "db/processes/interruption.py",
        (
            "undo: a second signal cuts it in two",
            "if not self._held and time.monotonic() - self._raised >= AGAIN_SECONDS:",
            "if True:",
            f"{_ENDS}[cutover-after_fence-SIGTERM_SIGINT_SIGHUP]",
        ),
    ),
    *_of(
        "db/cutover/journal.py",
        (
            "log: a full disk decides over players",
            "        except OSError as error:\n",
            "        except ArithmeticError as error:\n",
            "tests/db/cutover/test_endings.py::test_a_breach_of_the_watch_and_a_full_disk_end_with_a_line_that_is_true",
        ),
    ),
    *_of(
        "db/cutover/ending.py",
        (
            "last line: believes that Postgres is fenced",
            "self.target is not None and self.target.fence is Fence.OPEN",
            "False",
            f"{_ENDS}[cutover-after_live-SIGTERM]",
        ),
    ),
    *_of(
        "db/transfer/verify.py",
        (
            "proof: what differs is equal",
            "if not sqlite_values.same(cell, line.get(column))",
            "if False",
            "tests/db/transfer/test_transfer_proof.py::test_the_proof_finds_what_was_changed_in_the_target",
        ),
        (
            "proof: mismatches are no failure",
            "        if self.mismatches:\n",
            "        if False:\n",
            "tests/db/transfer/test_transfer_proof.py::test_the_proof_finds_what_was_changed_in_the_target",
        ),
    ),
    *_of(
        "db/transfer/load.py",
        (
            "counts: not asked for",
            "        loading.tally.check()\n",
            "",
            "tests/db/transfer/test_transfer.py::test_a_load_whose_counts_do_not_add_up_fails",
        ),
        (
            "held: any number passes",
            "        gate(conn, held, max_held)\n",
            "",
            "tests/db/transfer/test_transfer_refused.py::test_more_held_players_than_allowed_stop_the_load_and_are_named",
        ),
        (
            "chunks: written after an abort",
            "if (now := ops.phase(self.conn)) != self.phase:",
            "if (now := self.phase) != self.phase:",
            "tests/db/transfer/test_transfer_refused.py::test_a_load_whose_run_was_aborted_writes_no_further_chunk",
        ),
    ),
    *_of(
        "db/snapshots/legacy.py",
        (
            "snapshot: rows may be missing",
            "if expected.get(table) != found.get(table):",
            "if False:",
            "tests/db/snapshots/test_snapshots.py::test_rows_that_are_missing_once_restored_are_found",
        ),
        (
            "snapshot: another file will do",
            "    if found != snapshot.manifest.sha256:\n",
            "    if False:\n",
            "tests/db/snapshots/test_snapshots.py::test_a_file_that_changed_since_is_not_restored",
        ),
    ),
    *_of(
        "db/confirmation.py",
        (
            "production: without its name",
            "if name in CONFIRMED and typed != name:",
            "if False:",
            "tests/db/test_environments.py::test_production_wants_its_name_typed",
        ),
    ),
    *_of(
        "db/environments.py",
        (
            "reset: of staging too",
            'DESTRUCTIBLE = ("development", "test")',
            'DESTRUCTIBLE = ("development", "test", "staging")',
            "tests/db/test_environments.py::test_reset_and_seed_are_for_development_and_test_alone",
        ),
    ),
    *_of(
        "harness/play/invariants.py",
        (
            "standing check: sums",
            "        if totals[name] != account.now.get(name, 0):\n",
            "        if False:\n",
            "tests/harness/play/test_invariants.py::test_each_check_finds_what_it_is_there_for",
        ),
        (
            "standing check: worn once",
            "        if times > 1:\n",
            "        if False:\n",
            "tests/harness/play/test_invariants.py::test_each_check_finds_what_it_is_there_for",
        ),
        (
            "standing check: nothing negative",
            "if value < least and not",
            "if False and not",
            "tests/harness/play/test_invariants.py::test_each_check_finds_what_it_is_there_for",
        ),
    ),
    *_of(
        "harness/play/differential.py",
        (
            "twins: answers may differ",
            "    if said[0] != said[1]:\n",
            "    if False:\n",
            "tests/harness/play/test_replay.py::test_twins_that_refuse_for_different_reasons_are_found",
        ),
        (
            "twins: rows may differ",
            "for column, pair in columns.items():",
            "for column, pair in ():",
            "tests/harness/play/test_replay.py::test_twins_that_part_are_found_where_they_part",
        ),
    ),
    *_of(
        "harness/play/replay.py",
        (
            "replay: a retry may be granted again",
            "if not taken.replayed or taken.outcome != earlier.outcome:",
            "if False:",
            "tests/harness/play/test_replay.py::test_a_grant_done_twice_is_found",
        ),
        (
            "replay: a refusal may change rows",
            "        if compare(before, self.rows):\n",
            "        if False:\n",
            "tests/harness/play/test_replay.py::test_what_is_kept_of_a_refused_command_is_found",
        ),
    ),
    *_of(
        "harness/load/receipts.py",
        (
            "rehearsal: a lost receipt",
            "    result.missing += len(lost)\n",
            "",
            "tests/harness/load/test_receipts.py::test_receipts_of_before_must_be_there_still_and_are_not_counted",
        ),
    ),
    *_of(
        "harness/gate/certificate.py",
        (
            "certificate: any signature",
            "    if not fits(certificate, given, rest, key):",
            "    if False:",
            "tests/harness/gate/test_certificate.py::test_a_signature_of_another_key_is_none",
        ),
        (
            "certificate: of any age",
            "timedelta(0) <= now - made <= MAX_AGE",
            "True",
            "tests/harness/gate/test_certificate.py::test_what_holds_here_and_now_counts",
        ),
        (
            "certificate: of a dirty tree",
            'yield "a certificate of a clean tree", "one of a tree with changes", certificate.clean',
            'yield "a certificate of a clean tree", "one of a tree with changes", True',
            "tests/harness/gate/test_certificate.py::test_what_does_not_agree_is_refused_by_name",
        ),
        (
            "certificate: smaller than the last",
            'yield "no less than the certificate accepted last", smaller, not smaller',
            'yield "no less than the certificate accepted last", smaller, True',
            "tests/harness/gate/test_certificate.py::test_what_holds_here_and_now_counts",
        ),
        (
            "certificate: of another major version",
            'certificate.server_version}", certificate.major == major',
            'certificate.server_version}", True',
            "tests/harness/gate/test_certificate.py::test_what_holds_here_and_now_counts",
        ),
    ),
    *_of(
        "harness/gate/checkout.py",
        (
            "certificate: an edit that git overlooks",
            "        *_edited(root),\n",
            "",
            "tests/harness/gate/test_gate.py::test_what_git_was_told_to_overlook_is_a_change",
        ),
    ),
    *_of(
        "harness/gate/suite.py",
        (
            "gate: a lost server fails what ran on it",
            "if cause := watched.lost or _not_run(process.returncode, watched.items, log):",
            "if cause := _not_run(process.returncode, watched.items, log):",
            "tests/harness/gate/test_lost.py::test_a_loss_in_the_suite_is_no_failure_of_an_item",
        ),
    ),
    *_of(
        "harness/gate/report.py",
        (
            "gate: doubts pass",
            "return Ended.INCONCLUSIVE if doubted else Ended.PASS",
            "return Ended.PASS",
            "tests/harness/gate/test_gate.py::test_nothing_at_all_is_no_pass",
        ),
        (
            "gate: a failed item passes",
            "if any(not item.passed for item in items) or",
            "if",
            "tests/harness/gate/test_gate.py::test_whatever_failed_fails_the_gate",
        ),
        (
            "gate: what is due and was not run",
            "if missing := sorted(set(due) - {item.name for item in items}):",
            "if missing := sorted(set(due) & set()):",
            "tests/harness/gate/test_gate.py::test_what_is_due_and_was_not_run_is_in_doubt",
        ),
    ),
    *_of(
        "harness/sweeps/faults.py",
        (
            "sweep: a fault that struck nothing",
            "fault.struck is not None and fault.hit() else None",
            "fault.struck is not None else None",
            "tests/harness/sweeps/test_faults.py::test_a_fault_that_strikes_nothing_fails_whatever_the_case_ends_like",
        ),
    ),
    *_of(
        "harness/sweeps/races.py",
        (
            "sweep: an order that held nothing",
            "if run.choices and all(gate.let == gate.came for gate in gates):",
            "if True:",
            "tests/harness/sweeps/test_races.py::test_a_gate_that_holds_nothing_fails_by_name",
        ),
    ),
    *_of(
        "game/redaction.py",
        (
            "redaction: of bearer tokens",
            "\\b(bearer|basic)(\\s++)",
            "\\b(basic)(\\s++)",
            "tests/game/test_redaction.py::test_a_secret_is_hidden",
        ),
    ),
)
