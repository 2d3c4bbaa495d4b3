"""What a PolicyRule allows, and which rules are contained in which others.

Rules are the API's own dicts (`rbac.authorization.k8s.io/v1` PolicyRule). Kubernetes: `pkg/apis/rbac/v1`
`evaluation_helpers.go`, `component-helpers/auth/rbac/validation` and `pkg/registry/rbac/validation/policy_compact.go`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any, Final

from apiserver.authz.interface import Attributes

__all__ = ["FULL_AUTHORITY", "Rule", "compact", "covers", "describe", "path_matches", "rules_allow"]

Rule = dict[str, Any]

ALL: Final = "*"

FULL_AUTHORITY: Final[tuple[Rule, ...]] = (
    {"verbs": [ALL], "apiGroups": [ALL], "resources": [ALL]},
    {"verbs": [ALL], "nonResourceURLs": [ALL]},
)
"""What somebody must hold to write an aggregation rule, which can gather anything."""


def path_matches(pattern: str, path: str) -> bool:
    """Whether a nonResourceURL, which may end in `*`, names a path."""
    return pattern in (ALL, path) or (pattern.endswith(ALL) and path.startswith(pattern.rstrip(ALL)))


def rules_allow(rules: Iterable[Rule], attributes: Attributes) -> bool:
    """Whether any of the rules allows a request. For short lists of rules; `RoleIndex` is for many."""
    return any(_allows(rule, attributes) for rule in rules)


def _allows(rule: Rule, attributes: Attributes) -> bool:
    verbs = rule.get("verbs") or ()
    if attributes.verb not in verbs and ALL not in verbs:
        return False
    if not attributes.is_resource_request:
        return any(path_matches(pattern, attributes.path) for pattern in rule.get("nonResourceURLs") or ())
    groups = rule.get("apiGroups") or ()
    if attributes.api_group not in groups and ALL not in groups:
        return False
    names = rule.get("resourceNames")
    if names and attributes.name not in names:
        return False
    resource, subresource = attributes.resource, attributes.subresource
    wanted = f"{resource}/{subresource}" if subresource else resource
    resources = rule.get("resources") or ()
    return wanted in resources or ALL in resources or (bool(subresource) and f"{ALL}/{subresource}" in resources)


# Containment.


def covers(owner: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """The parts of the wanted rules, as small as can be, that no rule of the owner contains; empty if all are held."""
    return [part for rule in wanted for part in _parts(rule) if not any(_contains(held, part) for held in owner)]


def _parts(rule: Rule) -> Iterator[Rule]:
    """A rule as rules about one verb on one thing each."""
    verbs = rule.get("verbs") or ()
    names = rule.get("resourceNames") or ()
    for group, resource, verb in product(rule.get("apiGroups") or (), rule.get("resources") or (), verbs):
        part = {"verbs": [verb], "apiGroups": [group], "resources": [resource]}
        if names:
            yield from ({**part, "resourceNames": [name]} for name in names)
        else:
            yield part
    for url, verb in product(rule.get("nonResourceURLs") or (), verbs):
        yield {"verbs": [verb], "nonResourceURLs": [url]}


def _contains(held: Rule, part: Rule) -> bool:
    held_names, names = held.get("resourceNames") or (), part.get("resourceNames") or ()
    return (
        _has_all(held.get("verbs"), part["verbs"])
        and _has_all(held.get("apiGroups"), part.get("apiGroups"))
        and all(_resource_held(held.get("resources") or (), resource) for resource in part.get("resources") or ())
        and all(
            any(_url_contains(pattern, url) for pattern in held.get("nonResourceURLs") or ())
            for url in part.get("nonResourceURLs") or ()
        )
        and (not held_names or (bool(names) and all(name in held_names for name in names)))
    )


def _has_all(held: Sequence[str] | None, wanted: Sequence[str] | None) -> bool:
    held = held or ()
    return ALL in held or all(word in held for word in wanted or ())


def _resource_held(held: Sequence[str], resource: str) -> bool:
    if ALL in held or resource in held:
        return True
    _, slash, subresource = resource.partition("/")
    return bool(slash) and f"{ALL}/{subresource}" in held


def _url_contains(pattern: str, url: str) -> bool:
    return pattern == url or (pattern.endswith(ALL) and url.startswith(pattern.rstrip(ALL)))


# Showing rules to people.


def compact(rules: Iterable[Rule]) -> list[Rule]:
    """Rules about one resource (and at most one name) each are joined into one with all their verbs."""
    simple: dict[tuple[str, str, tuple[str, ...]], Rule] = {}
    rest = []
    for rule in rules:
        groups: Sequence[str] = rule.get("apiGroups") or ()
        resources: Sequence[str] = rule.get("resources") or ()
        names: Sequence[str] = rule.get("resourceNames") or ()
        if rule.get("nonResourceURLs") or len(groups) != 1 or len(resources) != 1 or len(names) > 1:
            rest.append(rule)
            continue
        key = (groups[0], resources[0], tuple(names))
        joined = simple.setdefault(key, {**rule, "verbs": []})
        joined["verbs"] += rule["verbs"]
    return [*rest, *simple.values()]


def describe(rule: Rule) -> str:
    """`{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}`."""
    parts = [
        f"{title}:{_quoted(rule[field])}"
        for title, field in (
            ("APIGroups", "apiGroups"),
            ("Resources", "resources"),
            ("NonResourceURLs", "nonResourceURLs"),
            ("ResourceNames", "resourceNames"),
            ("Verbs", "verbs"),
        )
        if rule.get(field)
    ]
    return "{" + ", ".join(parts) + "}"


def _quoted(words: Iterable[str]) -> str:
    return "[" + " ".join(json.dumps(word, ensure_ascii=False) for word in words) + "]"
