"""Reads the workflows, and runs the `run:` steps of a job with bash as a runner does, in a checkout of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "workflows"
EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
"""The command of a runner for `shell: bash`."""

Workflow = dict[str, Any]


def read(name: str) -> Workflow:
    document: Workflow = YAML(typ="safe").load((FOLDER / f"{name}.yml").read_text("utf-8"))
    return document


def every() -> dict[str, Workflow]:
    return {path.stem: read(path.stem) for path in sorted(FOLDER.glob("*.yml"))}


def needs(job: Mapping[str, Any]) -> list[str]:
    named = job.get("needs", [])
    return [named] if isinstance(named, str) else list(named)


def before(workflow: Workflow, name: str) -> set[str]:
    """Return every job that has to end before this one."""
    direct = needs(workflow["jobs"][name])
    return {*direct, *(earlier for one in direct for earlier in before(workflow, one))}


def clone(into: Path) -> Path:
    """Make a checkout with one commit of the files that stand here, committed or not."""
    into.mkdir(parents=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    for name in filter(None, os.fsdecode(listed).split("\0")):
        if (ROOT / name).exists():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name, follow_symlinks=False)
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "One"],
    ):
        subprocess.run(["git", *command], cwd=into, check=True)
    return into


@dataclass
class Runner:
    """A runner: a checkout, what expressions say, the artifacts of the run, and the output of each step that was run.

    installed: the folder of programs that stand in for the step `Install`, which takes minutes. not_run: the steps that
    only GitHub can carry out, by their action.
    """

    checkout: Path
    installed: Path | None = None
    values: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    printed: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)

    def run(self, workflow: Workflow, name: str, *, matrix: Mapping[str, str] | None = None) -> int:
        """Run the steps of the job, and return the exit code of the first that failed; 0 if none did."""
        values = {**self.values, **{f"matrix.{key}": value for key, value in (matrix or {}).items()}}
        code = 0
        for step in workflow["jobs"][name]["steps"]:
            if code and step.get("if") != "always()":
                continue
            ended = self._step(step, values, name)
            code = code or ended
        return code

    def _step(self, step: Mapping[str, Any], values: Mapping[str, str], job: str) -> int:
        if "uses" in step:
            self._use(step, values)
            return 0
        if step.get("name") == "Install" and self.installed is not None:
            self._install(self.installed)
            return 0
        output = self.checkout.parent / "output"
        output.write_text("")
        own = {key: fill(str(value), values) for key, value in step.get("env", {}).items()}
        environ = {**os.environ, **own, **self.environ, "GITHUB_OUTPUT": str(output)}
        assert not EXPRESSION.search(step["run"]), "an expression in a script is code that anyone writes"
        done = subprocess.run(
            [*BASH, step["run"]], cwd=self.checkout, env=environ, check=False, capture_output=True, text=True
        )
        self.printed.append(f"$ {step['run']}\n{done.stdout}{done.stderr}")
        for line in output.read_text().splitlines():
            key, _, value = line.partition("=")
            self.values[f"needs.{job}.outputs.{key}"] = value
        return done.returncode

    def _install(self, programs: Path) -> None:
        folder = self.checkout / ".venv" / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("invoke", "pip", "pytest"):
            if not (folder / name).exists():
                (folder / name).symlink_to(programs / name)

    def _use(self, step: Mapping[str, Any], values: Mapping[str, str]) -> None:
        """Keep and hand out artifacts; a checkout is there already, and so is a Python."""
        given = {key: fill(str(value), values) for key, value in step.get("with", {}).items()}
        match step["uses"].partition("@")[0]:
            case "actions/upload-artifact":
                self.artifacts[given["name"]] = list(self._kept(given["path"]))
                assert self.artifacts[given["name"]], f"no file at {given['path']}"
            case "actions/download-artifact":
                pattern = re.compile(given.get("pattern", given.get("name", "")).replace("*", ".*"))
                named = [name for name in self.artifacts if pattern.fullmatch(name)]
                assert named, f"no artifact {pattern.pattern}"
                for name in named:
                    for file, content in self.artifacts[name]:
                        (self.checkout / given["path"]).mkdir(exist_ok=True)
                        (self.checkout / given["path"] / file).write_bytes(content)
            case "actions/checkout" | "actions/setup-python":
                pass
            case other:
                self.not_run.append(other)

    def _kept(self, path: str) -> Iterator[tuple[str, bytes]]:
        place = self.checkout / path
        for file in sorted(place.iterdir() if place.is_dir() else place.parent.glob(place.name)):
            yield file.name, file.read_bytes()


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return the text with what each expression says; "" for one that says nothing, as on GitHub."""
    return EXPRESSION.sub(lambda match: values.get(match[1], ""), text)
