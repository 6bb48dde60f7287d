"""Each check of the watch names its defect where one is planted, and is silent where none is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.db.monitor import plants_of_rds, plants_of_servers, plants_of_services, plants_of_sessions, plants_of_tables
from tests.db.monitor.proving import prove
from tests.db.monitor.watched import BY_NAME, Watched, own_watched

SETTINGS = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.max": "100",
    "max_prepared_transactions": "5",
    "max_connections": "40",
    "shared_buffers": "8MB",
    "archive_mode": "on",
    "archive_command": "true",
    "log_min_duration_statement": "500",
    "autovacuum_naptime": "1h",
    "deadlock_timeout": "10ms",
    "fsync": "on",
}
PLANTS = {**plants_of_tables.PLANTS, **plants_of_sessions.PLANTS, **plants_of_servers.PLANTS}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    with own_watched(folder, SETTINGS) as watched:
        plants_of_servers.snapshot(watched.env.snapshots.folder, 0, verified=0)
        yield watched


@pytest.mark.plan(13, cases=("connections",))
@pytest.mark.plan(14, cases=("rolled back transactions",))
@pytest.mark.plan(16, cases=("age of the backup",))
@pytest.mark.plan(23, cases=("balances", "stock"))
@pytest.mark.plan(24, cases=("slow statements", "slow query log"))
@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_defect_is_named_and_its_absence_is_silent(own: Watched, name: str) -> None:
    prove(own, name, PLANTS[name])


def test_every_check_has_a_planted_defect() -> None:
    planted = [*PLANTS, *plants_of_services.PLANTS, *plants_of_servers.OF_A_SERVER_OF_ITS_OWN]
    planted += plants_of_rds.PLANTS
    assert sorted(planted) == sorted(BY_NAME)
