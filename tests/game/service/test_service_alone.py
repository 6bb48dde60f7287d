"""The service runs with its own packages: nothing of the tools, and nothing of db/ and harness/."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from db.samples import builders
from tests.game.places import LegacyPlace, Place
from tests.game.service.running import Running
from tests.test_supply import ROOT, closure

BARRIER = """
import sys

class Barrier:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is none of the service's", name=name)

sys.meta_path.insert(0, Barrier())
"""
"""A sitecustomize, which every Python imports as it starts."""


def blocked() -> set[str]:
    """The packages here that the extra `service` does not bring."""
    brought = closure("service")
    return {"db", "harness", "tasks", "tests"} | {
        package
        for package, distributions in packages_distributions().items()
        if not brought & {canonicalize_name(one) for one in distributions} and package != "game"
    }


@pytest.mark.plan(11)
def test_the_service_plays_with_the_packages_of_its_extra_alone(
    place: Place, serve: Callable[..., Running], tmp_path: Path
) -> None:
    place.put(builders.player("hana", mail={"m1": {"gold": 1}}))
    (tmp_path / "barrier").mkdir()
    (tmp_path / "barrier" / "sitecustomize.py").write_text(BARRIER.format(blocked=blocked()))
    running = serve(place.url, PYTHONPATH=f"{tmp_path / 'barrier'}{os.pathsep}{ROOT}")
    running.ready()
    assert running.act("m1", "r1").json()["replayed"] is False
    imports = [sys.executable, "-c", "import alembic"]
    stopped = subprocess.run(imports, env={"PYTHONPATH": str(tmp_path / "barrier")}, capture_output=True, check=False)
    assert b"none of the service's" in stopped.stderr


@pytest.mark.plan(11)
@pytest.mark.skipif(not os.environ.get("CI"), reason="installs from PyPI, as CI does: CI=true")
def test_the_commands_of_the_image_install_a_service_that_plays(
    legacy: LegacyPlace, serve: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    legacy.put(builders.player("hana", mail={"m1": {"gold": 1}}))
    build(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "opt/sudamr/bin/python"))
    running = serve(legacy.url, PYTHONPATH="")
    running.ready()
    assert running.act("m1", "r1").json()["replayed"] is False
    python = tmp_path / "opt/sudamr/bin/python"
    for tool in ("alembic", "db", "harness", "invoke", "pytest"):
        assert subprocess.run(
            [python, "-c", f"import {tool}"], capture_output=True, check=False, cwd=tmp_path
        ).returncode


def build(folder: Path) -> None:
    """Carry out the first stage of the Dockerfile in the folder instead of in `/`."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    stage = re.split(r"^FROM ", text, flags=re.MULTILINE)[1]
    source = folder / "src"
    source.mkdir()
    for instruction, arguments in re.findall(r"^(COPY|RUN) (.*)$", stage, re.MULTILINE):
        if instruction == "COPY":
            *froms, to = arguments.split()
            (source / to).mkdir(exist_ok=True, parents=True)
            subprocess.run(["cp", "-r", *(ROOT / one for one in froms), source / to], check=True)
            continue
        command = re.sub(r"(?<![\w.])/(opt|wheels)\b", rf"{folder}/\1", arguments)
        command = re.sub(r"^python ", f"{sys.executable} ", command)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        subprocess.run(command, shell=True, check=True, cwd=source, env=environment)
