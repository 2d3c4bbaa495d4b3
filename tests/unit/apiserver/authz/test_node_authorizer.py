"""What a kubelet may do, by what is on its node."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.app.bootstrap_rbac import node_rules
from apiserver.authz import Decision
from apiserver.authz.node import NodeAuthorizer, NodeGraph
from apiserver.request import UserInfo
from tests.unit.apiserver.authz.worlds import question

NODE1 = UserInfo("system:node:n1", groups=("system:nodes", "system:authenticated"))
NODE2 = UserInfo("system:node:n2", groups=("system:nodes",))

POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "ns"},
    "spec": {
        "nodeName": "n1",
        "serviceAccountName": "sa",
        "imagePullSecrets": [{"name": "pull"}],
        "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "init-secret"}}]}],
        "containers": [
            {
                "name": "c",
                "envFrom": [{"configMapRef": {"name": "env-map"}}],
                "env": [
                    {"name": "A", "value": "b"},
                    {"name": "S", "valueFrom": {"secretKeyRef": {"name": "env-secret", "key": "k"}}},
                    {"name": "M", "valueFrom": {"configMapKeyRef": {"name": "key-map", "key": "k"}}},
                ],
            }
        ],
        "volumes": [
            {"name": "a", "secret": {"secretName": "volume-secret"}},
            {"name": "b", "configMap": {"name": "volume-map"}},
            {"name": "c", "projected": {"sources": [{"secret": {"name": "ps"}}, {"configMap": {"name": "pm"}}]}},
            {"name": "d", "persistentVolumeClaim": {"claimName": "claim"}},
            {"name": "e", "ephemeral": {"volumeClaimTemplate": {}}},
            {"name": "f", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "csi-secret"}}},
            {"name": "g", "azureFile": {"secretName": "azure"}},
        ],
        "resourceClaims": [{"name": "x", "resourceClaimName": "gpu"}, {"name": "y", "resourceClaimTemplateName": "t"}],
    },
    "status": {"resourceClaimStatuses": [{"name": "y", "resourceClaimName": "made"}]},
}
MIRROR = {
    "metadata": {"name": "m", "namespace": "ns", "annotations": {"kubernetes.io/config.mirror": "x"}},
    "spec": {"nodeName": "n1", "volumes": [{"name": "a", "secret": {"secretName": "stolen"}}]},
}
PENDING = {
    "metadata": {"name": "pending", "namespace": "ns"},
    "spec": {"volumes": [{"name": "a", "secret": {"secretName": "later"}}]},
}
VOLUME = {
    "metadata": {"name": "pv"},
    "spec": {
        "claimRef": {"namespace": "ns", "name": "claim"},
        "csi": {
            "driver": "d",
            "nodeStageSecretRef": {"namespace": "storage", "name": "stage"},
            "controllerPublishSecretRef": {"namespace": "storage", "name": "controller"},
        },
    },
}
OTHER_VOLUME = {"metadata": {"name": "pv2"}, "spec": {"claimRef": {"namespace": "ns", "name": "other"}}}
ATTACHMENT = {"metadata": {"name": "va"}, "spec": {"nodeName": "n1"}}
SLICE = {"metadata": {"name": "slice"}, "spec": {"nodeName": "n1"}}
CERTIFICATE = {"metadata": {"name": "pcr", "namespace": "ns"}, "spec": {"nodeName": "n1"}}


@pytest.fixture
def graph() -> NodeGraph:
    made = NodeGraph()
    made.replace("pods", [POD, MIRROR, PENDING])
    made.replace("persistentvolumes", [VOLUME, OTHER_VOLUME])
    made.replace("volumeattachments", [ATTACHMENT])
    made.replace("resourceslices", [SLICE])
    made.replace("podcertificaterequests", [CERTIFICATE])
    return made


NO_RELATION = "no relationship found between node 'n1' and this object"
ONLY_GET = "can only get individual resources of this type"
LEASES = "leases.coordination.k8s.io"
CASES = [
    # question, None when allowed, else the reason
    *((f"get secrets ns/{name}", None) for name in ("pull", "init-secret", "env-secret", "volume-secret", "ps")),
    *((f"get secrets ns/{name}", None) for name in ("csi-secret", "azure")),
    *((f"get configmaps ns/{name}", None) for name in ("env-map", "key-map", "volume-map", "pm")),
    ("list secrets ns/pull", None),
    ("watch secrets ns/pull", None),
    ("get secrets storage/stage", None),
    ("get secrets storage/controller", NO_RELATION),
    ("get secrets other/pull", NO_RELATION),
    ("get secrets ns/stolen", NO_RELATION),
    ("get secrets ns/later", NO_RELATION),
    ("get secrets ns/unknown", NO_RELATION),
    ("list secrets ns", "No Object name found"),
    ("list secrets", "can only read namespaced object of this type"),
    ("get secrets/x ns/pull", "cannot read subresource"),
    ("update secrets ns/pull", "can only read resources of this type"),
    ("create configmaps ns", "can only read resources of this type"),
    ("get persistentvolumeclaims ns/claim", None),
    ("get persistentvolumeclaims ns/p-e", None),
    ("get persistentvolumeclaims ns/other", NO_RELATION),
    ("list persistentvolumeclaims ns", ONLY_GET),
    ("patch persistentvolumeclaims/status ns/claim", None),
    ("patch persistentvolumeclaims/status ns/other", NO_RELATION),
    ("get persistentvolumeclaims/status ns/claim", "can only get/update/patch this type"),
    ("get persistentvolumes -/pv", None),
    ("get persistentvolumes -/pv2", NO_RELATION),
    ("list persistentvolumes", ONLY_GET),
    ("get persistentvolumes/status -/pv", "cannot get subresource"),
    ("get volumeattachments.storage.k8s.io -/va", None),
    ("get volumeattachments.storage.k8s.io -/vb", NO_RELATION),
    ("get resourceclaims.resource.k8s.io ns/gpu", None),
    ("get resourceclaims.resource.k8s.io ns/made", None),
    ("get resourceclaims.resource.k8s.io ns/t", NO_RELATION),
    ("create serviceaccounts/token ns/sa", None),
    ("create serviceaccounts/token ns/other", NO_RELATION),
    ("create serviceaccounts ns/sa", "can only create token subresource of serviceaccount"),
    ("create serviceaccounts/token ns", "can only create tokens for individual service accounts"),
    ("get serviceaccounts ns/sa", None),
    ("get serviceaccounts ns/other", NO_RELATION),
    (f"get {LEASES} kube-node-lease/n1", None),
    (f"update {LEASES} kube-node-lease/n1", None),
    (f"create {LEASES} kube-node-lease", None),
    (f"get {LEASES} kube-node-lease/n2", "can only access node lease with the same name as the requesting node"),
    (f"get {LEASES} ns/n1", 'can only access leases in the "kube-node-lease" system namespace'),
    (f"list {LEASES} kube-node-lease", "can only get, create, update, patch, or delete a node lease"),
    ("patch csinodes.storage.k8s.io -/n1", None),
    ("create csinodes.storage.k8s.io", None),
    ("get csinodes.storage.k8s.io -/n2", "can only access CSINode with the same name as the requesting node"),
    ("list csinodes.storage.k8s.io", "can only get, create, update, patch, or delete a CSINode"),
    ("get csinodes.storage.k8s.io/status -/n1", "cannot authorize CSINode subresources"),
    ("get nodes -/n1", None),
    ("create nodes", None),
    ("patch nodes/status -/n1", None),
    ("get nodes -/n2", "node 'n1' cannot read 'n2', only its own Node object"),
    ("list nodes", "node 'n1' cannot read all nodes, only its own Node object"),
    ("delete nodes -/n1", ""),
    ("get nodes/proxy -/n1", ""),
    ("get pods ns/p", None),
    ("get pods ns/m", None),
    ("get pods ns/pending", NO_RELATION),
    ("list pods", "can only list/watch pods with spec.nodeName field selector"),
    ("list pods ns", "can only list/watch pods with spec.nodeName field selector"),
    ("create pods ns", None),
    ("delete pods ns/p", None),
    ("update pods ns/p", ""),
    ("patch pods/status ns/p", None),
    ("create pods/eviction ns/p", None),
    ("create pods/exec ns/p", ""),
    ("get pods/log ns/p", ""),
    ("create resourceslices.resource.k8s.io", None),
    ("get resourceslices.resource.k8s.io -/slice", None),
    ("get resourceslices.resource.k8s.io -/other", NO_RELATION),
    ("create podcertificaterequests.certificates.k8s.io ns", None),
    ("get podcertificaterequests.certificates.k8s.io ns/pcr", None),
    ("get podcertificaterequests.certificates.k8s.io ns/other", NO_RELATION),
    ("list services", None),
    ("get endpoints ns/e", None),
    ("create events ns", None),
    ("create tokenreviews.authentication.k8s.io", None),
    ("create subjectaccessreviews.authorization.k8s.io", None),
    ("watch runtimeclasses.node.k8s.io", None),
    ("list clustertrustbundles.certificates.k8s.io", None),
    ("get deployments.apps ns/d", ""),
    ("list namespaces", ""),
    ("create rolebindings.rbac.authorization.k8s.io ns", ""),
    ("get /metrics", ""),
]


@pytest.mark.parametrize(("words", "reason"), CASES)
async def test_a_node(graph: NodeGraph, words: str, reason: str | None) -> None:
    expected = (Decision.ALLOW, "") if reason is None else (Decision.NO_OPINION, reason)
    assert await NodeAuthorizer(graph, node_rules()).authorize(question(NODE1, words)) == expected


async def test_another_node_sees_none_of_it(graph: NodeGraph) -> None:
    authorizer = NodeAuthorizer(graph, node_rules())
    text = "no relationship found between node 'n2' and this object"
    related = (
        "secrets ns/pull",
        "configmaps ns/env-map",
        "persistentvolumes -/pv",
        "secrets storage/stage",
        "pods ns/p",
    )
    for what in related:
        assert await authorizer.authorize(question(NODE2, f"get {what}")) == (Decision.NO_OPINION, text)


@pytest.mark.parametrize(
    ("words", "selector", "allowed"),
    [
        ("list pods", "spec.nodeName=n1", True),
        ("watch pods", "status.phase!=Failed,spec.nodeName=n1", True),
        ("list pods", "spec.nodeName=n2", False),
        ("list pods", "spec.nodeName!=n1", False),
        ("list pods", "spec.nodeName", False),
        ("list resourceslices.resource.k8s.io", "spec.nodeName=n1", True),
        ("deletecollection resourceslices.resource.k8s.io", "spec.nodeName=n2", False),
        ("watch podcertificaterequests.certificates.k8s.io", "spec.nodeName=n1", True),
        ("watch podcertificaterequests.certificates.k8s.io", "", False),
    ],
)
async def test_selectors_narrow(graph: NodeGraph, words: str, selector: str, allowed: bool) -> None:
    asked = question(NODE1, words)
    asked.field_selector = selector
    decision, _ = await NodeAuthorizer(graph, node_rules()).authorize(asked)
    assert (decision is Decision.ALLOW) is allowed


async def test_who_is_no_node(graph: NodeGraph) -> None:
    authorizer = NodeAuthorizer(graph, node_rules())
    for user in (UserInfo("system:node:n1"), UserInfo("n1", groups=("system:nodes",)), UserInfo("jane")):
        assert await authorizer.authorize(question(user, "get secrets ns/pull")) == (Decision.NO_OPINION, "")
        assert await authorizer.rules_for(user, "ns") == ([], [], False, "")
    nameless = UserInfo("system:node:", groups=("system:nodes",))
    decision, reason = await authorizer.authorize(question(nameless, "get secrets ns/pull"))
    assert (decision, reason) == (Decision.NO_OPINION, 'unknown node for user "system:node:"')
    assert (await authorizer.rules_for(NODE1, "ns"))[2:] == (
        True,
        "node authorizer does not support user rule resolution",
    )


async def test_rights_go_with_the_pod(graph: NodeGraph) -> None:
    authorizer = NodeAuthorizer(graph, node_rules())

    async def sees(user: UserInfo, what: str) -> bool:
        return (await authorizer.authorize(question(user, f"get {what}")))[0] is Decision.ALLOW

    moved = {"metadata": {"name": "q", "namespace": "ns"}, "spec": {**POD["spec"], "nodeName": "n2"}}
    graph.apply("pods", moved, gone=False)
    assert await sees(NODE2, "secrets ns/pull")
    assert await sees(NODE2, "persistentvolumes -/pv")
    graph.apply("pods", POD, gone=True)
    assert not await sees(NODE1, "secrets ns/pull")
    assert not await sees(NODE1, "persistentvolumes -/pv")
    assert not await sees(NODE1, "secrets storage/stage")
    assert await sees(NODE2, "secrets storage/stage")
    graph.apply("persistentvolumes", VOLUME, gone=True)
    assert not await sees(NODE2, "secrets storage/stage")
    graph.replace("pods", [])
    assert not await sees(NODE2, "secrets ns/pull")
    assert graph._nodes.keys() == {
        ("volumeattachments", "", "va"),
        ("resourceslices", "", "slice"),
        ("podcertificaterequests", "ns", "pcr"),
    }
