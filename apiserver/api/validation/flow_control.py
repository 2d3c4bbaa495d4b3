"""FlowSchemas and PriorityLevelConfigurations (kubernetes `apis/flowcontrol/validation`)."""

from __future__ import annotations

import math
from typing import Final

from apiserver.api.field_errors import duplicate, field_forbidden, field_invalid, not_supported, required
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_name
from apiserver.api.validation.names import dns_label_problems, dns_subdomain_problems

__all__ = ["check_flow_schema", "check_flow_status", "check_priority_level"]

PRECEDENCE_MAX: Final = 10000
QUEUES_MAX: Final = 10_000_000
HASH_BITS_MAX: Final = 60
EXEMPT: Final = "exempt"
_VERBS: Final = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
)
_DISTINGUISHERS: Final = ("ByNamespace", "ByUser")
_SUBJECT_MEMBERS: Final = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}
_OTHER_SUBJECTS: Final = (("User", "user"), ("ServiceAccount", "serviceAccount"), ("Group", "group"))
_ZERO_SHARES: Final = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares"


def check_flow_schema(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A FlowSchema, new or changed."""
    spec = obj.get("spec") or EMPTY
    precedence, at = spec.get("matchingPrecedence", 0), "spec.matchingPrecedence"
    if precedence <= 0:
        errors.append(field_invalid(at, precedence, "must be a positive value"))
    if precedence > PRECEDENCE_MAX:
        errors.append(field_invalid(at, precedence, f"must not be greater than {PRECEDENCE_MAX}"))
    if precedence == 1 and obj["metadata"].get("name") != EXEMPT:
        text = "only the schema named 'exempt' may have matchingPrecedence 1"
        errors.append(field_invalid(at, precedence, text))
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in _DISTINGUISHERS:
        errors.append(not_supported("spec.distinguisherMethod.type", {"Type": method.get("type", "")}, _DISTINGUISHERS))
    name = (spec.get("priorityLevelConfiguration") or EMPTY).get("name", "")
    at = "spec.priorityLevelConfiguration.name"
    if name:
        check_name(errors, at, name, dns_subdomain_problems)
    else:
        errors.append(required(at, "must reference a priority level"))
    for index, rule in enumerate(spec.get("rules") or ()):
        _check_rule(errors, f"spec.rules[{index}]", rule)
    check_flow_status(errors, obj, obj)


def check_flow_status(errors: Errors, obj: Obj, old: Obj) -> None:
    """The conditions of either kind."""
    seen: set[str] = set()
    for index, condition in enumerate((obj.get("status") or EMPTY).get("conditions") or ()):
        at, kind = f"status.conditions[{index}].type", condition.get("type", "")
        if kind in seen:
            errors.append(duplicate(at, kind))
        seen.add(kind)
        if not kind:
            errors.append(required(at))


def _check_rule(errors: Errors, path: str, rule: Obj) -> None:
    if not rule.get("subjects"):
        errors.append(required(f"{path}.subjects", "subjects must contain at least one value"))
    for index, subject in enumerate(rule.get("subjects") or ()):
        _check_subject(errors, f"{path}.subjects[{index}]", subject)
    if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
        errors.append(required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
    for index, each in enumerate(rule.get("resourceRules") or ()):
        _check_resource_rule(errors, f"{path}.resourceRules[{index}]", each)
    for index, each in enumerate(rule.get("nonResourceRules") or ()):
        at = f"{path}.nonResourceRules[{index}]"
        _check_verbs(errors, at, each)
        _check_urls(errors, f"{at}.nonResourceURLs", each.get("nonResourceURLs") or [])


def _check_subject(errors: Errors, path: str, subject: Obj) -> None:
    kind = subject.get("kind", "")
    if kind not in _SUBJECT_MEMBERS:
        errors.append(not_supported(f"{path}.kind", kind, tuple(_SUBJECT_MEMBERS)))
        return
    member = _SUBJECT_MEMBERS[kind]
    who = subject.get(member)
    if who is None:
        errors.append(required(f"{path}.{member}", f"{member} is required when subject kind is '{kind}'"))
    else:
        name = who.get("name", "")
        if not name:
            errors.append(required(f"{path}.{member}.name"))
        elif kind == "ServiceAccount" and name != "*":
            check_name(errors, f"{path}.{member}.name", name, dns_subdomain_problems)
        if kind == "ServiceAccount":
            at, namespace = f"{path}.{member}.namespace", who.get("namespace", "")
            if namespace:
                check_name(errors, at, namespace, dns_label_problems)
            else:
                errors.append(required(at, "must specify namespace for service account"))
    for other_kind, other in _OTHER_SUBJECTS:
        if other_kind != kind and subject.get(other) is not None:
            text = f"{other} is forbidden when subject kind is not '{other_kind}'"
            errors.append(field_forbidden(f"{path}.{other}", text))


def _check_verbs(errors: Errors, path: str, rule: Obj) -> None:
    verbs = rule.get("verbs") or []
    if not verbs:
        errors.append(required(f"{path}.verbs", "verbs must contain at least one value"))
    elif "*" in verbs:
        if len(verbs) > 1:
            errors.append(field_invalid(f"{path}.verbs", verbs, "if '*' is present, must not specify other verbs"))
    elif not set(verbs) <= set(_VERBS):
        errors.append(not_supported(f"{path}.verbs", verbs, _VERBS))


def _check_urls(errors: Errors, path: str, urls: list[str]) -> None:
    if not urls:
        errors.append(required(path, "nonResourceURLs must contain at least one value"))
        return
    if "*" in urls:
        if len(urls) > 1:
            text = "if '*' is present, must not specify other non-resource URLs"
            errors.append(field_invalid(path, urls, text))
        return
    for index, url in enumerate(urls):
        problem = _url_problem(url)
        if problem:
            errors.append(field_invalid(f"{path}[{index}]", url, problem))


def _url_problem(url: str) -> str:
    if not url:
        return "must not be empty"
    if url == "/":
        return ""
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    stars = url.count("*")
    return "wildcard can only do suffix matching" if stars > 1 or (stars == 1 and not url.endswith("/*")) else ""


def _check_resource_rule(errors: Errors, path: str, rule: Obj) -> None:
    _check_verbs(errors, path, rule)
    for member, one, many in (("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")):
        values = rule.get(member) or []
        if not values:
            errors.append(required(f"{path}.{member}", f"resource rules must supply at least one {one}"))
        elif len(values) > 1 and "*" in values:
            errors.append(
                field_invalid(f"{path}.{member}", values, f"if '*' is present, must not specify other {many}")
            )
    namespaces, at = rule.get("namespaces") or [], f"{path}.namespaces"
    if not namespaces and not rule.get("clusterScope"):
        text = "resource rules that are not cluster scoped must supply at least one namespace"
        errors.append(required(at, text))
    elif "*" in namespaces:
        if len(namespaces) > 1:
            text = "if '*' is present, must not specify other namespaces"
            errors.append(field_invalid(at, namespaces, text))
    else:
        for index, namespace in enumerate(namespaces):
            for problem in dns_label_problems(namespace):
                text = f"each member of this list must be '*' or a DNS-1123 label; {problem}"
                errors.append(field_invalid(f"{at}[{index}]", namespace, text))


def check_priority_level(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A PriorityLevelConfiguration, new or changed."""
    if _ZERO_SHARES in (obj["metadata"].get("annotations") or EMPTY):
        errors.append(field_forbidden("metadata.annotations", f"annotation '{_ZERO_SHARES}' is forbidden"))
    spec = obj.get("spec") or EMPTY
    kind, limited, exempt = spec.get("type", ""), spec.get("limited"), spec.get("exempt")
    if (obj["metadata"].get("name") == EXEMPT) != (kind == "Exempt"):
        text = "must be 'Exempt' if and only if `name` is 'exempt'"
        errors.append(field_invalid("spec.type", kind, text))
    _check_mode(errors, "spec.limited", limited, kind == "Limited", is_required=True)
    _check_mode(errors, "spec.exempt", exempt, kind == "Exempt", is_required=False)
    if kind == "Exempt" and exempt is not None:
        _check_shares(errors, "spec.exempt", exempt)
    elif kind == "Limited" and limited is not None:
        _check_limited(errors, "spec.limited", limited)
    elif kind and kind not in ("Exempt", "Limited"):
        errors.append(not_supported("spec.type", kind, ("Exempt", "Limited")))
    check_flow_status(errors, obj, obj)


def _check_mode(errors: Errors, path: str, member: Obj | None, is_mode: bool, *, is_required: bool) -> None:
    """A member that belongs to one type only."""
    if member is None:
        if is_mode and is_required:
            errors.append(required(path))
    elif not is_mode:
        errors.append(field_forbidden(path, ""))


def _check_shares(errors: Errors, path: str, level: Obj) -> None:
    shares, lendable = level.get("nominalConcurrencyShares"), level.get("lendablePercent")
    if shares is not None and shares < 0:
        errors.append(field_invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer"))
    if lendable is not None and not 0 <= lendable <= 100:
        errors.append(field_invalid(f"{path}.lendablePercent", lendable, "must be between 0 and 100, inclusive"))


def _check_limited(errors: Errors, path: str, limited: Obj) -> None:
    response = limited.get("limitResponse") or EMPTY
    kind, queuing, at = response.get("type", ""), response.get("queuing"), f"{path}.limitResponse"
    _check_mode(errors, f"{at}.queuing", queuing, kind == "Queue", is_required=True)
    if kind == "Queue" and queuing is not None:
        _check_queuing(errors, f"{at}.queuing", queuing)
    elif kind and kind not in ("Queue", "Reject"):
        errors.append(not_supported(f"{at}.type", kind, ("Queue", "Reject")))
    _check_shares(errors, path, limited)
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        text = "if specified, must be a non-negative integer"
        errors.append(field_invalid(f"{path}.borrowingLimitPercent", borrowing, text))


def _check_queuing(errors: Errors, path: str, queuing: Obj) -> None:
    length, queues, hand = (queuing.get(name, 0) for name in ("queueLengthLimit", "queues", "handSize"))
    if length <= 0:
        errors.append(field_invalid(f"{path}.queueLengthLimit", length, "must be positive"))
    if queues <= 0:
        errors.append(field_invalid(f"{path}.queues", queues, "must be positive"))
    elif queues > QUEUES_MAX:
        errors.append(field_invalid(f"{path}.queues", queues, f"must not be greater than {QUEUES_MAX}"))
    if hand <= 0:
        errors.append(field_invalid(f"{path}.handSize", hand, "must be positive"))
    elif hand > queues:
        errors.append(field_invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})"))
    elif math.ceil(math.log2(queues) * hand) > HASH_BITS_MAX:
        text = (
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS_MAX}"
        )
        errors.append(field_invalid(f"{path}.handSize", hand, text))
