"""The dry run: it lists every refusal of the real run at once, refuses nothing else, and changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import psutil
import psycopg
import pytest
from psycopg import sql

from db.cutover import services
from db.cutover.cutover import CUTOVER
from db.cutover.dry_run import STANDING
from db.cutover.report import CheckMark, RunReport
from db.cutover.rollback import ROLLBACK
from db.cutover.runbook import Runbook
from db.errors import Inconclusive, Refusal, ToolError
from db.servers import Server
from tests.db.cutover.cutover_world import World, live, made, world
from tests.db.cutover.planted_defects import DEFECTS, TRIALS, policy
from tests.db.cutover.planted_on_the_way_back import ON_THE_WAY_BACK
from tests.db.cutover.test_runbook_tables import checks_of

__all__ = ["live", "world"]


@pytest.fixture(scope="module")
def shared(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world for defects that are all refused, and taken back."""
    with made(server, tmp_path_factory.mktemp("shared")) as made_world:
        yield made_world


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No services on trial: they take seconds, and only one defect is theirs."""
    monkeypatch.setattr(services, "trial", lambda url: services.Ready("", 200, services.engine(url), "", "", 1, ""))


@pytest.mark.parametrize("name", [name for name in DEFECTS if DEFECTS[name][0] not in TRIALS])
@pytest.mark.usefixtures("quick")
def test_the_dry_run_lists_what_the_real_run_refuses(shared: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    check, plant = DEFECTS[name]
    with plant(shared.with_(**policy(shared, max_held=0)), monkeypatch) as (planted, wish):
        refused_alike(planted, planted.cutover, check, wish)
    assert shared.phase() == "empty"


@pytest.mark.parametrize("name", [name for name in DEFECTS if DEFECTS[name][0] in TRIALS])
def test_a_service_that_would_not_start_is_found(shared: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    check, plant = DEFECTS[name]
    with plant(shared, monkeypatch) as (planted, wish):
        refused_alike(planted, planted.cutover, check, wish)


@pytest.mark.parametrize("name", [name for name in ON_THE_WAY_BACK if ON_THE_WAY_BACK[name][0] not in TRIALS])
@pytest.mark.usefixtures("quick")
def test_the_dry_run_of_a_rollback_lists_what_the_real_one_refuses(
    live: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    check, plant = ON_THE_WAY_BACK[name]
    with plant(live, monkeypatch) as (planted, wish):
        refused_alike(planted, planted.rollback, check, wish)
    assert live.phase() == "live"


@pytest.mark.parametrize("name", [name for name in ON_THE_WAY_BACK if ON_THE_WAY_BACK[name][0] in TRIALS])
def test_a_service_that_would_not_start_on_the_way_back_is_found(
    live: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    check, plant = ON_THE_WAY_BACK[name]
    with plant(live, monkeypatch) as (planted, wish):
        refused_alike(planted, planted.rollback, check, wish)


OF_A_DRY_RUN = {STANDING, "no hook of another run"}
"""Checks that it makes beside those of the runbook's list, for the run makes them later."""


@pytest.mark.parametrize(
    ("runbook", "defects", "more"),
    [(CUTOVER, DEFECTS, set()), (ROLLBACK, ON_THE_WAY_BACK, {"writes that are given up"})],
    ids=["cutover", "rollback"],
)
def test_each_check_of_the_list_is_refused_by_a_defect_of_its_own(
    runbook: Runbook, defects: dict[str, tuple[str, Any]], more: set[str]
) -> None:
    assert {check for check, _plant in defects.values()} == {*checks_of(runbook), *OF_A_DRY_RUN, *more}


OF_THE_TRIGGERS = {"where the move stands", "tables", "a service on Postgres"}
"""A fence with a hole is seen by each of these: as a state that no run leaves, as drift, and as a store to refuse."""


def refused_alike(world: World, run: Callable[..., RunReport], check: str, wish: dict[str, Any]) -> None:
    before = contents(world)

    report = run(dry_run=True, **wish)

    results = {finding.name: finding for finding in report.checks}
    amiss = [finding for finding in report.checks if finding.mark is not CheckMark.OK]
    assert results[check] in amiss, amiss
    assert results[check].expected
    refused = {finding.name for finding in amiss if finding.mark is CheckMark.REFUSED}
    assert refused <= (OF_THE_TRIGGERS if check in OF_THE_TRIGGERS else {check}), "one cause, one finding"
    assert [str(step.status) for step in report.steps if step.name == "preflight"] != ["done"]
    assert contents(world) == before
    with pytest.raises(ToolError) as caught:
        run(**wish)
    expected = {finding.expected for finding in amiss}
    assert caught.value.expected in expected, caught.value
    assert (report.verdict == "inconclusive") == isinstance(caught.value, Inconclusive)
    assert contents(world)[1:] == before[1:]  # Found before anything was begun.


@pytest.mark.plan(17)
def test_what_a_dry_run_finds_nothing_against_is_done(world: World) -> None:
    before = contents(world)
    others = services_here()

    report = world.cutover(dry_run=True)

    assert [finding for finding in report.checks if finding.mark is not CheckMark.OK] == []
    assert report.verdict == "planned"
    assert contents(world) == before
    assert not world.runs.exists()
    assert services_here() == others  # The trial services have ended.
    assert world.cutover().verdict == "live"
    after = contents(world)
    again, back = world.cutover(dry_run=True), world.rollback(dry_run=True)
    for report in (again, back):
        assert [finding for finding in report.checks if finding.mark is not CheckMark.OK] == []
    assert contents(world) == after
    with pytest.raises(Refusal):
        world.cutover(abort=True)
    assert world.cutover(abort=True, dry_run=True).verdict == "refused"
    assert world.rollback().verdict == "returned"


@pytest.mark.usefixtures("quick")
def test_several_defects_are_all_listed(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    several = {
        name: DEFECTS[name]
        for name in (
            "no restart hook",
            "a process that keeps the file locked",
            "a freeze past its budget",
            "another run",
            "an exported pointer",
            "no certificate",
            "a folder where the hooks' lock goes",
        )
    }
    world, wish = shared, {}
    with ExitStack() as stack:
        for _check, plant in several.values():
            world, more = stack.enter_context(plant(world, monkeypatch))
            wish |= more
        report = world.cutover(dry_run=True, **wish)

    refused = {finding.name for finding in report.checks if finding.mark is CheckMark.REFUSED}
    assert refused == {check for check, _plant in several.values()}
    assert report.verdict == "refused"


@pytest.mark.usefixtures("quick")
def test_what_can_t_be_judged_says_why(shared: World) -> None:
    away = shared.with_(target_direct=shared.env.target_direct.with_(port=1))

    report = away.cutover(dry_run=True)

    results = {finding.name: finding for finding in report.checks}
    assert (results["server"].mark, results["legacy file"].mark, results["players held"].mark) == (
        "refused",
        "ok",
        "ok",
    )
    for name in ("lock", "certificate", "rights", "tools", "a service on Postgres"):
        assert (results[name].mark, results[name].note) == ("not judged", "not judged before: server"), name


def services_here() -> set[int]:
    """Processes of the service below this one, by id."""
    pids = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any("game.service" in word for word in process.cmdline()):
                pids.add(process.pid)
    return pids


def contents(world: World) -> tuple[object, ...]:
    """Every file of the world, and every row of the database."""
    files = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(world.folder.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }
    query = (
        "SELECT c.oid, n.nspname, relname, relkind FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname NOT LIKE 'pg~_%' ESCAPE '~' AND nspname <> 'information_schema' ORDER BY c.oid"
    )
    try:
        conn = psycopg.connect(world.superuser.with_(dbname=world.env.target_direct.dbname).conninfo, autocommit=True)
    except psycopg.OperationalError:
        return (files,)
    with conn:
        catalog = conn.execute(query).fetchall()
        rows = {
            (schema, name): conn.execute(
                sql.SQL("SELECT xmin::text, t::text FROM {} t ORDER BY 2").format(sql.Identifier(schema, name))
            ).fetchall()
            for _oid, schema, name, kind in catalog
            if kind == "r"
        }
    return files, catalog, rows
