"""Find out who asks, or answer 401 (k8s.io/apiserver `filters/authentication.go`, `authn_metrics.go`)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from apiserver.api.status import unauthorized
from apiserver.authn import Authenticator, InvalidCredentialError
from apiserver.request import Handler, Request, Response

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["AuthenticationAttempts", "with_authentication"]

_LOG = logging.getLogger("apiserver.authentication")


class AuthenticationAttempts:
    """How many requests were from somebody, from nobody, and with a credential that did not hold."""

    def __init__(self) -> None:
        self.success = self.failure = self.error = 0

    def metrics(self) -> Iterable[Metric]:
        """For `Metrics.add_source`."""
        from prometheus_client.core import Metric

        text = "Counter of authenticated attempts."
        family = Metric("authentication_attempts", text, "counter")
        for result, count in (("success", self.success), ("failure", self.failure), ("error", self.error)):
            if count:
                family.add_sample("authentication_attempts", {"result": result}, float(count))
        return [family]


def with_authentication(
    handler: Handler, authenticator: Authenticator, attempts: AuthenticationAttempts | None = None
) -> Handler:
    """Set `request.user`."""
    counted = attempts or AuthenticationAttempts()

    async def filtered(request: Request) -> Response:
        if request.trace is not None:
            request.trace("authenticate")
        try:
            user = await authenticator.authenticate(request)
        except InvalidCredentialError as error:
            # What others wrote into a credential must not make lines of its own.
            reason = " ".join(str(error).split())
            _LOG.warning("unable to authenticate a request from %s: %s", request.remote_address, reason)
            counted.error += 1
            raise unauthorized() from None
        if user is None:
            counted.failure += 1
            raise unauthorized()
        counted.success += 1
        request.user = user
        return await handler(request)

    return filtered
