"""The operations on a resource, as data: what can be done at which path, with which parameters and bodies.

Both OpenAPI dialects are written from this list, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from apiserver.api.scheme import Resource, Scheme, Subresource, UnknownKindError
from apiserver.endpoints.openapi.names import camel_group_version, document_name

__all__ = ["PATCH_TYPES", "Operation", "Parameter", "operations_of"]

PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)

# Without a schema compiled in there is no strategy to merge by.
_PATCH_TYPES_OF_CUSTOM_RESOURCES = PATCH_TYPES[:3]

_META = "k8s.io.apimachinery.pkg.apis.meta.v1."
_STATUS = _META + "Status"
_DELETE_OPTIONS = _META + "DeleteOptions"
_PATCH = _META + "Patch"

# Subresources that hand the connection through to the kubelet or the workload; their kind holds query parameters.
_CONNECT_KINDS = frozenset(
    {
        "NodeProxyOptions",
        "PodAttachOptions",
        "PodExecOptions",
        "PodPortForwardOptions",
        "PodProxyOptions",
        "ServiceProxyOptions",
    }
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query or path parameter; `type` as OpenAPI has it."""

    name: str
    type: str = "string"
    location: str = "query"

    @property
    def required(self) -> bool:
        """Path parameters are, query parameters are not."""
        return self.location == "path"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method at one path.

    Attributes:
        action: what it does, e.g. `list` (`x-kubernetes-action`).
        group, version, kind: what it does it to (`x-kubernetes-group-version-kind`).
        parameters: of the method; `path_parameters` belong to all methods of the path.
        request, response: type names; an empty response is text.
        statuses: HTTP status codes of success.
        streams: whether `;stream=watch` forms of the media types are there too.
    """

    method: str
    path: str
    action: str
    operation_id: str
    group: str
    version: str
    kind: str
    parameters: tuple[Parameter, ...] = ()
    path_parameters: tuple[Parameter, ...] = ()
    request: str = ""
    response: str = ""
    statuses: tuple[int, ...] = (200,)
    streams: bool = False
    consumes: tuple[str, ...] = field(default=("*/*",))


def _parameters(names: str, **types: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, types.get(name, "string")) for name in names.split())


_PRETTY = Parameter("pretty")
_NAME = Parameter("name", location="path")
_NAMESPACE = Parameter("namespace", location="path")
_REST_OF_PATH = Parameter("path", location="path")

_WRITE = _parameters("dryRun fieldManager fieldValidation")
_PATCH_PARAMETERS = (*_WRITE, Parameter("force", "boolean"))
_SELECT = _parameters(
    "continue fieldSelector labelSelector limit resourceVersion resourceVersionMatch sendInitialEvents timeoutSeconds",
    limit="integer",
    sendInitialEvents="boolean",
    timeoutSeconds="integer",
)
_LIST = (*_SELECT, Parameter("allowWatchBookmarks", "boolean"), Parameter("watch", "boolean"))
_DELETE = _parameters(
    "dryRun gracePeriodSeconds ignoreStoreReadErrorWithClusterBreakingPotential orphanDependents propagationPolicy",
    gracePeriodSeconds="integer",
    ignoreStoreReadErrorWithClusterBreakingPotential="boolean",
    orphanDependents="boolean",
)

_SCALAR_TYPES = {"string": "string", "bool": "boolean", "int32": "integer", "int64": "integer"}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where operations happen, and what they are called after."""

    resource: Resource
    path: str
    id_tail: str
    path_parameters: tuple[Parameter, ...]
    group: str
    version: str
    kind: str
    type_name: str

    def operation(
        self,
        method: str,
        action: str,
        verb: str,
        *,
        parameters: tuple[Parameter, ...] = (),
        request: str = "",
        response: str | None = None,
        statuses: tuple[int, ...] = (200,),
        streams: bool = False,
        consumes: tuple[str, ...] = ("*/*",),
        infix: str = "",
    ) -> Operation:
        prefix = verb + camel_group_version(self.resource.group, self.resource.version)
        return Operation(
            method,
            self.path,
            action,
            f"{prefix}{infix}{self.id_tail}",
            self.group,
            self.version,
            self.kind,
            parameters,
            self.path_parameters,
            request,
            self.type_name if response is None else response,
            statuses,
            streams,
            consumes,
        )


def operations_of(scheme: Scheme, resource: Resource) -> Iterator[Operation]:
    """All operations on a resource and its subresources."""
    root = "/" + document_name(resource.group, resource.version)
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    parameters = (_NAMESPACE, _PRETTY) if resource.namespaced else (_PRETTY,)
    infix = "Namespaced" if resource.namespaced else ""
    collection = f"{root}{scope}/{resource.plural}"
    key = (resource.group, resource.version, resource.kind, resource.type_name)
    yield from _on_collection(_Place(resource, collection, infix + resource.kind, parameters, *key))
    if resource.namespaced and "list" in resource.verbs:
        everywhere = _Place(resource, f"{root}/{resource.plural}", f"{resource.kind}ForAllNamespaces", (_PRETTY,), *key)
        yield _list(everywhere)
    item = f"{collection}/{{name}}"
    yield from _on_item(_Place(resource, item, infix + resource.kind, (_NAME, *parameters), *key), resource.verbs)
    for sub in resource.subresources:
        yield from _on_subresource(scheme, resource, sub, item, infix, (_NAME, *parameters))


def _list_type(resource: Resource) -> str:
    return f"{resource.type_name.rpartition('.')[0]}.{resource.list_kind}"


def _list(place: _Place) -> Operation:
    response = _list_type(place.resource)
    return place.operation("get", "list", "list", parameters=_LIST, response=response, streams=True)


def _on_collection(place: _Place) -> Iterator[Operation]:
    verbs = place.resource.verbs
    if "list" in verbs:
        yield _list(place)
    if "create" in verbs:
        yield _create(place)
    if "deletecollection" in verbs:
        yield place.operation(
            "delete",
            "deletecollection",
            "delete",
            parameters=(*_SELECT, *_DELETE),
            request=_DELETE_OPTIONS,
            response=_STATUS,
            infix="Collection",
        )


def _is_built_in(resource: Resource) -> bool:
    return resource.type_name.startswith("k8s.io.")


def _create(place: _Place) -> Operation:
    statuses = (200, 201, 202)
    return place.operation("post", "post", "create", parameters=_WRITE, request=place.type_name, statuses=statuses)


def _on_item(place: _Place, verbs: tuple[str, ...]) -> Iterator[Operation]:
    if "get" in verbs:
        yield place.operation("get", "get", "read")
    if "update" in verbs:
        yield place.operation("put", "put", "replace", parameters=_WRITE, request=place.type_name, statuses=(200, 201))
    if "patch" in verbs:
        yield place.operation(
            "patch",
            "patch",
            "patch",
            parameters=_PATCH_PARAMETERS,
            request=_PATCH,
            statuses=(200, 201),
            consumes=PATCH_TYPES if _is_built_in(place.resource) else _PATCH_TYPES_OF_CUSTOM_RESOURCES,
        )
    if "delete" in verbs:
        yield place.operation(
            "delete",
            "delete",
            "delete",
            parameters=_DELETE,
            request=_DELETE_OPTIONS,
            response=_STATUS,
            statuses=(200, 202),
        )


def _on_subresource(
    scheme: Scheme,
    resource: Resource,
    sub: Subresource,
    item: str,
    infix: str,
    parameters: tuple[Parameter, ...],
) -> Iterator[Operation]:
    group, version = (sub.group, sub.version) if sub.version else (resource.group, resource.version)
    id_tail = f"{infix}{resource.kind}{sub.name[:1].upper()}{sub.name[1:]}"
    try:
        type_name = scheme.type_of(group, version, sub.kind).name
    except UnknownKindError:
        type_name = resource.type_name
    place = _Place(resource, f"{item}/{sub.name}", id_tail, parameters, group, version, sub.kind, type_name)
    if sub.kind in _CONNECT_KINDS:
        yield from _connect(scheme, place, sub)
        return
    if sub.name == "log":
        log_options = _option_parameters(scheme, "PodLogOptions")
        yield place.operation("get", "get", "read", parameters=log_options, response="")
        return
    if "create" in sub.verbs:
        yield _create(place)
    yield from _on_item(place, sub.verbs)


_CONNECT_METHODS = {"create": "post", "delete": "delete", "get": "get", "patch": "patch", "update": "put"}


def _connect(scheme: Scheme, place: _Place, sub: Subresource) -> Iterator[Operation]:
    options = _option_parameters(scheme, sub.kind)
    places = [place]
    if sub.name == "proxy":
        places.append(
            _Place(
                place.resource,
                place.path + "/{path}",
                place.id_tail + "WithPath",
                (*place.path_parameters, _REST_OF_PATH),
                place.group,
                place.version,
                place.kind,
                place.type_name,
            )
        )
    for where in places:
        for verb in sub.verbs:
            method = _CONNECT_METHODS[verb]
            infix = method.capitalize()
            yield where.operation(method, "connect", "connect", parameters=options, response="", infix=infix)


def _option_parameters(scheme: Scheme, kind: str) -> tuple[Parameter, ...]:
    """The fields of an options kind of the core group, as query parameters."""
    fields = scheme.type_of("", "v1", kind).by_json_name
    return tuple(
        Parameter(name, _SCALAR_TYPES[option.type_name])
        for name, option in sorted(fields.items())
        if option.type_name in _SCALAR_TYPES and name not in ("apiVersion", "kind")
    )
