"""Each way in which a history can be wrong, planted in a real store or in a client's log, is named, and nothing else.

Where a store is harmed, numbers and digests are made right again, unless they are what is harmed: the checker must not
need them to notice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from game.rows import whole_number
from game.rules import actions, commands
from game.rules.actions import reward
from game.rules.player import Player
from harness.history.violations import ViolationKind
from tests.harness.history.harming import PLAYER, Harmed, number_anew, rows_of
from tests.harness.history.playing import EQUIP, SAVE, START, Client, claim, violations

Plant = Callable[[Harmed, Client], None]


def stale_write(harmed: Harmed, client: Client) -> None:
    """r2 is computed on the player as he was before r1, and written over him: the classic lost update."""
    before = harmed.dump()
    client.play(r1=claim("m2"))
    harmed.put_back(before, journals=False)
    client.play(r2=claim("m3"), r3=claim("m1"))


def gold_of_a_request_taken_back(harmed: Harmed, client: Client) -> None:
    client.play(r1=claim("m1"), r2=claim("m2"), r3=SAVE)
    harmed.execute("UPDATE users SET gold = gold - 30 WHERE id = ?", PLAYER)


def older_rows_put_back(harmed: Harmed, client: Client) -> None:
    """As when an older copy of a player is written over a newer one."""
    client.play(r1=claim("m1"))
    before = harmed.dump()
    client.play(r2=EQUIP)
    harmed.put_back(before, journals=False)


def claimed_under_two_ids(harmed: Harmed, client: Client) -> None:
    before = harmed.dump()
    client.play(r1=claim("m2"))
    harmed.unclaim("m2", before)
    client.play(r2=claim("m2"))


def gold_of_a_request_added_twice(harmed: Harmed, client: Client) -> None:
    client.play(r1=claim("m1"), r2=claim("m2"))
    harmed.execute("UPDATE users SET gold = gold + 50 WHERE id = ?", PLAYER)


def line_written_twice(harmed: Harmed, client: Client) -> None:
    client.play(r1=claim("m2"))
    ledger = harmed.name_of("currency_ledger")
    harmed.execute(
        f"INSERT INTO {ledger} (user_id, request_id, n, currency, amount, reason, balance)"
        f" SELECT user_id, request_id, 2, currency, amount, reason, balance + 30 FROM {ledger} WHERE request_id = ?",
        "r1",
    )
    number_anew(harmed)


def carried_out_under_both_forms_of_its_key(harmed: Harmed, client: Client) -> None:
    """The store does not know the quoted form of a key again."""
    client.play(r1=SAVE)
    receipts = harmed.name_of("action_receipts")
    harmed.execute(
        f"INSERT INTO {receipts} (user_id, request_id, command, outcome, at, seq, chain)"
        f" SELECT user_id, ?, command, outcome, at, seq + 1, chain FROM {receipts} WHERE request_id = ?",
        '"r1"',
        "r1",
    )
    number_anew(harmed)


def two_receipts_exchanged(harmed: Harmed, client: Client) -> None:
    client.play(r1=SAVE, r2=START, r3=claim("m3"))
    number_anew(harmed, ["r2", "r1", "r3"])


def the_newest_gone_with_all_that_it_did(harmed: Harmed, client: Client) -> None:
    """As when a server loses its last commit: what is left is whole, and only the client knows."""
    client.play(r1=claim("m1"))
    before = harmed.dump()
    client.play(r2=claim("m2"))
    harmed.put_back(before)


def one_in_between_gone_with_all_that_it_did(harmed: Harmed, client: Client) -> None:
    client.play(r1=claim("m1"), r2=START, r3=SAVE)
    _remove_start(harmed)
    number_anew(harmed)


def one_in_between_gone_and_its_number_too(harmed: Harmed, client: Client) -> None:
    client.play(r1=claim("m1"))
    client.ask("r2", START, learns=False)
    client.play(r3=SAVE)
    _remove_start(harmed)


def the_client_was_told_otherwise(_harmed: Harmed, client: Client) -> None:
    client.play(r1=claim("m1"), r2=claim("m2"))
    client.asked("r2").outcome = {**dict(client.asked("r2").outcome or {}), "gold": 31}


def the_retry_was_answered_otherwise(_harmed: Harmed, client: Client) -> None:
    client.play(r1=claim("m1"))
    client.log.sending("hana", "r1", *claim("m1"))
    client.log.granted("hana", "r1", {"gold": 0})


def refused_and_carried_out(_harmed: Harmed, client: Client) -> None:
    client.ask("r1", claim("m1"), learns=False)
    client.log.refused("hana", "r1", "already_claimed")


def another_command_was_carried_out(_harmed: Harmed, client: Client) -> None:
    client.play(r1=claim("m1"))
    client.asked("r1").fields = {"mail": "m9"}


def receipt_lost_beside_its_lines(harmed: Harmed, client: Client) -> None:
    client.play(r1=SAVE, r2=claim("m2"))
    receipts = harmed.name_of("action_receipts")
    harmed.execute(f"DELETE FROM {receipts} WHERE request_id = ?", "r2")


def line_lost(harmed: Harmed, client: Client) -> None:
    client.play(r1=claim("m1"))
    history = harmed.name_of("inventory_history")
    harmed.execute(f"DELETE FROM {history} WHERE request_id = ?", "r1")
    number_anew(harmed)


def half_of_one_that_nobody_learned_of(harmed: Harmed, client: Client) -> None:
    client.play(r1=SAVE)
    client.ask("r2", claim("m1"), learns=False)
    ledger = harmed.name_of("currency_ledger")
    harmed.execute(f"DELETE FROM {ledger} WHERE request_id = ?", "r2")
    number_anew(harmed)


def a_receipt_of_nobody(harmed: Harmed, client: Client) -> None:
    client.play(r1=claim("m1"))
    Client(harmed.place.store).play(r2=claim("m2"))


def digest_changed(harmed: Harmed, client: Client) -> None:
    client.play(r1=claim("m1"), r2=claim("m2"))
    receipts = harmed.name_of("action_receipts")
    harmed.execute(f"UPDATE {receipts} SET chain = ? WHERE request_id = ?", "0" * 64, "r2")


def instant_changed(harmed: Harmed, client: Client) -> None:
    """A receipt that somebody rewrote, and could not hide it."""
    client.play(r1=claim("m3"), r2=claim("m2"))
    receipts = harmed.name_of("action_receipts")
    harmed.execute(f"UPDATE {receipts} SET at = at - 1000 WHERE request_id = ?", "r1")


def number_taken_away(harmed: Harmed, client: Client) -> None:
    client.play(r1=claim("m1"), r2=claim("m2"))
    receipts = harmed.name_of("action_receipts")
    if receipts == "action_receipts":
        harmed.execute(f"ALTER TABLE {receipts} ALTER COLUMN seq DROP NOT NULL, ALTER COLUMN chain DROP NOT NULL")
    harmed.execute(f"UPDATE {receipts} SET seq = NULL, chain = NULL WHERE request_id = ?", "r2")


def amount_of_a_line_changed(harmed: Harmed, client: Client) -> None:
    client.play(r1=claim("m2"))
    ledger = harmed.name_of("currency_ledger")
    harmed.execute(f"UPDATE {ledger} SET amount = amount + 7, balance = balance + 7 WHERE request_id = ?", "r1")
    number_anew(harmed)


def opening_changed(harmed: Harmed, client: Client) -> None:
    """Change what the player is said to have owned before, so that the sums are those of another player."""
    client.play(r1=claim("m2"))
    harmed.execute(f"UPDATE {harmed.name_of('player_openings')} SET gold = gold + 1 WHERE user_id = ?", PLAYER)
    number_anew(harmed)


def gold_from_nowhere(harmed: Harmed, client: Client) -> None:
    client.play(r1=claim("m1"))
    harmed.execute("UPDATE users SET gold = gold + 1 WHERE id = ?", PLAYER)


def an_action_that_grants_too_much(harmed: Harmed, client: Client) -> None:
    """The reference does the same, since it is the same action: only the rules' tables tell."""
    del harmed

    def claim_mail(player: Player, command: commands.ClaimMail) -> actions.Outcome:
        player.user["tournament_score"] = whole_number(player.user, "tournament_score") + 1
        return reward.claim_mail(player, command)

    actions.ACTIONS[commands.ClaimMail] = claim_mail
    client.play(r1=claim("m1"))


PLANTED: dict[Plant, dict[str, set[str]]] = {
    stale_write: {"lost update": {"r1"}},
    gold_of_a_request_taken_back: {"lost update": {"r2"}},
    older_rows_put_back: {"lost update": {"r2"}},
    claimed_under_two_ids: {"double grant": {"r2"}},
    gold_of_a_request_added_twice: {"double grant": {"r1"}},
    line_written_twice: {"double grant": {"r1"}},
    carried_out_under_both_forms_of_its_key: {"double grant": {'"r1"'}},
    two_receipts_exchanged: {"reordered": {"r1"}},
    the_newest_gone_with_all_that_it_did: {"vanished whole": {"r2"}},
    one_in_between_gone_with_all_that_it_did: {"vanished whole": {"r2"}},
    one_in_between_gone_and_its_number_too: {"vanished whole": {""}},
    the_client_was_told_otherwise: {"answered differently": {"r2"}},
    the_retry_was_answered_otherwise: {"answered differently": {"r1"}},
    refused_and_carried_out: {"answered differently": {"r1"}},
    another_command_was_carried_out: {"answered differently": {"r1"}},
    receipt_lost_beside_its_lines: {"there in part": {"r2"}},
    line_lost: {"there in part": {"r1"}},
    half_of_one_that_nobody_learned_of: {"there in part": {"r2"}},
    a_receipt_of_nobody: {"asked for by nobody": {"r2"}},
    digest_changed: {"chain broken": {"r2"}},
    instant_changed: {"chain broken": {"r1"}},
    number_taken_away: {"without a number": {"r2"}},
    amount_of_a_line_changed: {"not by the rules": {"r1"}},
    opening_changed: {"there in part": {""}},
    gold_from_nowhere: {"rows differ": {""}},
    an_action_that_grants_too_much: {"against a law": {""}},
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_what_is_planted_is_named_and_nothing_else_is(
    plant: Plant, harmed: Harmed, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "ACTIONS", dict(actions.ACTIONS))
    plant(harmed, client)
    judged = client.judged()
    assert violations(judged) == PLANTED[plant], "\n".join(map(str, judged.violations))


def test_each_name_is_planted() -> None:
    assert {name for expected in PLANTED.values() for name in expected} == {str(kind) for kind in ViolationKind}


def test_the_page_has_each_name() -> None:
    page = (Path(__file__).parents[3] / "docs" / "gate.md").read_text("utf-8")
    assert [kind for kind in ViolationKind if f"*{kind}*" not in page] == []


def _remove_start(harmed: Harmed) -> None:
    """Remove r2, which started the mission, as if it had never been."""
    rows = rows_of(harmed)
    assert rows["user_missions"]
    receipts = harmed.name_of("action_receipts")
    harmed.execute(f"DELETE FROM {receipts} WHERE request_id = ?", "r2")
    if receipts == "action_receipts":
        harmed.execute("DELETE FROM user_missions WHERE user_id = ?", PLAYER)
    else:
        harmed.execute("UPDATE users SET singlePlayerMissions = '{}' WHERE id = ?", PLAYER)
