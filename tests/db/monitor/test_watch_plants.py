"""Each check of the watch names its defect where one is planted, and is silent where none is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from db.monitor.check import Judgement, Outcome
from tests.db.monitor import plants_of_servers, plants_of_sessions, plants_of_tables
from tests.db.monitor.planting import Plant, remedy
from tests.db.monitor.watched import BY_NAME, Watched, own_watched
from tests.fixtures.waiting import until

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


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_defect_is_named_and_its_absence_is_silent(own: Watched, name: str) -> None:
    prove(own, name, PLANTS[name])


def prove(own: Watched, name: str, plant: Plant) -> None:
    """Look as the monitor and as the owner, before and during the defect, and after the remedy's own statements."""
    own.limits |= plant.limits
    for role in own.kept:
        require(own.judge(name, role), Outcome.OK, Outcome.NOT_APPLICABLE)
    with plant.planted(own) as planted:
        for role in own.kept:
            judged = own.judge(name, role, planted.env)
            require(judged, Outcome.BREACH)
            assert planted.names in judged.evidence, judged
            assert judged.do
            assert "{env}" not in judged.do
        if planted.fill is not None:
            own.run(*remedy(name, planted.fill))
            require_cleared(own, name)
    require_cleared(own, name)
    for limit in plant.limits:
        del own.limits[limit]


def require(judged: Judgement, *outcomes: Outcome) -> None:
    assert judged.outcome in outcomes, f"{judged.check}: {judged.value} {judged.evidence}{judged.why}"


def require_cleared(own: Watched, name: str) -> None:
    """Wait until the check is silent, as after a reload, and so far from its limit that an alarm of it ends."""

    def left() -> list[str]:
        judged = own.judge(name)
        silent = judged.outcome in (Outcome.OK, Outcome.NOT_APPLICABLE) and judged.cleared
        return [] if silent else [str(judged)]

    until(left)


def test_every_check_has_a_planted_defect() -> None:
    assert set(PLANTS) | set(plants_of_servers.OF_A_SERVER_OF_ITS_OWN) == set(BY_NAME)
