"""Checks who may ask: a player's token opens that player, the operator's every player and, with its pass, a fence."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from game.service import tokens
from game.service.problems import Rejected
from game.service.tokens import BadToken, Rules
from game.service.traffic import about

_BEARER = HTTPBearer(auto_error=False, description="The player's token, or the operator's.")

Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
FencePass = Annotated[
    str, Header(alias="X-Fence-Pass", description="A fence's pass, to write while it stands; the operator's alone.")
]


_ONCE = ("Authorization", "Idempotency-Key", "X-Fence-Pass", "Content-Type")


async def once(request: Request) -> None:
    """Refuse a repeated header. Raises Rejected."""
    # A proxy and this service might each use another one of the two.
    for name in _ONCE:
        if len(request.headers.getlist(name)) > 1:
            raise Rejected("header_repeated", name)


class Access:
    """Dependencies of endpoints beneath /players/{player}; they run before a body is looked at."""

    def __init__(self, token_secret: str, token_rules: Rules, operator_token: str | None) -> None:
        self._token_secret = token_secret
        self._token_rules = token_rules
        self._operator_token = operator_token

    async def reading(self, request: Request, player: str, bearer: Bearer) -> None:
        """Let the player and the operator through. Raises Rejected."""
        self._let(player, bearer)
        about(request.scope).player = player

    async def acting(self, request: Request, player: str, bearer: Bearer, x_fence_pass: FencePass = "") -> None:
        """Let the player and the operator through, and a fence's pass from the operator alone. Raises Rejected."""
        operator = self._let(player, bearer)
        about(request.scope).player = player
        if x_fence_pass and not operator:
            raise Rejected("pass_refused", "X-Fence-Pass asks for the operator's token")

    def _let(self, player: str, bearer: HTTPAuthorizationCredentials | None) -> bool:
        """Check the token; return True for the operator. Raises Rejected."""
        if bearer is None:
            raise Rejected("token_needed", "Authorization: Bearer and the player's token")
        if self._operator_token is not None and tokens.same(bearer.credentials, self._operator_token):
            return True
        try:
            owner = tokens.owner(self._token_secret, bearer.credentials, self._token_rules, at_ms=tokens.now_ms())
        except BadToken as error:
            raise Rejected("token_needed", str(error)) from None
        if owner != player:
            raise Rejected("token_of_another", "each player has a token of its own")
        return False
