"""Who asks: the bearer key of a request, its scope and its rate."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from serving.errors import RequestRefused
from serving.keys import Scope
from serving.service import AnsweringService

ANYONE = "anyone"
_bearer = HTTPBearer(auto_error=False, description="A key of `melo keys add`.")


async def the_service(request: Request) -> AnsweringService:
    """The service of this application."""
    service: AnsweringService = request.app.state.service
    return service


Serving = Annotated[AnsweringService, Depends(the_service)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


class Needs:
    """A dependency: the name of the caller's key, which must have this scope. Raises RequestRefused."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, service: Serving, credentials: Credentials) -> str:
        """401 without a valid key, 403 without the scope, 429 above the rate."""
        if service.limits.auth == "none":
            service.rate.spend(ANYONE)
            return ANYONE
        key = service.keys.find(credentials.credentials) if credentials is not None else None
        if key is None:
            raise RequestRefused(
                401,
                "invalid_api_key",
                "no valid key was given; send `Authorization: Bearer KEY`.",
            )
        if not key.allows(self.scope):
            raise RequestRefused(
                403,
                "missing_scope",
                f'this key has scope {", ".join(key.scopes)}; this needs "{self.scope}".',
            )
        service.rate.spend(key.id)
        return key.name


Ask = Annotated[str, Depends(Needs("ask"))]
Report = Annotated[str, Depends(Needs("report"))]
Admin = Annotated[str, Depends(Needs("admin"))]
