"""Nobody gives away what they do not have."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.api.status import StatusError
from apiserver.authz import PrivilegedGroups, UnionAuthorizer
from apiserver.authz.rbac import EscalationGuard, RBACAuthorizer, covers
from apiserver.authz.rbac.rules import compact, describe
from apiserver.request import UserInfo
from tests.unit.apiserver.authz.worlds import PLURALS, allow, binding, index_of, role

RBAC = "rbac.authorization.k8s.io"
EVERYTHING = [allow("*", "*", "*"), {"verbs": ["*"], "nonResourceURLs": ["*"]}]
WORLD = [
    role("reader", allow("get list", "pods services")),
    role("secret-reader", allow("get", "secrets")),
    role("one", allow("get", "configmaps", resourceNames=["a", "b"])),
    role("scale", allow("update", "*/scale", "*")),
    role("everything", *EVERYTHING),
    role("role-writer", allow("create update", "roles rolebindings clusterroles clusterrolebindings", RBAC)),
    role("escalator", allow("escalate", "roles clusterroles", RBAC)),
    role("one-escalator", allow("escalate", "roles", RBAC, resourceNames=["known"])),
    role("binder", allow("bind", "clusterroles", RBAC, resourceNames=["secret-reader"])),
    role("paths", {"verbs": ["get"], "nonResourceURLs": ["/a/*"]}),
    role("local", allow("get", "secrets"), namespace="team"),
    binding("r", "reader", "reader", "writer"),
    binding("o", "one", "writer"),
    binding("s", "scale", "writer"),
    binding("p", "paths", "writer"),
    binding("w", "role-writer", "writer"),
    binding("e", "escalator", "escalator"),
    binding("e1", "one-escalator", "one-escalator"),
    binding("b", "binder", "local-binder", namespace="team"),
    binding("b", "binder", "binder"),
    binding("all", "everything", "admin"),
    binding("here", "secret-reader", "local", namespace="team"),
    binding("broken", "missing", "broken"),
]


@pytest.fixture
def guard() -> EscalationGuard:
    index = index_of(WORLD)
    present = {
        (PLURALS[obj["kind"]], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]): obj for obj in WORLD
    }

    async def find(plural: str, namespace: str, name: str) -> dict[str, Any] | None:
        return present.get((plural, namespace, name))

    return EscalationGuard(index, UnionAuthorizer([PrivilegedGroups(), RBACAuthorizer(index)]), find)


ROLES: list[tuple[str, str, dict[str, Any], str]] = [
    # who, namespace of a Role or "" for a ClusterRole, rule, what is missing ("" when it may be written)
    ("writer", "team", allow("get", "pods"), ""),
    ("writer", "team", allow("get list", "pods services"), ""),
    ("writer", "", allow("list", "services"), ""),
    ("writer", "team", allow("get", "secrets"), '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}'),
    (
        "writer",
        "team",
        allow("get watch delete", "pods"),
        '{APIGroups:[""], Resources:["pods"], Verbs:["watch" "delete"]}',
    ),
    ("writer", "team", allow("*", "pods"), '{APIGroups:[""], Resources:["pods"], Verbs:["*"]}'),
    ("writer", "team", allow("get", "*"), '{APIGroups:[""], Resources:["*"], Verbs:["get"]}'),
    ("writer", "team", allow("get", "pods", "*"), '{APIGroups:["*"], Resources:["pods"], Verbs:["get"]}'),
    ("writer", "team", allow("get", "pods/log"), '{APIGroups:[""], Resources:["pods/log"], Verbs:["get"]}'),
    ("writer", "team", allow("get", "pods", resourceNames=["x"]), ""),
    ("writer", "team", allow("get", "configmaps", resourceNames=["a"]), ""),
    (
        "writer",
        "team",
        allow("get", "configmaps", resourceNames=["a", "c"]),
        '{APIGroups:[""], Resources:["configmaps"], ResourceNames:["c"], Verbs:["get"]}',
    ),
    ("writer", "team", allow("get", "configmaps"), '{APIGroups:[""], Resources:["configmaps"], Verbs:["get"]}'),
    ("writer", "team", allow("update", "deployments/scale", "apps"), ""),
    (
        "writer",
        "team",
        allow("update", "deployments", "apps"),
        '{APIGroups:["apps"], Resources:["deployments"], Verbs:["update"]}',
    ),
    ("writer", "", {"verbs": ["get"], "nonResourceURLs": ["/a/b"]}, ""),
    ("writer", "", {"verbs": ["get"], "nonResourceURLs": ["/a/*"]}, ""),
    ("writer", "", {"verbs": ["get"], "nonResourceURLs": ["/*"]}, '{NonResourceURLs:["/*"], Verbs:["get"]}'),
    ("writer", "", {"verbs": ["post"], "nonResourceURLs": ["/a/b"]}, '{NonResourceURLs:["/a/b"], Verbs:["post"]}'),
    ("local", "team", allow("get", "secrets"), ""),
    ("local", "other", allow("get", "secrets"), '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}'),
    ("local", "", allow("get", "secrets"), '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}'),
    ("escalator", "team", allow("*", "*", "*"), ""),
    ("escalator", "", allow("*", "*", "*"), ""),
    ("one-escalator", "team", allow("get", "pods"), '{APIGroups:[""], Resources:["pods"], Verbs:["get"]}'),
    ("admin", "", allow("*", "*", "*"), ""),
    ("nobody", "team", allow("get", "pods"), '{APIGroups:[""], Resources:["pods"], Verbs:["get"]}'),
]


@pytest.mark.parametrize(("who", "namespace", "rule", "missing"), ROLES)
async def test_creating_a_role(
    guard: EscalationGuard, who: str, namespace: str, rule: dict[str, Any], missing: str
) -> None:
    plural = "roles" if namespace else "clusterroles"
    user = UserInfo(who, groups=("g1", "g2"))
    wanted = role("new", rule, namespace=namespace)
    if not missing:
        await guard.check(user, plural, namespace, wanted, None)
        return
    with pytest.raises(StatusError) as caught:
        await guard.check(user, plural, namespace, wanted, None)
    assert caught.value.code == 403
    assert caught.value.message == (
        f'{plural}.{RBAC} "new" is forbidden: user "{who}" (groups=["g1" "g2"]) is attempting to grant RBAC '
        f"permissions not currently held:\n{missing}"
    )


async def refused(guard: EscalationGuard, who: str, plural: str, namespace: str, obj: Any, old: Any = None) -> str:
    with pytest.raises(StatusError) as caught:
        await guard.check(UserInfo(who), plural, namespace, obj, old)
    return f"{caught.value.code} {caught.value.message}"


async def test_everything_that_is_missing_is_listed_once_and_in_order(guard: EscalationGuard) -> None:
    rules = [
        allow("get", "secrets nodes"),
        allow("get update", "secrets"),
        {"verbs": ["get"], "nonResourceURLs": ["/x"]},
    ]
    text = await refused(guard, "nobody", "clusterroles", "", role("new", *rules))
    assert text.split("held:\n")[1].splitlines() == [
        '{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}',
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "get" "update"]}',
        '{NonResourceURLs:["/x"], Verbs:["get"]}',
    ]


async def test_rights_that_could_not_be_resolved_are_named(guard: EscalationGuard) -> None:
    text = await refused(guard, "broken", "roles", "team", role("r", allow("get", "pods"), namespace="team"))
    assert text.endswith('; resolution errors: [clusterrole.rbac.authorization.k8s.io "missing" not found]')


async def test_members_of_system_masters_may_grant_anything(guard: EscalationGuard) -> None:
    user = UserInfo("x", groups=("system:masters",))
    await guard.check(user, "clusterroles", "", role("new", *EVERYTHING), None)
    await guard.check(user, "clusterrolebindings", "", binding("new", "missing", "x"), None)


async def test_escalate_by_name_works_on_updates_alone(guard: EscalationGuard) -> None:
    old, new = (role("known", allow(verb, "secrets"), namespace="team") for verb in ("get", "*"))
    await guard.check(UserInfo("one-escalator"), "roles", "team", new, old)
    assert (await refused(guard, "one-escalator", "roles", "team", new)).startswith("403 ")
    other = role("unknown", allow("*", "secrets"), namespace="team")
    assert (await refused(guard, "one-escalator", "roles", "team", other, other | {"rules": []})).startswith("403 ")


async def test_an_aggregation_rule_takes_full_authority(guard: EscalationGuard) -> None:
    rule = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
    expected = (
        f'403 clusterroles.{RBAC} "new" is forbidden: must have cluster-admin privileges to use an aggregationRule'
    )
    assert await refused(guard, "writer", "clusterroles", "", role("new", aggregationRule=rule)) == expected
    # taking it away makes what was gathered permanent
    old = role("new", allow("get", "pods"), aggregationRule=rule)
    assert await refused(guard, "writer", "clusterroles", "", role("new", allow("get", "pods")), old) == expected
    await guard.check(UserInfo("admin"), "clusterroles", "", role("new", aggregationRule=rule), None)


async def test_what_the_garbage_collector_changes_is_no_grant(guard: EscalationGuard) -> None:
    old = role("r", *EVERYTHING, metadata={"finalizers": ["a"], "ownerReferences": [{"uid": "1"}]})
    await guard.check(UserInfo("nobody"), "clusterroles", "", role("r", *EVERYTHING), old)
    relabelled = role("r", *EVERYTHING, metadata={"labels": {"a": "b"}})
    assert "not currently held" in await refused(guard, "nobody", "clusterroles", "", relabelled, old)


BINDINGS = [
    # who, namespace, kind of role, role, missing ("" when it may be bound, "?" when it does not exist)
    ("writer", "team", "ClusterRole", "reader", ""),
    ("writer", "", "ClusterRole", "reader", ""),
    ("writer", "team", "ClusterRole", "secret-reader", "secrets"),
    ("writer", "", "ClusterRole", "everything", "*"),
    ("writer", "team", "Role", "local", "secrets"),
    ("writer", "team", "Role", "nowhere", "?"),
    ("writer", "team", "ClusterRole", "nowhere", "?"),
    ("local", "team", "Role", "local", ""),
    ("local", "team", "ClusterRole", "secret-reader", ""),
    ("local", "", "ClusterRole", "secret-reader", "secrets"),
    ("binder", "team", "ClusterRole", "secret-reader", ""),
    ("binder", "", "ClusterRole", "secret-reader", ""),
    ("binder", "team", "ClusterRole", "everything", "*"),
    ("binder", "team", "Role", "local", "secrets"),
    ("local-binder", "team", "ClusterRole", "secret-reader", ""),
    ("local-binder", "other", "ClusterRole", "secret-reader", "secrets"),
    ("local-binder", "", "ClusterRole", "secret-reader", "secrets"),
    ("escalator", "team", "ClusterRole", "secret-reader", "secrets"),
    ("admin", "", "ClusterRole", "everything", ""),
]


@pytest.mark.parametrize(("who", "namespace", "kind", "name", "missing"), BINDINGS)
async def test_binding_a_role(
    guard: EscalationGuard, who: str, namespace: str, kind: str, name: str, missing: str
) -> None:
    plural = "rolebindings" if namespace else "clusterrolebindings"
    wanted = binding("new", name, "friend", namespace=namespace, kind=kind)
    if not missing:
        await guard.check(UserInfo(who), plural, namespace, wanted, None)
        await guard.check(UserInfo(who), plural, namespace, wanted, {**wanted, "subjects": []})
        return
    text = await refused(guard, who, plural, namespace, wanted)
    if missing == "?":
        assert text == f'404 {PLURALS[kind]}.{RBAC} "nowhere" not found'
    else:
        assert text.startswith(f'403 {plural}.{RBAC} "new" is forbidden: user "{who}" (groups=[]) is attempting')
        assert f'Resources:["{missing}"]' in text


def test_parts_and_their_description() -> None:
    assert covers([], [allow("get list", "a b", "x,y")])[0] == {
        "verbs": ["get"],
        "apiGroups": ["x"],
        "resources": ["a"],
    }
    assert len(covers([], [allow("get list", "a b", "x,y")])) == 8
    assert covers([allow("*", "*", "*")], [allow("get", "a/b", "c", resourceNames=["d"])]) == []
    joined = compact(covers([], [allow("get list", "a", "x")]))
    assert [describe(rule) for rule in joined] == ['{APIGroups:["x"], Resources:["a"], Verbs:["get" "list"]}']
