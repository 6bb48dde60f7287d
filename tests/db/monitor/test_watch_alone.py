"""One watch an environment and machine; limits of checks that there are; an address that is free. Else: refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from db import environments
from db.environments import Environment, WatchPlan
from db.errors import Refusal
from db.monitor import exporter, watch, watching
from db.monitor.watch import Seen
from game.urls import PostgresUrl


def an_environment(folder: Path, plan: WatchPlan) -> Environment:
    nowhere = PostgresUrl("127.0.0.1", 1, "nobody", "", "nothing")
    return environments.throwaway(owner=nowhere, service=nowhere, legacy=folder / "game.db", folder=folder, watch=plan)


def test_a_second_watch_is_refused_and_named_until_the_first_has_ended(tmp_path: Path) -> None:
    env = an_environment(tmp_path, WatchPlan())

    class Enough(Exception):
        """Ends the first watch once the second was refused."""

    def second(seen: Seen) -> None:
        assert seen.verdict == "inconclusive"
        with pytest.raises(Refusal, match=f"process {os.getpid()}"):
            watch.once(env, None, folder=tmp_path)
        raise Enough

    def expected() -> Mapping[str, str] | None:
        return None

    with pytest.raises(Enough):
        watch.keep_looking(env, expected, second, lambda _left: None, folder=tmp_path)
    assert watch.once(env, None, folder=tmp_path).looked.error


def test_a_limit_of_no_check_is_refused_by_name_before_anything_is_written(tmp_path: Path) -> None:
    env = an_environment(tmp_path, WatchPlan(limits={"dead rowz": 1.0}))
    with pytest.raises(Refusal, match="'dead rowz'") as refused:
        watch.once(env, None, folder=tmp_path / "var")
    assert "docs/watch.md" in refused.value.do
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize("address", ["taken", "127.0.0.1:99999", "127.0.0.1:x", "no-such-host.invalid:9187"])
def test_an_address_that_can_not_be_had_is_refused_and_a_free_one_serves_the_last_look(
    tmp_path: Path, address: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        given = f"127.0.0.1:{port}" if address == "taken" else address
        with pytest.raises(Refusal, match="that is free") as refused, exporter.serving(given):
            pytest.fail("it serves")
    assert "watch.listen" in str(refused.value)
    env = an_environment(tmp_path, WatchPlan())
    with exporter.serving(f"127.0.0.1:{port}") as last:  # As the remedy says: another address.
        last.looked = watching.away(env, watching._now(), Refusal("an answer", "none"))
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    assert 'sudamr_server_answers{environment="test"} 0.0' in text
