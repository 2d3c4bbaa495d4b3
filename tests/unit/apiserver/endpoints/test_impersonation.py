"""Acting as somebody else: who may, as whom, and what those are told who may not."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.authn import UnionAuthenticator
from apiserver.authz import Attributes, Decision
from apiserver.request import Request, UserInfo

WHO_AM_I = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
NODE_KEY = "authentication.kubernetes.io/node-name"
AGENT = UserInfo(
    "system:serviceaccount:default:agent", groups=("system:serviceaccounts",), extra=((NODE_KEY, ("n1",)),)
)


class Rules:
    """Allows what is listed, as `verb resource[/subresource] [namespace/]name`; `*` for everything."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = set(allowed)
        self.asked: list[str] = []
        self.extras: list[Any] = []

    async def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        resource = attributes.resource
        if attributes.subresource:
            resource += f"/{attributes.subresource}"
        name = f"{attributes.namespace}/{attributes.name}" if attributes.namespace else attributes.name
        text = f"{attributes.verb} {resource} {name}"
        self.asked.append(text)
        self.extras.append(attributes.user.extra)
        if "*" in self.allowed or text in self.allowed or f"{attributes.verb} {resource} *" in self.allowed:
            return Decision.ALLOW, ""
        if attributes.user.name in self.allowed and not attributes.verb.startswith("impersonate"):
            return Decision.ALLOW, ""
        return Decision.NO_OPINION, ""


class Fixed:
    """Everybody is this user."""

    def __init__(self, user: UserInfo) -> None:
        self.user = user

    async def authenticate(self, request: Request) -> UserInfo | None:
        return self.user


def prepare(api: Any, rules: Rules, user: UserInfo | None = None) -> Any:
    api.authenticator = UnionAuthenticator([Fixed(user or UserInfo("alice"))])
    api.authorizer = rules
    api.rebuild()
    return api


async def who(api: Any, expect: int = 201, **headers: Any) -> Any:
    return (await api("POST", WHO_AM_I, {}, expect=expect, **headers)).json


async def acting_as(api: Any, **headers: Any) -> Any:
    named = {f"impersonate_{name}": value for name, value in headers.items()}
    return (await who(api, **named))["status"]["userInfo"]


async def test_nobody_else_without_headers(api: Any) -> None:
    rules = Rules("alice")
    user = (await who(prepare(api, rules)))["status"]["userInfo"]
    assert user["username"] == "alice"
    assert rules.asked == ["create selfsubjectreviews "]


@pytest.mark.parametrize(
    ("headers", "username", "groups"),
    [
        ({"user": "bob"}, "bob", ["system:authenticated"]),
        ({"user": "bob", "group": "dev"}, "bob", ["dev", "system:authenticated"]),
        ({"user": "bob", "group": "system:authenticated"}, "bob", ["system:authenticated"]),
        ({"user": "bob", "group": "system:unauthenticated"}, "bob", ["system:unauthenticated"]),
        ({"user": "system:anonymous"}, "system:anonymous", ["system:unauthenticated"]),
        (
            {"user": "system:serviceaccount:kube-system:x"},
            "system:serviceaccount:kube-system:x",
            ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
        ),
        ({"user": "system:node:n1"}, "system:node:n1", ["system:nodes", "system:authenticated"]),
        ({"user": "system:node:N_1"}, "system:node:N_1", ["system:authenticated"]),
    ],
)
async def test_groups_that_go_with_a_name(api: Any, headers: Any, username: str, groups: list[str]) -> None:
    user = await acting_as(prepare(api, Rules("*")), **headers)
    assert (user["username"], user["groups"]) == (username, groups)


async def test_uid_and_extra(api: Any) -> None:
    user = await acting_as(prepare(api, Rules("*")), user="bob", uid="7", **{"extra_example.com%2fkey": "a"})
    assert (user["uid"], user["extra"]) == ("7", {"example.com/key": ["a"]})


async def test_privileged_people_may_act_as_privileged_ones_by_the_older_verb(api: Any) -> None:
    user = await acting_as(prepare(api, Rules("*")), user="root", group="system:masters")
    assert user["groups"] == ["system:masters", "system:authenticated"]


async def test_what_the_older_verb_asks_for(api: Any) -> None:
    rules = Rules("impersonate users bob", "impersonate groups dev", "impersonate uids 7", "bob")
    rules.allowed.add("impersonate userextras/example.com/key a")
    headers = {"user": "bob", "group": "dev", "uid": "7", "extra_example.com%2fkey": "a"}
    assert (await acting_as(prepare(api, rules), **headers))["username"] == "bob"
    assert rules.asked == [
        "impersonate-on:user-info:create selfsubjectreviews ",
        "impersonate users bob",
        "impersonate uids 7",
        "impersonate groups dev",
        "impersonate userextras/example.com/key a",
        "create selfsubjectreviews ",
    ]


CONSTRAINED = {
    "a user": ({"user": "bob"}, "user-info", "users bob"),
    "a service account": ({"user": "system:serviceaccount:a:b"}, "serviceaccount", "serviceaccounts a/b"),
    "any node": ({"user": "system:node:n2"}, "arbitrary-node", "nodes n2"),
    "the own node": ({"user": "system:node:n1"}, "associated-node", "nodes *"),
}


@pytest.mark.parametrize("name", CONSTRAINED)
async def test_constrained_modes(api: Any, name: str) -> None:
    headers, mode, target = CONSTRAINED[name]
    on = f"impersonate-on:{mode}:create selfsubjectreviews "
    rules = Rules(on, f"impersonate:{mode} {target}", headers["user"])
    user = await acting_as(prepare(api, rules, AGENT), **headers)
    assert user["username"] == headers["user"]
    for missing in (on, f"impersonate:{mode} {target}"):
        prepare(api, Rules(*(rules.allowed - {missing})), AGENT)
        await who(api, 403, impersonate_user=headers["user"])


async def test_the_own_node_is_asked_for_without_saying_which(api: Any) -> None:
    rules = Rules("impersonate-on:associated-node:create selfsubjectreviews ", "impersonate:associated-node nodes *")
    rules.allowed.add("system:node:n1")
    await acting_as(prepare(api, rules, AGENT), user="system:node:n1")
    key = "authentication.kubernetes.io/associated-node-keys"
    assert rules.extras[:2] == [((key, (NODE_KEY,)),)] * 2


REFUSED: dict[str, tuple[dict[str, str], set[str], UserInfo | None, int, str]] = {
    "no right at all": (
        {"user": "bob"},
        {"alice"},
        None,
        403,
        'configmaps is forbidden: User "alice" cannot impersonate-on:user-info:list resource "configmaps" in API '
        'group "" in the namespace "default"',
    ),
    "only the first half": (
        {"user": "bob"},
        {"impersonate-on:user-info:list configmaps *"},
        None,
        403,
        'users.authentication.k8s.io "bob" is forbidden: User "alice" cannot impersonate:user-info resource "users" '
        'in API group "authentication.k8s.io" at the cluster scope',
    ),
    "a group too much": (
        {"user": "bob", "group": "system:masters"},
        {"impersonate users bob", "bob"},
        None,
        403,
        'configmaps is forbidden: User "alice" cannot impersonate-on',
    ),
    "administrators by a constrained verb": (
        {"user": "bob", "group": "system:masters"},
        {"impersonate-on:user-info:list configmaps *", "impersonate:user-info users bob", "bob"}
        | {"impersonate:user-info groups *"},
        None,
        403,
        'groups.authentication.k8s.io "system:masters" is forbidden: User "alice" cannot impersonate:user-info '
        'resource "groups" in API group "authentication.k8s.io" at the cluster scope: impersonating the system:masters '
        "group is not allowed",
    ),
    "a uid too much": ({"user": "bob", "uid": "7"}, {"impersonate users bob", "bob"}, None, 403, "cannot impersonate"),
    "an extra value too much": (
        {"user": "bob", "extra_a.b%2fc": "x"},
        {"impersonate users bob", "bob", "impersonate userextras/a.b/c y"},
        None,
        403,
        "cannot impersonate",
    ),
    "another node than the own": (
        {"user": "system:node:n2"},
        {"impersonate-on:associated-node:list configmaps *", "impersonate:associated-node nodes *", "system:node:n2"},
        AGENT,
        403,
        "cannot impersonate-on:arbitrary-node:list",
    ),
    "the own node, but as a user": (
        {"user": "system:node:n1"},
        {"impersonate-on:associated-node:list configmaps *", "impersonate:associated-node nodes *", "system:node:n1"},
        UserInfo("alice", extra=((NODE_KEY, ("n1",)),)),
        403,
        "cannot impersonate-on:arbitrary-node:list",
    ),
    "a node with groups": (
        {"user": "system:node:n1", "group": "system:masters"},
        {"impersonate-on:arbitrary-node:list configmaps *", "impersonate:arbitrary-node nodes *", "system:node:n1"},
        None,
        403,
        "cannot impersonate",
    ),
    "a group without a name": (
        {"group": "system:masters"},
        {"*"},
        None,
        400,
        'requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"system:masters"}, '
        "Extra:map[string][]string(nil)} without impersonating a user name",
    ),
    "an extra value without a name": (
        {"extra_key": "v"},
        {"*"},
        None,
        400,
        'requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string(nil), '
        'Extra:map[string][]string{"key":[]string{"v"}}} without impersonating a user name',
    ),
    "what the other may not": (
        {"user": "bob"},
        {"impersonate users bob"},
        None,
        403,
        'configmaps is forbidden: User "bob" cannot list resource "configmaps" in API group "" in the namespace '
        '"default"',
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refusals(api: Any, name: str) -> None:
    headers, allowed, user, code, text = REFUSED[name]
    prepare(api, Rules(*allowed), user)
    named = {f"impersonate_{key}": value for key, value in headers.items()}
    answer = await api("GET", CONFIG_MAPS, expect=code, **named)
    assert text in answer.json["message"]


async def test_many_groups_are_asked_for_at_once(api: Any) -> None:
    """Through the HTTP layer a header may come several times; here the list of headers is what counts."""
    from apiserver.filters.impersonation import with_impersonation
    from tests.unit.apiserver.authn.authn_world import request_of

    rules = Rules(
        "impersonate-on:user-info:get  *", "impersonate:user-info users bob", "impersonate:user-info groups *"
    )
    seen: list[UserInfo] = []

    async def handler(request: Request) -> Any:
        seen.append(request.user)

    groups = [("impersonate-group", f"g{number}") for number in range(5)]
    request = request_of([("impersonate-user", "bob"), ("impersonate-user", "eve"), *groups])
    request.user = UserInfo("alice")
    request.info = type(request.info)(False, "/api", "get")
    await with_impersonation(handler, rules)(request)
    assert seen[0].name == "bob"
    assert seen[0].groups == ("g0", "g1", "g2", "g3", "g4", "system:authenticated")
    assert rules.asked[-1] == "impersonate:user-info groups *"
    assert request.impersonator == UserInfo("alice")
