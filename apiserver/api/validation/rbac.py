"""Roles and their bindings (`pkg/apis/rbac/validation`). Verbs and names that must be given are checked by tags."""

from __future__ import annotations

from typing import Final

from apiserver.api.field_errors import field_invalid, not_supported, required
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_name
from apiserver.api.validation.names import dns_subdomain_problems, path_segment_problems
from apiserver.api.validation.objectmeta import IMMUTABLE
from apiserver.api.validation.selectors import check_label_selector

__all__ = ["check_binding", "check_role"]

GROUP: Final = "rbac.authorization.k8s.io"


def check_role(errors: Errors, role: Obj, *, namespaced: bool) -> None:
    """A Role or ClusterRole."""
    for index, rule in enumerate(role.get("rules") or ()):
        at, urls = f"rules[{index}]", rule.get("nonResourceURLs")
        if urls:
            if namespaced:
                text = "namespaced rules cannot apply to non-resource URLs"
                errors.append(field_invalid(f"{at}.nonResourceURLs", urls, text))
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                text = "rules cannot apply to both regular resources and non-resource URLs"
                errors.append(field_invalid(f"{at}.nonResourceURLs", urls, text))
            continue
        if not rule.get("apiGroups"):
            errors.append(required(f"{at}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.get("resources"):
            errors.append(required(f"{at}.resources", "resource rules must supply at least one resource"))
    aggregation = role.get("aggregationRule")
    if aggregation is not None:
        selectors = aggregation.get("clusterRoleSelectors") or ()
        if not selectors:
            text = "at least one clusterRoleSelector required if aggregationRule is non-nil"
            errors.append(required("aggregationRule.clusterRoleSelectors", text))
        for index, selector in enumerate(selectors):
            check_label_selector(errors, f"aggregationRule.clusterRoleSelectors[{index}]", selector)


def check_binding(errors: Errors, binding: Obj, old: Obj | None, *, namespaced: bool) -> None:
    """A RoleBinding or ClusterRoleBinding: what it refers to never changes."""
    reference = binding.get("roleRef") or EMPTY
    group, kind, name = (reference.get(member, "") for member in ("apiGroup", "kind", "name"))
    if group != GROUP:
        errors.append(not_supported("roleRef.apiGroup", group, (GROUP,)))
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
    if kind not in kinds:
        errors.append(not_supported("roleRef.kind", kind, kinds))
    if name:
        check_name(errors, "roleRef.name", name, path_segment_problems)
    for index, subject in enumerate(binding.get("subjects") or ()):
        _check_subject(errors, f"subjects[{index}]", subject, namespaced=namespaced)
    if old is not None and reference != old.get("roleRef"):
        shown = {"APIGroup": group, "Kind": kind, "Name": name}  # kube-apiserver shows its internal type
        errors.append(field_invalid("roleRef", shown, IMMUTABLE))


def _check_subject(errors: Errors, path: str, subject: Obj, *, namespaced: bool) -> None:
    kind, name, group = (subject.get(member, "") for member in ("kind", "name", "apiGroup"))
    if kind == "ServiceAccount":
        if name:
            check_name(errors, f"{path}.name", name, dns_subdomain_problems)
        if group:
            errors.append(not_supported(f"{path}.apiGroup", group, ("",)))
        if not namespaced and not subject.get("namespace"):
            errors.append(required(f"{path}.namespace"))
    elif kind in ("User", "Group"):
        if group != GROUP:
            errors.append(not_supported(f"{path}.apiGroup", group, (GROUP,)))
    else:
        errors.append(not_supported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group")))
