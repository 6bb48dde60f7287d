"""Protocols for what a higher layer does for a cutover: evidence that it may begin, proof that players can play."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from db.environments import Environment
from game.urls import LegacyUrl, PostgresUrl

When = Literal["before", "at", "after"]

Demand: TypeAlias = tuple[str, Callable[[Environment], None]]
"""A name and a check from a higher layer, which raises Refusal."""


class Evidence(Protocol):
    """Checks that this environment may be cut over: a certificate of a gate that passed."""

    def __call__(self, env: Environment) -> None:
        """Raise Refusal naming what is missing."""
        ...


@dataclass(frozen=True, slots=True)
class SmokeResult:
    """The number of scenarios that passed, and a sentence for each that did not. No scenario at all is no pass."""

    passed: int
    failed: tuple[str, ...] = ()


class Smoke(Protocol):
    """Scenarios played over HTTP by players of their own, made and removed with the fence's pass."""

    def __call__(self, services: Sequence[str], store: PostgresUrl | LegacyUrl, *, pass_token: str) -> SmokeResult:
        """Play on every service; canaries that an earlier try left behind are removed first."""
        ...


class Observer(Protocol):
    """Called before and after each step, and at the beginning of a window. Rehearsals and tests act there."""

    def __call__(self, when: When, step: str) -> None:
        """Act at this moment of a run. step: the step's name."""
        ...


@dataclass(frozen=True, slots=True)
class Provenance:
    """The code that moves the game. commit: "" where it is not known. certificate: the one that admitted the move."""

    commit: str = ""
    certificate: str = ""


def unobserved(when: When, step: str) -> None:
    """Observe nothing: the default of a run."""
    del when, step
