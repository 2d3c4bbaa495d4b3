"""Let pass what is allowed, answer 403 to the rest (k8s.io/apiserver `filters/authorization.go`)."""

from __future__ import annotations

from apiserver.authz import Attributes, Authorizer, Decision, forbidden_error
from apiserver.request import Handler, Request, Response

__all__ = ["with_authorization"]


def with_authorization(handler: Handler, authorizer: Authorizer) -> Handler:
    """Ask the authorizer; the decision and its reason go to the audit annotations."""

    async def filtered(request: Request) -> Response:
        if request.trace is not None:
            request.trace("authorize")
        attributes = Attributes.of(request)
        decision, reason = await authorizer.authorize(attributes)
        if decision is Decision.ALLOW:
            request.annotations["authorization.k8s.io/decision"] = "allow"
            if reason:
                request.annotations["authorization.k8s.io/reason"] = reason
            return await handler(request)
        request.annotations["authorization.k8s.io/decision"] = "forbid"
        request.annotations["authorization.k8s.io/reason"] = reason
        raise forbidden_error(attributes, reason)

    return filtered
