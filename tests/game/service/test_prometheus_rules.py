"""Each rule of docs/monitoring/rules.yml is fired by series of a real service with the defect, and silent without it.

The series are scraped from /metrics before and after; promtool evaluates the rules over them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from httpx import Client
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from db import environments, ops
from db.errors import Refusal
from db.monitor import watching
from db.monitor.checks import BY_NAME
from db.monitor.exporter import LastLook
from db.ops import following
from db.samples import builders
from db.servers import Server
from game.postgres.store import Timeouts
from game.service.metrics import Metrics
from game.stores import open_store
from tests.fixtures.lacking import lacks
from tests.game.places import PostgresPlace
from tests.game.service.running import eventually
from tests.game.service.serving import HANA, act, bearer, client_of
from tests.game.service.test_holding import hana
from tests.game.service.test_holding import serving as serving_both
from tests.game.two_stores import TwoStores, two_stores

__all__ = ["hana", "two_stores"]

ROOT = Path(__file__).parents[3]
RULES = ROOT / "docs" / "monitoring" / "rules.yml"
PROGRAM = shutil.which("promtool", path=f"{os.environ.get('PATH', '')}:{Path(sys.executable).parent}")
WATCH_RULES = {"SudamrCheck", "SudamrFollowBehind", "SudamrServerSilent", "SudamrWatchSilent"}

Series = dict[str, float]

WAITING = """
select 1 from pg_locks where not granted
    and database = (select oid from pg_database where datname = current_database())
"""


@pytest.fixture(autouse=True)
def program() -> None:
    if PROGRAM is None:  # CI installs it; a newcomer's machine may do without.
        lacks("promtool is not here: apt-get install -y prometheus")


@contextmanager
def serving(place: PostgresPlace, *, pool_size: int = 2, **patience: Any) -> Iterator[Client]:
    metrics = Metrics()
    timeouts = Timeouts(**{"pool_seconds": 0.2, **patience})
    store = open_store(place.url, pool_size=pool_size, timeouts=timeouts, watch=metrics)
    with client_of(store, metrics=metrics, pool_size=pool_size) as client:
        yield client


def scraped(text: str) -> Series:
    """Return the service's series as they were scraped, with the label that Prometheus adds."""
    return {
        f"{sample.name}{labelled({**sample.labels, 'job': 'game'})}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def labelled(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(labels.items())) + "}"


def firing(folder: Path, before: Series, after: Series, *, minutes: int = 8, ends: bool = False) -> set[str]:
    """Return the rules that fire when the first values held for five minutes and then the second.

    ends: the series end with the first values, as those of a process that died.
    """
    series = []
    for name, value in after.items():
        steps = f"{before.get(name, value):g}+0x5" + ("" if ends else f" {value:g}+0x20")
        series.append({"series": name, "values": steps})
    fired = set()
    names = [rule["alert"] for group in YAML(typ="safe").load(RULES)["groups"] for rule in group["rules"]]
    for name in names:
        # promtool says whether it is silent; what it prints otherwise is not for machines.
        test = {
            "rule_files": [str(RULES)],
            "evaluation_interval": "1m",
            "tests": [
                {
                    "interval": "1m",
                    "input_series": series,
                    "alert_rule_test": [{"eval_time": f"{minutes}m", "alertname": name, "exp_alerts": []}],
                }
            ],
        }
        path = folder / "test.yml"
        path.write_text(json.dumps(test))
        ended = subprocess.run([str(PROGRAM), "test", "rules", str(path)], capture_output=True, text=True, check=False)
        output = ended.stdout + ended.stderr
        assert ended.returncode == 0 or "exp:[]" in output.replace(" ", ""), output
        if ended.returncode:
            fired.add(name)
    return fired


def nothing(place: PostgresPlace, client: Client, server: Server) -> None:
    """Plant no defect: a player plays, and errs as players do."""
    del place, server
    for number in range(60):
        assert act(client, "equip", f"n{number}", item="fan").status_code in (200, 409)


def closed_database(place: PostgresPlace, client: Client, server: Server) -> None:
    """Let nobody into the database, and end who is in."""
    name = place.database.owner.dbname
    with psycopg.connect(server.maintenance.conninfo, autocommit=True) as conn:
        conn.execute(f'alter database "{name}" allow_connections false'.encode())
        try:
            conn.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
            assert act(client, key="closed").status_code == 503
        finally:
            conn.execute(f'alter database "{name}" allow_connections true'.encode())


def locked_row(place: PostgresPlace, client: Client, server: Server) -> None:
    """Lock a player's row for longer than the service waits for it, for twelve attempts."""
    del server
    with psycopg.connect(place.database.owner.conninfo) as blocker:
        blocker.execute("select from users where id = 'hana' for update")
        for number in range(6):
            act(client, key=f"locked{number}")
        blocker.rollback()


def too_many(place: PostgresPlace, client: Client, server: Server) -> None:
    """Ask more at once than a process admits, behind a locked row."""
    del server
    with psycopg.connect(place.database.owner.conninfo) as blocker, ThreadPoolExecutor(60) as threads:
        blocker.execute("select from users for update")
        asked = [threads.submit(act, client, key=f"many{n}", player="hana") for n in range(60)]
        eventually(lambda: any(each.done() and each.result().status_code == 503 for each in asked))
        blocker.rollback()


def slow(place: PostgresPlace, client: Client, server: Server) -> None:
    """Keep sixty requests behind a locked table for half a second."""
    del server
    owner = place.database.owner.conninfo
    with psycopg.connect(owner) as blocker, psycopg.connect(owner, autocommit=True) as watcher:
        for turn in range(6):
            blocker.execute("lock table users in access exclusive mode")
            with ThreadPoolExecutor(10) as threads:
                asked = [threads.submit(client.get, f"/players/p{n}", headers=bearer(f"p{n}")) for n in range(10)]
                eventually(lambda: bool(watcher.execute(WAITING).fetchone()))
                threading.Event().wait(0.3)  # This is the defect: the time that a player waits.
                blocker.rollback()
                assert all(each.result().status_code in (200, 404) for each in asked), turn


@pytest.mark.parametrize(
    ("plant", "rules"),
    [
        (nothing, set()),
        (closed_database, {"SudamrRequestsFailed", "SudamrDatabaseUnreachable"}),
        (locked_row, {"SudamrRequestsFailed", "SudamrTransactionsTriedAgain"}),
        (too_many, {"SudamrTurnedAway"}),
        (slow, {"SudamrSlow"}),
    ],
    ids=["nothing", "closed database", "locked row", "too many requests", "slow"],
)
def test_a_defect_of_the_service_fires_its_rules(
    postgres: PostgresPlace,
    tmp_path: Path,
    server: Server,
    plant: Callable[[PostgresPlace, Client, Server], None],
    rules: set[str],
) -> None:
    postgres.put(builders.player("hana", **HANA))
    options: dict[str, Any] = {
        "locked_row": {"lock_ms": 20},
        "slow": {"pool_size": 10, "pool_seconds": 30.0, "lock_ms": 60_000, "statement_ms": 60_000},
        "too_many": {"pool_size": 1, "pool_seconds": 30.0},
    }.get(plant.__name__, {})
    with serving(postgres, **options) as client:
        before = scraped(client.get("/metrics").text)
        plant(postgres, client, server)
        after = scraped(client.get("/metrics").text)
    fired = firing(tmp_path, before, after) - {"SudamrWatchSilent"}
    assert rules <= fired, f"expected {rules} to fire; fired: {fired}"
    assert bool(fired) == bool(rules), f"expected silence; fired: {fired}"


def test_a_gauge_fires_while_requests_wait_for_a_connection(postgres: PostgresPlace, tmp_path: Path) -> None:
    postgres.put(builders.player("hana", **HANA))
    with (
        serving(postgres, pool_size=1, pool_seconds=30.0) as client,
        psycopg.connect(postgres.database.owner.conninfo) as blocker,
        ThreadPoolExecutor(4) as threads,
    ):
        before = scraped(client.get("/metrics").text)
        blocker.execute("lock table users in access exclusive mode")
        asked = [threads.submit(client.get, f"/players/{one}", headers=bearer(one)) for one in ("hana", "p1", "p2")]
        waiting = 'sudamr_pool_waiting{job="game"}'
        eventually(lambda: at_least(2, waiting, client))
        after = scraped(client.get("/metrics").text)
        blocker.rollback()
        assert any(each.result().is_success for each in asked)
    assert "SudamrPoolWaiting" in firing(tmp_path, before, after)
    assert "SudamrPoolWaiting" not in firing(tmp_path, before, before)
    one = {**before, waiting: 1.0}
    assert "SudamrPoolWaiting" not in firing(tmp_path, one, one), "the next for the write lock of the legacy file"


def test_commands_that_wait_for_slots_fire_nothing(postgres: PostgresPlace, tmp_path: Path) -> None:
    players = [f"p{n}" for n in range(4)]
    for player in players:
        postgres.put(builders.player(player, **HANA))
    with (
        serving(postgres, pool_size=1, pool_seconds=30.0) as client,
        psycopg.connect(postgres.database.owner.conninfo) as blocker,
        ThreadPoolExecutor(len(players)) as threads,
    ):
        before = scraped(client.get("/metrics").text)
        blocker.execute("select from users for update")
        asked = [threads.submit(act, client, player=player, headers=bearer(player)) for player in players]
        eventually(lambda: at_least(len(players) - 1, 'sudamr_slot_waiting{job="game"}', client))
        after = scraped(client.get("/metrics").text)
        blocker.rollback()
        assert all(each.result().is_success for each in asked)
    assert firing(tmp_path, before, after) - {"SudamrWatchSilent"} == set()


def at_least(count: int, name: str, client: Client) -> None:
    assert scraped(client.get("/metrics").text)[name] >= count


def test_requests_held_in_vain_and_two_served_stores_fire(hana: TwoStores, tmp_path: Path) -> None:
    with serving_both(hana, hold_seconds=0.1) as client:
        before = scraped(client.get("/metrics").text)
        hana.close("legacy", "fenced")
        assert act(client).status_code == 503
        after = scraped(client.get("/metrics").text)
    assert "SudamrHeldInVain" in firing(tmp_path, before, after)
    serves = {engine: f'sudamr_serves{{engine="{engine}",job="game"}}' for engine in ("legacy", "postgres")}
    assert (before[serves["legacy"]], before[serves["postgres"]]) == (1.0, 0.0)
    assert firing(tmp_path, before, before) - {"SudamrWatchSilent"} == set()
    # Another process of the service that serves the other store: to Prometheus a label `instance` tells them apart.
    other = {
        name.replace("job=", 'instance="b",job='): 1.0 - value
        for name, value in before.items()
        if name in serves.values()
    }
    assert "SudamrTwoStoresServed" in firing(tmp_path, before | other, before | other)


def looks(last: LastLook) -> Series:
    """Return the series of the watch's exporter; times begin at 0, as promtool's do."""
    registry = CollectorRegistry()
    registry.register(last)
    series = scraped(generate_latest(registry).decode())
    return {name: 0.0 if "timestamp" in name else value for name, value in series.items()}


def test_the_watch_fires_for_a_breach_a_silent_server_and_its_own_death(
    postgres: PostgresPlace, tmp_path: Path
) -> None:
    owner, service = postgres.database.owner, postgres.database.service
    env = environments.throwaway(owner=owner, service=service, legacy=tmp_path / "game.db", folder=tmp_path)
    checks = [BY_NAME["duplicate indexes"], BY_NAME["schema"]]
    last = LastLook()

    def look() -> Series:
        last.looked = watching.once(env, window_seconds=0, checks=checks, folder=tmp_path)
        return looks(last)

    sound = look()
    fresh = {f"{name}": value for name, value in sound.items()}
    assert firing(tmp_path, sound, fresh, minutes=4) == set()
    with ops.connect(owner) as conn:
        conn.execute("create index twice on users (gold); create index thrice on users (gold)")
    assert "SudamrCheck" in firing(tmp_path, sound, look(), minutes=8)
    away = Refusal("a Postgres that answers", "Connection refused")
    last.looked = watching.away(env, watching._now(), away, checks)
    assert firing(tmp_path, sound, looks(last), minutes=7) - {"SudamrWatchSilent"} == {"SudamrServerSilent"}
    assert firing(tmp_path, sound, sound, minutes=15) == {"SudamrWatchSilent"}, "its last look is old"
    assert firing(tmp_path, sound, sound, minutes=15, ends=True) == {"SudamrWatchSilent"}, "nothing is served"


def test_a_file_that_does_not_follow_fires_and_one_whose_lag_is_not_known(
    postgres: PostgresPlace, tmp_path: Path
) -> None:
    owner, service = postgres.database.owner, postgres.database.service
    env = environments.throwaway(owner=owner, service=service, legacy=tmp_path / "game.db", folder=tmp_path)
    last = LastLook()

    def look() -> Series:
        last.looked = watching.once(env, window_seconds=0, checks=[BY_NAME["lag of the legacy file"]], folder=tmp_path)
        return looks(last)

    def fires(before: Series, after: Series) -> bool:
        return "SudamrFollowBehind" in firing(tmp_path, before, after)

    with ops.connect(owner) as conn:
        before = conn.execute("select phase, run from ops.phase").fetchone()
        try:
            conn.execute("update ops.phase set phase = 'live'")
            never = look()
            following.sign(conn, "follow of the test")
            unknown = look()
            round_ = {"lag": 0.0, "lines": 0, "seconds": 0.01, "window_seconds": 0.01}
            following.note_round(conn, "follow of the test", age=0.1, **round_)
            sound = look()
            following.note_round(conn, "follow of the test", age=60, **round_)
            behind = look()
            following.order_stop(conn, "anna")
            stopped = look()
        finally:
            conn.execute("update ops.phase set phase = %s, run = %s", before)
            conn.execute("drop table if exists ops.follow")
    assert not fires(never, never)
    assert not fires(sound, sound)
    assert fires(sound, behind)
    assert fires(sound, unknown)
    assert not fires(stopped, stopped)


def test_the_rules_are_sound_and_each_names_a_command_or_a_check_of_the_page() -> None:
    ended = subprocess.run([str(PROGRAM), "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    page = (ROOT / "docs" / "watch.md").read_text("utf-8")
    for group in YAML(typ="safe").load(RULES)["groups"]:
        for rule in group["rules"]:
            do = rule["annotations"]["do"]
            _, _, anchor = do.partition("docs/watch.md#")
            assert not anchor or f'<a id="{anchor}">' in page, do
            assert anchor or "invoke" in do or "docs/watch.md" in do


def test_the_dashboard_asks_for_series_that_the_service_and_the_watch_serve() -> None:
    dashboard = json.loads((ROOT / "docs" / "monitoring" / "dashboard.json").read_text("utf-8"))
    served = {family.name for family in text_string_to_metric_families(Metrics().text().decode())}
    served |= {"sudamr_check_breach", "sudamr_check_judged", "sudamr_look_timestamp_seconds"}
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            names = {name for name in target["expr"].replace("(", " ").split() if name.startswith("sudamr_")}
            bare = {name.partition("[")[0].partition("{")[0].rstrip(")") for name in names}
            for name in bare:
                short = name.removesuffix("_total").removesuffix("_bucket").removesuffix("_count")
                assert short in served, f"{panel['title']}: {name}"
