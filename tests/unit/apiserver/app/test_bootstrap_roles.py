"""The bootstrap roles and bindings against what is known of Kubernetes 1.37: every name, and the rules that matter."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.app.bootstrap_rbac import bootstrap_objects, node_rules
from apiserver.authz.rbac import rules_allow
from apiserver.request import UserInfo
from tests.unit.apiserver.authz.worlds import question

OBJECTS = bootstrap_objects()
SOMEBODY = UserInfo("x")
CLUSTER_ROLES = [
    "admin",
    "cluster-admin",
    "edit",
    "view",
    "system:aggregate-to-admin",
    "system:aggregate-to-edit",
    "system:aggregate-to-view",
    "system:auth-delegator",
    "system:basic-user",
    "system:cluster-trust-bundle-discovery",
    "system:discovery",
    "system:heapster",
    "system:kube-aggregator",
    "system:kube-controller-manager",
    "system:kube-dns",
    "system:kube-scheduler",
    "system:kubelet-api-admin",
    "system:monitoring",
    "system:node",
    "system:node-bootstrapper",
    "system:node-problem-detector",
    "system:node-proxier",
    "system:persistent-volume-provisioner",
    "system:public-info-viewer",
    "system:service-account-issuer-discovery",
    "system:volume-scheduler",
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
    "system:certificates.k8s.io:kube-apiserver-client-approver",
    "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
    "system:certificates.k8s.io:kubelet-serving-approver",
    "system:certificates.k8s.io:legacy-unknown-approver",
]
CONTROLLERS = [
    "attachdetach-controller",
    "certificate-controller",
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemon-set-controller",
    "deployment-controller",
    "device-taint-eviction-controller",
    "disruption-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "endpointslicemirroring-controller",
    "ephemeral-volume-controller",
    "expand-controller",
    "generic-garbage-collector",
    "horizontal-pod-autoscaler",
    "job-controller",
    "kube-apiserver-serving-clustertrustbundle-publisher",
    "legacy-service-account-token-cleaner",
    "namespace-controller",
    "node-controller",
    "persistent-volume-binder",
    "pod-garbage-collector",
    "podcertificaterequestcleaner",
    "pv-protection-controller",
    "pvc-protection-controller",
    "replicaset-controller",
    "replication-controller",
    "resource-claim-controller",
    "resourcequota-controller",
    "root-ca-cert-publisher",
    "route-controller",
    "selinux-warning-controller",
    "service-account-controller",
    "service-cidrs-controller",
    "service-controller",
    "statefulset-controller",
    "storage-version-migrator-controller",
    "ttl-after-finished-controller",
    "ttl-controller",
    "validatingadmissionpolicy-status-controller",
    "volumeattributesclass-protection-controller",
]
SUBJECTS = {
    "cluster-admin": ["Group system:masters"],
    "system:basic-user": ["Group system:authenticated"],
    "system:cluster-trust-bundle-discovery": ["Group system:serviceaccounts"],
    "system:discovery": ["Group system:authenticated"],
    "system:kube-controller-manager": ["User system:kube-controller-manager"],
    "system:kube-dns": ["ServiceAccount kube-dns"],
    "system:kube-scheduler": ["User system:kube-scheduler"],
    "system:monitoring": ["Group system:monitoring"],
    "system:node": [],
    "system:node-proxier": ["User system:kube-proxy"],
    "system:public-info-viewer": ["Group system:authenticated", "Group system:unauthenticated"],
    "system:service-account-issuer-discovery": ["Group system:serviceaccounts"],
    "system:volume-scheduler": ["User system:kube-scheduler"],
}


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {obj["metadata"]["name"]: obj for obj in OBJECTS if obj["kind"] == kind}


def test_names_of_cluster_roles() -> None:
    assert sorted(of_kind("ClusterRole")) == sorted(
        [*CLUSTER_ROLES, *(f"system:controller:{name}" for name in CONTROLLERS)]
    )


def test_who_is_bound_to_them() -> None:
    found = {}
    for name, binding in of_kind("ClusterRoleBinding").items():
        assert binding["roleRef"]["name"] == name
        found[name] = [f"{each['kind']} {each['name']}" for each in binding.get("subjects", ())]
    controllers = {f"system:controller:{name}": [f"ServiceAccount {name}"] for name in CONTROLLERS}
    assert found == {**SUBJECTS, **controllers}


def test_names_in_the_system_namespaces() -> None:
    roles, bindings = (
        sorted(f"{obj['metadata']['namespace']}/{obj['metadata']['name']}" for obj in OBJECTS if obj["kind"] == kind)
        for kind in ("Role", "RoleBinding")
    )
    common = [
        "kube-public/system:controller:bootstrap-signer",
        "kube-system/system::leader-locking-kube-controller-manager",
        "kube-system/system::leader-locking-kube-scheduler",
        "kube-system/system:controller:bootstrap-signer",
        "kube-system/system:controller:cloud-provider",
        "kube-system/system:controller:token-cleaner",
    ]
    assert roles == sorted([*common, "kube-system/extension-apiserver-authentication-reader"])
    assert bindings == sorted([*common, "kube-system/system::extension-apiserver-authentication-reader"])


ALLOWED = [
    ("cluster-admin", "escalate clusterroles.rbac.authorization.k8s.io -/x"),
    ("cluster-admin", "delete /anything"),
    ("admin", "create rolebindings.rbac.authorization.k8s.io ns"),
    ("admin", "create localsubjectaccessreviews.authorization.k8s.io ns"),
    ("admin", "get secrets ns/s"),
    ("edit", "create serviceaccounts/token ns/s"),
    ("edit", "impersonate serviceaccounts ns/s"),
    ("edit", "create pods/eviction ns/p"),
    ("edit", "patch leases.coordination.k8s.io ns/l"),
    ("edit", "delete resourceclaims.resource.k8s.io ns/c"),
    ("view", "list endpointslices.discovery.k8s.io ns"),
    ("view", "get pods/log ns/p"),
    ("view", "watch horizontalpodautoscalers.autoscaling ns"),
    ("system:basic-user", "create selfsubjectreviews.authentication.k8s.io"),
    ("system:discovery", "get /openapi/v3"),
    ("system:public-info-viewer", "get /readyz"),
    ("system:monitoring", "get /metrics/slis"),
    ("system:monitoring", "get nodes/metrics -/n"),
    ("system:kubelet-api-admin", "create nodes/proxy -/n"),
    ("system:kube-scheduler", "create pods/binding ns/p"),
    ("system:kube-scheduler", "update leases.coordination.k8s.io kube-system/kube-scheduler"),
    ("system:kube-scheduler", "patch resourceclaims.resource.k8s.io/binding ns/c"),
    ("system:kube-controller-manager", "watch widgets.example.com"),
    ("system:controller:horizontal-pod-autoscaler", "update widgets.example.com/scale ns/w"),
    ("system:controller:clusterrole-aggregation-controller", "escalate clusterroles.rbac.authorization.k8s.io -/x"),
    ("system:controller:certificate-controller", "sign signers.certificates.k8s.io -/kubernetes.io/kubelet-serving"),
    ("system:controller:namespace-controller", "deletecollection widgets.example.com ns"),
    ("system:node", "create certificatesigningrequests.certificates.k8s.io"),
]
REFUSED = [
    ("admin", "update resourcequotas ns/q"),
    ("admin", "update namespaces ns/ns"),
    ("edit", "create roles.rbac.authorization.k8s.io ns"),
    ("edit", "update endpoints ns/e"),
    ("edit", "create endpointslices.discovery.k8s.io ns"),
    ("view", "get secrets ns/s"),
    ("view", "create pods/exec ns/p"),
    ("view", "list roles.rbac.authorization.k8s.io ns"),
    ("system:basic-user", "create subjectaccessreviews.authorization.k8s.io"),
    ("system:discovery", "get /metrics"),
    ("system:public-info-viewer", "get /api"),
    ("system:kube-scheduler", "update leases.coordination.k8s.io kube-system/other"),
    ("system:controller:certificate-controller", "approve signers.certificates.k8s.io -/kubernetes.io/kubelet-serving"),
    ("system:node", "list persistentvolumes"),
]


@pytest.mark.parametrize(("role", "words"), ALLOWED)
def test_what_roles_allow(role: str, words: str) -> None:
    assert rules_allow(of_kind("ClusterRole")[role]["rules"], question(SOMEBODY, words))


@pytest.mark.parametrize(("role", "words"), REFUSED)
def test_what_they_do_not(role: str, words: str) -> None:
    assert not rules_allow(of_kind("ClusterRole")[role]["rules"], question(SOMEBODY, words))


def test_nodes_have_the_rules_of_their_role() -> None:
    assert node_rules() == of_kind("ClusterRole")["system:node"]["rules"]


def test_every_rule_is_whole_and_sorted() -> None:
    for obj in OBJECTS:
        for rule in obj.get("rules", ()):
            assert rule["verbs"], obj["metadata"]["name"]
            assert ("nonResourceURLs" in rule) != ("resources" in rule and "apiGroups" in rule), rule
            for words in rule.values():
                assert words == sorted(words), rule
