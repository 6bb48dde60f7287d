"""The workflows: what stands in them keeps the rules of a promotion, and what their steps run does what it says."""

from __future__ import annotations

import copy
import itertools
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from invoke.parser.parser import Parser

import tasks
from db import environments
from harness.gate import admission
from harness.gate import certificate as certificates
from tests import workflows
from tests.fixtures.gates import KEY, certificate
from tests.workflows import BASH, FOLDER, ROOT, Runner, Workflow

WORKFLOWS = workflows.every()
PROMOTE = WORKFLOWS["promote"]
RESULTS = ("success", "failure", "cancelled", "skipped", "")
USES = re.compile(r"^\s*-? *uses: (\S+)(.*)$", re.MULTILINE)
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
SECRET = re.compile(r"\$\{\{[^}]*\bsecrets\b")
STAGES = ("staging", "production")


def faults(name: str, workflow: Workflow) -> Iterator[str]:
    """Yield what is against the rules that hold for every workflow."""
    if workflow.get("permissions") != {}:
        yield f"{name}: the whole workflow has rights"
    if SECRET.search(json.dumps({key: value for key, value in workflow.items() if key != "jobs"}, default=str)):
        yield f"{name}: a secret for every job"
    for job_name, job in workflow["jobs"].items():
        place = f"{name}, job {job_name}"
        if not isinstance(job.get("timeout-minutes"), int):
            yield f"{place}: no timeout-minutes"
        if "environment" not in job:
            if "id-token" in job.get("permissions", {}):
                yield f"{place}: id-token without an environment"
            if SECRET.search(json.dumps(job)):
                yield f"{place}: a secret without an environment"
        if SECRET.search(json.dumps({key: value for key, value in job.items() if key != "steps"})):
            yield f"{place}: a secret for every step"
        for step in job["steps"]:
            if "uses" in step and not PINNED.fullmatch(step["uses"]):
                yield f"{place}: {step['uses']} is not pinned by a commit"
            if "${{" in step.get("run", ""):
                yield f"{place}: an expression in a script"


def faults_of_promotion(workflow: Workflow) -> Iterator[str]:
    """Yield what would let a commit past a job that did not succeed, or past a stage."""
    jobs = workflow["jobs"]
    admitted = jobs["admitted"]
    after = {name for name in jobs if "admitted" in workflows.before(workflow, name)}
    listed = set(workflows.needs(admitted))
    for name in jobs.keys() - after - {"admitted"} - listed:
        yield f"{name} is neither in the list of admitted nor after it"
    (step,) = (step for step in admitted["steps"] if "run" in step)
    given = {f"{name}=${name.upper()}" for name in listed}
    if set(shlex.split(step["run"])[1:]) != given:
        yield f"admitted is asked for {step['run']}"
    if step["env"] != {name.upper(): f"${{{{ needs.{name}.result }}}}" for name in listed}:
        yield f"admitted reads {step['env']}"
    for name, job in jobs.items():
        if "if" in job and name != "admitted":
            yield f"{name} can be skipped, or run after a failure"
    if admitted.get("if") != "always()":
        yield "admitted can be skipped"
    for earlier, later in itertools.pairwise([n for n in environments.SECTIONED if n in jobs]):
        if earlier not in workflows.before(workflow, later):
            yield f"{later} does not wait for {earlier}"
    for name in STAGES:
        if f"plan-{name}" not in workflows.needs(jobs[name]) or jobs[name]["environment"] != name:
            yield f"{name} has no plan before its reviewers"
        commands = " ".join(step.get("run", "") for step in jobs[name]["steps"])
        if f"--plan out/plan-{name}.json" not in commands or ".ci/same-build" not in commands:
            yield f"{name} is not held to its plan and to the build"


def test_every_workflow_keeps_the_rules() -> None:
    assert [fault for name, workflow in WORKFLOWS.items() for fault in faults(name, workflow)] == []
    for path in FOLDER.glob("*.yml"):
        for action, comment in USES.findall(path.read_text("utf-8")):
            assert re.match(r" # v\d+\.\d+\.\d+$", comment), f"{path.name}: {action} says no version"


@pytest.mark.plan(5, 15)
def test_a_commit_passes_every_job_and_every_stage_in_turn() -> None:
    assert list(faults_of_promotion(PROMOTE)) == []
    assert {*environments.SECTIONED} <= PROMOTE["jobs"].keys()
    assert PROMOTE["concurrency"] == {"group": "promote", "cancel-in-progress": False, "queue": "max"}
    with_token = {name for name, job in PROMOTE["jobs"].items() if "id-token" in job["permissions"]}
    assert with_token == {"attest", *STAGES}


PLANTED: dict[str, Callable[[Workflow], object]] = {
    "gate is neither in the list": lambda jobs: (
        jobs["admitted"].update(needs=["build", "test", "attest"]) or jobs["attest"].update(needs=["build"])
    ),
    "admitted is asked for": lambda jobs: jobs["admitted"]["steps"][-1].update(run='.ci/admitted build="$BUILD"'),
    "admitted reads": lambda jobs: jobs["admitted"]["steps"][-1]["env"].update(GATE="success"),
    "new is neither in the list": lambda jobs: jobs.update(new=copy.deepcopy(jobs["test"])),
    "staging can be skipped": lambda jobs: jobs["staging"].update({"if": "always()"}),
    "admitted can be skipped": lambda jobs: jobs["admitted"].pop("if"),
    "production does not wait for staging": lambda jobs: jobs["plan-production"].update(needs=["build", "admitted"]),
    "production has no plan": lambda jobs: jobs["production"].update(environment="plan-production"),
    "production is not held": lambda jobs: jobs["production"]["steps"].pop(
        next(n for n, step in enumerate(jobs["production"]["steps"]) if step.get("name") == "Cutover")
    ),
    "test: no timeout": lambda jobs: jobs["test"].pop("timeout-minutes"),
    "test: id-token without": lambda jobs: jobs["test"].update(permissions={"id-token": "write"}),
    "gate: a secret without": lambda jobs: jobs["gate"].pop("environment"),
    "gate: a secret for every step": lambda jobs: jobs["gate"].update(env={"KEY": "${{ secrets.KEY }}"}),
    "is not pinned": lambda jobs: jobs["test"]["steps"][0].update(uses="actions/checkout@v4"),
    "an expression in a script": lambda jobs: jobs["test"]["steps"][-1].update(run="echo ${{ github.ref }}"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_workflow_against_the_rules_is_noticed(fault: str) -> None:
    planted = copy.deepcopy(PROMOTE)
    PLANTED[fault](planted["jobs"])
    noticed = [*faults("promote", planted), *faults_of_promotion(planted)]
    assert [one for one in noticed if fault in one], noticed


def test_a_commit_is_admitted_by_the_word_success_of_each_job_alone() -> None:
    (step,) = (step for step in PROMOTE["jobs"]["admitted"]["steps"] if "run" in step)
    names = list(step["env"])
    combinations = list(itertools.product(RESULTS, repeat=len(names)))
    script = "\n".join(
        f"({' '.join(f'export {name}={result};' for name, result in zip(names, results, strict=True))}"
        f" {step['run']} 2>/dev/null) && echo 0 || echo $?"
        for results in combinations
    )
    done = subprocess.run([*BASH, script], cwd=ROOT, check=True, capture_output=True, text=True)
    codes = dict(zip(combinations, done.stdout.split(), strict=True))
    assert {results for results, code in codes.items() if code == "0"} == {("success",) * len(names)}
    assert set(codes.values()) == {"0", "1"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "expected NAME=RESULT of each job; found nothing."),
        (["gate=skipped"], 1, "gate: expected success; found skipped."),
        (["test=success", "gate="], 1, "gate: expected success; found nothing."),
        (["gate=Success"], 1, "gate: expected success; found Success."),
    ],
)
def test_a_job_that_did_not_succeed_is_named(arguments: list[str], code: int, message: str) -> None:
    done = subprocess.run([ROOT / ".ci" / "admitted", *arguments], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (code, message)


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A checkout with a dist/ as .ci/build leaves it."""
    (tmp_path / "dist").mkdir()
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / "dist" / "sudamr-1-py3-none-any.whl").write_text("wheel")
    (tmp_path / "dist" / "service.txt").write_text("lock")
    subprocess.run([*BASH, "sha256sum -- *.whl service.txt >SHA256SUMS"], cwd=tmp_path / "dist", check=True)
    return tmp_path


def same_build(built: Path, digest: str) -> int:
    environ = {**os.environ, "DIGEST": digest}
    return subprocess.run([built / ".ci" / "same-build"], env=environ, check=False, capture_output=True).returncode


def digest_of(built: Path) -> str:
    done = subprocess.run(["sha256sum", built / "dist" / "SHA256SUMS"], check=True, capture_output=True, text=True)
    return done.stdout.split()[0]


def test_what_is_deployed_is_what_was_built_and_nothing_else(built: Path) -> None:
    digest = digest_of(built)
    assert same_build(built, digest) == 0
    assert same_build(built, "") != 0
    assert same_build(built, "0" * 64) != 0
    added = built / "dist" / "more"
    added.write_text("more")
    assert same_build(built, digest) != 0
    added.unlink()
    (built / "dist" / "service.txt").write_text("another lock")
    assert same_build(built, digest) != 0
    subprocess.run([*BASH, "sha256sum -- *.whl service.txt >SHA256SUMS"], cwd=built / "dist", check=True)
    assert same_build(built, digest) != 0  # Counted anew, but not by who built it.
    assert same_build(built, digest_of(built)) == 0


STUB = """#!/usr/bin/env bash
printf '%s\\0' "$(basename "$0")" "$@" >>"$COMMANDS"
printf '\\n' >>"$COMMANDS"
for argument in "$@"; do case $argument in out/*.json) mkdir -p out; echo '{}' >"$argument" ;; esac; done
"""


def commands_of(folder: Path, name: str, job: str, **matrix: str) -> list[list[str]]:
    """Run the job's steps in a folder where each program is a stub, and return the command lines that came to them."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for program in ("invoke", "pip", "pytest", "python"):
        (programs / program).write_text(STUB)
        (programs / program).chmod(0o755)
    for program in ("python", "docker"):
        (folder / program).symlink_to(programs / "pip")
    (folder / ".ci").mkdir()
    for script in ("run", "build", "same-build", "serve-build"):
        (folder / ".ci" / script).write_text("true\n")
        (folder / ".ci" / script).chmod(0o755)
    runner = Runner(folder)
    runner.environ = {"COMMANDS": str(folder / "commands"), "PATH": f"{folder}:{os.environ['PATH']}"}
    runner.artifacts = {
        artifact: [("file", b"")]
        for artifact in (
            "build",
            *(f"{kind}-{stage}" for kind in ("plan", "certificate") for stage in environments.NAMES),
        )
    }
    (folder / "dist").mkdir()
    (folder / "dist" / "wheel").touch()
    assert runner.run(WORKFLOWS[name], job, matrix=matrix) == 0, runner.printed
    written = folder / "commands"
    lines = written.read_text().splitlines() if written.exists() else []
    return [line.rstrip("\0").split("\0") for line in lines]


JOBS = [(name, job) for name, workflow in WORKFLOWS.items() for job in workflow["jobs"] if job != "admitted"]


@pytest.mark.parametrize(("name", "job"), JOBS, ids=map(" ".join, JOBS))
def test_every_command_of_a_job_is_one_that_our_tasks_take(tmp_path: Path, name: str, job: str) -> None:
    (tmp_path / "checkout").mkdir()
    commands = commands_of(tmp_path / "checkout", name, job, stage="staging", python="3.11")
    parser = Parser(contexts=tasks.namespace.to_contexts())
    for program, *arguments in commands:
        if program == "invoke":
            (context,) = parser.parse_argv(arguments)
            assert context.name in {one.name for one in tasks.namespace.to_contexts()}
    if name == "promote" and job in STAGES:
        assert ["invoke", "cutover", "--env", job, "--plan", f"out/plan-{job}.json", "--confirm", job] == [
            word for one in commands if one[:2] == ["invoke", "cutover"] for word in one[:8]
        ]


def test_a_dump_that_is_asked_for_by_hand_reaches_the_upkeep(tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    folder.mkdir()
    commands = commands_of(folder, "backup", "production")
    assert "--dump" not in [word for command in commands for word in command]
    runner = Runner(folder, values={"inputs.dump": "true"})
    runner.environ = {"COMMANDS": str(folder / "by hand"), "PATH": f"{folder}:{os.environ['PATH']}"}
    assert runner.run(WORKFLOWS["backup"], "production") == 0
    assert "--dump" in (folder / "by hand").read_text().split("\0")


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A runner with a clean checkout of what stands here, and a key to sign with."""
    made = Runner(workflows.clone(tmp_path / "runner" / "checkout"))
    made.values = {"secrets.GATE_SIGNING_KEY": KEY}
    programs = Path(sys.executable).parent  # Its `python` makes the .venv, as the one of setup-python does.
    made.environ = {"PORT": free_port(), "PRIVATE_PORT": free_port(), "PATH": f"{programs}:{os.environ['PATH']}"}
    return made


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def succeeds(runner: Runner, *jobs: str, **matrix: str) -> None:
    for job in jobs:
        assert runner.run(PROMOTE, job, matrix=matrix) == 0, "\n".join(runner.printed)


def keep_certificate(runner: Runner, environment: str, **tampered: object) -> None:
    """Keep a certificate of the checkout's commit, as the job `gate` does; what is tampered with is not signed."""
    state = admission.checkout_state(runner.checkout)
    made = certificate(
        environment=environment,
        commit=state.commit,
        schema_head=state.schema_head,
        scenario_digest=state.scenario_digest,
        made_at=certificates.now().isoformat(timespec="seconds"),
    )
    text = json.dumps({"certificate": made.signed(KEY, {}) | tampered})
    runner.artifacts[f"certificate-{environment}"] = [(f"certificate-{environment}.json", text.encode())]


def test_the_jobs_run_step_by_step_in_a_clean_checkout(runner: Runner) -> None:
    """Run build, attest, admitted and development; a skipped job and an edited certificate are refused on the way.

    Not run here: `test`, which would run this test; `gate`, see below; what an action does on GitHub's side; a stage's
    own servers, so that `plan-staging` has to end without a plan.
    """
    runner.installed = Path(sys.executable).parent
    for stage in ("development", "staging"):
        keep_certificate(runner, stage)
    runner.values |= {f"needs.{name}.result": "success" for name in workflows.needs(PROMOTE["jobs"]["admitted"])}
    succeeds(runner, "build", "attest", "admitted", "development")
    assert runner.not_run == ["actions/attest-build-provenance"]
    assert '"ready"' in runner.printed[-1] or "ok" in runner.printed[-1], runner.printed[-1]

    runner.values["needs.gate.result"] = "skipped"
    assert runner.run(PROMOTE, "admitted") == 1
    assert "gate: expected success; found skipped." in runner.printed[-1]

    keep_certificate(runner, "development", scenarios=46)
    assert runner.run(PROMOTE, "development") == 2
    assert "the signature that the gate made" in runner.printed[-1]

    runner.artifacts["build"].append(("another.whl", b"another"))
    assert runner.run(PROMOTE, "development") == 2
    assert "dist/another.whl: expected no file but those in SHA256SUMS" in runner.printed[-1]

    runner.values |= {"vars.STAGING_HOST": "127.0.0.1", "vars.STAGING_LEGACY_FILE": str(runner.checkout / "none.db")}
    runner.values |= {f"secrets.STAGING_{role}_PASSWORD": "planted" for role in ("OWNER", "SERVICE")}
    assert runner.run(PROMOTE, "plan-staging") == 2
    assert "STAGING_WEBHOOK" not in "".join(runner.printed)  # Whoever wants no message sets nothing.
    (kept,) = (content for _, content in runner.artifacts["plan-staging"])
    assert json.loads(kept).get("plan") is None
    runner.artifacts["build"].pop()
    (runner.checkout / "dist" / "another.whl").unlink()
    assert runner.run(PROMOTE, "staging") == 2


def test_the_gate_of_a_stage_runs_step_by_step_in_a_clean_checkout(runner: Runner) -> None:
    succeeds(runner, "gate", stage="staging")
    assert "certificate-staging.json" in dict(runner.artifacts["certificate-staging"])
