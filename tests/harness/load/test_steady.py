"""The steady load asks under a new key each time: an answer from a receipt would measure nothing."""

from __future__ import annotations

from harness.load.steady import READS, SteadyLoad
from tests.harness.load.fake_service import FakeService, served

PLAYERS = 30
BURST = 9
SELDOM = 0.001


def test_no_request_of_two_bursts_is_asked_under_the_key_of_another() -> None:
    service = FakeService(lambda _key, _times: (200, {"outcome": {}, "replayed": False}))
    scripts = {f"player-{n}": [("claim_mail", {"mail": f"m{m}"}) for m in range(20)] for n in range(PLAYERS)}
    with served(service) as url:
        with SteadyLoad([url], scripts, str.upper, SELDOM, threads=1) as load:
            load.burst(BURST)
            load.burst(BURST)
        writes = [one for one in load.answers if one.action != READS]
    keys = [key for _player, key in service.asked]
    assert len(keys) == len(set(keys)) == len(writes)
    assert all(times == 1 for times in service.asked.values())
    assert len([key for key in keys if "burst" in key]) == 2 * (BURST - BURST // 3)
