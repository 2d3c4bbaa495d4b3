"""Authorization by a service, over real HTTPS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from apiserver.authz import Attributes, Decision, EvaluationError, UnionAuthorizer
from apiserver.authz.counting import AuthorizationCounts
from apiserver.authz.webhook import WebhookAuthorizer, WebhookSettings
from apiserver.request import UserInfo
from apiserver.webhooks import ConnectionConfigError, WebhookClient, WebhookError, load_connection
from kvstore.environment import Environment, RealFileSystem, SeededRandomness
from tests.conformance.storage.fake_clock import FakeClock
from tests.unit.apiserver.authz.https_service import HTTPSService
from tests.unit.apiserver.authz.worlds import question

JANE = UserInfo("jane", "u-1", ("a", "b"), (("scopes", ("x", "y")),))
GET = question(JANE, "get pods/log team/p")


def review(**status: Any) -> dict[str, Any]:
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "status": status}


class World:
    def __init__(self, service: HTTPSService) -> None:
        self.service = service
        self.clock = FakeClock()
        self.environment = Environment(self.clock, SeededRandomness(1), RealFileSystem())
        self.clients: list[WebhookClient] = []

    def authorizer(
        self, *, config: Path | None = None, counts: AuthorizationCounts | None = None, **settings: Any
    ) -> WebhookAuthorizer:
        connection = load_connection(str(config or self.service.kubeconfig()), self.environment.files)
        client = WebhookClient(connection, 5.0)
        self.clients.append(client)
        return WebhookAuthorizer(client, self.environment, WebhookSettings(**settings), None, counts)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with HTTPSService(tmp_path, lambda body: (200, review(allowed=True, reason="fine"))) as service:
        made = World(service)
        yield made
        for client in made.clients:
            await client.close()


async def test_what_is_asked(world: World) -> None:
    authorizer = world.authorizer(config=world.service.kubeconfig(token="secret-token"))
    assert await authorizer.authorize(GET) == (Decision.ALLOW, "fine")
    assert world.service.received == [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": "jane",
                "groups": ["a", "b"],
                "uid": "u-1",
                "extra": {"scopes": ["x", "y"]},
                "resourceAttributes": {
                    "namespace": "team",
                    "verb": "get",
                    "version": "v1",
                    "resource": "pods",
                    "subresource": "log",
                    "name": "p",
                },
            },
        }
    ]
    assert world.service.heads[0].startswith("POST /authorize?a=b HTTP/1.1\r\n")
    assert "Authorization: Bearer secret-token\r\n" in world.service.heads[0]


async def test_paths_selectors_and_the_older_version(world: World) -> None:
    authorizer = world.authorizer(version="v1beta1")
    await authorizer.authorize(question(JANE, "get /healthz"))
    asked = Attributes(JANE, "list", resource="pods", field_selector="spec.nodeName=n,status.phase!=Failed")
    asked.label_selector = "app in (b,a),!gone,tier"
    await authorizer.authorize(asked)
    path, listed = (body["spec"] for body in world.service.received)
    assert world.service.received[0]["apiVersion"] == "authorization.k8s.io/v1beta1"
    assert path["nonResourceAttributes"] == {"path": "/healthz", "verb": "get"}
    assert path["group"] == ["a", "b"]
    assert listed["resourceAttributes"]["fieldSelector"]["requirements"] == [
        {"key": "spec.nodeName", "operator": "In", "values": ["n"]},
        {"key": "status.phase", "operator": "NotIn", "values": ["Failed"]},
    ]
    assert listed["resourceAttributes"]["labelSelector"]["requirements"] == [
        {"key": "app", "operator": "In", "values": ["a", "b"]},
        {"key": "gone", "operator": "DoesNotExist"},
        {"key": "tier", "operator": "Exists"},
    ]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"allowed": True}, (Decision.ALLOW, "")),
        ({"allowed": False, "reason": "no"}, (Decision.NO_OPINION, "no")),
        ({"allowed": False, "denied": True, "reason": "never"}, (Decision.DENY, "never")),
    ],
)
async def test_three_answers(world: World, status: dict[str, Any], expected: tuple[Decision, str]) -> None:
    world.service.answer = lambda body: (200, review(**status))
    assert await world.authorizer().authorize(GET) == expected


async def test_yes_and_no_at_once_is_a_denial(world: World) -> None:
    world.service.answer = lambda body: (200, review(allowed=True, denied=True))
    with pytest.raises(EvaluationError, match="returned both allow and deny response") as caught:
        await world.authorizer().authorize(GET)
    assert caught.value.decision is Decision.DENY


async def test_answers_are_kept_as_long_as_they_may_be(world: World) -> None:
    authorizer = world.authorizer(authorized_seconds=300.0, unauthorized_seconds=30.0)
    refused = question(JANE, "delete nodes -/n")

    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        return 200, review(allowed=body["spec"]["resourceAttributes"]["verb"] == "get")

    world.service.answer = answer

    async def calls() -> int:
        before = len(world.service.received)
        await authorizer.authorize(GET)
        await authorizer.authorize(refused)
        return len(world.service.received) - before

    assert await calls() == 2
    assert await calls() == 0
    await world.clock.advance(31)
    assert await calls() == 1
    await world.clock.advance(300)
    assert await calls() == 2
    assert world.service.connections == 1
    never = world.authorizer(authorized_seconds=0.0)
    await never.authorize(GET)
    before = len(world.service.received)
    await never.authorize(GET)
    assert len(world.service.received) == before + 1
    long = question(JANE, f"get pods team/{'x' * 10_000}")
    before = len(world.service.received)
    await authorizer.authorize(long)
    await authorizer.authorize(long)
    assert len(world.service.received) == before + 2


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((200, b"nonsense"), "the answer is not JSON"),
        ((200, []), "the answer is not an object"),
        ((200, {"kind": "Pod"}), "the answer is not a SubjectAccessReview with a status"),
        ((403, {}), "the answer has the status 403"),
    ],
)
async def test_failures_count_as_configured(world: World, answer: tuple[int, Any], text: str) -> None:
    world.service.answer = lambda body: answer
    counts = AuthorizationCounts()
    for policy in (Decision.NO_OPINION, Decision.DENY):
        with pytest.raises(EvaluationError, match=text) as caught:
            await world.authorizer(counts=counts, on_failure=policy).authorize(GET)
        assert caught.value.decision is policy
    assert len(world.service.received) == 2
    counted = {sample.name: (sample.labels, sample.value) for each in counts.families() for sample in each.samples}
    assert counted == {
        "apiserver_authorization_webhook_evaluations_total": ({"name": "webhook", "result": "error"}, 2.0),
        "apiserver_authorization_webhook_evaluations_fail_open_total": ({"name": "webhook", "result": "error"}, 1.0),
    }


async def test_what_may_pass_is_tried_again(world: World) -> None:
    answers = iter([(500, {}), (429, {}), (200, review(allowed=True))])
    world.service.answer = lambda body: next(answers)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    world.clock.sleep = sleep  # type: ignore[method-assign]
    assert (await world.authorizer().authorize(GET))[0] is Decision.ALLOW
    assert len(world.service.received) == 3
    assert 0.5 <= slept[0] <= 0.6
    assert 0.75 <= slept[1] <= 0.9


async def test_a_kept_connection_that_was_closed_is_no_failure(world: World) -> None:
    world.service.close_after_each = True
    authorizer = world.authorizer(authorized_seconds=0.0)
    for _ in range(3):
        assert (await authorizer.authorize(GET))[0] is Decision.ALLOW
    assert world.service.connections == 3


async def test_an_unknown_authority_is_refused(world: World) -> None:
    authorizer = world.authorizer(config=world.service.kubeconfig(ca=False))
    with pytest.raises(EvaluationError, match="cannot connect"):
        await authorizer.authorize(GET)
    assert world.service.received == []


async def test_nobody_there(world: World) -> None:
    authorizer = world.authorizer()
    await world.service.stop()
    with pytest.raises(EvaluationError, match=r"cannot connect to 127\.0\.0\.1"):
        await authorizer.authorize(GET)


async def test_answers_have_a_limit(world: World) -> None:
    world.service.answer = lambda body: (200, b" " * (1024 * 1024 + 1))
    client = WebhookClient(load_connection(str(world.service.kubeconfig()), world.environment.files))
    with pytest.raises(WebhookError, match="larger than"):
        await client.post({})


async def test_in_a_union_the_next_one_is_asked(world: World) -> None:
    world.service.answer = lambda body: (400, {})

    class Fixed:
        def __init__(self, decision: Decision) -> None:
            self.decision = decision

        async def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
            return self.decision, "because"

    skipped, strict = world.authorizer(), world.authorizer(on_failure=Decision.DENY)
    assert await UnionAuthorizer([skipped, Fixed(Decision.ALLOW)]).authorize(GET) == (Decision.ALLOW, "because")
    with pytest.raises(EvaluationError):
        await UnionAuthorizer([skipped, Fixed(Decision.NO_OPINION)]).authorize(GET)
    with pytest.raises(EvaluationError):
        await UnionAuthorizer([strict, Fixed(Decision.ALLOW)]).authorize(GET)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("[]", "is not a kubeconfig"),
        ("current-context: x", "there is no context named 'x'"),
        (
            "contexts: [{name: a, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: nowhere}}]",
            "is not a URL",
        ),
        (
            "contexts: [{name: a, context: {cluster: c}}]\n"
            "clusters: [{name: c, cluster: {server: 'https://x', certificate-authority: /no/such}}]",
            "cannot read /no/such",
        ),
        (
            "contexts: [{name: a, context: {cluster: c}}]\n"
            "clusters: [{name: c, cluster: {server: 'https://x', certificate-authority-data: '%%'}}]",
            "certificate-authority-data is not base64",
        ),
    ],
)
def test_kubeconfigs_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ConnectionConfigError, match=message):
        load_connection(str(path), RealFileSystem())
