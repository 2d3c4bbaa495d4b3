"""Selectors: of labels (apimachinery `meta/v1/validation`), of nodes and of topologies (core)."""

from __future__ import annotations

from typing import Any, Final

from apiserver.api.field_errors import duplicate, field_forbidden, field_invalid, required
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_label_key, check_labels, check_name
from apiserver.api.validation.names import dns_subdomain_problems, label_value_problems

__all__ = [
    "check_label_selector",
    "check_node_selector",
    "check_node_selector_term",
    "check_topology_selector_term",
    "is_empty_selector",
    "selector_matches",
]

_IN_TEXT: Final = "must be specified when `operator` is 'In' or 'NotIn'"
_EXISTS_TEXT: Final = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"


def check_label_selector(errors: Errors, path: str, selector: Obj | None, *, any_value: bool = False) -> None:
    """A LabelSelector; None passes. With `any_value` the values need not be label values."""
    if not selector:
        return
    check_labels(errors, f"{path}.matchLabels", selector.get("matchLabels"))
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        _check_expression(errors, f"{path}.matchExpressions[{index}]", expression, any_value=any_value)


def _check_expression(errors: Errors, path: str, expression: Obj, *, any_value: bool) -> None:
    operator, values = expression.get("operator", ""), expression.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(required(f"{path}.values", _IN_TEXT))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            errors.append(field_forbidden(f"{path}.values", _EXISTS_TEXT))
    else:
        errors.append(field_invalid(f"{path}.operator", operator, "not a valid selector operator"))
    check_label_key(errors, f"{path}.key", expression.get("key", ""))
    if not any_value:
        for index, value in enumerate(values):
            check_name(errors, f"{path}.values[{index}]", value, label_value_problems)


def is_empty_selector(selector: Obj | None) -> bool:
    """Whether a selector selects everything, having no requirement."""
    return not (selector or EMPTY).get("matchLabels") and not (selector or EMPTY).get("matchExpressions")


def selector_matches(selector: Obj, labels: dict[str, str]) -> bool:
    """Whether a valid LabelSelector matches labels."""
    for key, value in (selector.get("matchLabels") or EMPTY).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions") or ():
        key, operator = expression.get("key", ""), expression.get("operator")
        values = expression.get("values") or ()
        if not {
            "In": key in labels and labels[key] in values,
            "NotIn": key not in labels or labels[key] not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }.get(operator, False):
            return False
    return True


def check_node_selector(errors: Errors, path: str, selector: Obj, *, any_value: bool = False) -> None:
    """A NodeSelector: terms of which one must match."""
    terms = selector.get("nodeSelectorTerms")
    if not terms:
        errors.append(required(f"{path}.nodeSelectorTerms", "must have at least one node selector term"))
        return
    for index, term in enumerate(terms):
        check_node_selector_term(errors, f"{path}.nodeSelectorTerms[{index}]", term, any_value=any_value)


def check_node_selector_term(errors: Errors, path: str, term: Obj, *, any_value: bool = False) -> None:
    """A NodeSelectorTerm: requirements on labels and on the name of a node."""
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        _check_node_requirement(errors, f"{path}.matchExpressions[{index}]", requirement, any_value=any_value)
    for index, requirement in enumerate(term.get("matchFields") or ()):
        _check_node_field(errors, f"{path}.matchFields[{index}]", requirement)


def _check_node_requirement(errors: Errors, path: str, requirement: Obj, *, any_value: bool) -> None:
    operator, values = requirement.get("operator", ""), requirement.get("values") or ()
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(required(f"{path}.values", _IN_TEXT))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            errors.append(field_forbidden(f"{path}.values", _EXISTS_TEXT))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            text = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            errors.append(required(f"{path}.values", text))
    else:
        errors.append(field_invalid(f"{path}.operator", operator, "not a valid selector operator"))
    check_label_key(errors, f"{path}.key", requirement.get("key", ""))
    if not any_value:
        for index, value in enumerate(values):
            check_name(errors, f"{path}.values[{index}]", value, label_value_problems)


def _check_node_field(errors: Errors, path: str, requirement: Obj) -> None:
    operator, values = requirement.get("operator", ""), requirement.get("values") or ()
    if operator in ("In", "NotIn"):
        if len(values) != 1:
            text = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            errors.append(required(f"{path}.values", text))
    else:
        errors.append(field_invalid(f"{path}.operator", operator, "not a valid selector operator"))
    if requirement.get("key") != "metadata.name":
        errors.append(field_invalid(f"{path}.key", requirement.get("key", ""), "not a valid field selector key"))
        return
    for index, value in enumerate(values):
        check_name(errors, f"{path}.values[{index}]", value, dns_subdomain_problems)


def check_topology_selector_term(errors: Errors, path: str, term: Obj) -> dict[str, frozenset[str]]:
    """A TopologySelectorTerm; what it says, to find terms that say the same."""
    said: dict[str, frozenset[str]] = {}
    for index, requirement in enumerate(term.get("matchLabelExpressions") or ()):
        at = f"{path}.matchLabelExpressions[{index}]"
        values: list[Any] = requirement.get("values") or []
        key = requirement.get("key", "")
        if not values:
            errors.append(required(f"{at}.values"))
        for position, value in enumerate(values):
            if value in values[:position]:
                errors.append(duplicate(f"{at}.values[{position}]", value))
        check_label_key(errors, f"{at}.key", key)
        if key in said:
            errors.append(duplicate(f"{at}.key", key))
        said[key] = frozenset(values)
    return said
