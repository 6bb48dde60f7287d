"""The service's processes are asked where their URL says, whatever proxies the environment names."""

from __future__ import annotations

import ast
from pathlib import Path

import psutil
import pytest

import db
import game
import harness
from db.cutover import services
from db.samples import seed
from game.urls import LegacyUrl
from tests.db.cutover.follower import following

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")
HTTPX = {"get", "post", "put", "request", "stream", "Client", "AsyncClient"}


@pytest.mark.parametrize("variable", PROXIES)
def test_a_proxy_of_the_environment_is_not_asked_for_a_service(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file = tmp_path / "service.env"
    env_file.write_text("DATABASE_URL=file:/nowhere/game.db\n")
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    with following(env_file) as url:
        assert services.ask(url) is not None


def test_a_service_that_is_started_for_a_trial_comes_after_those_that_play(tmp_path: Path) -> None:
    seed.empty_legacy(tmp_path / "game.db")
    with services.started_beside(LegacyUrl(tmp_path / "game.db")) as ready:
        niceness = psutil.Process(ready.pid).nice()
    assert niceness == min(19, psutil.Process().nice() + services.NICENESS)


def test_no_request_of_ours_reads_proxies_or_passwords_from_the_environment() -> None:
    calls = [call for package in (game, db, harness) for call in _httpx_calls(Path(package.__path__[0]))]

    assert len(calls) >= 4
    for where, keywords in calls:
        assert keywords.get("trust_env") is False, f"{where}: httpx would obey HTTP_PROXY and ~/.netrc"


def _httpx_calls(folder: Path) -> list[tuple[str, dict[str, object]]]:
    calls = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="httpx"), attr=name)) if name in HTTPX:
                    keywords = {
                        k.arg: k.value.value for k in node.keywords if k.arg and isinstance(k.value, ast.Constant)
                    }
                    calls.append((f"{path.name}:{node.lineno}", keywords))
    return calls
