"""Policies in a file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apiserver.authz import Decision
from apiserver.authz.abac import ABACAuthorizer, PolicyFileError, parse_policies
from apiserver.request import UserInfo
from tests.unit.apiserver.authz.worlds import question


def policy(**spec: Any) -> str:
    return json.dumps({"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": spec})


FILE = "\n".join(
    [
        "# who may do what",
        "",
        policy(user="admin", apiGroup="*", resource="*", namespace="*", nonResourcePath="*"),
        policy(user="alice", resource="pods", namespace="team", apiGroup=""),
        policy(group="readers", readonly=True, apiGroup="*", resource="*", namespace="*"),
        policy(user="bob", group="ops", resource="nodes", namespace="*", apiGroup="*"),
        policy(user="*", readonly=True, nonResourcePath="/healthz*"),
        '{"user":"old","resource":"services"}',
        '{"user":"older"}',
    ]
)
AUTHENTICATED = "system:authenticated"
CASES = [
    ("admin", "", "delete secrets x/y", True),
    ("admin", "", "post /anything", True),
    ("alice", "", "create pods team", True),
    ("alice", "", "create pods other", False),
    ("alice", "", "get pods.apps team/a", False),
    ("alice", "", "get services team/a", False),
    ("carol", "readers", "list deployments.apps x", True),
    ("carol", "readers", "delete deployments.apps x/d", False),
    ("carol", "writers", "list deployments.apps x", False),
    ("carol", "readers", "get /metrics", False),
    ("bob", "ops", "get nodes -/n", True),
    ("bob", "dev", "get nodes -/n", False),
    ("eve", "ops", "get nodes -/n", False),
    ("eve", AUTHENTICATED, "get /healthz", True),
    ("eve", AUTHENTICATED, "get /healthz/etcd", True),
    ("eve", AUTHENTICATED, "post /healthz", False),
    ("eve", "", "get /healthz", False),
    ("old", "", "delete services.any x/y", True),
    ("old", "", "get pods x/y", False),
    ("old", "", "get /x", False),
    ("older", "", "get /x", True),
    ("older", "", "delete pods x/y", True),
]


@pytest.mark.parametrize(("user", "group", "words", "allowed"), CASES)
async def test_policies(user: str, group: str, words: str, allowed: bool) -> None:
    authorizer = ABACAuthorizer(parse_policies(FILE))
    asked = question(UserInfo(user, groups=(group,) if group else ()), words)
    expected = (Decision.ALLOW, "") if allowed else (Decision.NO_OPINION, "No policy matched.")
    assert await authorizer.authorize(asked) == expected


async def test_rules_of_somebody() -> None:
    authorizer = ABACAuthorizer(parse_policies(FILE))
    resources, paths, incomplete, _ = await authorizer.rules_for(UserInfo("c", groups=("readers",)), "x")
    assert [(rule.verbs, rule.api_groups, rule.resources) for rule in resources] == [
        (("get", "list", "watch"), ("*",), ("*",))
    ]
    assert (list(paths), incomplete) == ([], False)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "line 2: "),
        ("[]", "line 2: a policy is a JSON object"),
        ('{"apiVersion":"v1","kind":"Pod"}', "line 2: unrecognized object"),
        ('{"user":1}', "line 2: user must be a string"),
        (policy(readonly="yes"), "line 2: readonly must be a boolean"),
    ],
)
def test_lines_that_are_no_policies(line: str, message: str) -> None:
    with pytest.raises(PolicyFileError, match=message.replace("[", r"\[")):
        parse_policies(f"# comment\n{line}\n")
