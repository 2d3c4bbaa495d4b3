"""Webhook configurations and what they share with admission policies (`apis/admissionregistration/validation`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from apiserver.api.field_errors import duplicate, field_invalid, not_supported, required, too_many
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_label_key
from apiserver.api.validation.names import (
    dns1035_label_problems,
    dns_subdomain_problems,
    path_segment_problems,
    port_number_problems,
)
from apiserver.api.validation.selectors import check_label_selector

__all__ = [
    "FAILURE_POLICIES",
    "MATCH_POLICIES",
    "REINVOCATION_POLICIES",
    "check_match_conditions",
    "check_resource_names",
    "check_review_versions",
    "check_rule",
    "check_webhook_client",
    "check_webhook_configuration",
    "check_webhook_service",
]

FAILURE_POLICIES: Final = ("Fail", "Ignore")
MATCH_POLICIES: Final = ("Equivalent", "Exact")
REINVOCATION_POLICIES: Final = ("IfNeeded", "Never")
MATCH_CONDITIONS_MAX: Final = 64
TIMEOUT_SECONDS_MAX: Final = 30
_SIDE_EFFECTS: Final = ("None", "NoneOnDryRun")
_OLD_SIDE_EFFECTS: Final = ("None", "NoneOnDryRun", "Some", "Unknown")
_OPERATIONS: Final = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES: Final = ("*", "Cluster", "Namespaced")
_REVIEW_VERSIONS: Final = ("v1", "v1beta1")
_URL_FORM: Final = "; desired format: https://host[/path]"


def check_webhook_configuration(errors: Errors, obj: Obj, old: Obj | None, *, mutating: bool) -> None:
    """A MutatingWebhookConfiguration or ValidatingWebhookConfiguration.

    Rules that came later do not hold for a configuration that broke them before.
    """
    hooks, before = obj.get("webhooks") or [], (old or EMPTY).get("webhooks") or []
    names_before = [hook.get("name", "") for hook in before]
    unique = len(set(names_before)) == len(names_before)
    known_version = all(_knows_a_version(hook) for hook in before)
    no_side_effects = all(hook.get("sideEffects") in _SIDE_EFFECTS for hook in before)
    same_conditions = len(hooks) == len(before) and all(
        hook.get("matchConditions") == was.get("matchConditions") for hook, was in zip(hooks, before, strict=True)
    )
    names: set[str] = set()
    for index, hook in enumerate(hooks):
        at = f"webhooks[{index}]"
        allowed = _SIDE_EFFECTS if no_side_effects else _OLD_SIDE_EFFECTS
        _check_webhook(errors, at, hook, allowed, mutating)
        if not (old is not None and same_conditions):
            check_match_conditions(errors, f"{at}.matchConditions", hook.get("matchConditions") or [])
        versions = hook.get("admissionReviewVersions") or []
        check_review_versions(errors, f"{at}.admissionReviewVersions", versions, must_know=known_version)
        name = hook.get("name", "")
        if unique and name:
            if name in names:
                errors.append(duplicate(f"{at}.name", name))
            names.add(name)


def _knows_a_version(hook: Obj) -> bool:
    versions = hook.get("admissionReviewVersions") or []
    return not versions or any(version in _REVIEW_VERSIONS for version in versions)


def _check_webhook(errors: Errors, path: str, hook: Obj, side_effects: Sequence[str], mutating: bool) -> None:
    _check_qualified_domain(errors, f"{path}.name", hook.get("name", ""))
    for index, rule in enumerate(hook.get("rules") or ()):
        check_rule(errors, f"{path}.rules[{index}]", rule)
    for member, values in (("failurePolicy", FAILURE_POLICIES), ("matchPolicy", MATCH_POLICIES)):
        if hook.get(member) is not None and hook[member] not in values:
            errors.append(not_supported(f"{path}.{member}", hook[member], values))
    effects = hook.get("sideEffects")
    if effects is None:
        errors.append(required(f"{path}.sideEffects", f"must specify one of {', '.join(side_effects)}"))
    elif effects not in side_effects:
        errors.append(not_supported(f"{path}.sideEffects", effects, side_effects))
    timeout = hook.get("timeoutSeconds")
    if timeout is not None and not 1 <= timeout <= TIMEOUT_SECONDS_MAX:
        text = "the timeout value must be between 1 and 30 seconds"
        errors.append(field_invalid(f"{path}.timeoutSeconds", timeout, text))
    for member in ("namespaceSelector", "objectSelector"):
        check_label_selector(errors, f"{path}.{member}", hook.get(member))
    policy = hook.get("reinvocationPolicy")
    if mutating and policy is not None and policy not in REINVOCATION_POLICIES:
        errors.append(not_supported(f"{path}.reinvocationPolicy", policy, REINVOCATION_POLICIES))
    check_webhook_client(errors, f"{path}.clientConfig", hook.get("clientConfig") or EMPTY)


def _check_qualified_domain(errors: Errors, path: str, name: str) -> None:
    if not name:
        errors.append(required(path))
        return
    problems = dns_subdomain_problems(name)
    if problems:
        errors.append(field_invalid(path, name, ",".join(problems)))
    elif name.count(".") < 2:
        text = "should be a domain with at least three segments separated by dots"
        errors.append(field_invalid(path, name, text))


def check_review_versions(errors: Errors, path: str, versions: list[str], *, must_know: bool) -> None:
    """AdmissionReview versions a webhook understands; the server must know one of them."""
    if not versions:
        errors.append(required(path, f"must specify one of {', '.join(_REVIEW_VERSIONS)}"))
        return
    _check_version_list(errors, path, versions)
    if must_know and not any(version in _REVIEW_VERSIONS for version in versions):
        errors.append(field_invalid(path, versions, f"must include at least one of {', '.join(_REVIEW_VERSIONS)}"))


def _check_version_list(errors: Errors, path: str, versions: list[str]) -> None:
    for index, version in enumerate(versions):
        at = f"{path}[{index}]"
        if version in versions[:index]:
            errors.append(field_invalid(at, version, "duplicate version"))
            continue
        for problem in dns1035_label_problems(version):
            errors.append(field_invalid(at, version, problem))


def check_webhook_client(errors: Errors, path: str, client: Obj) -> None:
    """Where a webhook is: a URL or a service."""
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        errors.append(required(path, "exactly one of url or service is required"))
    elif url is not None:
        _check_url(errors, f"{path}.url", url)
    elif service is not None:
        check_webhook_service(errors, f"{path}.service", service)


def _check_url(errors: Errors, path: str, text: str) -> None:
    try:
        url = urlsplit(text)
    except ValueError as error:
        errors.append(required(path, f"url must be a valid URL: {error}{_URL_FORM}"))
        return
    if url.scheme != "https":
        errors.append(field_invalid(path, url.scheme, f"'https' is the only allowed URL scheme{_URL_FORM}"))
    user, at, host = url.netloc.rpartition("@")
    if not host:
        errors.append(field_invalid(path, host, f"host must be specified{_URL_FORM}"))
    if at:
        errors.append(field_invalid(path, user, "user information is not permitted in the URL"))
    if url.fragment:
        errors.append(field_invalid(path, url.fragment, "fragments are not permitted in the URL"))
    if url.query:
        errors.append(field_invalid(path, url.query, "query parameters are not permitted in the URL"))


def check_webhook_service(errors: Errors, path: str, service: Obj) -> None:
    """A service as a webhook. kube-apiserver confuses name and namespace in its errors, and so does this."""
    for member, shown in (("namespace", "name"), ("name", "namespace")):
        if not service.get(member):
            errors.append(required(f"{path}.{shown}"))
    port = service.get("port", 0)
    problems = port_number_problems(port)
    if problems:
        errors.append(field_invalid(f"{path}.port", port, f"port is not valid: {', '.join(problems)}"))
    if service.get("path") not in (None, "", "/"):
        _check_url_path(errors, f"{path}.path", service["path"])


def _check_url_path(errors: Errors, path: str, value: str) -> None:
    if value == "//":
        errors.append(field_invalid(path, value, "segment[0] may not be empty"))
        return
    if not value.startswith("/"):
        errors.append(field_invalid(path, value, "must start with a '/'"))
    for index, segment in enumerate(value[1:].removesuffix("/").split("/")):
        if not segment:
            errors.append(field_invalid(path, value, f"segment[{index}] may not be empty"))
            continue
        for problem in dns_subdomain_problems(segment):
            errors.append(field_invalid(path, value, f"segment[{index}]: {problem}"))


def check_match_conditions(errors: Errors, path: str, conditions: list[Obj]) -> None:
    """MatchConditions by their names; the expressions are not compiled."""
    if len(conditions) > MATCH_CONDITIONS_MAX:
        errors.append(too_many(path, len(conditions), MATCH_CONDITIONS_MAX))
    names: set[str] = set()
    for index, condition in enumerate(conditions):
        at, name = f"{path}[{index}]", condition.get("name", "")
        if not condition.get("expression", "").strip():
            errors.append(required(f"{at}.expression"))
        if not name:
            errors.append(required(f"{at}.name"))
            continue
        check_label_key(errors, f"{at}.name", name)
        if name in names:
            errors.append(duplicate(f"{at}.name", name))
        names.add(name)


def check_rule(errors: Errors, path: str, rule: Obj) -> None:
    """A RuleWithOperations."""
    operations = rule.get("operations") or []
    if not operations:
        errors.append(required(f"{path}.operations"))
    _check_alone(errors, f"{path}.operations", operations, "operations")
    for index, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            errors.append(not_supported(f"{path}.operations[{index}]", operation, _OPERATIONS))
    for member, what in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = rule.get(member) or []
        if not values:
            errors.append(required(f"{path}.{member}"))
        _check_alone(errors, f"{path}.{member}", values, what)
    for index, version in enumerate(rule.get("apiVersions") or ()):
        if not version:
            errors.append(required(f"{path}.apiVersions[{index}]"))
    _check_resources(errors, f"{path}.resources", rule.get("resources") or [])
    scope = rule.get("scope")
    if scope is not None and scope not in _SCOPES:
        errors.append(not_supported(f"{path}.scope", scope, _SCOPES))


def _check_alone(errors: Errors, path: str, values: list[str], what: str) -> None:
    if len(values) > 1 and "*" in values:
        errors.append(field_invalid(path, values, f"if '*' is present, must not specify other {what}"))


def _check_resources(errors: Errors, path: str, resources: list[str]) -> None:
    if not resources:
        errors.append(required(path))
    with_all_subresources: set[str] = set()
    of_all_resources: set[str] = set()
    plain = False
    for index, each in enumerate(resources):
        at = f"{path}[{index}]"
        if not each:
            errors.append(required(at))
            continue
        resource, slash, subresource = each.partition("/")
        if not slash:
            plain = each != "*"
            continue
        if resource in with_all_subresources:
            errors.append(field_invalid(at, each, f"if '{resource}/*' is present, must not specify {each}"))
        if subresource in of_all_resources:
            errors.append(field_invalid(at, each, f"if '*/{subresource}' is present, must not specify {each}"))
        if subresource == "*":
            with_all_subresources.add(resource)
        if resource == "*":
            of_all_resources.add(subresource)
    if len(resources) > 1 and "*/*" in resources:
        errors.append(field_invalid(path, resources, "if '*/*' is present, must not specify other resources"))
    if "*" in resources and plain:
        text = "if '*' is present, must not specify other resources without subresources"
        errors.append(field_invalid(path, resources, text))


def check_resource_names(errors: Errors, path: str, names: list[str]) -> None:
    """The resourceNames of a rule of a policy."""
    for index, name in enumerate(names):
        at = f"{path}[{index}]"
        errors += [field_invalid(at, name, problem) for problem in path_segment_problems(name)]
        if name in names[:index]:
            errors.append(duplicate(at, name))
