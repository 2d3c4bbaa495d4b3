"""The RBAC authorizer: a table of questions with their answers, and how the index follows changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from apiserver.authz.interface import Attributes, Decision, forbidden_error
from apiserver.authz.rbac import RBACAuthorizer, RoleIndex, rules_allow
from apiserver.request import UserInfo
from tests.unit.apiserver.authz.worlds import allow, binding, index_of, question, role

HERE = Path(__file__).parent
WORLD = yaml.safe_load((HERE / "rbac_world.yaml").read_text())


def cases() -> Iterator[tuple[UserInfo, str, bool, str]]:
    user = UserInfo("")
    for line in (HERE / "rbac_cases.txt").read_text().splitlines():
        if line.startswith("  "):
            words, _, text = line.strip().partition(" : ")
            answer, _, words = words.partition(" ")
            yield user, words, answer == "yes", text
        elif line and not line.startswith("#"):
            names = [word.partition("=") for word in line.split()]
            (name,) = (value for key, _, value in names if key == "user")
            user = UserInfo(name, groups=tuple(value for key, _, value in names if key == "group"))


CASES = list(cases())


def refusal(user: str, attributes: Attributes) -> str:
    """What kube-apiserver says, put together in the other direction than the product does."""
    if not attributes.is_resource_request:
        return f'forbidden: User "{user}" cannot {attributes.verb} path "{attributes.path}"'
    what = "/".join(filter(None, (attributes.resource, attributes.subresource)))
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    subject = ".".join(filter(None, (attributes.resource, attributes.api_group)))
    if attributes.name:
        subject += f' "{attributes.name}"'
    return (
        f'{subject} is forbidden: User "{user}" cannot {attributes.verb} resource "{what}" '
        f'in API group "{attributes.api_group}" {where}'
    )


def test_the_table_is_as_large_as_it_should_be() -> None:
    assert len(CASES) >= 200
    assert len({(user, words) for user, words, _, _ in CASES}) == len(CASES)


@pytest.fixture(scope="module")
def authorizer() -> RBACAuthorizer:
    return RBACAuthorizer(index_of(WORLD))


@pytest.mark.parametrize(("user", "words", "allowed", "text"), CASES, ids=lambda value: str(value)[:60])
async def test_decisions(authorizer: RBACAuthorizer, user: UserInfo, words: str, allowed: bool, text: str) -> None:
    attributes = question(user, words)
    decision, reason = await authorizer.authorize(attributes)
    if allowed:
        assert (decision, reason) == (Decision.ALLOW, f"RBAC: allowed by {text}")
        return
    assert (decision, reason) == (Decision.NO_OPINION, f"RBAC: {text}" if text else "")
    expected = refusal(user.name, attributes) + (f": RBAC: {text}" if text else "")
    assert forbidden_error(attributes, reason).message == expected


async def test_the_index_decides_as_a_walk_over_all_rules_does(authorizer: RBACAuthorizer) -> None:
    index = index_of(WORLD)
    for user, words, allowed, _ in CASES:
        attributes = question(user, words)
        rules, _ = index.rules_for(user, attributes.namespace)
        assert rules_allow(rules, attributes) is allowed, words


async def test_a_change_of_role_or_binding_counts_at_once() -> None:
    index = RoleIndex()
    authorizer = RBACAuthorizer(index)
    asks = question(UserInfo("eve"), "get pods team/a")

    async def allowed() -> bool:
        return (await authorizer.authorize(asks))[0] is Decision.ALLOW

    assert not await allowed()
    index.apply("rolebindings", binding("b", "r", "eve", namespace="team"), gone=False)
    assert (await authorizer.authorize(asks))[1] == 'RBAC: clusterrole.rbac.authorization.k8s.io "r" not found'
    index.apply("clusterroles", role("r", allow("get", "pods")), gone=False)
    assert await allowed()
    index.apply("clusterroles", role("r", allow("list", "pods")), gone=False)
    assert not await allowed()
    index.apply("clusterroles", role("r", allow("*", "*")), gone=False)
    assert await allowed()
    index.apply("rolebindings", binding("b", "r", "adam", namespace="team"), gone=False)
    assert not await allowed()
    index.apply("rolebindings", binding("b", "r", "adam", "eve", namespace="team"), gone=False)
    assert await allowed()
    index.apply("rolebindings", binding("b", "r", namespace="team"), gone=True)
    assert not await allowed()
    assert index.table("team", "user eve") is None


async def test_replacing_all_objects_forgets_what_is_gone() -> None:
    index = index_of(WORLD)
    authorizer = RBACAuthorizer(index)
    root, jane = question(UserInfo("root"), "get pods team/a"), question(UserInfo("jane"), "get configmaps team/a")
    index.replace("clusterrolebindings", [])
    assert (await authorizer.authorize(root))[0] is Decision.NO_OPINION
    assert (await authorizer.authorize(jane))[0] is Decision.ALLOW
    index.replace("roles", [role("editor", allow("list", "configmaps"), namespace="team")])
    assert (await authorizer.authorize(jane))[0] is Decision.NO_OPINION


async def test_rules_of_somebody() -> None:
    authorizer = RBACAuthorizer(index_of(WORLD))
    resources, paths, incomplete, error = await authorizer.rules_for(UserInfo("jane", groups=("readers",)), "team")
    shown = [(" ".join(rule.verbs), " ".join(rule.resources), " ".join(rule.resource_names)) for rule in resources]
    assert shown == [
        ("get list watch", "pods", ""),
        ("get list create update delete", "configmaps deployments deployments/status", ""),
        ("get", "pods/log", ""),
        ("get", "secrets", "token"),
    ]
    assert (list(paths), incomplete, error) == ([], False, "")
    resources, paths, _, error = await authorizer.rules_for(UserInfo("lost"), "team")
    assert (list(resources), list(paths)) == ([], [])
    assert error == (
        '[clusterrole.rbac.authorization.k8s.io "gone" not found, role.rbac.authorization.k8s.io "gone" not found]'
    )
    _, paths, _, _ = await authorizer.rules_for(UserInfo("prober"), "team")
    assert [rule.paths for rule in paths] == [("/healthz", "/healthz/*", "/version"), ("/debug/*",)]
