"""Asks AWS by boto3, which is imported only where the provider is rds: it has an extra of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from db.environment_plans import ProviderPlan
from db.environments import Environment
from db.errors import Refusal

T = TypeVar("T")

INSTALL = "pip install --require-hashes --requirement requirements/rds.txt"
CONNECT_SECONDS, ANSWER_SECONDS, ATTEMPTS = 5, 20, 2
NOT_FOUND = frozenset(
    {"DBInstanceNotFound", "DBInstanceNotFoundFault", "DBSnapshotNotFound", "DBSnapshotNotFoundFault"}
)


class Unanswered(Exception):
    """AWS did not answer, or refused; the text says why, in a clause, without a secret."""


class NotFound(Unanswered):
    """AWS knows nothing of that name."""


@dataclass(frozen=True, slots=True)
class Aws:
    """The clients of boto3, made for one region."""

    rds: Any
    cloudwatch: Any
    ec2: Any


def connect(env: Environment) -> Aws:
    """Make the clients. Asks AWS nothing yet. Raises Refusal without boto3, or without the instance's name."""
    plan = env.provider
    _require_named(env, plan)
    try:
        boto3 = importlib.import_module("boto3")
        config = importlib.import_module("botocore.config")
    except ModuleNotFoundError as error:
        raise Refusal("boto3, which asks AWS", f"no module {error.name}", do=f"Install it: `{INSTALL}`") from None
    patience = config.Config(
        connect_timeout=CONNECT_SECONDS, read_timeout=ANSWER_SECONDS, retries={"total_max_attempts": ATTEMPTS}
    )
    session = boto3.session.Session(region_name=plan.region)
    rds, cloudwatch, ec2 = (session.client(name, config=patience) for name in ("rds", "cloudwatch", "ec2"))
    return Aws(rds, cloudwatch, ec2)


def asked(call: Callable[[], T]) -> T:
    """Return AWS's answer. Raises NotFound or Unanswered instead of botocore's exceptions."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - only where boto3 is installed

    try:
        return call()
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        because = NotFound if code in NOT_FOUND else Unanswered
        raise because(f"AWS refused {error.operation_name}: {code}") from error
    except BotoCoreError as error:
        raise Unanswered(f"AWS was not asked: {' '.join(str(error).split())}") from error


def _require_named(env: Environment, plan: ProviderPlan) -> None:
    for key in ("instance", "region"):
        if not getattr(plan, key):
            raise Refusal(
                f"the key {key}",
                "none",
                where=f"{env.files_read.file_of('provider')} [{env.name}.provider]",
                do=f"Write {key} into it, as the console of RDS shows it.",
            )
