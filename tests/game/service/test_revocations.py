"""Revoked tokens: the file that the service reads while it runs, and the task that writes it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import environments
from db.errors import Refusal
from db.samples import builders
from game.errors import BadSettings
from game.service import revocations, tokens
from game.service.revocations import Revocations
from harness.cli.commands import revoking
from tests.game.places import LegacyPlace, Place
from tests.game.service.running import PATIENCE_SECONDS, TOKEN_SECRET, Running, eventually

WRONG = {
    "an empty file": b"",
    "no JSON": b"hana",
    "a list": b"[]",
    "a number for a time": b'{"hana": 1}',
    "a time without a zone": b'{"hana": "2026-11-28T00:00:00"}',
    "a day that there is not": b'{"hana": "2026-02-30T00:00:00+00:00"}',
    "a player twice": b'{"hana": "2026-11-28T00:00:00+00:00", "hana": "2020-11-28T00:00:00+00:00"}',
    "half of it": b'{"hana": "2026-11-',
    "another encoding": '{"하나": "2026-11-28T00:00:00+00:00"}'.encode("euc-kr"),
    "JSON too deep": b"[" * 100_000,
}


def test_a_revoked_player_is_kept_out_at_once_and_let_in_with_a_later_token(
    place: Place, serve: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hana", "mina"):
        place.put(builders.player(name, gold=1))
    file = tmp_path / "revoked.json"
    file.write_text("{}")
    running = serve(place.url, processes=2, REVOKED_TOKENS=str(file))
    running.ready()
    hana, mina = (tokens.issue(TOKEN_SECRET, player) for player in ("hana", "mina"))
    assert statuses(running, "hana", hana) == [200, 200]
    revoke(tmp_path, file, "hana", monkeypatch)
    assert statuses(running, "hana", hana) == [401, 401]
    assert statuses(running, "mina", mina) == [200, 200]
    until_ms = revocations.parse(file.read_text())["hana"]
    assert statuses(running, "hana", tokens.issue(TOKEN_SECRET, "hana", issued_ms=until_ms)) == [401, 401]
    eventually(lambda: granted(running, "hana", tokens.issue(TOKEN_SECRET, "hana", issued_ms=until_ms + 1)))


def test_a_file_that_is_broken_while_the_service_runs_revokes_what_it_did_before(
    legacy: LegacyPlace, serve: Callable[..., Running], tmp_path: Path
) -> None:
    legacy.put(builders.player("hana", gold=1))
    file = tmp_path / "revoked.json"
    file.write_text(revocations.write({"hana": tokens.now_ms() + 10**9}))
    data = file.read_bytes()
    running = serve(legacy.url, REVOKED_TOKENS=str(file))
    running.ready()
    for name, text in {**WRONG, "no file": None}.items():
        if text is None:
            file.unlink()
        else:
            file.write_bytes(text)
        lines = len(errors(running))
        for _ in range(3):
            assert (name, statuses(running, "hana", tokens.issue(TOKEN_SECRET, "hana"))) == (name, [401])
        assert (name, len(errors(running)) - lines) == (name, 1)
    file.write_bytes(data.replace(b"hana", b"mina"))
    assert statuses(running, "hana", tokens.issue(TOKEN_SECRET, "hana")) == [200]


def test_a_service_does_not_start_without_its_file_of_revoked_tokens(
    legacy: LegacyPlace, serve: Callable[..., Running], tmp_path: Path
) -> None:
    running = serve(legacy.url, REVOKED_TOKENS=str(tmp_path / "gone.json"))
    assert running.process.wait(PATIENCE_SECONDS) == 2
    assert f"REVOKED_TOKENS: expected a file, found no such file at {tmp_path}/gone.json" in running.log


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_none_is_refused_by_the_service_and_by_the_task_and_stays(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "revoked.json"
    file.write_bytes(WRONG[name])
    with pytest.raises(BadSettings, match="REVOKED_TOKENS: expected"):
        Revocations(file)
    with pytest.raises(Refusal):
        revoke(tmp_path, file, "hana", monkeypatch)
    assert file.read_bytes() == WRONG[name]


@given(revoked=st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers(-(10**13), 2 * 10**14)))
def test_the_file_is_read_as_it_was_written(revoked: dict[str, int]) -> None:
    assert revocations.parse(revocations.write(revoked)) == revoked


def test_players_revoked_at_once_are_all_in_the_file_which_keeps_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "kept" / "revoked.json"
    file.parent.mkdir()
    file.write_text(revocations.write({"earlier": 1}))
    file.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(file)
    env = environment(tmp_path, link, monkeypatch)
    names = [f"하나 {n}" for n in range(20)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: revoking.revoke(env, name), names))
    assert set(revocations.parse(file.read_text())) == {"earlier", *names}
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert list(file.parent.iterdir()) == [file]


def test_a_revocation_is_never_taken_back_by_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "revoked.json"
    far = tokens.now_ms() + 10**9
    file.write_text(revocations.write({"hana": far}))
    revoke(tmp_path, file, "hana", monkeypatch)
    assert revocations.parse(file.read_text()) == {"hana": far}


def environment(folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> environments.Environment:
    """An environment whose service reads the file."""
    nowhere = "postgresql://a@127.0.0.1:1/a?schema=game"
    (folder / "environments.toml").write_text(
        f'[development]\nlegacy = "file:a.db"\ntarget = "{nowhere}"\ntarget_direct = "{nowhere}"\n'
        'pointer = { path = "service.env" }\nsnapshots = { folder = "snapshots" }\n'
    )
    (folder / "service.env").write_text(f"REVOKED_TOKENS={file}\n")
    monkeypatch.chdir(folder)
    return environments.load("development")


def revoke(folder: Path, file: Path, player: str, monkeypatch: pytest.MonkeyPatch) -> None:
    message = revoking.revoke(environment(folder, file, monkeypatch), player)
    assert revocations.moment(revocations.parse(file.read_text())[player]) in message


def statuses(running: Running, player: str, token: str) -> list[int]:
    """Return each process's status for the token."""
    headers = {"Authorization": f"Bearer {token}"}
    return [
        httpx.get(f"{url}/players/{player}", headers=headers, timeout=PATIENCE_SECONDS).status_code
        for url in running.public_urls
    ]


def granted(running: Running, player: str, token: str) -> None:
    assert set(statuses(running, player, token)) == {200}


def errors(running: Running) -> list[str]:
    lines = [json.loads(line) for line in running.log.splitlines()]
    return [line["detail"] for line in lines if line["event"] == "revocations_unreadable"]
