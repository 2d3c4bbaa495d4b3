"""Which node has to do with which object (`plugin/pkg/auth/authorizer/node/graph.go`).

Everything leads to nodes: a pod to the node it is on, what the pod names to the nodes of all pods that name it, a
volume to those of its claim, a secret also to those of the volumes that need it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from apiserver.authz.node.references import (
    claims_of,
    config_maps_of,
    resource_claims_of,
    secrets_of,
    secrets_of_volume,
)

__all__ = ["NODE_RESOURCES", "NodeGraph"]

Object = dict[str, Any]
Vertex = tuple[str, str, str]
"""Resource, namespace and name."""

NODE_RESOURCES: Final = (
    ("", "pods"),
    ("", "persistentvolumes"),
    ("storage.k8s.io", "volumeattachments"),
    ("resource.k8s.io", "resourceslices"),
    ("certificates.k8s.io", "podcertificaterequests"),
)
MIRROR_POD: Final = "kubernetes.io/config.mirror"


class NodeGraph:
    """What is known, kept up to date by a `Follower`."""

    def __init__(self) -> None:
        # From a vertex to the nodes it leads to, with how many ways there are.
        self._nodes: dict[Vertex, Counter[str]] = {}
        # What each pod, attachment or slice has added, to take it away again.
        self._added: dict[Vertex, tuple[str, list[Vertex]]] = {}
        self._volumes: dict[str, tuple[Vertex | None, list[Vertex]]] = {}
        self._volumes_of_secret: dict[Vertex, set[str]] = {}

    def replace(self, resource: str, objects: Sequence[Object]) -> None:
        """See `Knowledge.replace`."""
        if resource == "persistentvolumes":
            for name in list(self._volumes):
                self._forget_volume(name)
        else:
            for vertex in [vertex for vertex in self._added if vertex[0] == resource]:
                self._forget(vertex)
        for obj in objects:
            self.apply(resource, obj, gone=False)

    def apply(self, resource: str, obj: Object, gone: bool) -> None:
        """See `Knowledge.apply`."""
        metadata = obj["metadata"]
        vertex = (resource, metadata.get("namespace", ""), metadata["name"])
        if resource == "persistentvolumes":
            self._forget_volume(vertex[2])
            if not gone:
                self._add_volume(obj)
            return
        self._forget(vertex)
        if gone:
            return
        node = (obj.get("spec") or {}).get("nodeName") or ""
        if node:
            self._add(vertex, node, _named_by(obj) if resource == "pods" else [])

    def leads(self, vertex: Vertex, node: str) -> bool:
        """Whether an object has to do with a node."""
        if self._direct(vertex, node):
            return True
        if vertex[0] == "persistentvolumes":
            claim, _ = self._volumes.get(vertex[2], (None, []))
            return claim is not None and self._direct(claim, node)
        for volume in self._volumes_of_secret.get(vertex, ()):
            claim, _ = self._volumes[volume]
            if claim is not None and self._direct(claim, node):
                return True
        return False

    def _direct(self, vertex: Vertex, node: str) -> bool:
        nodes = self._nodes.get(vertex)
        return nodes is not None and node in nodes

    def _add(self, vertex: Vertex, node: str, named: list[Vertex]) -> None:
        self._added[vertex] = (node, named)
        for each in (vertex, *named):
            self._nodes.setdefault(each, Counter())[node] += 1

    def _forget(self, vertex: Vertex) -> None:
        node, named = self._added.pop(vertex, ("", []))
        if not node:
            return
        for each in (vertex, *named):
            nodes = self._nodes[each]
            nodes[node] -= 1
            if not nodes[node]:
                del nodes[node]
            if not nodes:
                del self._nodes[each]

    def _add_volume(self, volume: Object) -> None:
        name = volume["metadata"]["name"]
        reference = (volume.get("spec") or {}).get("claimRef")
        if not reference:
            return
        claim = ("persistentvolumeclaims", reference.get("namespace", ""), reference.get("name", ""))
        secrets = [("secrets", *secret) for secret in secrets_of_volume(volume)]
        self._volumes[name] = (claim, secrets)
        for secret in secrets:
            self._volumes_of_secret.setdefault(secret, set()).add(name)

    def _forget_volume(self, name: str) -> None:
        _, secrets = self._volumes.pop(name, (None, []))
        for secret in set(secrets):
            names = self._volumes_of_secret[secret]
            names.discard(name)
            if not names:
                del self._volumes_of_secret[secret]


def _named_by(pod: Object) -> list[Vertex]:
    """What a pod refers to. A mirror pod, which its node itself makes, gives access to nothing."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    if MIRROR_POD in (metadata.get("annotations") or {}):
        return []
    namespace = metadata.get("namespace", "")
    groups = (
        ("serviceaccounts", [spec.get("serviceAccountName", "")]),
        ("secrets", secrets_of(pod)),
        ("configmaps", config_maps_of(pod)),
        ("persistentvolumeclaims", claims_of(pod)),
        ("resourceclaims", resource_claims_of(pod)),
    )
    return [(resource, namespace, name) for resource, names in groups for name in dict.fromkeys(names) if name]
