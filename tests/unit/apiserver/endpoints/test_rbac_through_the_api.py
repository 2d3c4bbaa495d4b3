"""A server that decides by RBAC: bootstrap roles, escalation, aggregation and reviews, through its handlers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from apiserver.app.authorization import Authorization
from apiserver.app.bootstrap_rbac import RBACBootstrap, bootstrap_objects, completed
from apiserver.app.internal_writes import InternalWriter
from apiserver.app.options import Options
from apiserver.authn import AnonymousAuthenticator, UnionAuthenticator
from apiserver.authz.following import Follower
from apiserver.controllers import ClusterRoleAggregation
from apiserver.registry.interface import OperationContext
from apiserver.registry.store import Store
from apiserver.request import Request, UserInfo

RBAC = "/apis/rbac.authorization.k8s.io/v1"
REVIEWS = "/apis/authorization.k8s.io/v1"
GROUP = "rbac.authorization.k8s.io"


class ByHeader:
    """The user and the groups are in headers."""

    async def authenticate(self, request: Request) -> UserInfo | None:
        name = request.headers.get("x-user")
        groups = (*filter(None, request.headers.get("x-groups", "").split(",")), "system:authenticated")
        return UserInfo(name, groups=groups) if name else None


class World:
    """A server with RBAC, its bootstrap and its controller."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.tasks: list[asyncio.Task[None]] = []
        self.writer = InternalWriter(api.stores, self.context)
        authorization = Authorization(Options(authorization_mode=("RBAC",)), api.environment, api.reader)
        self.authorization = authorization
        api._handler = None
        api.authenticator = UnionAuthenticator([ByHeader()], AnonymousAuthenticator())
        api.authorizer = api.rules = authorization.authorizer
        api.kinds.guard = authorization.guard

    def context(self, store: Store, namespace: str) -> OperationContext:
        return OperationContext(
            resource=store.resource,
            namespace=namespace,
            user=UserInfo("system:apiserver", groups=("system:masters",)),
            clock=self.api.clock,
            randomness=self.api.environment.randomness,
            reader=self.api.reader,
            warn=lambda text: None,
        )

    def run(self, work: Awaitable[None], name: str) -> None:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self.tasks.append(task)

    async def bootstrap(self) -> None:
        await RBACBootstrap(self.api.stores, self.writer, self.context).run()

    async def start(self) -> None:
        await self.bootstrap()
        await self.authorization.start(self.run)
        store = self.api.stores.find(GROUP, "v1", "clusterroles")
        aggregation = ClusterRoleAggregation(store, self.context)
        self.run(Follower(self.api.reader.follow, self.api.clock, [(GROUP, "clusterroles")], aggregation).run(), "f")
        self.run(aggregation.run(), "a")

    async def can(self, user: str, verb: str, resource: str, namespace: str = "", **more: str) -> bool:
        attributes = {"verb": verb, "resource": resource, "namespace": namespace, **more}
        spec = {"user": user, "resourceAttributes": attributes}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = await self.api("POST", f"{REVIEWS}/subjectaccessreviews", review, expect=201, **ADMIN)
        return bool(answer.json["status"]["allowed"])

    async def until(self, *question: Any, allowed: bool = True, **more: str) -> None:
        async with asyncio.timeout(5):
            while await self.can(*question, **more) is not allowed:
                await asyncio.sleep(0)


ADMIN = {"x_user": "root", "x_groups": "system:masters"}


@pytest.fixture
async def world(api: Any) -> AsyncIterator[World]:
    made = World(api)
    for name in ("kube-system", "kube-public"):
        await api("POST", "/api/v1/namespaces", {"metadata": {"name": name}}, expect=201, **ADMIN)
    await made.start()
    yield made
    for task in made.tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def binding(role: str, user: str, namespace: str = "") -> tuple[str, dict[str, Any]]:
    body = {
        "metadata": {"name": f"{user}-{role}"},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "apiGroup": GROUP, "name": user}],
    }
    return (f"{RBAC}/namespaces/{namespace}/rolebindings" if namespace else f"{RBAC}/clusterrolebindings"), body


async def test_bootstrap_roles_are_those_of_kubernetes(world: World) -> None:
    names: dict[str, set[str]] = {}
    for plural in ("clusterroles", "clusterrolebindings", "roles", "rolebindings"):
        items = (await world.api("GET", f"{RBAC}/{plural}", expect=200, **ADMIN)).json["items"]
        names[plural] = {item["metadata"]["name"] for item in items}
        for item in items:
            assert item["metadata"]["labels"]["kubernetes.io/bootstrapping"] == "rbac-defaults"
            assert item["metadata"]["annotations"] == {"rbac.authorization.kubernetes.io/autoupdate": "true"}
    assert {"cluster-admin", "admin", "edit", "view", "system:node", "system:discovery"} <= names["clusterroles"]
    assert {"system:basic-user", "system:kube-scheduler", "system:public-info-viewer"} <= names["clusterrolebindings"]
    controllers = {name for name in names["clusterroles"] if name.startswith("system:controller:")}
    assert controllers == {name for name in names["clusterrolebindings"] if name.startswith("system:controller:")}
    assert len(controllers) == 41
    assert {"extension-apiserver-authentication-reader", "system::leader-locking-kube-scheduler"} <= names["roles"]
    assert "system::extension-apiserver-authentication-reader" in names["rolebindings"]


async def test_bootstrap_again_changes_nothing(world: World) -> None:
    revision = world.api.storage.revision
    await world.bootstrap()
    assert world.api.storage.revision == revision


async def test_what_is_missing_comes_back_and_what_was_added_stays(world: World) -> None:
    api = world.api
    role = (await api("GET", f"{RBAC}/clusterroles/system:node-bootstrapper", **ADMIN)).json
    extra = {"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"]}
    role["rules"] = [extra]
    del role["metadata"]["labels"]
    await api("PUT", f"{RBAC}/clusterroles/system:node-bootstrapper", role, expect=200, **ADMIN)
    await api("DELETE", f"{RBAC}/clusterrolebindings/cluster-admin", expect=200, **ADMIN)
    bound = (await api("GET", f"{RBAC}/clusterrolebindings/system:kube-dns", **ADMIN)).json
    bound["subjects"] = [{"kind": "User", "apiGroup": GROUP, "name": "me"}]
    await api("PUT", f"{RBAC}/clusterrolebindings/system:kube-dns", bound, expect=200, **ADMIN)
    left_alone = (await api("GET", f"{RBAC}/clusterroles/system:heapster", **ADMIN)).json
    left_alone["rules"] = []
    left_alone["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false"
    await api("PUT", f"{RBAC}/clusterroles/system:heapster", left_alone, expect=200, **ADMIN)

    await world.bootstrap()

    healed = (await api("GET", f"{RBAC}/clusterroles/system:node-bootstrapper", **ADMIN)).json
    assert healed["rules"][0] == extra
    assert [rule["verbs"] for rule in healed["rules"][1:]] == [["create"], ["get"], ["list"], ["watch"]]
    assert healed["metadata"]["labels"] == {"kubernetes.io/bootstrapping": "rbac-defaults"}
    await api("GET", f"{RBAC}/clusterrolebindings/cluster-admin", expect=200, **ADMIN)
    subjects = (await api("GET", f"{RBAC}/clusterrolebindings/system:kube-dns", **ADMIN)).json["subjects"]
    assert [subject["name"] for subject in subjects] == ["me", "kube-dns"]
    assert not (await api("GET", f"{RBAC}/clusterroles/system:heapster", **ADMIN)).json.get("rules")


async def test_a_bootstrap_binding_to_another_role_is_made_anew(world: World) -> None:
    wrong = {
        "metadata": {"name": "system:kube-dns"},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "apiGroup": GROUP, "name": "me"}],
    }
    await world.api("DELETE", f"{RBAC}/clusterrolebindings/system:kube-dns", expect=200, **ADMIN)
    await world.api("POST", f"{RBAC}/clusterrolebindings", wrong, expect=201, **ADMIN)
    await world.bootstrap()
    bound = (await world.api("GET", f"{RBAC}/clusterrolebindings/system:kube-dns", **ADMIN)).json
    assert bound["roleRef"]["name"] == "system:kube-dns"
    assert [subject["name"] for subject in bound["subjects"]] == ["kube-dns"]


def test_an_aggregated_role_gets_its_selectors_back() -> None:
    (view,) = (obj for obj in bootstrap_objects() if obj["metadata"]["name"] == "view")
    assert completed(view, view) is None
    present = {**view, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"mine": "1"}}]}, "rules": []}
    healed = completed(present, view)
    assert healed is not None
    assert healed["aggregationRule"]["clusterRoleSelectors"] == [
        {"matchLabels": {"mine": "1"}},
        {"matchLabels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
    ]
    assert healed["rules"] == []


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("view", ["get pods", "list deployments apps", "watch events"], ["get secrets", "create pods", "list roles"]),
        ("edit", ["get secrets", "create pods", "delete jobs batch"], ["create roles " + GROUP, "create quotas"]),
        ("admin", ["get pods", "get secrets", "create rolebindings " + GROUP], ["update resourcequotas", "get nodes"]),
        ("cluster-admin", ["frobnicate anything any.group"], []),
    ],
)
async def test_what_the_user_facing_roles_allow(world: World, role: str, may: list[str], may_not: list[str]) -> None:
    path, body = binding(role, "jane", "default")
    await world.api("POST", path, body, expect=201, **ADMIN)
    await world.until("jane", "get", "pods", "default")
    for words in may:
        verb, resource, *group = words.split()
        assert await world.can("jane", verb, resource, "default", group="".join(group)), words
        assert not await world.can("jane", verb, resource, "kube-system", group="".join(group)), words
    for words in may_not:
        verb, resource, *group = words.split()
        assert not await world.can("jane", verb, resource, "default", group="".join(group)), words


async def test_a_labelled_role_adds_to_view_and_so_to_edit_and_admin(world: World) -> None:
    path, body = binding("admin", "jane", "default")
    await world.api("POST", path, body, expect=201, **ADMIN)
    role = {
        "metadata": {"name": "widgets", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["widgets"]}],
    }
    await world.api("POST", f"{RBAC}/clusterroles", role, expect=201, **ADMIN)
    await world.until("jane", "get", "widgets", "default", group="example.com")
    for name in ("view", "edit", "admin"):
        rules = (await world.api("GET", f"{RBAC}/clusterroles/{name}", **ADMIN)).json["rules"]
        assert rules.count(role["rules"][0]) == 1
    await world.api("DELETE", f"{RBAC}/clusterroles/widgets", expect=200, **ADMIN)
    await world.until("jane", "get", "widgets", "default", group="example.com", allowed=False)


async def test_a_namespace_admin_cannot_become_more(world: World) -> None:
    api = world.api
    path, body = binding("admin", "jane", "default")
    await api("POST", path, body, expect=201, **ADMIN)
    await world.until("jane", "create", "roles", "default", group=GROUP)
    roles = f"{RBAC}/namespaces/default/roles"
    small = {"metadata": {"name": "r"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]}
    await api("POST", roles, small, expect=201, x_user="jane")
    for verbs, groups, resources in (("*", "", "pods"), ("get", "", "nodes"), ("get", "*", "*")):
        rules = [{"verbs": [verbs], "apiGroups": [groups], "resources": [resources]}]
        answer = await api("POST", roles, {"metadata": {"name": "x"}, "rules": rules}, expect=403, x_user="jane")
        assert answer.json["message"] == (
            f'roles.{GROUP} "x" is forbidden: user "jane" (groups=["system:authenticated"]) is attempting to grant '
            f'RBAC permissions not currently held:\n{{APIGroups:["{groups}"], Resources:["{resources}"], '
            f'Verbs:["{verbs}"]}}'
        )
        small["rules"] = rules
        await api("PUT", f"{roles}/r", small, expect=403, x_user="jane")
        patch = [{"op": "replace", "path": "/rules", "value": rules}]
        json_patch = {"content_type": "application/json-patch+json"}
        await api("PATCH", f"{roles}/r", patch, expect=403, x_user="jane", **json_patch)
    path, body = binding("cluster-admin", "jane", "default")
    await api("POST", path, body, expect=403, x_user="jane")
    path, body = binding("cluster-admin", "jane")
    answer = await api("POST", path, body, expect=403, x_user="jane")
    assert answer.json["message"] == (
        f'clusterrolebindings.{GROUP} is forbidden: User "jane" cannot create resource "clusterrolebindings" in API '
        f'group "{GROUP}" at the cluster scope'
    )
    path, body = binding("no-such-role", "jane", "default")
    answer = await api("POST", path, body, expect=404, x_user="jane")
    assert answer.json["message"] == f'clusterroles.{GROUP} "no-such-role" not found'
    kept = (await api("GET", f"{roles}/r", **ADMIN)).json["rules"]
    assert kept == [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]


async def test_everybody_may_ask_what_they_may(world: World) -> None:
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "x"}}
    answer = await world.api("POST", f"{REVIEWS}/selfsubjectrulesreviews", review, expect=201, x_user="bob")
    status = answer.json["status"]
    assert status["incomplete"] is False
    assert {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]} in status[
        "resourceRules"
    ]
    assert any("/apis/*" in rule["nonResourceURLs"] for rule in status["nonResourceRules"])
    own = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}}
    answer = await world.api("POST", f"{REVIEWS}/selfsubjectaccessreviews", own, expect=201, x_user="bob")
    assert answer.json["status"] == {"allowed": False}
    own = {"spec": {"nonResourceAttributes": {"verb": "get", "path": "/api"}}}
    answer = await world.api("POST", f"{REVIEWS}/selfsubjectaccessreviews", own, expect=201, x_user="bob")
    assert answer.json["status"] == {
        "allowed": True,
        "reason": 'RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group '
        '"system:authenticated"',
    }
    await world.api("POST", f"{REVIEWS}/subjectaccessreviews", own, expect=403, x_user="bob")


async def test_anonymous_requests_see_health_and_version_alone(world: World) -> None:
    for path, status in (("/api", 403), ("/apis", 403), ("/metrics", 403), ("/api/v1/pods", 403)):
        assert (await world.api("GET", path)).status == status, path
    answer = await world.api("GET", "/version")
    assert answer.status == 404  # allowed; this server without an application has no such document
    assert (await world.api("GET", "/api/v1/pods")).json["message"] == (
        'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" at the cluster scope'
    )


async def test_reviews_in_protobuf_and_about_selectors(world: World) -> None:
    path, body = binding("view", "jane", "default")
    await world.api("POST", path, body, expect=201, **ADMIN)
    await world.until("jane", "get", "pods", "default")
    protobuf = "application/vnd.kubernetes.protobuf"

    async def ask(kind: str, where: str, asker: str, **spec: Any) -> dict[str, Any]:
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        wire = world.api.codec.to_storage({**review, "metadata": {}})
        headers = ADMIN if asker == "root" else {"x_user": asker}
        answer = await world.api("POST", where, wire, expect=201, content_type=protobuf, accept=protobuf, **headers)
        result: dict[str, Any] = world.api.codec.from_wire(answer.body)["status"]
        return result

    attributes = {"verb": "list", "resource": "pods", "namespace": "default"}
    selectors = {
        "labelSelector": {"requirements": [{"key": "a", "operator": "In", "values": ["b", "c"]}]},
        "fieldSelector": {"rawSelector": "spec.nodeName=n"},
    }
    reason = 'RBAC: allowed by RoleBinding "jane-view/default" of ClusterRole "view" to User "jane"'
    everywhere, here = f"{REVIEWS}/subjectaccessreviews", f"{REVIEWS}/namespaces/default/localsubjectaccessreviews"
    status = await ask(
        "SubjectAccessReview", everywhere, "root", user="jane", resourceAttributes={**attributes, **selectors}
    )
    assert (status["allowed"], status["reason"]) == (True, reason)
    status = await ask("LocalSubjectAccessReview", here, "root", user="jane", resourceAttributes=attributes)
    assert (status["allowed"], status["reason"]) == (True, reason)
    own = f"{REVIEWS}/selfsubjectaccessreviews"
    status = await ask("SelfSubjectAccessReview", own, "jane", resourceAttributes={**attributes, "namespace": "other"})
    assert status["allowed"] is False
    rules = await ask("SelfSubjectRulesReview", f"{REVIEWS}/selfsubjectrulesreviews", "jane", namespace="default")
    assert any("pods/log" in rule["resources"] for rule in rules["resourceRules"])
