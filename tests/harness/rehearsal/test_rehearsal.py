"""The rehearsal passes where nothing is lost, fails where something is, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from db.console.output import outcome
from db.console.progress import Silent
from db.cutover.context import RunConfig
from db.cutover.report import RunReport, RunVerdict, StepReport, StepStatus
from db.errors import Inconclusive, Refusal, ToolError, Undone
from db.processes.interruption import Interrupted
from db.samples import legacy_documents, seed
from game.dispatch import Request, dispatch
from game.legacy import fence, sqlite_values
from game.legacy.store import LegacyStore
from game.rules.chance import Chance
from game.rules.commands import decode
from harness import rehearsal as rehearsals
from harness.load import scripts
from harness.load.virtual_users import VirtualUsers
from harness.rehearsal import Leg, RehearsalReport
from harness.rehearsal.report import show
from harness.rehearsal.run import Rehearsal
from harness.rehearsal.setup import RehearsalSetup, set_up

PLAYERS = 60
COUNTED = {"source": 7, "loaded": 7, "quarantined": 0, "mismatches": 0, "players": 8, "held": 0}


def wait_until(holds: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """The condition, asked for until it holds."""
    asking = Retrying(
        retry=retry_if_result(lambda matches: not matches),
        stop=stop_after_delay(seconds),
        wait=wait_fixed(0.1),
        retry_error_callback=lambda _state: False,
    )
    assert asking(holds), what


def services_under(folder: Path) -> list[psutil.Process]:
    """Processes whose env file lies in the folder."""
    matches = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SUDAMR_ENV_FILE", "").startswith(str(folder)):
                matches.append(process)
        except psutil.Error:
            continue
    return matches


@pytest.fixture(scope="module")
def kind(pytestconfig: pytest.Config) -> str | None:
    """The kind of server that this run of the tests was asked for."""
    asked: str | None = pytestconfig.getoption("--postgres")
    return asked


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder in which this module makes its temporary folders, so that a test sees what is left of them."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


class Rehearsed:
    """One rehearsal with a file that somebody else has open, its last change in the write-ahead log alone."""

    def __init__(self, folder: Path, kind: str | None) -> None:
        self.given = folder / "game.db"
        self.seeded = seed.seed_legacy(self.given, PLAYERS, seed=5)
        with closing(sqlite3.connect(self.given)) as other:
            other.execute("PRAGMA wal_autocheckpoint = 0")
            other.execute("INSERT INTO kv VALUES ('last minute', '1')")
            other.commit()
            self.played = self.play()
            before = self.digests()
            self.report: RehearsalReport = rehearsals.rehearse(0, self.given, kind, progress=Silent(), both_ways=True)
            self.touched = before != self.digests()

    def play(self) -> tuple[str, str]:
        """Somebody claims a mail before the rehearsal: player and request."""
        planned = scripts.read(self.given, players=PLAYERS).items()
        claims = ((p, decode(*command)) for p, plan in planned for command in plan if command[0] == "claim_mail")
        player, command = next(claims)
        with closing(LegacyStore(self.given)) as store:
            dispatch(
                store,
                Request(player, "long ago", command),
                clock=lambda: legacy_documents.EPOCH_MS - 100 * legacy_documents.DAY_MS,
                chance=lambda request: Chance("secret", request),
            )
        return player, "long ago"

    def digests(self) -> list[str]:
        files = (self.given, Path(f"{self.given}-wal"))
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory, temporary: Path, kind: str | None) -> Rehearsed:
    return Rehearsed(tmp_path_factory.mktemp("given"), kind)


@pytest.mark.plan(10, 23, 26)
@pytest.mark.core
def test_nothing_is_lost_on_the_way_there_and_back(rehearsed: Rehearsed) -> None:
    report = rehearsed.report
    assert report.every_problem == ()
    assert [leg.verdict for leg in report.legs] == ["pass"] * 4
    for leg in report.legs:
        assert (leg.missing, leg.duplicated, leg.mismatches) == (0, 0, 0)
        assert leg.source == leg.loaded + leg.quarantined > 0
        assert leg.acknowledged > 50
        assert leg.retried > 0
        assert leg.history.requests >= leg.history.receipts >= leg.acknowledged
        assert leg.history.across_switch > 0
        assert leg.history.real_time_pairs > leg.history.receipts
    for leg in report.legs[:2]:
        assert (leg.refused_during_move, leg.freeze_seconds) == (0, 0.0)
        assert leg.window_seconds is not None
        assert leg.window_seconds > 0
        assert leg.read_only_seconds > 0
        assert leg.held_requests > 0
        assert {proof["mismatches"] for name, proof in leg.proofs.items() if name != "instant"} == {0}
    for leg in report.legs[2:]:
        assert 0 < leg.freeze_seconds < leg.read_only_seconds + 5
        assert (leg.window_seconds, leg.held_requests, leg.proofs) == (None, 0, {})
    assert report.window_seconds is not None
    assert report.window_seconds < report.read_only_seconds + 0.001, "one is rounded to milliseconds"
    granted = [leg.acknowledged for leg in report.legs]
    assert granted == sorted(set(granted))


def test_what_a_file_really_does_is_quarantined_and_said(rehearsed: Rehearsed) -> None:
    report = rehearsed.report
    assert report.players == PLAYERS
    assert report.held == len(rehearsed.seeded.held)
    assert report.quarantined >= report.held > 0


def test_every_step_of_both_moves_is_reported(rehearsed: Rehearsed) -> None:
    steps_of = [[step.name for step in leg.steps] for leg in rehearsed.report.legs]
    in_order = (
        ("preflight", "copy", "stand by", "window", "switch", "instant"),
        ("preflight", "write back", "stand by", "window", "switch", "instant"),
        ("preflight", "fence", "copy", "switch", "live"),
        ("preflight", "carry back", "switch", "return"),
    )
    for steps, expected in zip(steps_of, in_order, strict=True):
        assert [step for step in steps if step in expected] == [*expected]
    assert {step.status for leg in rehearsed.report.legs for step in leg.steps} == {StepStatus.DONE}


def test_the_file_that_was_given_stays_as_it_was(rehearsed: Rehearsed) -> None:
    assert not rehearsed.touched


def test_nothing_is_left_behind(rehearsed: Rehearsed, temporary: Path) -> None:
    assert rehearsed.report.verdict == "pass"
    assert list(temporary.iterdir()) == []
    assert services_under(temporary) == []


@pytest.fixture(scope="module")
def prepared(temporary: Path, kind: str | None) -> Iterator[RehearsalSetup]:
    """A stage with the service at play on its legacy file."""
    with set_up(30, None, kind, Silent()) as made:
        yield made


Move = Callable[[RehearsalSetup, VirtualUsers], None]


def leg(prepared: RehearsalSetup, move: Move, share: int) -> Leg:
    """One leg on the legacy file, with players of this share at play, its move a function of the test's own."""

    def verb(_environment: object, config: RunConfig) -> RunReport:
        config.observer("before", "switch")
        move(prepared, users)
        steps = (StepReport("move", StepStatus.DONE, 0.1),)
        return RunReport("run", "cutover", "test", RunVerdict.LIVE, "PostgreSQL 15", steps, 0.1)

    everybody = sorted(scripts.read(prepared.source, players=PLAYERS).items())
    mine = dict(everybody[share::3])
    with VirtualUsers(prepared.service.public_urls, mine, token_of=prepared.service.token_of, seed=share) as users:
        rehearsal = Rehearsal(prepared, users, mine, Silent())
        users.play(20)
        counts = {"source": 7, "loaded": 7}
        return rehearsal.leg(verb, prepared.environment.legacy, lambda _report: dict(counts))


def lock_out(prepared: RehearsalSetup, users: VirtualUsers) -> None:
    """Fence the file until a client was told to wait."""
    with closing(sqlite_values.connect(prepared.legacy, timeout_seconds=30)) as connection:
        fence.raise_fence(connection)
        try:
            users.allow(2)
            wait_until(lambda: users.answers.unanswered_at, "nobody asked for anything while the file was fenced")
        finally:
            fence.lift(connection)


def lose_a_receipt(prepared: RehearsalSetup, users: VirtualUsers) -> None:
    """Remove one, as a move would that loses it."""
    lock_out(prepared, users)
    key = users.answers.requests.grants[0].key
    with closing(sqlite_values.connect(prepared.legacy, timeout_seconds=30)) as connection:
        gone = connection.execute("DELETE FROM sudamr_action_receipts WHERE user_id = ? AND request_id = ?", key)
        assert gone.rowcount == 1


def answer_before_it_was_asked(prepared: RehearsalSetup, users: VirtualUsers) -> None:
    """Move an instant, as if a move gave a later number to an earlier request."""
    lock_out(prepared, users)
    grants = users.answers.requests.grants
    asked = [request for request in grants if request.player == grants[0].player]
    asked[0].sent = asked[0].answered = time.monotonic_ns() + 10**12


def do_nothing(_setup: RehearsalSetup, _users: VirtualUsers) -> None:
    """A move that nobody noticed."""


def test_a_move_that_players_had_to_wait_for_and_that_lost_nothing_passes(prepared: RehearsalSetup) -> None:
    rehearsed = leg(prepared, lock_out, share=0)
    assert rehearsed.problems == ()
    assert rehearsed.verdict == "pass"
    assert rehearsed.freeze_seconds > 0
    assert rehearsed.acknowledged >= 20
    assert 0 < rehearsed.history.across_switch < rehearsed.history.real_time_pairs


def test_a_receipt_that_a_move_lost_fails_the_rehearsal(prepared: RehearsalSetup) -> None:
    rehearsed = leg(prepared, lose_a_receipt, share=1)
    assert rehearsed.verdict == "fail"
    assert rehearsed.missing + rehearsed.duplicated >= 1
    assert any(line.startswith(("vanished whole", "there in part")) for line in rehearsed.problems)


def test_an_order_that_a_move_changed_fails_the_rehearsal(prepared: RehearsalSetup) -> None:
    rehearsed = leg(prepared, answer_before_it_was_asked, share=0)
    assert rehearsed.verdict == "fail"
    assert any(line.startswith("reordered: ") for line in rehearsed.problems)


def test_a_move_that_nobody_noticed_proves_nothing(prepared: RehearsalSetup) -> None:
    rehearsed = leg(prepared, do_nothing, share=2)
    assert rehearsed.verdict == "inconclusive"
    assert rehearsed.problems == ("no request had to wait: nobody noticed the move",)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(Undone("the end", "a breach"), "fail"), (Inconclusive("an answer", "none"), "inconclusive")],
)
def test_a_move_that_does_not_reach_its_end_is_no_pass(
    prepared: RehearsalSetup, error: ToolError, verdict: str
) -> None:
    def stop(_setup: RehearsalSetup, _users: VirtualUsers) -> None:
        raise error

    rehearsed = leg(prepared, stop, share=0)
    assert rehearsed.verdict == verdict
    assert rehearsed.problems == (str(error),)


def test_ctrl_c_within_a_move_ends_the_rehearsal_and_is_no_finding(prepared: RehearsalSetup) -> None:
    def stop(_setup: RehearsalSetup, _users: VirtualUsers) -> None:
        raise Undone("the cutover to reach its end", "SIGINT") from Interrupted("SIGINT")

    with pytest.raises(Interrupted, match="SIGINT"):
        leg(prepared, stop, share=0)


def test_each_figure_has_a_unit_and_the_prediction_stands_above_what_was_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    way_back = Leg("pass", read_only_seconds=2.5, freeze_seconds=2.25)
    report = RehearsalReport(
        "pass",
        source=1_672,
        predicted_seconds=11.84,
        read_only_seconds=31.06,
        freeze_seconds=30.98,
        engine={"kind": "local", "version": "15.18"},
        rollback=way_back,
    )
    with outcome(None) as out:
        show(report, out)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    rows = [[cell.strip() for cell in line.split("│")[1:4]] for line in lines]
    assert ["values at the source (back: of players who did not act)", "1,672", "0"] in rows
    assert rows[-10:-7] == [
        ["read-only, predicted", "11.8 s", "-"],
        ["read-only, measured", "31.1 s", "2.5 s"],
        ["read-only, as players saw it", "31.0 s", "2.2 s"],
    ]
    beginnings = ("verdict", "values", "requests", "of", "times", "read-only,", "window", "answers", "history:")
    assert all(words.split()[0] in beginnings for words, *_ in rows)


@pytest.mark.parametrize("wrong", ["missing.db", "empty.db", "text.db"])
def test_a_file_that_is_no_game_is_refused_before_anything_is_started(
    tmp_path: Path, temporary: Path, kind: str | None, wrong: str
) -> None:
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("no database at all, though it is long enough to be taken for one" * 20)
    before = list(temporary.iterdir())
    with pytest.raises(Refusal) as caught:
        rehearsals.rehearse(5, tmp_path / wrong, kind, progress=Silent())
    assert wrong in str(caught.value)
    assert list(temporary.iterdir()) == before


def test_nothing_is_left_of_a_rehearsal_that_was_killed(tmp_path: Path, kind: str | None) -> None:
    script = (
        "import db.console.progress, harness.rehearsal\n"
        "progress = db.console.progress.Plain(lambda line: print(line, flush=True))\n"
        f"harness.rehearsal.rehearse(20, None, {kind!r}, progress=progress)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert any("players play" in line for line in process.stdout)
        assert services_under(tmp_path)
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not list(tmp_path.glob("sudamr-rehearsal-*")), "the rehearsal's folder is still there")
    wait_until(lambda: not services_under(tmp_path), "a process of the service is still there")
