"""Hooks for Schemathesis: a key of its own for each request, or most would be refused as reused."""

from __future__ import annotations

import re
from itertools import count

import schemathesis
from schemathesis import Case, HookContext

KEY = re.compile(r"[!-~]{1,200}")
_numbers = count()


@schemathesis.hook
def before_call(_context: HookContext, case: Case, _kwargs: dict[str, object]) -> None:
    """Another key, unless what stands there is no key at all."""
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = f"{key[:100]}-{next(_numbers)}"
