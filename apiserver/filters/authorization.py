"""Let pass what is allowed, answer 403 to the rest (k8s.io/apiserver `filters/authorization.go`)."""

from __future__ import annotations

import html
import json
from collections.abc import Callable

from apiserver.authz import Attributes, Authorizer, Decision, EvaluationError, forbidden_error
from apiserver.request import Handler, Request, Response

__all__ = ["with_authorization"]

_RESULTS = {Decision.ALLOW: "allowed", Decision.DENY: "denied", Decision.NO_OPINION: "no-opinion"}


def with_authorization(
    handler: Handler, authorizer: Authorizer, observe: Callable[[str], None] | None = None
) -> Handler:
    """Ask the authorizer; the decision and its reason go to the audit annotations.

    Args:
        observe: is told each result: allowed, denied, no-opinion or error.
    """

    async def filtered(request: Request) -> Response:
        if request.trace is not None:
            request.trace("authorize")
        attributes = Attributes.of(request)
        try:
            decision, reason = await authorizer.authorize(attributes)
        except EvaluationError as error:
            request.annotations["authorization.k8s.io/reason"] = "internal error"
            if observe is not None:
                observe("error")
            return _internal_error(request, error)
        if observe is not None:
            observe(_RESULTS[decision])
        if decision is Decision.ALLOW:
            request.annotations["authorization.k8s.io/decision"] = "allow"
            if reason:
                request.annotations["authorization.k8s.io/reason"] = reason
            return await handler(request)
        request.annotations["authorization.k8s.io/decision"] = "forbid"
        request.annotations["authorization.k8s.io/reason"] = reason
        raise forbidden_error(attributes, reason)

    return filtered


def _internal_error(request: Request, error: EvaluationError) -> Response:
    """Nobody allowed it and somebody could not say (`handlers/responsewriters` `InternalError`)."""
    text = f"Internal Server Error: {json.dumps(request.raw_path)}: {error}"
    body = html.escape(text, quote=False) + "\n"
    headers = [("x-content-type-options", "nosniff")]
    return Response(500, body.encode(), "text/plain; charset=utf-8", headers)
