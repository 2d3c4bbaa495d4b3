"""Several users with certificates on a server that decides by RBAC, with the real kubectl."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.client_users import kubectl_as
from tests.e2e.server_process import Kubectl, ServerProcess

pytestmark = pytest.mark.e2e

RBAC = "rbac.authorization.k8s.io"


@pytest.fixture(scope="module")
def rbac_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = ServerProcess(tmp_path_factory.mktemp("rbac") / "data", "--authorization-mode=RBAC").start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("users")


@pytest.fixture(scope="module")
def admin(rbac_server: ServerProcess, home: Path) -> Kubectl:
    return Kubectl(rbac_server.kubeconfig, home)


@pytest.fixture(scope="module")
def jane(rbac_server: ServerProcess, home: Path) -> Kubectl:
    return kubectl_as(rbac_server, home, "jane", "developers")


_numbers = itertools.count()


@pytest.fixture
def team(admin: Kubectl) -> str:
    name = f"team-{next(_numbers)}"
    admin("create", "namespace", name)
    return name


def test_somebody_without_rights(jane: Kubectl, team: str) -> None:
    assert jane.fails("get", "pods", "-n", team) == (
        'Error from server (Forbidden): pods is forbidden: User "jane" cannot list resource "pods" in API group "" '
        f'in the namespace "{team}"\n'
    )
    assert jane.fails("get", "nodes").endswith(
        'User "jane" cannot list resource "nodes" in API group "" at the cluster scope\n'
    )
    assert jane.fails("get", "--raw", "/metrics").endswith('forbidden: User "jane" cannot get path "/metrics"\n')
    assert jane("auth", "whoami", "-o", "jsonpath={.status.userInfo.groups}") == '["developers","system:authenticated"]'
    assert "configmaps" in jane("api-resources")


def test_create_role_and_rolebinding(admin: Kubectl, jane: Kubectl, team: str) -> None:
    in_team = ("-n", team)
    admin("create", "role", "pods", "--verb=get,list", "--resource=pods,deployments.apps/scale", *in_team)
    admin("create", "rolebinding", "pods", "--role=pods", "--group=developers", *in_team)
    admin("create", "clusterrole", "one-map", "--verb=get", "--resource=configmaps", "--resource-name=settings")
    admin("create", "rolebinding", "map", "--clusterrole=one-map", "--user=jane", *in_team)
    admin("create", "configmap", "settings", "--from-literal=a=b", *in_team)
    assert jane("get", "pods", *in_team) == ""
    assert "settings" in jane("get", "configmap", "settings", *in_team)
    assert 'cannot get resource "configmaps"' in jane.fails("get", "configmap", "others", *in_team)
    assert 'cannot list resource "configmaps"' in jane.fails("get", "configmaps", *in_team)
    assert 'cannot list resource "pods"' in jane.fails("get", "pods")
    admin("delete", "rolebinding", "pods", *in_team)
    assert 'cannot list resource "pods"' in jane.fails("get", "pods", *in_team)


def test_create_clusterrole_and_clusterrolebinding(admin: Kubectl, jane: Kubectl, team: str) -> None:
    admin("create", "clusterrole", "prober", "--verb=get", "--non-resource-url=/metrics,/debug/*")
    admin("create", "clusterrolebinding", "prober", "--clusterrole=prober", "--user=jane")
    assert "# TYPE" in jane("get", "--raw", "/metrics")
    admin("delete", "clusterrolebinding", "prober")
    jane.fails("get", "--raw", "/metrics")


def test_can_i(admin: Kubectl, jane: Kubectl, team: str) -> None:
    in_team = ("-n", team)
    admin("create", "rolebinding", "view", "--clusterrole=view", "--user=jane", *in_team)
    asked = ("auth", "can-i")
    assert jane(*asked, "list", "pods", *in_team) == "yes\n"
    assert jane(*asked, "get", "pods", "--subresource=log", *in_team) == "yes\n"
    assert jane(*asked, "get", "/api") == "yes\n"
    for refused in (["list", "secrets", *in_team], ["create", "pods", *in_team], ["list", "pods"], ["get", "/metrics"]):
        done = jane.run(*asked, *refused, check=False)
        assert (done.returncode, done.stdout) == (1, "no\n"), refused
    assert admin(*asked, "*", "*", "--all-namespaces") == "yes\n"


def test_can_i_list(admin: Kubectl, jane: Kubectl, team: str) -> None:
    in_team = ("-n", team)
    admin("create", "role", "r", "--verb=get,delete", "--resource=secrets", "--resource-name=token", *in_team)
    admin("create", "rolebinding", "r", "--role=r", "--user=jane", *in_team)
    rows = {tuple(line.split()) for line in jane("auth", "can-i", "--list", *in_team).splitlines()}
    assert ("secrets", "[]", "[token]", "[get", "delete]") in rows
    assert ("selfsubjectreviews.authentication.k8s.io", "[]", "[]", "[create]") in rows
    assert ("[/apis/*]", "[]", "[get]") in rows
    everything = admin("auth", "can-i", "--list", *in_team)
    assert "*.*" in everything


def test_a_namespace_admin_gives_away_only_what_they_have(admin: Kubectl, jane: Kubectl, team: str) -> None:
    in_team = ("-n", team)
    admin("create", "rolebinding", "admin", "--clusterrole=admin", "--user=jane", *in_team)
    jane("create", "role", "secrets", "--verb=get", "--resource=secrets", *in_team)
    jane("create", "rolebinding", "friend", "--role=secrets", "--user=bob", *in_team)
    refused = jane.fails("create", "role", "nodes", "--verb=get", "--resource=nodes", *in_team)
    assert refused == (
        f'Error from server (Forbidden): roles.{RBAC} "nodes" is forbidden: user "jane" '
        '(groups=["developers" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n'
        '{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}\n'
    )
    refused = jane.fails("create", "rolebinding", "more", "--clusterrole=cluster-admin", "--user=jane", *in_team)
    assert "is attempting to grant RBAC permissions not currently held" in refused
    admin("create", "role", "binder", "--verb=bind", f"--resource=clusterroles.{RBAC}", *in_team)
    admin("create", "rolebinding", "binder", "--role=binder", "--user=jane", *in_team)
    jane("create", "rolebinding", "more", "--clusterrole=cluster-admin", "--user=jane", *in_team)
    assert jane("auth", "can-i", "create", "resourcequotas", *in_team) == "yes\n"


RECONCILED = f"""
apiVersion: {RBAC}/v1
kind: ClusterRole
metadata: {{name: reconciled}}
rules:
- {{apiGroups: [""], resources: [pods], verbs: [get]}}
---
apiVersion: {RBAC}/v1
kind: ClusterRoleBinding
metadata: {{name: reconciled}}
roleRef: {{apiGroup: {RBAC}, kind: ClusterRole, name: ROLE}}
subjects:
- {{apiGroup: {RBAC}, kind: User, name: NAME}}
"""


def test_auth_reconcile(admin: Kubectl, team: str) -> None:
    def manifest(role: str, name: str) -> str:
        return RECONCILED.replace("ROLE", role).replace("NAME", name)

    admin("auth", "reconcile", "-f", "-", stdin=manifest("reconciled", "a"))
    extra = '[{"op":"add","path":"/rules/-","value":{"apiGroups":[""],"resources":["pods"],"verbs":["list"]}}]'
    admin("patch", "clusterrole", "reconciled", "--type=json", "-p", extra)
    admin("auth", "reconcile", "-f", "-", stdin=manifest("reconciled", "b"))
    role = admin.json("get", "clusterrole", "reconciled")
    assert [rule["verbs"] for rule in role["rules"]] == [["get"], ["list"]]
    bound = admin.json("get", "clusterrolebinding", "reconciled")
    assert [subject["name"] for subject in bound["subjects"]] == ["a", "b"]
    admin("auth", "reconcile", "--remove-extra-permissions", "-f", "-", stdin=manifest("view", "b"))
    assert [rule["verbs"] for rule in admin.json("get", "clusterrole", "reconciled")["rules"]] == [["get"]]
    assert admin.json("get", "clusterrolebinding", "reconciled")["roleRef"]["name"] == "view"


def test_bootstrap_roles_reconcile_with_the_manifests(admin: Kubectl) -> None:
    """The server's own files are what kubectl reads too, and nothing differs."""
    manifests = Path(__file__).parents[2] / "manifests" / "rbac"
    said = admin("auth", "reconcile", "--dry-run=client", "-f", str(manifests / "namespace-roles.yaml"))
    assert len(said.splitlines()) == 14
    roles = admin("get", "clusterroles", "-o", "name").split()
    assert f"clusterrole.{RBAC}/system:controller:job-controller" in roles


def test_protected_against_a_restart(rbac_server: ServerProcess, admin: Kubectl) -> None:
    admin("delete", "clusterrolebinding", "system:basic-user")
    port = rbac_server.port
    assert rbac_server.stop() == 0
    rbac_server.start(port)
    admin("get", "clusterrolebinding", "system:basic-user")
