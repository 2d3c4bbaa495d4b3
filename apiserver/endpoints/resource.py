"""All that can be done with one resource: which handler serves which verb of which subresource."""

from __future__ import annotations

from typing import Final

from apiserver.api.scheme import Resource
from apiserver.api.status import bad_request, service_unavailable
from apiserver.endpoints.component_statuses import component_status_handlers
from apiserver.endpoints.creating import create_handler
from apiserver.endpoints.deleting import delete_collection_handler, delete_handler
from apiserver.endpoints.eviction import eviction_handler
from apiserver.endpoints.metrics import RequestSeries
from apiserver.endpoints.patching import patch_handler
from apiserver.endpoints.pods import binding_handler, connect_handler, log_handler
from apiserver.endpoints.reading import get_handler, list_handler
from apiserver.endpoints.reviews import review_handler
from apiserver.endpoints.router import method_not_allowed, no_such_resource
from apiserver.endpoints.scale import scale_handlers
from apiserver.endpoints.scope import Scope, Server
from apiserver.endpoints.token_requests import token_handler
from apiserver.endpoints.updating import update_handler
from apiserver.endpoints.version import KUBERNETES_MINOR
from apiserver.endpoints.watching import watch_handler
from apiserver.request import Handler, Request, Response

__all__ = ["resource_handler"]

_Handlers = dict[tuple[str, str], Handler]

_BY_NAME = frozenset({"create", "update", "patch"})
"""Verbs that go with a name or, for a create, with none."""

_DEPRECATED_MINOR: Final = {("", "ComponentStatus"): 19, ("", "Endpoints"): 33}
"""Kinds deprecated as a whole, in 1.x."""

_SUCCESSORS: Final = {("", "Endpoints"): "discovery.k8s.io/v1 EndpointSlice"}
"""What to use instead of them, where there is something."""


def resource_handler(server: Server, resource: Resource) -> Handler:
    """The handler of every request for a resource in one version."""
    handlers = _virtual_handlers(server, resource) if resource.is_virtual else _stored_handlers(server, resource)
    return _dispatcher(server, resource, handlers)


def _dispatcher(server: Server, resource: Resource, handlers: _Handlers) -> Handler:
    subresources = {subresource for subresource, _ in handlers}
    warning = _deprecation(server, resource)
    namespaced = resource.namespaced
    is_namespaces = resource.plural == "namespaces" and not resource.group
    metrics, now = server.metrics, server.environment.clock.now
    known: dict[tuple[str, str, bool, bool, bool], RequestSeries] = {}

    def check(request: Request) -> Handler:
        """The handler of a request, or why there is none."""
        info = request.info
        handler = handlers.get((info.subresource, info.verb))
        if handler is None:
            raise method_not_allowed() if info.subresource in subresources else no_such_resource()
        if info.verb in _BY_NAME and not info.subresource and bool(info.name) is (info.verb == "create"):
            raise method_not_allowed()
        if namespaced:
            if not info.namespace:
                _check_across_namespaces(info.verb, info.parts)
        elif info.namespace and not is_namespaces:
            raise no_such_resource()
        if request.method == "HEAD" or (info.verb == "watch" and request.method != "GET"):
            raise method_not_allowed()
        if warning:
            request.warnings.append(warning)
        return handler

    def series_of(request: Request) -> RequestSeries:
        info = request.info
        dry_run = "dryRun" in request.query
        key = (info.verb, info.subresource, not info.name, not info.namespace, dry_run)
        series = known.get(key)
        if series is None:
            series = known[key] = metrics.request_series(info, dry_run)
        return series

    async def handle(request: Request) -> Response:
        if request.trace is not None:
            request.trace("route")
        handler = check(request)
        try:
            response = await handler(request)
        except BaseException as error:
            series_of(request).observe(getattr(error, "code", 500), now() - request.received_seconds, None)
            raise
        if request.trace is not None:
            request.trace("respond")
        body = response.body
        size = len(body) if isinstance(body, bytes) else None
        series_of(request).observe(response.status, now() - request.received_seconds, size)
        return response

    return handle


def _check_across_namespaces(verb: str, parts: tuple[str, ...]) -> None:
    """Without a namespace there are only lists and watches."""
    if len(parts) > 1:
        raise no_such_resource()
    if verb not in ("list", "watch"):
        raise method_not_allowed()


def _stored_handlers(server: Server, resource: Resource) -> _Handlers:
    scope = Scope(server, resource, server.stores.of(resource))
    strategy = scope.store.strategy
    made: dict[str, Handler] = {
        "get": get_handler(scope),
        "list": list_handler(scope),
        "watch": watch_handler(scope),
        "create": create_handler(scope),
        "update": update_handler(scope, strategy),
        "patch": patch_handler(scope, strategy),
        "delete": delete_handler(scope),
        "deletecollection": delete_collection_handler(scope),
    }
    handlers: _Handlers = {("", verb): handler for verb, handler in made.items() if verb in resource.verbs}
    for subresource in resource.subresources:
        own = Scope(server, resource, scope.store, subresource.name)
        for verb, handler in _subresource_handlers(own).items():
            if verb in subresource.verbs:
                handlers[subresource.name, verb] = handler
    return handlers


def _subresource_handlers(scope: Scope) -> dict[str, Handler]:
    """The handlers of one subresource by verb."""
    server, name = scope.server, scope.subresource
    if name == "scale":
        return scale_handlers(scope)
    if name == "binding":
        return {"create": binding_handler(scope, scope.resource)}
    if name == "eviction":
        return {"create": eviction_handler(scope, server.stores.find("policy", "v1", "poddisruptionbudgets"))}
    if name == "token" and server.token_requests is not None:
        return {"create": token_handler(scope, server.token_requests)}
    if name == "log":
        return {"get": log_handler(scope)}
    if name in ("attach", "exec", "portforward"):
        connect = connect_handler(scope)
        return {"get": connect, "create": connect}
    if name == "proxy":
        return dict.fromkeys(("get", "create", "update", "patch", "delete"), _proxy_handler(scope))
    strategy = scope.store.strategy.subresource(name)
    if strategy is None:
        return {}
    return {
        "get": get_handler(scope),
        "update": update_handler(scope, strategy),
        "patch": patch_handler(scope, strategy),
    }


def _proxy_handler(scope: Scope) -> Handler:
    """Nothing runs behind pods, services and nodes here, so there is nobody to pass a request on to."""

    async def proxy(request: Request) -> Response:
        name = request.info.name.removeprefix("https:").removeprefix("http:").partition(":")[0]
        await scope.store.get(request.info.namespace if scope.resource.namespaced else "", name)
        if scope.resource.plural == "services":
            raise service_unavailable(f'no endpoints available for service "{name}"', 0)
        raise bad_request("address not allowed")

    return proxy


def _virtual_handlers(server: Server, resource: Resource) -> _Handlers:
    if resource.plural == "bindings":
        pods = server.stores.resource("", "v1", "pods")
        assert pods is not None, "pods are always served"
        return {("", "create"): binding_handler(Scope(server, pods, server.stores.of(pods)), resource)}
    if resource.plural == "componentstatuses":
        made = component_status_handlers(server, resource, server.component_checks)
        return {("", verb): handler for verb, handler in made.items()}
    review = review_handler(server, resource, server.rules)
    return {("", "create"): review} if review is not None else {}


def _deprecation(server: Server, resource: Resource) -> str:
    """The warning of a deprecated kind; empty for all others (k8s.io/apiserver `endpoints/deprecation`)."""
    of_kind = _DEPRECATED_MINOR.get((resource.group, resource.kind))
    since = of_kind or _minor(resource.deprecated)
    if not since or since > KUBERNETES_MINOR:
        return ""
    text = f"{resource.api_version} {resource.kind} is deprecated in v1.{since}+"
    if resource.removed:
        text += f", unavailable in v{resource.removed}+"
    successor = _SUCCESSORS.get((resource.group, resource.kind), "") if of_kind else _successor(server, resource)
    return f"{text}; use {successor}" if successor else text


def _successor(server: Server, resource: Resource) -> str:
    """The first version of the kind that is not deprecated."""
    scheme = server.codec.scheme
    group = scheme.group(resource.group)
    for info in group.versions if group is not None else ():
        other = scheme.resource_for_kind(resource.group, info.version, resource.kind)
        if other is not None and not 0 < _minor(other.deprecated) <= KUBERNETES_MINOR:
            return f"{other.api_version} {other.kind}"
    return ""


def _minor(version: str) -> int:
    """The minor of `1.37`; 0 when there is none."""
    return int(version.partition(".")[2] or 0)
