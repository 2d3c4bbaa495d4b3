"""Validating and mutating admission policies and their bindings. Expressions must be there; they are not compiled."""

from __future__ import annotations

import re
from typing import Final

from apiserver.api.field_errors import duplicate, field_forbidden, field_invalid, not_supported, required
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_label_key, check_name
from apiserver.api.validation.names import dns1035_label_problems, dns_subdomain_problems, path_segment_problems
from apiserver.api.validation.selectors import check_label_selector
from apiserver.api.validation.webhooks import (
    FAILURE_POLICIES,
    MATCH_POLICIES,
    REINVOCATION_POLICIES,
    check_match_conditions,
    check_resource_names,
    check_rule,
)

__all__ = ["check_mutating_binding", "check_mutating_policy", "check_validating_binding", "check_validating_policy"]

AUDIT_ANNOTATIONS_MAX: Final = 20
VALUE_EXPRESSION_BYTES_MAX: Final = 5 * 1024
_REASONS: Final = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_ACTIONS: Final = ("Audit", "Deny", "Warn")
_MUTATING_OPERATIONS: Final = ("*", "CONNECT", "CREATE", "UPDATE")
_PATCH_TYPES: Final = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
_is_cel_identifier = re.compile("[_a-zA-Z][_a-zA-Z0-9]*").fullmatch


def check_validating_policy(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A ValidatingAdmissionPolicy."""
    spec = obj.get("spec") or EMPTY
    _check_policy(errors, spec)
    for index, variable in enumerate(spec.get("variables") or ()):
        _check_variable(errors, f"spec.variables[{index}]", variable)
    validations, annotations = spec.get("validations") or [], spec.get("auditAnnotations") or []
    if not validations and not annotations:
        text = "validations or auditAnnotations must contain at least one item"
        errors += [required("spec.validations", text), required("spec.auditAnnotations", text)]
        return
    for index, validation in enumerate(validations):
        _check_validation(errors, f"spec.validations[{index}]", validation)
    _check_audit_annotations(errors, annotations, obj["metadata"].get("name", ""))


def _check_policy(errors: Errors, spec: Obj) -> None:
    policy = spec.get("failurePolicy")
    if policy is None:
        errors.append(required("spec.failurePolicy"))
    elif policy not in FAILURE_POLICIES:
        errors.append(not_supported("spec.failurePolicy", policy, FAILURE_POLICIES))
    if spec.get("paramKind") is not None:
        _check_parameter_kind(errors, "spec.paramKind", spec["paramKind"])
    constraints = spec.get("matchConstraints")
    if constraints is None:
        errors.append(required("spec.matchConstraints"))
    else:
        _check_match_resources(errors, "spec.matchConstraints", constraints)
        if not constraints.get("resourceRules"):
            errors.append(required("spec.matchConstraints.resourceRules"))
    check_match_conditions(errors, "spec.matchConditions", spec.get("matchConditions") or [])


def _check_parameter_kind(errors: Errors, path: str, kind: Obj) -> None:
    api_version, name = kind.get("apiVersion", ""), kind.get("kind", "")
    if not api_version:
        errors.append(required(f"{path}.apiVersion"))
    else:
        group, _, version = api_version.rpartition("/")
        if group.count("/"):
            text = f"unexpected GroupVersion string: {api_version}"
            errors.append(field_invalid(f"{path}.apiVersion", api_version, text))
        else:
            _check_joined(errors, f"{path}.apiVersion", group, dns_subdomain_problems(group) if group else [])
            if not version:
                errors.append(field_invalid(f"{path}.apiVersion", api_version, "version must be specified"))
            else:
                _check_joined(errors, f"{path}.apiVersion", version, dns1035_label_problems(version))
    if not name:
        errors.append(required(f"{path}.kind"))
    else:
        problems = dns1035_label_problems(name.lower())
        if problems:
            text = f"may have mixed case, but should otherwise match: {','.join(problems)}"
            errors.append(field_invalid(f"{path}.kind", name, text))


def _check_joined(errors: Errors, path: str, value: str, problems: list[str]) -> None:
    if problems:
        errors.append(field_invalid(path, value, ",".join(problems)))


def _check_match_resources(errors: Errors, path: str, resources: Obj) -> None:
    policy = resources.get("matchPolicy")
    if policy is None:
        errors.append(required(f"{path}.matchPolicy"))
    elif policy not in MATCH_POLICIES:
        errors.append(not_supported(f"{path}.matchPolicy", policy, MATCH_POLICIES))
    for member in ("namespaceSelector", "objectSelector"):
        if resources.get(member) is None:
            errors.append(required(f"{path}.{member}"))
        else:
            check_label_selector(errors, f"{path}.{member}", resources[member])
    for member in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(resources.get(member) or ()):
            at = f"{path}.{member}[{index}]"
            check_resource_names(errors, f"{at}.resourceNames", rule.get("resourceNames") or [])
            check_rule(errors, at, rule)


def _check_variable(errors: Errors, path: str, variable: Obj) -> None:
    name = variable.get("name", "")
    if not name.strip():
        errors.append(required(f"{path}.name", "name is not specified"))
    elif not _is_cel_identifier(name):
        errors.append(field_invalid(f"{path}.name", name, "must be a valid CEL identifier"))
    if not variable.get("expression", "").strip():
        errors.append(required(f"{path}.expression", "expression is not specified"))


def _check_validation(errors: Errors, path: str, validation: Obj) -> None:
    if not validation.get("expression", "").strip():
        errors.append(required(f"{path}.expression", "expression is not specified"))
    for member in ("messageExpression", "message"):
        value = validation.get(member, "")
        if value and not value.strip():
            errors.append(field_invalid(f"{path}.{member}", value, "must be non-empty if specified"))
    message = validation.get("message", "")
    if "\n" in message.strip() or "\r" in message.strip():
        errors.append(field_invalid(f"{path}.message", message, "must not contain line breaks"))
    reason = validation.get("reason")
    if reason is not None and reason not in _REASONS:
        errors.append(not_supported(f"{path}.reason", reason, _REASONS))


def _check_audit_annotations(errors: Errors, annotations: list[Obj], policy: str) -> None:
    if len(annotations) > AUDIT_ANNOTATIONS_MAX:
        text = f"must not have more than {AUDIT_ANNOTATIONS_MAX} auditAnnotations"
        errors.append(field_invalid("spec.auditAnnotations", annotations, text))
    keys: set[str] = set()
    for index, annotation in enumerate(annotations):
        at, key = f"spec.auditAnnotations[{index}]", annotation.get("key", "")
        if policy:
            check_label_key(errors, f"{at}.key", f"{policy}/{key}")
        else:
            errors.append(field_invalid(f"{at}.key", key, "requires metadata.name be non-empty"))
        expression = annotation.get("valueExpression", "").strip()
        if not expression:
            errors.append(required(f"{at}.valueExpression", "valueExpression is not specified"))
        elif len(expression.encode()) > VALUE_EXPRESSION_BYTES_MAX:
            text = f"must not exceed {VALUE_EXPRESSION_BYTES_MAX} bytes in length"
            errors.append(required(f"{at}.valueExpression", text))
        if key in keys:
            errors.append(duplicate(f"{at}.key", key))
        keys.add(key)


def check_mutating_policy(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A MutatingAdmissionPolicy."""
    spec = obj.get("spec") or EMPTY
    _check_policy(errors, spec)
    _check_operations(errors, "spec.matchConstraints", spec.get("matchConstraints") or EMPTY)
    for index, variable in enumerate(spec.get("variables") or ()):
        _check_variable(errors, f"spec.variables[{index}]", variable)
    mutations = spec.get("mutations") or []
    if not mutations:
        errors.append(required("spec.mutations", "mutations must contain at least one item"))
    for index, mutation in enumerate(mutations):
        _check_mutation(errors, f"spec.mutations[{index}]", mutation)
    policy = spec.get("reinvocationPolicy", "")
    if not policy:
        errors.append(required("spec.reinvocationPolicy"))
    elif policy not in REINVOCATION_POLICIES:
        errors.append(not_supported("spec.reinvocationPolicy", policy, REINVOCATION_POLICIES))


def _check_operations(errors: Errors, path: str, resources: Obj) -> None:
    """Nothing is mutated that is being deleted."""
    for rule in resources.get("resourceRules") or ():
        for operation in rule.get("operations") or ():
            if operation not in _MUTATING_OPERATIONS:
                errors.append(not_supported(f"{path}.resourceRules.operations", operation, _MUTATING_OPERATIONS))


def _check_mutation(errors: Errors, path: str, mutation: Obj) -> None:
    kind = mutation.get("patchType", "")
    if not kind:
        errors.append(required(f"{path}.patchType"))
        return
    if kind not in _PATCH_TYPES:
        errors.append(not_supported(f"{path}.patchType", kind, tuple(_PATCH_TYPES)))
        return
    for of, member in _PATCH_TYPES.items():
        value = mutation.get(member)
        if of == kind and value is None:
            errors.append(required(f"{path}.{member}", f"must be specified when patchType is {kind}"))
        elif of == kind and value is not None and not value.get("expression", "").strip():
            errors.append(required(f"{path}.{member}.expression", "expression is not specified"))
        elif of != kind and value is not None:
            text = f"must not be specified when patchType is {kind}"
            errors.append(field_invalid(f"{path}.{member}", f"{{{member}}}", text))


def check_validating_binding(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A ValidatingAdmissionPolicyBinding."""
    spec = obj.get("spec") or EMPTY
    if spec.get("policyName"):
        check_name(errors, "spec.policyName", spec["policyName"], dns_subdomain_problems)
    _check_binding(errors, spec)
    actions = spec.get("validationActions") or []
    for index, action in enumerate(actions):
        at = f"spec.validationActions[{index}]"
        if action not in _ACTIONS:
            errors.append(not_supported(at, action, _ACTIONS))
        if action in actions[:index]:
            errors.append(duplicate(at, action))
    if "Deny" in actions and "Warn" in actions:
        text = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API"
            " response and headers serves no purpose)"
        )
        errors.append(field_invalid("spec.validationActions", actions, text))


def check_mutating_binding(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A MutatingAdmissionPolicyBinding."""
    spec = obj.get("spec") or EMPTY
    if not spec.get("policyName"):
        errors.append(required("spec.policyName"))
    else:
        check_name(errors, "spec.policyName", spec["policyName"], dns_subdomain_problems)
    _check_binding(errors, spec)
    _check_operations(errors, "spec.matchResources", spec.get("matchResources") or EMPTY)


def _check_binding(errors: Errors, spec: Obj) -> None:
    if spec.get("paramRef") is not None:
        _check_parameters(errors, "spec.paramRef", spec["paramRef"])
    if spec.get("matchResources") is not None:
        _check_match_resources(errors, "spec.matchResources", spec["matchResources"])


def _check_parameters(errors: Errors, path: str, reference: Obj) -> None:
    name, selector, action = (reference.get(m) for m in ("name", "selector", "parameterNotFoundAction"))
    both = "name and selector are mutually exclusive"
    if name:
        check_name(errors, f"{path}.name", name, path_segment_problems)
        if selector is not None:
            errors.append(field_forbidden(f"{path}.name", both))
    if selector is not None:
        check_label_selector(errors, f"{path}.selector", selector)
        if name:
            errors.append(field_forbidden(f"{path}.selector", both))
    if not name and selector is None:
        errors.append(required(path, "one of name or selector must be specified"))
    if not action:
        errors.append(required(f"{path}.parameterNotFoundAction"))
    elif action not in ("Deny", "Allow"):
        errors.append(not_supported(f"{path}.parameterNotFoundAction", action, ("Deny", "Allow")))
