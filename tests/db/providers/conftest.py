"""The pretended AWS, for every module here."""

from __future__ import annotations

from tests.fixtures.pretended_aws import clients, on_rds

__all__ = ["clients", "on_rds"]
