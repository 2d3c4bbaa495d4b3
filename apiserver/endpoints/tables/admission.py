"""Rows of `admissionregistration.k8s.io`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apiserver.endpoints.tables.cells import UNSET, Object, Printer, PrinterTable, age, selector_text
from apiserver.endpoints.tables.durations import Now

__all__ = ["PRINTERS"]


def _webhook_configuration(obj: Object, now: Now) -> list[Any]:
    return [obj["metadata"].get("name", ""), len(obj.get("webhooks") or ()), age(obj, now)]


def _parameter_kind(spec: Mapping[str, Any]) -> str:
    kind = spec.get("paramKind")
    return UNSET if kind is None else f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}"


def _parameter_reference(spec: Mapping[str, Any]) -> str:
    reference = spec.get("paramRef")
    if reference is None:
        return UNSET
    if reference.get("name"):
        return f"{reference.get('namespace') or '*'}/{reference['name']}"
    return selector_text(reference.get("selector"))


def _mutating_policy(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    return [obj["metadata"].get("name", ""), len(spec.get("mutations") or ()), _parameter_kind(spec), age(obj, now)]


def _validating_policy(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    return [obj["metadata"].get("name", ""), len(spec.get("validations") or ()), _parameter_kind(spec), age(obj, now)]


def _policy_binding(obj: Object, now: Now) -> list[Any]:
    spec = obj.get("spec") or {}
    return [obj["metadata"].get("name", ""), spec.get("policyName", ""), _parameter_reference(spec), age(obj, now)]


_GROUP = "admissionregistration.k8s.io"

PRINTERS: PrinterTable = {
    (_GROUP, "MutatingAdmissionPolicy"): Printer(_mutating_policy),
    (_GROUP, "MutatingAdmissionPolicyBinding"): Printer(_policy_binding),
    (_GROUP, "MutatingWebhookConfiguration"): Printer(_webhook_configuration),
    (_GROUP, "ValidatingAdmissionPolicy"): Printer(_validating_policy),
    (_GROUP, "ValidatingAdmissionPolicyBinding"): Printer(_policy_binding),
    (_GROUP, "ValidatingWebhookConfiguration"): Printer(_webhook_configuration),
}
