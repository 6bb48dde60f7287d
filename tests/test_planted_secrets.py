"""No secret in sight: every task is run with one in each place where one can come from, and all that it shows is read.

Printed lines, written files and their modes, arguments and environments of all programs that it starts. `--exhaustive`
also runs the tasks that take minutes.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest
from psycopg import sql
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

import tasks
from db.console.progress import Silent
from db.samples import seed
from db.servers import Server
from game.urls import PostgresUrl
from harness.load.service_processes import free_ports
from tests.fixtures.own_roles import own_database
from tests.fixtures.secrets_planted import OWNER, SERVICE, Checkout, leaks

TASKS = {context.name for context in tasks.namespace.to_contexts()}
HIDDEN = "planted-argument"
IN_A_URL = (
    f"postgresql://u:{HIDDEN}@127.0.0.1:1/d",
    f"postgresql://u@127.0.0.1:1/d?password={HIDDEN}",
    f"postgresql://u@127.0.0.1:1/d?pass%77ord={HIDDEN}",
    f"host=127.0.0.1 user=u password={HIDDEN}",
)

ALONE = [
    ("token", "--env", "development", "--player", "hana"),
    ("status", "--env", "development"),
    ("watch", "--env", "development", "--once", "--json", "watch.json"),
    ("upkeep", "--env", "development", "--json", "upkeep.json"),
    ("prepare", "--env", "development"),
    ("migrate", "--env", "staging", "--json", "out.json"),
    ("revision", "--env", "development", "--message", "x"),
    ("seed", "--legacy", "made.db", "--players", "2"),
    ("reset", "--env", "development", "--yes"),
    ("transfer", "--env", "staging", "--source", "game.db", "--yes"),
    ("transfer.profile", "--source", "game.db", "--json", "out.json"),
    ("transfer.mapping",),
    ("transfer.convert", "--source", "game.db", "--into", "new.db"),
    ("transfer.quarantine", "--env", "staging", "--json", "-"),
    ("transfer.replay", "--env", "staging", "--dry-run"),
    ("transfer.cleanup", "--env", "staging", "--yes"),
    ("snapshot.take", "--env", "staging", "--of", "legacy"),
    ("snapshot.take", "--env", "staging", "--of", "target"),
    ("snapshot.verify", "--env", "staging", "--path", "none"),
    ("snapshot.restore", "--env", "staging", "--path", "none"),
    ("snapshot.kept", "--env", "staging"),
    ("preflight", "--env", "staging", "--json", "out.json"),
    ("provider.verify", "--env", "staging", "--json", "out.json"),
    ("cutover", "--env", "staging", "--dry-run", "--json", "out.json"),
    ("cutover", "--env", "staging", "--go", "--json", "out.json"),
    ("cutover", "--env", "staging", "--pause"),
    ("rollback", "--env", "staging", "--dry-run"),
    ("rollback", "--env", "staging", "--go", "--json", "out.json"),
    ("fence", "--env", "staging", "--on", "--reason", "password=planted-reason", "--json", "fence.json"),
    ("follow", "--env", "staging", "--yes", "--json", "-"),
    ("follow", "--env", "staging", "--pause"),
    ("gate", "--env", "staging", "--verify", "none.json"),
    ("report", "--from", "none.json"),
    ("report", "--run", "postgresql://u:planted-word@127.0.0.1:1/d"),
    ("gate", "postgresql://u:planted-word@127.0.0.1:1/d"),
    ("gate", "--postgre=postgresql://u:planted-very-long-word-that-is-cut-before-its-end@127.0.0.1:1/d"),
    ("transfer.profile", "--source", "postgresql://u:planted-word@127.0.0.1:1/d"),
]
"""Where no server can be reached: what refuses must not echo."""

TAKES_A_SERVER = [
    ("test",),
    ("nightly",),
    ("audit",),
    ("rehearse",),
    ("bench.actions",),
    ("bench.databases",),
    ("bench.round",),
    ("bench.window",),
    ("bench.follow",),
    ("gate", "--env", "staging"),
    ("transfer", "--env", "test", "--source", "game.db"),
]

ON_A_SERVER = [
    ("prepare", "--sql"),
    ("prepare",),
    ("migrate", "--json", "migrate.json"),
    ("seed", "--players", "3"),
    ("status", "--json", "status.json"),
    ("transfer.quarantine", "--json", "quarantine.json"),
    ("transfer.replay", "--dry-run"),
    ("snapshot.take", "--of", "legacy", "--json", "taken.json"),
    ("snapshot.take", "--json", "taken.json"),
    ("snapshot.kept", "--json", "kept.json"),
    ("fence", "--on", "--reason", "password=planted-reason", "--json", "fence.json"),
    ("status", "--json", "fenced.json"),
    ("fence", "--off", "--reason", "password=planted-reason", "--json", "fence.json"),
    ("preflight", "--json", "preflight.json"),
    ("cutover", "--dry-run", "--json", "cutover.json"),
    ("rollback", "--dry-run", "--json", "rollback.json"),
    ("follow", "--yes", "--json", "follow.json"),
    ("follow", "--stop"),
    ("reset",),
    ("transfer", "--source", "game.db", "--json", "transfer.json"),
    ("transfer.cleanup",),
]

LONG = [
    ("test", "--select", "test_a_url_without_a_password_is_not_taken", "--workers", "1"),
    ("lint",),
    ("audit", "--select", "receipt: not looked for", "--json", "audit.json"),
    ("rehearse", "--players", "5", "--json", "rehearse.json"),
    ("transfer", "--env", "test", "--source", "game.db", "--back", "--into", "copy.db", "--json", "transfer.json"),
    ("bench.actions", "--rounds", "1", "--requests", "32", "--json", "actions.json"),
    ("bench.databases", "--rounds", "1", "--containers", "0", "--json", "databases.json"),
    ("bench.round", "--rounds", "1", "--players", "8", "--json", "round.json"),
    ("bench.window", "--players", "20", "--runs", "1", "--rate", "20", "--turns", "1", "--json", "window.json"),
    ("bench.follow", "--players", "20", "--minutes", "1", "--rate", "20", "--json", "follow.json"),
    ("gate", "--env", "staging", "--players", "5", "--json", "gate.json"),
]
SHORT = frozenset({"transfer"})
"""Of these, the ones that take seconds: a throwaway server and its reaper are looked at in every run."""

DOCKER = {"up": "it needs Docker Compose; what it hands on is in test_compose.py", "down": "the same"}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    seed.seed_legacy(tmp_path / "game.db", 3, anomalies=False, progress=Silent())
    return Checkout(tmp_path).make()


def test_every_task_is_run() -> None:
    run = {arguments[0] for arguments in [*ALONE, *ON_A_SERVER, *LONG]} | {
        "serve",
        "nightly",
    }  # nightly is test with another choice
    named = {name.replace("transfer.transfer", "transfer") for name in TASKS}
    assert named - run == DOCKER.keys()


@pytest.mark.parametrize("part", range(6))
def test_no_task_shows_a_secret_where_nothing_can_be_reached(checkout: Checkout, part: int) -> None:
    for arguments in ALONE[part::6]:
        seen = checkout.run(*arguments)
        assert "Traceback" not in seen.printed, seen.printed
        assert leaks(checkout, seen) == [], arguments


@pytest.mark.parametrize("part", range(len(IN_A_URL)))
def test_a_password_in_an_argument_is_refused_before_it_is_handed_on(
    checkout: Checkout, part: int, pytestconfig: pytest.Config
) -> None:
    whole = pytestconfig.getoption("--exhaustive")
    for task in TAKES_A_SERVER if whole else TAKES_A_SERVER[part :: len(IN_A_URL)]:
        seen = checkout.run(*task, "--postgres", IN_A_URL[part])
        assert leaks(checkout, seen) == [], task
        assert (seen.code, seen.programs) == (2, []), seen.printed
        assert "PGPASSWORD" in seen.printed


def test_no_task_shows_a_secret_on_a_server(server: Server, tmp_path: Path) -> None:
    with own_database(server) as own:
        with server.admin() as conn:
            for url, word in ((own.owner, OWNER), (own.service, SERVICE)):
                user, password = sql.Identifier(url.user), sql.Literal(word)
                conn.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(user, password))
        seed.seed_legacy(tmp_path / "game.db", 3, anomalies=False, progress=Silent())
        checkout = Checkout(tmp_path, _url(own.owner, "OWNER_WORD"), _url(own.service, "SERVICE_WORD")).make()
        for task, *options in ON_A_SERVER:
            yes = ["--yes"] if task in {"reset", "transfer", "transfer.cleanup", "seed"} else []
            seen = checkout.run(task, "--env", "development", *options, *yes)
            assert leaks(checkout, seen) == [], task
            assert seen.code == {"status": 3, "cutover": 2, "rollback": 2, "preflight": 1}.get(task, 0), seen.printed
        for folder in (checkout.folder / "snapshots").iterdir():
            seen = checkout.run("snapshot.verify", "--env", "development", "--path", str(folder))
            assert (leaks(checkout, seen), seen.code) == ([], 0), seen.printed
        seen = checkout.run("snapshot.restore", "--env", "development", "--path", str(folder), "--replace", "--yes")
        assert leaks(checkout, seen) == []


def _url(url: PostgresUrl, word: str) -> str:
    return url.with_(password="").as_text().replace(f"{url.user}@", f"{url.user}:${{{word}}}@")


def test_the_service_has_its_own_secrets_alone(checkout: Checkout) -> None:
    port = free_ports(2)
    private = port + 1
    with (checkout.folder / "service.env").open("a") as file:
        file.write(f"PRIVATE_PORT={private}\n")
    process = checkout.start("serve", "--env", "development", "--port", str(port))
    try:
        coming = Retrying(
            retry=retry_if_exception_type((httpx.HTTPError, AssertionError)),
            stop=stop_after_delay(120),
            wait=wait_fixed(0.1),
        )
        coming(_answers, private)
        seen = checkout.seen(process)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        seen.printed = process.communicate(timeout=60)[0]
    assert len(seen.programs) >= 2
    assert leaks(checkout, seen, serves=True) == []


def _answers(port: int) -> None:
    assert httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200


@pytest.mark.parametrize("arguments", LONG, ids=[arguments[0] for arguments in LONG])
def test_no_task_that_takes_minutes_shows_a_secret(
    checkout: Checkout, arguments: tuple[str, ...], pytestconfig: pytest.Config
) -> None:
    if not pytestconfig.getoption("--exhaustive") and arguments[0] not in SHORT:
        pytest.skip("takes minutes: --exhaustive")
    kind = [] if arguments[0] == "lint" else ["--postgres", pytestconfig.getoption("--postgres") or "local"]
    seen = checkout.run(*arguments, *kind)
    assert leaks(checkout, seen) == []
    assert seen.programs
    assert seen.code in {0, 1, 3}, seen.printed
