"""The cutover, whole: what it does, what it refuses, and that a plan changes nothing."""

from __future__ import annotations

from cutover_world import World, world

__all__ = ["world"]


def test_a_cutover_ends_with_the_players_on_postgres(world: World) -> None:
    report = world.cutover()

    assert report.verdict == "live"
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("live", "moved", "postgres")
    assert world.users() >= 9


def test_a_rollback_carries_a_write_back(world: World) -> None:
    world.cutover()
    player = world.players[1]
    first = world.act(player, "on-postgres")

    report = world.rollback()

    assert first.status_code == 200, first.text
    assert report.verdict == "returned"
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")
    again = world.act(player, "on-postgres")
    assert again.json() == {"outcome": first.json()["outcome"], "replayed": True}
