"""The Node authorizer (`plugin/pkg/auth/authorizer/node/node_authorizer.go`).

A kubelet is `system:node:<name>` in the group `system:nodes`. It sees its node, the pods on it and what they refer to;
what belongs to all nodes alike it may do by the rules of the ClusterRole `system:node`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from apiserver.api.field_selectors import parse_field_selector
from apiserver.api.status import StatusError
from apiserver.authz.interface import Attributes, Decision, NonResourceRule, ResourceRule
from apiserver.authz.node.graph import NodeGraph
from apiserver.authz.rbac.rules import Rule, rules_allow
from apiserver.request import UserInfo

__all__ = ["NODES_GROUP", "NodeAuthorizer", "node_name_of"]

NODES_GROUP: Final = "system:nodes"
NODE_USER_PREFIX: Final = "system:node:"
NODE_LEASES: Final = "kube-node-lease"

Answer = tuple[Decision, str]
_YES: Final[Answer] = (Decision.ALLOW, "")
_NO: Final[Answer] = (Decision.NO_OPINION, "")


def node_name_of(user: UserInfo) -> str | None:
    """The node a user is; empty when it does not say which; None for everybody else."""
    if not user.name.startswith(NODE_USER_PREFIX) or NODES_GROUP not in user.groups:
        return None
    return user.name.removeprefix(NODE_USER_PREFIX)


def _no(reason: str) -> Answer:
    return Decision.NO_OPINION, reason


class NodeAuthorizer:
    """Decides about kubelets, and has no opinion of anybody else.

    Args:
        rules: what every node may do where access is not divided up.
    """

    def __init__(self, graph: NodeGraph, rules: Sequence[Rule]) -> None:
        self._graph = graph
        self._rules = tuple(rules)
        self._special: dict[tuple[str, str], Callable[[str, Attributes], Answer]] = {
            ("", "secrets"): self._read,
            ("", "configmaps"): self._read,
            ("", "persistentvolumeclaims"): self._claim,
            ("", "persistentvolumes"): self._get,
            ("", "serviceaccounts"): self._service_account,
            ("", "nodes"): self._node,
            ("", "pods"): self._pod,
            ("resource.k8s.io", "resourceclaims"): self._get,
            ("resource.k8s.io", "resourceslices"): self._slice,
            ("storage.k8s.io", "volumeattachments"): self._get,
            ("storage.k8s.io", "csinodes"): self._csi_node,
            ("coordination.k8s.io", "leases"): self._lease,
            ("certificates.k8s.io", "podcertificaterequests"): self._certificate_request,
        }

    async def authorize(self, attributes: Attributes) -> Answer:
        """See `Authorizer.authorize`."""
        node = node_name_of(attributes.user)
        if node is None:
            return _NO
        if not node:
            return _no(f'unknown node for user "{attributes.user.name}"')
        if attributes.is_resource_request:
            special = self._special.get((attributes.api_group, attributes.resource))
            if special is not None:
                return special(node, attributes)
        return _YES if rules_allow(self._rules, attributes) else _NO

    async def rules_for(
        self, user: UserInfo, namespace: str
    ) -> tuple[Sequence[ResourceRule], Sequence[NonResourceRule], bool, str]:
        """See `RuleResolver.rules_for`: the rights of nodes cannot be listed."""
        if node_name_of(user) is None:
            return [], [], False, ""
        return [], [], True, "node authorizer does not support user rule resolution"

    # By relation.

    def _related(self, node: str, asked: Attributes) -> Answer:
        if not asked.name:
            return _no("No Object name found")
        if self._graph.leads((asked.resource, asked.namespace, asked.name), node):
            return _YES
        return _no(f"no relationship found between node '{node}' and this object")

    def _read(self, node: str, asked: Attributes) -> Answer:
        if asked.verb not in ("get", "list", "watch"):
            return _no("can only read resources of this type")
        if asked.subresource:
            return _no("cannot read subresource")
        if not asked.namespace:
            return _no("can only read namespaced object of this type")
        return self._related(node, asked)

    def _get(self, node: str, asked: Attributes) -> Answer:
        if asked.verb != "get":
            return _no("can only get individual resources of this type")
        if asked.subresource:
            return _no("cannot get subresource")
        return self._related(node, asked)

    def _claim(self, node: str, asked: Attributes) -> Answer:
        if asked.subresource != "status":
            return self._get(node, asked)
        if asked.verb not in ("update", "patch"):
            return _no("can only get/update/patch this type")
        return self._related(node, asked)

    def _service_account(self, node: str, asked: Attributes) -> Answer:
        if asked.verb == "get" and not asked.subresource:
            return self._read(node, asked)
        if asked.verb != "create" or not asked.name:
            return _no("can only create tokens for individual service accounts")
        if asked.subresource != "token":
            return _no("can only create token subresource of serviceaccount")
        return self._related(node, asked)

    # By name. A name is not known on creation; the NodeRestriction plugin looks at it then.

    def _lease(self, node: str, asked: Attributes) -> Answer:
        if asked.verb not in ("get", "create", "update", "patch", "delete"):
            return _no("can only get, create, update, patch, or delete a node lease")
        if asked.namespace != NODE_LEASES:
            return _no(f'can only access leases in the "{NODE_LEASES}" system namespace')
        if asked.verb != "create" and asked.name != node:
            return _no("can only access node lease with the same name as the requesting node")
        return _YES

    def _csi_node(self, node: str, asked: Attributes) -> Answer:
        if asked.verb not in ("get", "create", "update", "patch", "delete"):
            return _no("can only get, create, update, patch, or delete a CSINode")
        if asked.subresource:
            return _no("cannot authorize CSINode subresources")
        if asked.verb != "create" and asked.name != node:
            return _no("can only access CSINode with the same name as the requesting node")
        return _YES

    def _node(self, node: str, asked: Attributes) -> Answer:
        if asked.subresource == "status":
            return _YES if asked.verb in ("update", "patch") else _NO
        if asked.subresource:
            return _NO
        if asked.verb in ("create", "update", "patch"):
            return _YES
        if asked.verb not in ("get", "list", "watch"):
            return _NO
        if asked.name == node:
            return _YES
        if not asked.name:
            return _no(f"node '{node}' cannot read all nodes, only its own Node object")
        return _no(f"node '{node}' cannot read '{asked.name}', only its own Node object")

    # By selector.

    def _slice(self, node: str, asked: Attributes) -> Answer:
        if asked.subresource:
            return _no("cannot authorize ResourceSlice subresources")
        if asked.verb == "create":
            return _YES
        if asked.verb in ("get", "update", "patch", "delete"):
            return self._related(node, asked)
        if asked.verb in ("watch", "list", "deletecollection"):
            if _selects(asked, "nodeName", node) or _selects(asked, "spec.nodeName", node):
                return _YES
            return _no("can only list/watch/deletecollection resourceslices with nodeName field selector")
        return _no(
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, "
            "delete, deletecollection"
        )

    def _pod(self, node: str, asked: Attributes) -> Answer:
        match asked.subresource, asked.verb:
            case "", "get":
                return self._get(node, asked)
            case "", "list" | "watch":
                if _selects(asked, "spec.nodeName", node):
                    return _YES
                if asked.name:
                    return self._related(node, asked)
                return _no("can only list/watch pods with spec.nodeName field selector")
            case ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create"):
                return _YES
        return _NO

    def _certificate_request(self, node: str, asked: Attributes) -> Answer:
        if asked.subresource:
            return _no("nodes may not access the status subresource of PodCertificateRequests")
        match asked.verb:
            case "create":
                return _YES
            case "get":
                return self._related(node, asked)
            case "list" | "watch":
                if _selects(asked, "spec.nodeName", node):
                    return _YES
                return _no("can only list/watch podcertificaterequests with nodeName field selector")
        return _NO


def _selects(asked: Attributes, field: str, value: str) -> bool:
    """Whether the request is narrowed to one value of a field."""
    if not asked.field_selector:
        return False
    try:
        return parse_field_selector(asked.field_selector).exact(field) == value
    except StatusError:
        return False
