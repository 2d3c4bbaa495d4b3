"""Which requests a webhook is asked about."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.authz import Attributes, Decision, EvaluationError
from apiserver.authz.counting import AuthorizationCounts
from apiserver.authz.match_conditions import MatchConditions, MatchError
from apiserver.authz.webhook import WebhookAuthorizer, WebhookSettings, review_spec
from apiserver.request import UserInfo
from kvstore.environment import Environment, RealFileSystem, SeededRandomness
from tests.conformance.storage.fake_clock import FakeClock
from tests.unit.apiserver.authz.worlds import question

JANE = UserInfo("jane", "u-1", ("dev", "ops"), (("scopes", ("a", "b")),))
SECRET = question(JANE, "get secrets team/s")
PATH = question(JANE, "get /healthz")
LIST = Attributes(JANE, "list", resource="pods", field_selector="spec.nodeName=n1")

TRUE = [
    (SECRET, "has(request.resourceAttributes)"),
    (SECRET, "!has(request.nonResourceAttributes)"),
    (SECRET, "request.resourceAttributes.namespace == 'team' && request.resourceAttributes.resource == 'secrets'"),
    (SECRET, "request.resourceAttributes.group == '' && request.resourceAttributes.subresource == ''"),
    (SECRET, "request.user == 'jane' && request.uid == 'u-1'"),
    (SECRET, "'ops' in request.groups && !('x' in request.groups)"),
    (SECRET, "request.extra['scopes'].exists(s, s == 'b')"),
    (SECRET, "!('other' in request.extra)"),
    (SECRET, "!has(request.resourceAttributes.fieldSelector)"),
    (SECRET, "request.user.matches('^j.*e$') && request.user.startsWith('ja')"),
    (PATH, "has(request.nonResourceAttributes) && request.nonResourceAttributes.path.startsWith('/health')"),
    (PATH, "!has(request.resourceAttributes)"),
    (LIST, "has(request.resourceAttributes.fieldSelector)"),
    (
        LIST,
        "request.resourceAttributes.fieldSelector.requirements.exists(r, r.key == 'spec.nodeName' && 'n1' in r.values)",
    ),
    (question(UserInfo(""), "get /"), "request.user == '' && request.groups.size() == 0 && request.extra.size() == 0"),
]


@pytest.mark.parametrize(("asked", "text"), TRUE)
def test_what_is_true_and_its_opposite(asked: Attributes, text: str) -> None:
    spec = review_spec(asked, "v1")
    assert MatchConditions([text]).match(spec)
    assert not MatchConditions([f"!({text})"]).match(spec)


def test_false_counts_before_errors_and_errors_before_truth() -> None:
    spec = review_spec(PATH, "v1")
    broken = "request.resourceAttributes.namespace == 'team'"
    with pytest.raises(MatchError, match="resulted in error: Key not found in map"):
        MatchConditions(["true", broken]).match(spec)
    assert not MatchConditions([broken, "false"]).match(spec)
    assert not MatchConditions(["false", broken]).match(spec)
    assert MatchConditions(["true", "1 < 2"]).match(spec)


class Service:
    def __init__(self) -> None:
        self.asked = 0

    async def post(self, body: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        return {"kind": "SubjectAccessReview", "status": {"allowed": True}}


async def test_a_webhook_is_asked_about_nothing_else() -> None:
    service, environment = Service(), Environment(FakeClock(), SeededRandomness(1), RealFileSystem())
    counts = AuthorizationCounts()
    conditions = MatchConditions(["has(request.resourceAttributes)", "request.resourceAttributes.namespace == 'team'"])
    authorizer = WebhookAuthorizer(service, environment, WebhookSettings(version="v1beta1"), conditions, counts)
    assert await authorizer.authorize(PATH) == (Decision.NO_OPINION, "")
    assert await authorizer.authorize(LIST) == (Decision.NO_OPINION, "")
    assert service.asked == 0
    assert await authorizer.authorize(SECRET) == (Decision.ALLOW, "")
    assert service.asked == 1
    for policy in (Decision.DENY, Decision.NO_OPINION):
        settings = WebhookSettings(on_failure=policy)
        broken = MatchConditions(["request.resourceAttributes.namespace == 'team'"])
        with pytest.raises(EvaluationError) as caught:
            await WebhookAuthorizer(service, environment, settings, broken, counts).authorize(PATH)
        assert caught.value.decision is policy
    assert service.asked == 1
    counted = {sample.name: sample.value for family in counts.families() for sample in family.samples}
    assert counted == {
        "apiserver_authorization_webhook_evaluations_total": 1.0,
        "apiserver_authorization_match_condition_evaluation_errors_total": 2.0,
        "apiserver_authorization_match_condition_exclusions_total": 2.0,
    }
