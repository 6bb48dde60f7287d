"""`invoke preflight` and `invoke provider.verify`: show what was judged, and what a restore came to."""

from __future__ import annotations

from db import environments
from db.console.output import Output
from db.console.progress import Progress
from db.providers import verify as restoring
from db.providers.preflight import Preflight
from db.providers.requirement import RequirementOutcome
from db.providers.verify import Cleaned, Restored, VerifyConfig


def show_preflight(preflight: Preflight, out: Output) -> None:
    """Print each requirement, then what to do about those that are unmet or unknown."""
    out.table(
        f"{preflight.environment}, on {preflight.provider}",
        ("requirement", "value", "limit", "result"),
        [(each.name, each.value, each.limit, str(each.outcome)) for each in preflight.findings],
    )
    for each in preflight.findings:
        if each.outcome is RequirementOutcome.UNMET:
            out.say(f"{each.name}: unmet; {each.source}.", alarm=True)
        elif each.outcome is RequirementOutcome.UNKNOWN:
            out.say(f"{each.name}: unknown: {each.why}.")
        if each.do:
            out.say(f"  {each.do}")
    out.say(f"{_counts(preflight)}. {preflight.not_run[0].upper()}{preflight.not_run[1:]}.")


def _counts(preflight: Preflight) -> str:
    outcomes = [each.outcome for each in preflight.findings]
    return ", ".join(f"{outcomes.count(each)} {each}" for each in RequirementOutcome if each in outcomes)


def verify(environment: str, clean: bool, minutes: int, progress: Progress) -> Restored | Cleaned:
    """Prove a restore of the provider's, or only delete what earlier ones left."""
    env, config = environments.load(environment), VerifyConfig(progress=progress, minutes=minutes)
    return restoring.clean(env, config) if clean else restoring.run(env, config)


def show_verify(result: Restored | Cleaned, out: Output) -> None:
    """Print what was deleted; of a restore also the counts, the recovery point and the minutes."""
    if isinstance(result, Restored):
        out.table(f"restore of {result.instance}", ("table", "rows"), list(result.counts.items()))
        for fault in result.faults:
            out.say(f"differs: {fault}", alarm=True)
        recovery = result.recovery_point_minutes
        out.say(f"recovery point: {'unknown' if recovery is None else f'{recovery:.1f} min ago when it began'}")
        out.say(
            f"minutes: {result.minutes:.1f}, of them {result.snapshot_minutes:.1f} for the snapshot and"
            f" {result.restore_minutes:.1f} until the restored rows were counted"
        )
    out.say(f"deleted: {', '.join(result.deleted) or 'nothing'}")
    if isinstance(result, Restored):
        out.say(f"{result.not_run}.")
