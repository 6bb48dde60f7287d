"""Memory: what the processes of a live cutover take together does not grow with the players."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from db.environments import Environment
from db.servers import Server
from tests.db.cutover.cutover_world import SPAWN, made, quiet_smoke, run_cutover

MB = 1_000_000
PROMISED = 300 * MB
"""Of the tool with its watchdog, pg_dump and the service that it starts beside: pages that are shared count once."""

FEW, FOUR_TIMES = 600, 2400
"""Already the smaller file fills every batch, chunk and run of players."""

MOST_GROWTH = 1.2
SAMPLE_SECONDS = 0.05


def pss(pid: int) -> int:
    """Return the bytes that a process has in memory, with its part of what it shares; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def together(pid: int) -> int:
    """Return the same of a process and all that it started."""
    try:
        tree = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0
    return sum(map(pss, tree))


def peak_bytes(server: Server, folder: Path, players: int) -> int:
    """Move a game of so many players live, in a process of its own; the most that its tree took."""
    with made(server, folder, players=players) as world:
        tool = SPAWN.Process(target=_cut_over, args=(world.env, world.folder, server.handle()))
        tool.start()
        peak = 0
        while tool.exitcode is None:
            assert tool.pid is not None
            peak = max(peak, together(tool.pid))
            tool.join(SAMPLE_SECONDS)
        assert tool.exitcode == 0
        world.assert_whole_on_postgres()
        return peak


def _cut_over(env: Environment, folder: Path, handle: str) -> None:
    tools = Server.attach(handle).tool
    run_cutover(env, folder=folder / "runs", smoke=quiet_smoke, tools=tools, offline=False)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux tells what processes share")
def test_four_times_the_players_take_no_more_memory(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    few, four_times = (
        peak_bytes(server, tmp_path_factory.mktemp(f"players-{players}"), players) for players in (FEW, FOUR_TIMES)
    )
    print(f"{FEW:,} players: {few / MB:.0f} MB; {FOUR_TIMES:,}: {four_times / MB:.0f} MB")
    assert four_times < PROMISED
    assert four_times < few * MOST_GROWTH
