"""Authorization by a file of policies, one JSON object a line (`pkg/auth/authorizer/abac`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from apiserver.authz.interface import Attributes, Decision, NonResourceRule, ResourceRule
from apiserver.request import UserInfo

__all__ = ["ABACAuthorizer", "Policy", "PolicyFileError", "parse_policies"]

ALL: Final = "*"
ALL_AUTHENTICATED: Final = "system:authenticated"
API_VERSION: Final = "abac.authorization.kubernetes.io/v1beta1"
READ_ONLY_VERBS: Final = ("get", "list", "watch")
_FIELDS: Final = {
    "user": str,
    "group": str,
    "readonly": bool,
    "apiGroup": str,
    "resource": str,
    "namespace": str,
    "nonResourcePath": str,
}


class PolicyFileError(Exception):
    """A line is not a policy; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What one line allows. Empty members match nothing, `*` matches everything."""

    user: str = ""
    group: str = ""
    readonly: bool = False
    api_group: str = ""
    resource: str = ""
    namespace: str = ""
    path: str = ""

    def matches(self, attributes: Attributes) -> bool:
        """Whether a request is allowed by it."""
        if not self.concerns(attributes.user) or (self.readonly and attributes.verb not in READ_ONLY_VERBS):
            return False
        if not attributes.is_resource_request:
            return _path_matches(self.path, attributes.path)
        return (
            self.namespace in (ALL, attributes.namespace)
            and self.resource in (ALL, attributes.resource)
            and self.api_group in (ALL, attributes.api_group)
        )

    def concerns(self, user: UserInfo) -> bool:
        """Whether it is about this user: all that it says of user and group must hold, and it must say something."""
        if self.user and self.user != user.name:
            return False
        if self.group and self.group not in user.groups:
            return False
        return bool(self.user or self.group)


def _path_matches(pattern: str, path: str) -> bool:
    return pattern in (ALL, path) or (pattern.endswith(ALL) and path.startswith(pattern.rstrip(ALL)))


def parse_policies(text: str) -> list[Policy]:
    """The policies of a file; blank lines and comments (`#`) are skipped.

    Raises:
        PolicyFileError: at the first line that is no policy.
    """
    policies = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            try:
                policies.append(_policy(orjson.loads(stripped)))
            except ValueError as error:
                raise PolicyFileError(f"line {number}: {error}") from error
    return policies


def _policy(obj: Any) -> Policy:
    if not isinstance(obj, dict):
        raise ValueError("a policy is a JSON object")
    if "apiVersion" not in obj and "kind" not in obj:
        return _unversioned(obj)
    if obj.get("apiVersion") != API_VERSION or obj.get("kind") != "Policy":
        raise ValueError(f"unrecognized object: apiVersion {obj.get('apiVersion')!r}, kind {obj.get('kind')!r}")
    spec = _checked(obj.get("spec") or {})
    user, group = spec.get("user", ""), spec.get("group", "")
    if ALL in (user, group):
        user, group = "", ALL_AUTHENTICATED
    return Policy(
        user,
        group,
        spec.get("readonly", False),
        spec.get("apiGroup", ""),
        spec.get("resource", ""),
        spec.get("namespace", ""),
        spec.get("nonResourcePath", ""),
    )


def _unversioned(obj: dict[str, Any]) -> Policy:
    """The format before there were versions: what is left out matches everything."""
    spec = _checked(obj)
    user, group = spec.get("user", ""), spec.get("group", "")
    if ALL in (user, group) or not (user or group):
        user, group = "", ALL_AUTHENTICATED
    resource, namespace = spec.get("resource", ""), spec.get("namespace", "")
    path = "" if resource or namespace else ALL
    return Policy(user, group, spec.get("readonly", False), ALL, resource or ALL, namespace or ALL, path)


def _checked(spec: Any) -> dict[str, Any]:
    if not isinstance(spec, dict):
        raise ValueError("spec must be an object")
    for name, value in spec.items():
        if name in _FIELDS and not isinstance(value, _FIELDS[name]):
            raise ValueError(f"{name} must be a {'string' if _FIELDS[name] is str else 'boolean'}")
    return spec


class ABACAuthorizer:
    """Allows what any policy allows."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = tuple(policies)

    async def authorize(self, attributes: Attributes) -> tuple[Decision, str]:
        """See `Authorizer.authorize`."""
        if any(policy.matches(attributes) for policy in self._policies):
            return Decision.ALLOW, ""
        return Decision.NO_OPINION, "No policy matched."

    async def rules_for(
        self, user: UserInfo, namespace: str
    ) -> tuple[Sequence[ResourceRule], Sequence[NonResourceRule], bool, str]:
        """See `RuleResolver.rules_for`."""
        resources, paths = [], []
        for policy in self._policies:
            if not policy.concerns(user) or policy.namespace not in (ALL, namespace):
                continue
            verbs = READ_ONLY_VERBS if policy.readonly else (ALL,)
            if policy.resource and policy.api_group:
                resources.append(ResourceRule(verbs, (policy.api_group,), (policy.resource,)))
            if policy.path:
                paths.append(NonResourceRule(verbs, (policy.path,)))
        return resources, paths, False, ""
