"""Findings of a gate that never ran, for the tests of what is made of them."""

from __future__ import annotations

import dataclasses
from typing import Any

from harness.certificate import Certificate, Standing
from harness.gate.report import Ended, GateReport, Item, Kind, Part, doubts, judge, sweeps, tally

KEY = "a key that nobody will guess"
HERE = Standing(commit="c0ffee" * 6 + "c0ff", clean=True, schema_head="0001", scenario_digest="d1ge57")
FILE = "scenarios/reward/mail_is_claimed_once.yaml"


def certificate(**changes: Any) -> Certificate:
    """One that a gate for staging made at noon, with these fields otherwise."""
    made = Certificate(
        environment="staging", verdict="pass", commit=HERE.commit, clean=True, schema_head=HERE.schema_head,
        scenario_digest=HERE.scenario_digest, scenarios=45, twins=45, faults_fired=4000, race_orders=300,
        rehearsed_players=100, freeze_seconds=3.5, server_kind="docker", server_version="15.18",
        server_settings={"server_encoding": "UTF8"}, seeds={"players": "1"}, made_at="2026-01-05T12:00:00+00:00",
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def item(way: str = "postgres", *, file: str = FILE, found: str = "", **sweep: object) -> Item:
    """An item that passed, or failed with what was found."""
    return Item(file, way, passed=not found, seconds=0.25, found=found, sweep=sweep)


def items() -> list[Item]:
    """One scenario in every way, passed."""
    ways = [item(way) for way in ("postgres", "legacy", "twins")]
    return [*ways, item("fault-cut", cases=9, fired=8), item("races", orders=20)]


def parts(verdict: Ended = Ended.PASS, *problems: str) -> list[Part]:
    """A part that ended so."""
    return [Part("backup", verdict, 1.5, {"rows": 300}, problems)]


def report(items: list[Item], parts: list[Part]) -> GateReport:
    """Judged as a gate judges."""
    doubted = tuple(doubts(items, parts))
    verdict = judge(items, parts, doubted)
    return GateReport(
        verdict=verdict, environment="staging", seconds=200.0, scenarios=tally(items, Kind.SCENARIOS),
        twins=tally(items, Kind.TWINS), faults=sweeps(items, Kind.FAULTS), races=sweeps(items, Kind.RACES),
        doubts=doubted, parts=tuple(parts), items=tuple(items), rehearsal=None,
        certificate=certificate(verdict=str(verdict)).signed(KEY),
    )  # fmt: skip
