"""Each check of the service's processes names its defect, with real processes and players who ask over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest

from db.environments import Pointer
from db.monitor.check import CheckOutcome
from tests.db.monitor import plants_of_servers, plants_of_services
from tests.db.monitor.plants_of_services import POOL, Players
from tests.db.monitor.proving import prove
from tests.db.monitor.watched import BY_NAME, Watched, own_watched
from tests.game.service.running import PATIENCE_SECONDS, Running

SETTINGS = {"shared_preload_libraries": "pg_stat_statements", "log_min_duration_statement": "500"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    with own_watched(folder, SETTINGS) as watched:
        url = watched.database.service.as_text()
        settings = {"POOL_SIZE": str(POOL), "LOCK_TIMEOUT_MS": "200", "POOL_TIMEOUT_SECONDS": "30"}
        running = Running(folder, url, processes=1, **settings)
        running.point_to(url, f"POOL_SIZE={POOL}")
        try:
            running.ready()
            watched.env = replace(watched.env, services=tuple(running.urls), pointer=Pointer(running.env_file))
            with httpx.Client(timeout=PATIENCE_SECONDS, trust_env=False) as client, ThreadPoolExecutor(20) as threads:
                watched.extra = Players(watched, running, threads, client)
                yield watched
        finally:
            running.end()


@pytest.mark.plan(14, cases=("database unreachable",))
@pytest.mark.plan(34, cases=("connection pool in use", "waiting for a connection"))
@pytest.mark.parametrize("name", plants_of_services.PLANTS)
def test_a_planted_defect_of_the_service_is_named_and_its_absence_is_silent(own: Watched, name: str) -> None:
    prove(own, name, plants_of_services.PLANTS[name])


def test_a_look_at_a_sound_database_judges_every_check_and_finds_nothing(own: Watched) -> None:
    own.require_statements(*BY_NAME)
    plants_of_servers.snapshot(own.env.snapshots.folder, 0, verified=0)
    own.look()
    looked = own.look()
    assert [
        str(each) for each in looked.judgements if each.outcome in (CheckOutcome.BREACH, CheckOutcome.NOT_JUDGED)
    ] == []
    assert looked.verdict == "pass"
