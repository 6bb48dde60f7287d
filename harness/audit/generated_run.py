"""An audit of generated mutations: records which test runs which line, then asks those tests of each mutation.

About a second a mutation that the quickest of its tests catches. Mutations that change nothing stand in
equivalent.toml, each with its reason, and are not tried.
"""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue

from db.console.progress import Advance, Progress
from db.counts import count, few
from db.errors import Failure, Refusal
from harness.audit.copies import FAILED, PASSED, Copy
from harness.audit.coverage import Coverage, readers, record
from harness.audit.generated import GeneratedMutation, generate
from harness.audit.preloaded import LATE
from harness.audit.report import AuditReport, Result, judged
from harness.audit.run import started_copies, stopped_at_an_error
from harness.audit.targets import TARGETS, AuditTarget

_SHARD = re.compile(r"(\d{1,4})/(\d{1,4})")

RECORD_SECONDS = 3600.0
FIRST = 6
"""So many tests are tried first: one of the quickest catches most mutations."""

BUDGET_SECONDS = 90.0
"""The recorded seconds of all further tests of a mutation together, the quickest first."""


@dataclass(frozen=True, slots=True)
class _Trial:
    mutation: GeneratedMutation
    tests: list[str]


def equivalent() -> dict[str, str]:
    """Return the mutations that change nothing, by name, with the reason."""
    entries = tomllib.loads(files("harness.audit").joinpath("equivalent.toml").read_text("utf-8"))
    return {entry["name"]: entry["reason"] for entry in entries.get("equivalent", [])}


def run(root: Path, kind: str | None, select: str, progress: Progress, *, shard: str = "") -> AuditReport:
    """Try the mutations with `select` in their name, target by target. shard: `i/n`, the i-th part of n of them.

    Refusal: none is selected, or there is no such shard. Failure: the tests can't be run under the tracer.
    """
    began = time.monotonic()
    unchanged = equivalent()
    chosen = selected([each for each in generate(root) if each.name not in unchanged], select, shard)
    files_of = sorted({mutation.file for mutation in chosen})
    results: list[Result] = []
    with (
        started_copies(root, kind, progress) as copies,
        ThreadPoolExecutor(len(copies)) as pool,
        stopped_at_an_error(copies),
    ):
        list(pool.map(Copy.prove, copies))
        for target in TARGETS:
            of_target = [mutation for mutation in chosen if mutation.file in target.paths(root)]
            if not of_target:
                continue
            coverage = _recorded(copies[0], files_of, target, progress)
            index = readers(root, files_of)
            waiting: SimpleQueue[_Trial] = SimpleQueue()
            for mutation in of_target:
                waiting.put(_Trial(mutation, coverage.catchers(mutation, index)))
            with progress.bar("mutations", len(of_target), "mutations") as advance:
                work = partial(_work, coverage=coverage, waiting=waiting, advance=advance)
                results += chain.from_iterable(pool.map(work, copies))
    return judged(results, time.monotonic() - began)


def selected(mutations: Sequence[GeneratedMutation], name: str, shard: str = "") -> list[GeneratedMutation]:
    """Return the mutations with `name` in their names. Raises Refusal if there is none."""
    part, of = _parts(shard)
    named = [mutation for mutation in mutations if name in mutation.name]
    if chosen := named[part - 1 :: of]:
        return chosen
    raise Refusal(
        f"a generated mutation with {name!r} in its name"
        if not named
        else f"{count(of, 'generated mutation')} or more",
        f"{len(named)}" if named else "none",
        do="Leave --select and --shard out, and all are run.",
    )


def _parts(shard: str) -> tuple[int, int]:
    match = _SHARD.fullmatch(shard or "1/1")
    part, of = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= of:
        raise Refusal("--shard with a part and how many parts there are", repr(shard), do="Such as: --shard 1/4")
    return part, of


def _recorded(copy: Copy, of: Sequence[str], target: AuditTarget, progress: Progress) -> Coverage:
    progress.say(f"which lines its tests run: {', '.join(target.tests)}")
    coverage, ran = record(copy, of, target.tests, RECORD_SECONDS, "-n2", "--dist=worksteal")
    if ran.code not in {PASSED, FAILED} or not coverage.seconds:
        raise Failure("the tests of a target to run under the tracer", ran.last_lines, where=", ".join(target.tests))
    if ran.failed:
        progress.say(f"not asked, since they fail without a mutation: {few(ran.failed, 4)}")
    return coverage


def _work(copy: Copy, coverage: Coverage, waiting: SimpleQueue[_Trial], advance: Advance) -> list[Result]:
    results: list[Result] = []
    while True:
        try:
            trial = waiting.get_nowait()
        except Empty:
            return results
        began = time.monotonic()
        with copy.mutated(trial.mutation):
            caught, broken = _catch(copy, coverage, trial.tests)
        seconds = round(time.monotonic() - began, 1)
        expected = trial.tests[0] if trial.tests else ""
        results.append(Result(trial.mutation.name, trial.mutation.file, expected, caught, seconds, broken))
        advance(1)


def _catch(copy: Copy, coverage: Coverage, tests: Sequence[str]) -> tuple[str, str]:
    """Return the test that caught it, or why none did: the first tests are tried, then as many as the budget allows."""
    if not tests:
        return "", "no test runs it"
    for chunk in filter(None, _chunks(coverage, tests)):
        expected = sum(coverage.seconds[test] for test in chunk)
        ran = copy.pytest(chunk, "-x", seconds=30 + 5 * expected)
        if ran.code == LATE:
            return chunk[0], ""  # a loop that does not end is noticed
        if ran.code == FAILED and ran.failed:
            return ran.failed[0], ""
        if ran.code != PASSED:
            return "", f"pytest could not run, exit code {ran.code}: {ran.last_lines}"
    return "", f"{count(len(tests), 'test')} run it"


def _chunks(coverage: Coverage, tests: Sequence[str]) -> Iterator[list[str]]:
    yield [*tests[:FIRST]]
    rest, spent = [], 0.0
    for test in tests[FIRST:]:
        spent += coverage.seconds[test]
        if spent > BUDGET_SECONDS:
            break
        rest.append(test)
    yield rest
