"""Roles and bindings, arranged so that a decision looks up the few rules that can matter.

Kubernetes walks every binding of the cluster for every request (`pkg/registry/rbac/validation/rule.go`). Here bindings
are filed under who they are for, and the rules somebody gets in one scope are merged, when first needed, into one
table by API group and resource: its lookup costs the same for one binding and for a thousand. A change of a
binding throws away the tables of its subjects, that of a role all; they are made again as requests come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from apiserver.authz.rbac.rules import ALL, Rule, path_matches
from apiserver.request import UserInfo

__all__ = ["GROUP", "Grant", "RoleIndex", "Table", "subjects_of"]

GROUP: Final = "rbac.authorization.k8s.io"

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Grant:
    """A binding as it concerns one subject.

    Attributes:
        binding: its name, unique within its scope.
        role: where its rules are: ("", name) of a ClusterRole, (namespace, name) of a Role.
        source: the binding in words, for the reason of a decision.
        problem: why it can have no rules, or the empty string.
    """

    binding: str
    role: tuple[str, str]
    source: str
    problem: str = ""


@dataclass(slots=True)
class Table:
    """All that one subject may do by the bindings of one scope.

    Attributes:
        resources: by API group and resource (with subresource), each of which may be `*`: verbs (None for all), names
            (None for all) and the source.
        paths: verbs, patterns and source of rules about paths.
        problems: of bindings whose role is not there.
    """

    resources: dict[tuple[str, str], list[tuple[frozenset[str] | None, frozenset[str] | None, str]]] = field(
        default_factory=dict
    )
    paths: list[tuple[frozenset[str] | None, tuple[str, ...], str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, rule: Rule, source: str) -> None:
        """Take one rule in."""
        verbs = _all_or_some(rule.get("verbs"))
        names = frozenset(rule["resourceNames"]) if rule.get("resourceNames") else None
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                self.resources.setdefault((group, resource), []).append((verbs, names, source))
        if rule.get("nonResourceURLs"):
            self.paths.append((verbs, tuple(rule["nonResourceURLs"]), source))

    def find_resource(self, keys: Sequence[tuple[str, str]], verb: str, name: str) -> str | None:
        """The source of a rule that allows a verb under any of the keys."""
        for key in keys:
            for verbs, names, source in self.resources.get(key, ()):
                if (verbs is None or verb in verbs) and (names is None or name in names):
                    return source
        return None

    def find_path(self, path: str, verb: str) -> str | None:
        """The source of a rule that allows a verb on a path."""
        for verbs, patterns, source in self.paths:
            if (verbs is None or verb in verbs) and any(path_matches(pattern, path) for pattern in patterns):
                return source
        return None


def _all_or_some(words: Sequence[str] | None) -> frozenset[str] | None:
    some = frozenset(words or ())
    return None if ALL in some else some


def subjects_of(user: UserInfo) -> tuple[str, ...]:
    """The names under which a user's bindings are filed."""
    return (f"user {user.name}", *(f"group {group}" for group in user.groups))


class RoleIndex:
    """The roles and bindings of a cluster, at one moment. Scopes are namespaces; the cluster's own is ""."""

    def __init__(self) -> None:
        self._rules: dict[tuple[str, str], list[Rule]] = {}
        self._bindings: dict[tuple[str, str], Object] = {}
        self._grants: dict[str, dict[str, dict[str, Grant]]] = {}
        self._tables: dict[tuple[str, str], Table | None] = {}

    def apply(self, resource: str, obj: Object, gone: bool) -> None:
        """An object of one of the four resources is new, has changed, or is gone."""
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        if resource in ("roles", "clusterroles"):
            if gone:
                self._rules.pop(key, None)
            else:
                self._rules[key] = obj.get("rules") or []
            self._tables.clear()
        else:
            self._unfile(key)
            if not gone:
                self._file(key, obj)

    def replace(self, resource: str, objects: Sequence[Object]) -> None:
        """These are all objects of a resource."""
        cluster = resource.startswith("cluster")
        present: dict[tuple[str, str], Any] = self._rules if resource.endswith("roles") else self._bindings
        for key in [key for key in present if (key[0] == "") == cluster]:
            self.apply(resource, {"metadata": {"namespace": key[0], "name": key[1]}}, gone=True)
        for obj in objects:
            self.apply(resource, obj, gone=False)

    def table(self, scope: str, subject: str) -> Table | None:
        """What a subject may do by the bindings of a scope; None when it has none."""
        granted = self._grants.get(scope)
        if granted is None or subject not in granted:
            return None
        key = (scope, subject)
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = Table()
            for grant in granted[subject].values():
                for rule in self._granted_rules(grant, table.problems):
                    table.add(rule, grant.source)
        return table

    def rules_for(self, user: UserInfo, namespace: str) -> tuple[list[Rule], list[str]]:
        """Every rule somebody has in a namespace ("" for the cluster), and what could not be resolved."""
        rules: list[Rule] = []
        problems: list[str] = []
        subjects = subjects_of(user)
        for scope in ("", namespace) if namespace else ("",):
            granted = self._grants.get(scope, {})
            grants = {name: grant for subject in subjects for name, grant in granted.get(subject, {}).items()}
            for name in sorted(grants):
                rules.extend(self._granted_rules(grants[name], problems))
        return rules, problems

    def _granted_rules(self, grant: Grant, problems: list[str]) -> Sequence[Rule]:
        rules = None if grant.problem else self._rules.get(grant.role)
        if rules is None:
            kind = "role" if grant.role[0] else "clusterrole"
            problems.append(grant.problem or f'{kind}.{GROUP} "{grant.role[1]}" not found')
        return rules or ()

    def _file(self, key: tuple[str, str], binding: Object) -> None:
        scope, name = key
        self._bindings[key] = binding
        granted = self._grants.setdefault(scope, {})
        for subject, words in _bound_subjects(scope, binding):
            self._tables.pop((scope, subject), None)
            by_name = granted.setdefault(subject, {})
            if name not in by_name:  # the first of several subjects that are the same is the one that is shown
                by_name[name] = _grant(key, binding, words)

    def _unfile(self, key: tuple[str, str]) -> None:
        scope, name = key
        binding = self._bindings.pop(key, None)
        if binding is None:
            return
        granted = self._grants[scope]
        for subject, _ in _bound_subjects(scope, binding):
            self._tables.pop((scope, subject), None)
            by_name = granted.get(subject)
            if by_name is not None:
                by_name.pop(name, None)
                if not by_name:
                    del granted[subject]
        if not granted:
            del self._grants[scope]


def _bound_subjects(scope: str, binding: Object) -> Iterator[tuple[str, str]]:
    """The subjects of a binding: as they are filed, and in words."""
    for subject in binding.get("subjects") or ():
        kind, name = subject.get("kind", ""), subject.get("name", "")
        if kind == "User":
            yield f"user {name}", f'User "{name}"'
        elif kind == "Group":
            yield f"group {name}", f'Group "{name}"'
        elif kind == "ServiceAccount":
            namespace = subject.get("namespace") or scope
            if namespace:
                yield f"user system:serviceaccount:{namespace}:{name}", f'ServiceAccount "{name}/{namespace}"'


def _grant(key: tuple[str, str], binding: Object, subject: str) -> Grant:
    scope, name = key
    reference = binding.get("roleRef") or {}
    kind, role = reference.get("kind", ""), reference.get("name", "")
    title = f'RoleBinding "{name}/{scope}"' if scope else f'ClusterRoleBinding "{name}"'
    source = f'{title} of {kind} "{role}" to {subject}'
    if kind == "ClusterRole":
        return Grant(name, ("", role), source)
    if kind == "Role" and scope:
        return Grant(name, (scope, role), source)
    return Grant(name, (scope, role), source, f'unsupported role reference kind: "{kind}"')
