"""The shape of an authorizer, what it is asked about, and how a refusal reads (k8s.io/apiserver `authorization`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from apiserver.api.status import StatusError, forbidden
from apiserver.request import Request, UserInfo

__all__ = [
    "Attributes",
    "Authorizer",
    "Decision",
    "EvaluationError",
    "NonResourceRule",
    "ResourceRule",
    "RuleResolver",
    "forbidden_error",
    "forbidden_message",
]


class Decision(Enum):
    """What an authorizer thinks; only ALLOW lets a request pass."""

    DENY = 0
    ALLOW = 1
    NO_OPINION = 2


class EvaluationError(Exception):
    """An authorizer could not find out; the text says why.

    Attributes:
        decision: what counts instead: DENY, or NO_OPINION to ask the next one.
    """

    def __init__(self, decision: Decision, message: str) -> None:
        super().__init__(message)
        self.decision = decision


@dataclass(slots=True, eq=False)
class Attributes:
    """What somebody wants to do; not to be changed.

    Attributes:
        path: for a request that is not for a resource.
        field_selector, label_selector: as given with a list, watch or deletecollection.
    """

    user: UserInfo
    verb: str
    is_resource_request: bool = True
    api_group: str = ""
    api_version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""
    label_selector: str = ""

    @classmethod
    def of(cls, request: Request) -> Attributes:
        """The attributes of a request that has passed authentication."""
        info = request.info
        field_selector = label_selector = ""
        if request.query and info.verb in ("list", "watch", "deletecollection"):
            field_selector = request.parameter("fieldSelector")
            label_selector = request.parameter("labelSelector")
        return cls(
            request.user,
            info.verb,
            info.is_resource_request,
            info.api_group,
            info.api_version,
            info.namespace,
            info.resource,
            info.subresource,
            info.name,
            info.path,
            field_selector,
            label_selector,
        )


class Authorizer(Protocol):
    """Decides about requests."""

    async def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        """The decision and its reason (which may be empty, and is shown to the user on refusal).

        Raises:
            EvaluationError: nobody allowed it, and somebody could not find out.
        """


@dataclass(frozen=True, slots=True)
class ResourceRule:
    """One rule of a SelfSubjectRulesReview about resources."""

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NonResourceRule:
    """One rule of a SelfSubjectRulesReview about paths."""

    verbs: tuple[str, ...]
    paths: tuple[str, ...] = ()


class RuleResolver(Protocol):
    """An authorizer that can list what somebody may do."""

    async def rules_for(
        self, user: UserInfo, namespace: str
    ) -> tuple[Sequence[ResourceRule], Sequence[NonResourceRule], bool, str]:
        """Rules, whether the list is incomplete, and an evaluation error or the empty string."""


def forbidden_message(attributes: Attributes) -> str:
    """`User "x" cannot list resource "pods" in API group "" in the namespace "default"`."""
    user = json.dumps(attributes.user.name, ensure_ascii=False)
    if not attributes.is_resource_request:
        return _without_markup(f"User {user} cannot {attributes.verb} path {json.dumps(attributes.path)}")
    resource = attributes.resource
    if attributes.subresource:
        resource = f"{resource}/{attributes.subresource}"
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    group = attributes.api_group
    return _without_markup(f'User {user} cannot {attributes.verb} resource "{resource}" in API group "{group}" {where}')


def _without_markup(text: str) -> str:
    """A browser must not take an echo of the request for HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def forbidden_error(attributes: Attributes, reason: str = "") -> StatusError:
    """The 403 for a request that was not allowed."""
    message = forbidden_message(attributes)
    if reason:
        message = f"{message}: {reason}"
    return forbidden(attributes.api_group, attributes.resource, attributes.name, message)
