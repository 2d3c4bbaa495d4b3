"""componentstatuses: a list that is worked out when asked for (kubernetes `registry/core/componentstatus`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apiserver.api.scheme import Resource
from apiserver.api.status import not_found
from apiserver.endpoints.health import HealthCheck
from apiserver.endpoints.negotiation import negotiate
from apiserver.endpoints.responses import StoredDict
from apiserver.endpoints.scope import Server
from apiserver.request import Handler, Request, Response
from apiserver.storage.interface import ListResult

__all__ = ["component_status_handlers"]


def component_status_handlers(server: Server, resource: Resource, checks: Sequence[HealthCheck]) -> dict[str, Handler]:
    """get and list by verb; one component for each check, named like it."""

    async def get(request: Request) -> Response:
        media = negotiate(request)
        for check in checks:
            if check.name == request.info.name:
                return server.responder.object(request, media, resource, 200, await _status(check))
        raise not_found("", "componentstatuses", request.info.name)

    async def list_(request: Request) -> Response:
        media = negotiate(request)
        items = [StoredDict(await _status(check), server.codec) for check in checks]
        return await server.responder.list(request, media, resource, ListResult(items, 0))

    return {"get": get, "list": list_}


async def _status(check: HealthCheck) -> dict[str, Any]:
    try:
        problem = await check.check()
    except Exception as error:  # a component that cannot be asked is not healthy
        problem = str(error) or type(error).__name__
    condition = {"type": "Healthy", "status": "True" if problem is None else "False", "message": problem or "ok"}
    return {
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": check.name},
        "conditions": [condition],
    }
