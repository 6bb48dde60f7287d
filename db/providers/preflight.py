"""Judges whether an environment's database is fit for production: each requirement with value, limit and source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from db.environments import Environment
from db.providers import facts
from db.providers.requirement import REQUIREMENTS, Facts, Known, Requirement, RequirementOutcome, UnknownValue
from db.providers.table import PROVIDERS


@dataclass(frozen=True, slots=True)
class RequirementResult:
    """A judged requirement. value: as shown; "" where it is unknown. why: of one that is unknown. do: what mends it."""

    name: str
    outcome: RequirementOutcome
    value: str
    limit: str
    source: str
    why: str = ""
    do: str = ""


@dataclass(frozen=True, slots=True)
class Preflight:
    """Every finding. not_run: what of this was never run against the provider."""

    environment: str
    provider: str
    findings: tuple[RequirementResult, ...]
    not_run: str

    @property
    def verdict(self) -> str:
        """fail for one that is unmet, inconclusive for one that is unknown."""
        outcomes = {each.outcome for each in self.findings}
        if RequirementOutcome.UNMET in outcomes:
            return "fail"
        return "inconclusive" if RequirementOutcome.UNKNOWN in outcomes else "pass"


def run(env: Environment) -> Preflight:
    """Ask the provider, the server and the folder of snapshots, and judge. Changes nothing.

    Raises Refusal where the provider is rds and boto3, or the instance's name, is missing.
    """
    now = datetime.now(UTC)
    known = {**facts.of_provider(env, now), **facts.of_server(env), **facts.of_snapshots(env, now)}
    return judge(env, known)


def judge(env: Environment, known: Facts) -> Preflight:
    """Judge the facts; what is unknown by what the operator states."""
    provider, stated = PROVIDERS[env.provider.name], env.provider.stated.values
    findings = (
        _judged(env, each, known.get(each.key, UnknownValue(f"{provider.title} can't be asked from here")), stated)
        for each in REQUIREMENTS
        if each.key != "own_dump" or provider.own_dump
    )
    return Preflight(env.name, provider.title, tuple(findings), provider.not_run)


def _judged(
    env: Environment, requirement: Requirement, fact: Known | UnknownValue, stated: Mapping[str, float | bool]
) -> RequirementResult:
    checked = isinstance(fact, Known)
    if isinstance(fact, UnknownValue) and requirement.key in stated:
        value = stated[requirement.key]
        fact = Known(float(value), f"{'yes' if value is True else 'no' if value is False else f'{value:g}'}, as stated")
    if isinstance(fact, UnknownValue):
        return _finding(
            requirement, RequirementOutcome.UNKNOWN, "", why=fact.why, do=fact.do or _how_to_know(env, requirement)
        )
    if fact.value < requirement.least:
        do = requirement.do_on.get(env.provider.name, requirement.do)
        return _finding(requirement, RequirementOutcome.UNMET, fact.shown, do=_of(env, do))
    return _finding(requirement, RequirementOutcome.MET if checked else RequirementOutcome.STATED, fact.shown)


def _finding(
    requirement: Requirement, outcome: RequirementOutcome, value: str, *, why: str = "", do: str = ""
) -> RequirementResult:
    return RequirementResult(requirement.name, outcome, value, requirement.limit, requirement.source, why, do)


def _how_to_know(env: Environment, requirement: Requirement) -> str:
    if not requirement.stated:
        return "Mend what is said there, and run it again."
    where = _of(env, PROVIDERS[env.provider.name].how_to_know)
    return f"Read it there: {where}. Then state it: {requirement.key} = … in [{env.name}.provider.stated]."


def _of(env: Environment, text: str) -> str:
    return text.replace("{instance}", env.provider.instance or "INSTANCE").replace("{env}", env.name)
