"""How long a decision takes, with few bindings and with many, and what a change of rights costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from apiserver.app.bootstrap_rbac import bootstrap_objects, node_rules
from apiserver.authz import PrivilegedGroups, UnionAuthorizer
from apiserver.authz.interface import Attributes, Decision
from apiserver.authz.node import NodeAuthorizer, NodeGraph
from apiserver.authz.rbac import RBACAuthorizer, RoleIndex
from apiserver.request import UserInfo
from hack.bench.report import Row, print_rows

GROUP = "rbac.authorization.k8s.io"
PLURALS = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}
BINDINGS = 1000
CALLS = 20_000


def microseconds(call: Callable[[], Any], calls: int = CALLS) -> float:
    """Best of five rounds."""
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(calls):
            call()
        best = min(best, time.perf_counter() - started)
    return best / calls * 1e6


def binding(number: int, user: str, namespace: str) -> dict[str, Any]:
    """A RoleBinding to `view`, or a ClusterRoleBinding when there is no namespace."""
    return {
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {"name": f"b{number}", **({"namespace": namespace} if namespace else {})},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "apiGroup": GROUP, "name": user}],
    }


def index_with(bindings: list[dict[str, Any]]) -> RoleIndex:
    """The bootstrap roles, and these bindings."""
    index = RoleIndex()
    for obj in [*bootstrap_objects(), *bindings]:
        index.apply(PLURALS[obj["kind"]], obj, gone=False)
    return index


def rbac_rows() -> list[Row]:
    """Decisions by RBAC."""
    user = UserInfo("user-7", groups=("developers", "system:authenticated"))
    pods = Attributes(user, "get", True, "", "v1", "team-7", "pods", "", "web")
    secrets = Attributes(user, "get", True, "", "v1", "team-7", "secrets", "", "web")
    path = Attributes(user, "get", False, path="/apis/apps")
    worlds = {
        "1 binding": index_with([binding(7, "user-7", "team-7")]),
        f"{BINDINGS} bindings, of as many users": index_with(
            [binding(at, f"user-{at}", f"team-{at}") for at in range(BINDINGS)]
        ),
        f"{BINDINGS} bindings, of one user in one namespace": index_with(
            [binding(at, "user-7", "team-7") for at in range(BINDINGS)]
        ),
    }
    rows = []
    for name, index in worlds.items():
        decide = RBACAuthorizer(index).decide
        assert decide(pods)[0] is Decision.ALLOW
        assert decide(secrets)[0] is Decision.NO_OPINION
        rows.append(Row(f"{name}: allowed", microseconds(lambda d=decide: d(pods)), "µs", "<= 20"))
        rows.append(Row(f"{name}: refused", microseconds(lambda d=decide: d(secrets)), "µs", "<= 50"))
    rows.append(Row("a path, by the bootstrap roles", microseconds(lambda: decide(path)), "µs", "<= 20"))
    changed = binding(7, "user-7", "team-7")

    def change_and_decide() -> None:
        index = worlds[f"{BINDINGS} bindings, of as many users"]
        index.apply("rolebindings", changed, gone=False)
        RBACAuthorizer(index).decide(pods)

    rows.append(Row("a binding changes, and the next decision", microseconds(change_and_decide, 200), "µs"))
    return rows


def node_rows() -> list[Row]:
    """Decisions about kubelets: 1,000 pods on 100 nodes."""
    graph = NodeGraph()
    volumes = [{"name": "s", "secret": {"secretName": f"s{at}"}} for at in range(5)]
    for at in range(1000):
        spec = {"nodeName": f"n{at % 100}", "containers": [], "volumes": volumes}
        graph.apply("pods", {"metadata": {"name": f"p{at}", "namespace": "ns"}, "spec": spec}, gone=False)
    node = UserInfo("system:node:n7", groups=("system:nodes",))
    asked = Attributes(node, "get", True, "", "v1", "ns", "secrets", "", "s3")
    authorizer = UnionAuthorizer([PrivilegedGroups(), NodeAuthorizer(graph, node_rules())])
    loop = asyncio.new_event_loop()

    async def many() -> float:
        started = time.perf_counter()
        for _ in range(CALLS):
            decision, _ = await authorizer.authorize(asked)
            assert decision is Decision.ALLOW
        return (time.perf_counter() - started) / CALLS * 1e6

    try:
        best = min(loop.run_until_complete(many()) for _ in range(5))
    finally:
        loop.close()
    return [Row("a node reads a secret of its pods", best, "µs", "<= 20")]


def run() -> list[Row]:
    """All figures."""
    return rbac_rows() + node_rows()


if __name__ == "__main__":
    print_rows(run())
