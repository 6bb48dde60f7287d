"""The redaction of the floor below, under the name that the tools know."""

from __future__ import annotations

from game.redaction import redact

__all__ = ["redact"]
