"""NamespaceLifecycle: nothing is created where there is no namespace, or in one that is going away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from apiserver.admission.interface import Attributes, Object, Operation, admission_forbidden
from apiserver.api.status import Cause, forbidden, not_found

__all__ = ["NamespaceLifecycle"]

IMMORTAL_NAMESPACES = frozenset({"default", "kube-system", "kube-public"})


class NamespaceLifecycle:
    """k8s.io/apiserver `admission/plugin/namespace/lifecycle`.

    Args:
        cached_namespace: the namespace from the watch cache, or None.
        live_namespace: the most recent state; asked only when the cache knows no such namespace.
    """

    name = "NamespaceLifecycle"

    def __init__(
        self,
        cached_namespace: Callable[[str], Awaitable[Object | None]],
        live_namespace: Callable[[str], Awaitable[Object | None]] | None = None,
    ) -> None:
        self._cached_namespace = cached_namespace
        self._live_namespace = live_namespace

    def handles(self, operation: Operation) -> bool:
        """See `AdmissionPlugin.handles`."""
        return operation in (Operation.CREATE, Operation.DELETE)

    async def admit(self, attributes: Attributes) -> None:
        """Refuses already here, before other plugins do work for nothing."""
        resource = attributes.resource
        is_namespace = attributes.kind[0] == "" and attributes.kind[2] == "Namespace"
        if is_namespace:
            if attributes.operation is Operation.DELETE and attributes.name in IMMORTAL_NAMESPACES:
                raise forbidden(resource.group, resource.plural, attributes.name, "this namespace may not be deleted")
            return
        if not attributes.namespace or attributes.operation is not Operation.CREATE:
            return
        if resource.group == "authorization.k8s.io" and resource.plural == "localsubjectaccessreviews":
            return  # an answer about the namespace would tell more than the review does
        name = attributes.namespace
        namespace = await self._cached_namespace(name)
        if namespace is None and self._live_namespace is not None:
            namespace = await self._live_namespace(name)
        if namespace is None:
            raise not_found("", "namespaces", name)
        if (namespace.get("status") or {}).get("phase") == "Terminating":
            error = admission_forbidden(
                attributes, f"unable to create new content in namespace {name} because it is being terminated"
            )
            cause = Cause("NamespaceTerminating", f"namespace {name} is being terminated", "metadata.namespace")
            error.causes = (cause,)
            raise error

    async def validate(self, attributes: Attributes) -> None:
        """Everything was said in `admit`."""
