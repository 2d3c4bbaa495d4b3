"""Persistent volume claims, by themselves and as templates (core `ValidatePersistentVolumeClaim…`)."""

from __future__ import annotations

from typing import Any, Final

from apiserver.api.field_errors import field_forbidden, field_invalid, not_supported, required
from apiserver.api.validation.changes import show_diff
from apiserver.api.validation.common import (
    EMPTY,
    NOT_POSITIVE,
    Errors,
    Obj,
    check_labels,
    check_name,
    parse_quantity,
)
from apiserver.api.validation.names import dns_label_problems, dns_subdomain_problems
from apiserver.api.validation.objectmeta import IMMUTABLE, validate_annotations
from apiserver.api.validation.selectors import check_label_selector

__all__ = [
    "ACCESS_MODES",
    "VOLUME_MODES",
    "check_claim",
    "check_claim_spec",
    "check_claim_status",
    "check_claim_template",
    "check_claim_update",
    "check_template_metadata",
]

ACCESS_MODES: Final = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES: Final = ("Block", "Filesystem")
BETA_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
_RESIZE_STATUSES: Final = (
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
)


def check_template_metadata(errors: Errors, path: str, metadata: Obj | None) -> None:
    """Metadata of a claim template: only labels and annotations."""
    for member, value in (metadata or EMPTY).items():
        if member == "annotations":
            errors += validate_annotations(value or EMPTY, f"{path}.annotations")
        elif member == "labels":
            check_labels(errors, f"{path}.labels", value)
        elif value:
            errors.append(field_forbidden(f"{path}.{member}", "cannot be set"))


def check_claim_template(errors: Errors, path: str, template: Obj) -> None:
    """A PersistentVolumeClaimTemplate, as in ephemeral volumes."""
    check_template_metadata(errors, f"{path}.metadata", template.get("metadata"))
    check_claim_spec(errors, f"{path}.spec", template.get("spec") or EMPTY)


def check_claim(errors: Errors, claim: Obj) -> None:
    """A new claim."""
    check_claim_spec(errors, "spec", claim.get("spec") or EMPTY)


def check_claim_spec(errors: Errors, path: str, spec: Obj) -> None:
    """The spec of a claim or of a template of one."""
    modes = spec.get("accessModes") or []
    if not modes:
        errors.append(required(f"{path}.accessModes", "at least 1 access mode is required"))
    check_label_selector(errors, f"{path}.selector", spec.get("selector"))
    for mode in modes:
        if mode not in ACCESS_MODES:
            errors.append(not_supported(f"{path}.accessModes", mode, ACCESS_MODES))
    if "ReadWriteOncePod" in modes and any(m in ACCESS_MODES and m != "ReadWriteOncePod" for m in modes):
        text = "may not use ReadWriteOncePod with other access modes"
        errors.append(field_forbidden(f"{path}.accessModes", text))
    storage = ((spec.get("resources") or EMPTY).get("requests") or EMPTY).get("storage")
    if storage is None:
        errors.append(required(f"{path}.resources[storage]"))
    elif parse_quantity(storage).sign() <= 0:
        errors.append(field_invalid(f"{path}.resources[storage]", storage, NOT_POSITIVE))
    for member in ("storageClassName", "volumeAttributesClassName"):
        if spec.get(member):
            check_name(errors, f"{path}.{member}", spec[member], dns_subdomain_problems)
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        errors.append(not_supported(f"{path}.volumeMode", mode, VOLUME_MODES))
    _check_sources(errors, path, spec.get("dataSource"), spec.get("dataSourceRef"))


def _check_sources(errors: Errors, path: str, source: Obj | None, reference: Obj | None) -> None:
    if source is not None:
        _check_source(errors, f"{path}.dataSource", source)
    if reference is None:
        return
    _check_source(errors, f"{path}.dataSourceRef", reference)
    if reference.get("namespace"):
        check_name(errors, f"{path}.dataSourceRef.namespace", reference["namespace"], dns_label_problems)
        if source is not None:
            text = "may not be specified when dataSourceRef.namespace is specified"
            errors.append(field_invalid(path, f"{path}.dataSource", text))
    elif source is not None and any(source.get(m) != reference.get(m) for m in ("apiGroup", "kind", "name")):
        errors.append(field_invalid(path, f"{path}.dataSource", "must match dataSourceRef"))


def _check_source(errors: Errors, path: str, source: Obj) -> None:
    for member in ("name", "kind"):
        if not source.get(member):
            errors.append(required(f"{path}.{member}"))
    if source.get("apiGroup"):
        check_name(errors, f"{path}.apiGroup", source["apiGroup"], dns_subdomain_problems)
    elif source.get("kind") != "PersistentVolumeClaim":
        text = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        errors.append(field_invalid(path, source.get("kind", ""), text))


def check_claim_update(errors: Errors, claim: Obj, old: Obj) -> None:
    """A change of a claim: only its size and attributes class, and those only once it is bound."""
    check_claim(errors, claim)
    spec, before = claim.get("spec") or EMPTY, old.get("spec") or EMPTY
    new_clone, old_clone = dict(spec), dict(before)
    if not before.get("volumeName"):
        _copy(old_clone, new_clone, "volumeName")
    _check_class(errors, claim, old, new_clone, before)
    if (claim.get("status") or EMPTY).get("phase") == "Bound":
        new_clone["resources"] = _with_storage_of(spec.get("resources") or {}, before)
        _copy(new_clone, old_clone, "volumeAttributesClassName")
    if new_clone != old_clone:
        text = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName"
            f" for bound claims\n{show_diff(old_clone, new_clone)}"
        )
        errors.append(field_forbidden("spec", text))
    _check_size(errors, spec, before, (old.get("status") or EMPTY).get("capacity") or EMPTY)
    if spec.get("volumeMode") != before.get("volumeMode"):
        errors.append(field_invalid("volumeMode", spec.get("volumeMode"), IMMUTABLE))
    _check_attributes_class(errors, spec, before, old.get("status") or EMPTY)


def _copy(target: Obj, source: Obj, name: str) -> None:
    if name in source:
        target[name] = source[name]
    else:
        target.pop(name, None)


def _with_storage_of(resources: Obj, before: Obj) -> Obj:
    requests = resources.get("requests")
    old_requests = (before.get("resources") or EMPTY).get("requests") or EMPTY
    if not requests or "storage" not in old_requests:
        return resources
    return {**resources, "requests": {**requests, "storage": old_requests["storage"]}}


def _check_class(errors: Errors, claim: Obj, old: Obj, new_clone: Obj, before: Obj) -> None:
    """The storage class may be filled in later, from the old annotation or by the default-class controller."""
    annotation = (old["metadata"].get("annotations") or EMPTY).get(BETA_CLASS)
    new_annotation = (claim["metadata"].get("annotations") or EMPTY).get(BETA_CLASS)
    new_class = new_clone.get("storageClassName")
    was_unset = before.get("storageClassName") is None
    if annotation is not None and was_unset and new_class == annotation and new_annotation in (None, annotation):
        new_clone.pop("storageClassName", None)
        return
    if (new_annotation or "") != (annotation or ""):
        errors.append(field_invalid(f"metadata.annotations.{BETA_CLASS}", new_annotation or "", IMMUTABLE))
    if new_class is not None and was_unset and annotation in (None, new_class):
        new_clone.pop("storageClassName", None)


def _check_size(errors: Errors, spec: Obj, before: Obj, capacity: Obj) -> None:
    new, old = (parse_quantity(_storage_of(of)) for of in (spec, before))
    if new < old and new <= parse_quantity(capacity.get("storage", "0")):
        text = "field can not be less than status.capacity"
        errors.append(field_forbidden("spec.resources.requests.storage", text))


def _storage_of(spec: Obj) -> str:
    value: Any = ((spec.get("resources") or EMPTY).get("requests") or EMPTY).get("storage", "0")
    return str(value)


def _check_attributes_class(errors: Errors, spec: Obj, before: Obj, status: Obj) -> None:
    name = spec.get("volumeAttributesClassName")
    if name == before.get("volumeAttributesClassName") or status.get("currentVolumeAttributesClassName") is None:
        return
    if not name:
        to = "nil" if name is None else "empty string"
        text = f"update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil"
        errors.append(field_forbidden("spec.volumeAttributesClassName", text))


def check_claim_status(errors: Errors, claim: Obj) -> None:
    """The status of a claim."""
    status = claim.get("status") or EMPTY
    for name, text in (status.get("capacity") or EMPTY).items():
        value = parse_quantity(text).value()
        if value < 0:
            errors.append(field_invalid(f"status.capacity[{name}]", value, "must be a valid resource quantity"))
    for name, state in (status.get("allocatedResourceStatuses") or EMPTY).items():
        if state not in _RESIZE_STATUSES:
            errors.append(not_supported("status.allocatedResourceStatuses", name, _RESIZE_STATUSES))
