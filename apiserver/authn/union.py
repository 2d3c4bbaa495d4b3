"""Several authenticators as one (k8s.io/apiserver `authentication/request/union`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from apiserver.authn.interface import Authenticator, InvalidCredentialError
from apiserver.request import Request, UserInfo

__all__ = ["ALL_AUTHENTICATED", "ALL_UNAUTHENTICATED", "UnionAuthenticator"]

ALL_AUTHENTICATED = "system:authenticated"
ALL_UNAUTHENTICATED = "system:unauthenticated"


class UnionAuthenticator:
    """The first authenticator that knows the user wins; everybody known gets the group `system:authenticated`.

    A bad credential does not stop the others from being asked, except that somebody whose credential failed is never
    taken for anonymous.
    """

    def __init__(self, authenticators: Sequence[Authenticator], anonymous: Authenticator | None = None) -> None:
        self._authenticators = tuple(authenticators)
        self._anonymous = anonymous

    async def authenticate(self, request: Request) -> UserInfo | None:
        """See `Authenticator.authenticate`."""
        problem: InvalidCredentialError | None = None
        for authenticator in self._authenticators:
            try:
                user = await authenticator.authenticate(request)
            except InvalidCredentialError as error:
                problem = problem or error
                continue
            if user is not None:
                if ALL_AUTHENTICATED in user.groups or ALL_UNAUTHENTICATED in user.groups:
                    return user
                return replace(user, groups=(*user.groups, ALL_AUTHENTICATED))
        if problem is not None:
            raise problem
        return await self._anonymous.authenticate(request) if self._anonymous is not None else None
