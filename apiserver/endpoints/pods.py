"""What one can do with pods besides reading and writing them: bind them to a node, evict them, talk to them."""

from __future__ import annotations

from typing import Any

from apiserver.admission import Attributes, Operation
from apiserver.api.field_errors import FieldError, not_supported, required
from apiserver.api.metatime import format_time
from apiserver.api.scheme import Resource
from apiserver.api.status import StatusError, bad_request, conflict, success
from apiserver.codec import Kind
from apiserver.endpoints.creating import match_namespace
from apiserver.endpoints.decoding import decode_object
from apiserver.endpoints.negotiation import negotiate
from apiserver.endpoints.options import WriteOptions, write_options
from apiserver.endpoints.scope import MAX_BODY_BYTES, Scope
from apiserver.registry.interface import Object
from apiserver.request import Handler, Request, Response

__all__ = ["BINDING_KIND", "binding_handler", "connect_handler", "decode_named", "log_handler"]

BINDING_KIND: Kind = ("", "v1", "Binding")
KUBELET_PORT = 10250


async def decode_named(
    request: Request, scope: Scope, kind: Kind, resource: Resource
) -> tuple[Object, WriteOptions, Attributes]:
    """The body of a POST to a subresource, checked, and past mutating admission."""
    server = scope.server
    options = write_options(request, "CreateOptions")
    body = await request.read_body(MAX_BODY_BYTES)
    obj = decode_object(request, body, server.codec, kind, options)
    metadata = obj.setdefault("metadata", {})
    match_namespace(metadata, request.info.namespace, True)
    attributes = Attributes(
        operation=Operation.CREATE,
        resource=resource,
        kind=kind,
        namespace=request.info.namespace,
        name=request.info.name or metadata.get("name", ""),
        obj=obj,
        old=None,
        user=request.user,
        subresource=request.info.subresource,
        options=options.to_dict(),
        dry_run=options.dry_run,
        warn=request.warnings.append,
        annotations=request.annotations,
    )
    if server.admission.handles(Operation.CREATE):
        await server.admission.admit(attributes)
    return obj, options, attributes


def binding_handler(pods: Scope, resource: Resource) -> Handler:
    """POST of a Binding, to `pods/<name>/binding` or to the older `bindings`.

    Args:
        pods: the scope of pods, in either case.
        resource: what is posted to.
    """

    async def bind(request: Request) -> Response:
        media = negotiate(request)
        binding, options, attributes = await decode_named(request, pods, BINDING_KIND, resource)
        metadata = binding["metadata"]
        name = metadata.get("name", "")
        if request.info.name and name != request.info.name:
            raise bad_request("name in URL does not match name in Binding object")
        _check_target(binding.get("target") or {})
        if pods.server.admission.handles(Operation.CREATE):
            await pods.server.admission.validate(attributes)
        await _assign(pods, request.info.namespace, name, binding, options.dry_run)
        return pods.server.responder.object(request, media, pods.resource, 201, success(code=201))

    return bind


def _check_target(target: dict[str, Any]) -> None:
    """kube-apiserver does not make these errors into an Invalid status, and clients see a 500 without reason."""
    errors: list[FieldError] = []
    if target.get("kind", "") not in ("", "Node"):
        errors.append(not_supported("target.kind", target["kind"], ["Node", "<empty>"]))
    if not target.get("name"):
        errors.append(required("target.name"))
    if errors:
        texts = [str(error) for error in errors]
        raise StatusError(500, "", texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")


async def _assign(pods: Scope, namespace: str, name: str, binding: Object, dry_run: bool) -> None:
    """Set the node of a pod that has none, and say that it is scheduled."""
    node = binding["target"]["name"]
    metadata = binding["metadata"]
    now = format_time(int(pods.server.environment.clock.now()))

    def change(pod: Object, revision: int) -> Object:
        own = pod["metadata"]
        problem = _not_assignable(pod, own, metadata)
        if problem:
            raise conflict("", "pods/binding", name, problem)
        pod["spec"]["nodeName"] = node
        if metadata.get("annotations"):
            own.setdefault("annotations", {}).update(metadata["annotations"])
        if metadata.get("labels"):
            own.setdefault("labels", {}).update(metadata["labels"])
        _set_scheduled(pod, now)
        return pod

    store = pods.store
    key = store.key(namespace, name)
    if dry_run:
        stored = await store.storage.get(pods.resource, key)
        change(stored.object_copy(pods.resource), stored.revision)
        return
    await store.storage.update(pods.resource, key, change)


def _not_assignable(pod: Object, own: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Why a pod cannot be bound; empty when it can."""
    if wanted.get("uid") and wanted["uid"] != own.get("uid"):
        return f"Precondition failed: UID in precondition: {wanted['uid']}, UID in object meta: {own.get('uid', '')}"
    if wanted.get("resourceVersion") and wanted["resourceVersion"] != own.get("resourceVersion"):
        have = own.get("resourceVersion", "")
        return (
            f"Precondition failed: ResourceVersion in precondition: {wanted['resourceVersion']}, "
            f"ResourceVersion in object meta: {have}"
        )
    if own.get("deletionTimestamp"):
        return f"pod {own['name']} is being deleted, cannot be assigned to a host"
    if pod["spec"].get("nodeName"):
        return f'pod {own["name"]} is already assigned to node "{pod["spec"]["nodeName"]}"'
    if pod["spec"].get("schedulingGates"):
        return f"pod {own['name']} has non-empty .spec.schedulingGates"
    return ""


def _set_scheduled(pod: Object, now: str) -> None:
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    for condition in conditions:
        if condition.get("type") == "PodScheduled":
            if condition.get("status") != "True":
                condition.update(status="True", lastTransitionTime=now)
            condition.pop("reason", None)
            condition.pop("message", None)
            return
    conditions.append({"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now})


def log_handler(pods: Scope) -> Handler:
    """GET of a pod's log, which a kubelet would have."""

    async def log(request: Request) -> Response:
        pod = await _pod(pods, request)
        _check_container(pod, request.parameter("container"))
        if not pod["spec"].get("nodeName"):
            return Response(204, b"", "")
        raise await _no_kubelet(pods, pod)

    return log


def connect_handler(pods: Scope) -> Handler:
    """exec, attach and portforward, which a kubelet would serve."""

    async def connect(request: Request) -> Response:
        if request.query.get("dryRun"):
            raise bad_request("dryRun is not supported")
        pod = await _pod(pods, request)
        if request.info.subresource != "portforward":
            _check_container(pod, request.parameter("container"))
        if not pod["spec"].get("nodeName"):
            raise bad_request(f"pod {request.info.name} does not have a host assigned")
        raise await _no_kubelet(pods, pod)

    return connect


async def _pod(pods: Scope, request: Request) -> Object:
    stored = await pods.store.get(request.info.namespace, request.info.name)
    return stored.view(pods.resource)


def _check_container(pod: Object, container: str) -> None:
    spec = pod["spec"]
    name = pod["metadata"]["name"]
    names = [
        item["name"]
        for field in ("initContainers", "containers", "ephemeralContainers")
        for item in spec.get(field) or ()
    ]
    if container:
        if container not in names:
            raise bad_request(f"container {container} is not valid for pod {name}")
        return
    own = spec.get("containers") or []
    if len(own) == 0:
        raise bad_request(f"a container name must be specified for pod {name}")
    if len(own) > 1:
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]")


async def _no_kubelet(pods: Scope, pod: Object) -> StatusError:
    """What kube-apiserver answers when the node of a pod is unknown or cannot be reached."""
    name = pod["spec"]["nodeName"]
    node = await pods.server.reader.get("", "nodes", "", name)
    if node is None:
        return StatusError(404, "NotFound", f'nodes "{name}" not found', kind="nodes", name=name)
    addresses = (node.get("status") or {}).get("addresses") or []
    preferred = ("Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP")
    by_type = {address.get("type"): address.get("address", "") for address in reversed(addresses)}
    host = next((by_type[kind] for kind in preferred if by_type.get(kind)), "")
    if not host:
        return StatusError(500, "", f"no preferred addresses found; known addresses: {list(by_type.values())}")
    ports = ((node.get("status") or {}).get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
    port = ports.get("Port") or KUBELET_PORT
    return StatusError(500, "", f"error dialing backend: dial tcp {host}:{port}: connect: connection refused")
