"""Find out who asks, or answer 401 (k8s.io/apiserver `filters/authentication.go`)."""

from __future__ import annotations

import logging

from apiserver.api.status import unauthorized
from apiserver.authn import Authenticator, InvalidCredentialError
from apiserver.request import Handler, Request, Response

__all__ = ["with_authentication"]

_LOG = logging.getLogger("apiserver.authentication")


def with_authentication(handler: Handler, authenticator: Authenticator) -> Handler:
    """Set `request.user`."""

    async def filtered(request: Request) -> Response:
        if request.trace is not None:
            request.trace("authenticate")
        try:
            user = await authenticator.authenticate(request)
        except InvalidCredentialError as error:
            _LOG.info("unable to authenticate the request: %s", error)
            user = None
        if user is None:
            raise unauthorized()
        request.user = user
        return await handler(request)

    return filtered
