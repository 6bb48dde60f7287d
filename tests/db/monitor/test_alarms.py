"""An alarm begins after two of three looks, ends well within the limit, and is told once each way, kill -9 or not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import ClassVar

import pytest

from db.environments import Environment, WatchPlan, throwaway
from db.monitor import alarms, delivery, samples, watching
from db.monitor.check import CheckOutcome, Judgement
from db.monitor.watching import Looked
from game.urls import PostgresUrl

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LIMIT = 10.0


def looked(number: int, value: float | None, *, error: str = "") -> Looked:
    """Make look `number` of one check, a minute after the one before. value: None if it was not judged."""
    outcome = CheckOutcome.NOT_JUDGED if value is None else CheckOutcome.BREACH if value > LIMIT else CheckOutcome.OK
    judgement = Judgement("deadlocks", outcome, value, "", LIMIT, False, "", None, "who", "why", "mend it.")
    return Looked("staging", BEGAN + timedelta(minutes=number), (judgement,), error)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return watching.path_of(an_environment(tmp_path, WatchPlan()), tmp_path)


def an_environment(folder: Path, plan: WatchPlan) -> Environment:
    nowhere = PostgresUrl("127.0.0.1", 1, "nobody", "", "nothing")
    return throwaway(owner=nowhere, service=nowhere, legacy=folder / "game.db", folder=folder, watch=plan)


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ([11], ""),
        ([11, 1, 11], "..!"),
        ([11, 11], ".!"),
        ([11, 1, 1, 11, 1], "....."),
        ([11, None, 11], "..!"),
        ([11, 11, 11, 11], ".!.."),
        ([11, 11, 10, 9.5], ".!.."),
        ([11, 11, 9.5, 9], ".!.-"),
        ([11, 11, 1, 11, 11], ".!-.!"),
        ([11, 11, None, None], ".!.."),
    ],
)
def test_two_of_three_looks_raise_it_and_a_tenth_below_the_limit_ends_it(
    file: Path, values: list[float | None], kinds: str
) -> None:
    printed = ""
    for number, value in enumerate(values):
        with samples.opened(file) as kept:  # Anew each time, as after a kill.
            new = [m for m in alarms.note(kept, looked(number, value), ()) if m.check == "deadlocks"]
        printed += {None: ".", alarms.MessageKind.RAISED: "!", alarms.MessageKind.ENDED: "-"}[
            new[0].kind if new else None
        ]
    assert printed == (kinds or "." * len(values))


def test_a_server_that_is_away_is_an_alarm_of_its_own_and_leaves_the_others_as_they_are(file: Path) -> None:
    with samples.opened(file) as kept:
        for number, value in enumerate([11, 11]):
            alarms.note(kept, looked(number, value), ())
        alarms.note(kept, looked(2, None, error="refused"), ())
        (message,) = alarms.note(kept, looked(3, None, error="refused"), ())
        assert (message.check, set(alarms.firing(kept))) == (alarms.ANSWER, {alarms.ANSWER, "deadlocks"})
        (over,) = alarms.note(kept, looked(4, 11), ())
        assert over.line == "[staging] over after 0:01:00: the server answers: it does."


def test_the_message_says_value_limit_evidence_and_one_thing_to_do(file: Path) -> None:
    with samples.opened(file) as kept:
        alarms.note(kept, looked(0, 11), ())
        (message,) = alarms.note(kept, looked(1, 12), ())
    assert message.line == (
        "[staging] alarm: deadlocks: 12 , at most 10 (who). Do: mend it. See docs/watch.md#deadlocks"
    )


class Receiver:
    """A webhook that keeps what it is sent, and answers with `status`."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.status == 200:
                    receiver.texts.append(json.loads(body)["text"])
                self.send_response(receiver.status)
                self.end_headers()

            def do_GET(self) -> None:
                receiver.texts.append(self.path)
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook/T0KEN-of-the-hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    Thread(target=made.server.serve_forever, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.plan(34)
def test_a_message_waits_until_the_webhook_takes_it_and_is_sent_once(file: Path, receiver: Receiver) -> None:
    env = an_environment(file.parent, WatchPlan(webhook=receiver.url))
    receiver.status = 503
    with samples.opened(file) as kept:
        for number in range(2):
            alarms.note(kept, looked(number, 11), delivery.places(env.watch))
        (fault,) = delivery.deliver(env, kept)
    assert "HTTP status 503" in fault
    assert "T0KEN" not in fault
    receiver.status = 200
    for _ in range(2):
        with samples.opened(file) as kept:
            assert list(delivery.deliver(env, kept)) == []
    assert len(receiver.texts) == 1
    assert receiver.texts[0].startswith("[staging] alarm: deadlocks")


def test_a_text_of_players_is_no_markup_in_the_webhooks_channel(file: Path, receiver: Receiver) -> None:
    env = an_environment(file.parent, WatchPlan(webhook=receiver.url))
    with samples.opened(file) as kept:
        for number in range(2):
            look = looked(number, 11)
            hostile = replace(look.judgements[0], evidence="<!channel> & <https://bad.example|mend it>")
            alarms.note(kept, replace(look, judgements=(hostile,)), delivery.places(env.watch))
        assert list(delivery.deliver(env, kept)) == []
    assert "(&lt;!channel&gt; &amp; &lt;https://bad.example|mend it&gt;)" in receiver.texts[0]


@pytest.mark.parametrize("place", ["heartbeat", "webhook"])
def test_a_receiver_whose_answer_has_no_end_holds_nothing_up(file: Path, place: str) -> None:
    with ThreadingTCPServer(("127.0.0.1", 0), Endless) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        env = an_environment(file.parent, WatchPlan(**{place: url}))
        with samples.opened(file) as kept:
            for number in range(2):
                alarms.note(kept, looked(number, 11), delivery.places(env.watch))
            assert list(delivery.deliver(env, kept)) == []
        assert delivery.beat(env) == ""
        server.shutdown()


class Endless(StreamRequestHandler):
    """An answer that goes on until its client leaves; a client that reads it takes all of its memory."""

    MOST_BYTES = 200_000_000

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            for _ in range(self.MOST_BYTES // 65536):
                self.wfile.write(b"10000\r\n%b\r\n" % bytes(65536))


def test_a_place_that_is_silent_keeps_nothing_from_another(file: Path, receiver: Receiver) -> None:
    env = an_environment(
        file.parent,
        WatchPlan(webhook=receiver.url, smtp="smtp://127.0.0.1:1", mail_from="a@b.example", mail_to=("c@d.example",)),
    )
    with samples.opened(file) as kept:
        for number in range(2):
            alarms.note(kept, looked(number, 11), delivery.places(env.watch))
        (fault,) = delivery.deliver(env, kept)
        assert fault.startswith("the mail did not take a message")
        assert len(receiver.texts) == 1
        assert [place for _, place, _ in alarms.undelivered(kept)] == ["mail"]


def test_the_heartbeat_is_told_and_its_silence_is_said(file: Path, receiver: Receiver) -> None:
    env = an_environment(file.parent, WatchPlan(heartbeat=receiver.url))
    assert delivery.beat(env) == ""
    assert receiver.texts == ["/hook/T0KEN-of-the-hook"]
    receiver.status = 404
    assert delivery.beat(env) == "the heartbeat was not taken: HTTP status 404"


class Mailbox(StreamRequestHandler):
    """As much of SMTP as a client without TLS needs."""

    letters: ClassVar[list[bytes]] = []

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline().strip():
            match line[:4].upper():
                case b"DATA":
                    self.wfile.write(b"354 go\r\n")
                    lines = list(iter(self.rfile.readline, b".\r\n"))
                    Mailbox.letters.append(b"".join(lines))
                    self.wfile.write(b"250 taken\r\n")
                case b"QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                case _:
                    self.wfile.write(b"250 fine\r\n")


def test_a_mail_bears_the_message(file: Path) -> None:
    with ThreadingTCPServer(("127.0.0.1", 0), Mailbox) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        smtp = f"smtp://127.0.0.1:{server.server_address[1]}"
        env = an_environment(
            file.parent, WatchPlan(smtp=smtp, mail_from="watch@game.example", mail_to=("x@game.example",))
        )
        with samples.opened(file) as kept:
            for number in range(2):
                alarms.note(kept, looked(number, 11), delivery.places(env.watch))
            assert list(delivery.deliver(env, kept)) == []
        server.shutdown()
    letter = message_from_bytes(Mailbox.letters[-1])
    assert letter["Subject"] == "[staging] alarm: deadlocks"
    assert letter["To"] == "x@game.example"


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from db.monitor import alarms, delivery, samples
from tests.db.monitor.test_alarms import an_environment, looked
from db.environments import WatchPlan
file, url, moment = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
env = an_environment(file.parent, WatchPlan(webhook=url))
def die(*_args, **_options):
    os.kill(os.getpid(), signal.SIGKILL)
if moment == "before the commit":
    step = alarms._step
    def counted(kept, seen, sign):
        message = step(kept, seen, sign)
        if message is not None:
            die()
        return message
    alarms._step = counted
if moment == "before the message":
    delivery._send = die
with samples.opened(file) as kept:
    for number in range(2):
        alarms.note(kept, looked(number, 11), delivery.places(env.watch))
    for line in delivery.deliver(env, kept):
        print(line)
if moment == "after the message":
    die()
"""


@pytest.mark.parametrize("moment", ["before the commit", "before the message", "after the message"])
def test_a_watch_that_is_killed_tells_it_once_at_its_next_looks(
    file: Path, receiver: Receiver, moment: str, pytestconfig: pytest.Config
) -> None:
    program = KILLED.format(root=str(pytestconfig.rootpath))
    arguments = [sys.executable, "-c", program, str(file), receiver.url, moment]
    ended = subprocess.run(
        arguments, cwd=pytestconfig.rootpath, env=os.environ, capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    env = an_environment(file.parent, WatchPlan(webhook=receiver.url))
    for number in range(2, 5):
        with samples.opened(file) as kept:
            alarms.note(kept, looked(number, 11), delivery.places(env.watch))
            assert list(delivery.deliver(env, kept)) == []
    assert len(receiver.texts) == 1
