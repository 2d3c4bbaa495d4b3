"""Authorization by a service that answers SubjectAccessReviews (k8s.io/apiserver `plugin/pkg/authorizer/webhook`)."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from apiserver.api.field_selectors import parse_field_selector
from apiserver.api.label_selectors import parse_label_selector
from apiserver.api.status import StatusError
from apiserver.authz.counting import CONDITION_ERRORS, EVALUATIONS, EXCLUSIONS, FAIL_OPEN, AuthorizationCounts
from apiserver.authz.interface import Attributes, Decision, EvaluationError, NonResourceRule, ResourceRule
from apiserver.request import UserInfo
from apiserver.webhooks import WebhookError, with_retries
from kvstore.environment import Environment

if TYPE_CHECKING:
    from apiserver.authz.match_conditions import MatchConditions

__all__ = ["WebhookAuthorizer", "WebhookSettings"]

_LOG = logging.getLogger("apiserver.authorization.webhook")
GROUP: Final = "authorization.k8s.io"
CACHE_ENTRIES_MAX: Final = 8192
CACHED_ATTRIBUTES_CHARACTERS_MAX: Final = 10_000


class Client(Protocol):
    """Sends a review and brings back the answer (`webhooks.WebhookClient`)."""

    async def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Raises `WebhookError`."""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """`--authorization-webhook-*`, or the webhook of an AuthorizationConfiguration.

    Attributes:
        name: for logs.
        version: of the SubjectAccessReview: v1 or v1beta1.
        authorized_seconds, unauthorized_seconds: how long answers are kept; 0 asks every time.
        on_failure: what counts when there is no answer.
    """

    name: str = "webhook"
    version: str = "v1"
    authorized_seconds: float = 300.0
    unauthorized_seconds: float = 30.0
    on_failure: Decision = Decision.NO_OPINION


class WebhookAuthorizer:
    """Asks a service, and remembers what it said.

    Args:
        conditions: which requests it is asked about; None for all.
        counts: is told of calls and of what conditions did.
    """

    def __init__(
        self,
        client: Client,
        environment: Environment,
        settings: WebhookSettings,
        conditions: MatchConditions | None = None,
        counts: AuthorizationCounts | None = None,
    ) -> None:
        self._count = (counts or AuthorizationCounts()).count
        self._client = client
        self._environment = environment
        self._settings = settings
        self._conditions = conditions
        self._answers: OrderedDict[bytes, tuple[float, dict[str, Any]]] = OrderedDict()

    async def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        """See `Authorizer.authorize`."""
        if self._conditions is not None and not self._concerns(attributes, self._conditions):
            return Decision.NO_OPINION, ""
        spec = review_spec(attributes, self._settings.version)
        key = orjson.dumps(spec)
        status = self._remembered(key)
        if status is None:
            status = await self._ask(spec)
            if _characters(attributes) < CACHED_ATTRIBUTES_CHARACTERS_MAX:
                self._remember(key, status)
        reason = str(status.get("reason") or "")
        allowed, denied = bool(status.get("allowed")), bool(status.get("denied"))
        if allowed and denied:
            text = "webhook subject access review returned both allow and deny response"
            raise EvaluationError(Decision.DENY, text)
        if denied:
            return Decision.DENY, reason
        return (Decision.ALLOW if allowed else Decision.NO_OPINION), reason

    async def rules_for(
        self, user: UserInfo, namespace: str
    ) -> tuple[Sequence[ResourceRule], Sequence[NonResourceRule], bool, str]:
        """See `RuleResolver.rules_for`: nobody can know what a service will say."""
        return [], [], True, "webhook authorizer does not support user rule resolution"

    def _concerns(self, attributes: Attributes, conditions: MatchConditions) -> bool:
        from apiserver.authz.match_conditions import MatchError

        try:
            matches = conditions.match(review_spec(attributes, "v1"))
        except MatchError as error:
            self._count(CONDITION_ERRORS, "Webhook", self._settings.name)
            raise EvaluationError(self._settings.on_failure, str(error)) from error
        if not matches:
            self._count(EXCLUSIONS, "Webhook", self._settings.name)
        return matches

    async def _ask(self, spec: dict[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": f"{GROUP}/{self._settings.version}", "kind": "SubjectAccessReview", "spec": spec}
        try:
            return await with_retries(lambda: self._call(body), self._environment)
        except WebhookError as error:
            if self._settings.on_failure is Decision.NO_OPINION:
                self._count(FAIL_OPEN, self._settings.name, "timeout" if error.timed_out else "error")
            _LOG.error("failed to make webhook authorizer request (%s): %s", self._settings.name, error)
            raise EvaluationError(self._settings.on_failure, str(error)) from error

    async def _call(self, body: dict[str, Any]) -> dict[str, Any]:
        """One call: the status that came back."""
        result = "error"
        try:
            answer = await self._client.post(body)
            status = answer.get("status")
            if answer.get("kind") != "SubjectAccessReview" or not isinstance(status, dict):
                raise WebhookError("the answer is not a SubjectAccessReview with a status")
            result = "success"
            return status
        except WebhookError as error:
            result = "timeout" if error.timed_out else "error"
            raise
        except asyncio.CancelledError:
            result = "canceled"
            raise
        finally:
            self._count(EVALUATIONS, self._settings.name, result)

    # What it said before.

    def _remembered(self, key: bytes) -> dict[str, Any] | None:
        found = self._answers.get(key)
        if found is None:
            return None
        until, status = found
        if until <= self._environment.clock.monotonic():
            del self._answers[key]
            return None
        self._answers.move_to_end(key)
        return status

    def _remember(self, key: bytes, status: dict[str, Any]) -> None:
        chosen = self._settings
        seconds = chosen.authorized_seconds if status.get("allowed") else chosen.unauthorized_seconds
        if seconds > 0:
            self._answers[key] = (self._environment.clock.monotonic() + seconds, status)
            if len(self._answers) > CACHE_ENTRIES_MAX:
                self._answers.popitem(last=False)


def review_spec(attributes: Attributes, version: str) -> dict[str, Any]:
    """The spec of a SubjectAccessReview about a request."""
    user = attributes.user
    spec: dict[str, Any] = {}
    if user.name:
        spec["user"] = user.name
    if user.groups:
        spec["groups" if version == "v1" else "group"] = list(user.groups)
    if user.uid:
        spec["uid"] = user.uid
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra}
    if not attributes.is_resource_request:
        spec["nonResourceAttributes"] = _given(path=attributes.path, verb=attributes.verb)
        return spec
    spec["resourceAttributes"] = _given(
        namespace=attributes.namespace,
        verb=attributes.verb,
        group=attributes.api_group,
        version=attributes.api_version,
        resource=attributes.resource,
        subresource=attributes.subresource,
        name=attributes.name,
        fieldSelector=_field_requirements(attributes.field_selector),
        labelSelector=_label_requirements(attributes.label_selector),
    )
    return spec


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value}


_OPERATORS: Final = {"=": "In", "==": "In", "in": "In", "!=": "NotIn", "notin": "NotIn"}


def _field_requirements(text: str) -> dict[str, Any]:
    """Selectors only narrow, so what cannot be parsed is left out."""
    try:
        requirements = parse_field_selector(text).requirements if text else ()
    except StatusError:
        return {}
    shown = [
        {"key": each.field, "operator": _OPERATORS[each.operator], "values": [each.value]} for each in requirements
    ]
    return {"requirements": shown} if shown else {}


def _label_requirements(text: str) -> dict[str, Any]:
    try:
        requirements = parse_label_selector(text).requirements if text else ()
    except StatusError:
        return {}
    shown = []
    for each in requirements:
        operator = _OPERATORS.get(each.operator) or {"exists": "Exists", "!": "DoesNotExist"}.get(each.operator)
        if operator is not None:
            shown.append(_given(key=each.key, operator=operator, values=sorted(each.values)))
    return {"requirements": shown} if shown else {}


def _characters(attributes: Attributes) -> int:
    """How much of the key whoever asks can choose."""
    parts = (
        attributes.namespace,
        attributes.verb,
        attributes.api_group,
        attributes.api_version,
        attributes.resource,
        attributes.subresource,
        attributes.name,
        attributes.path,
    )
    return sum(map(len, parts))
