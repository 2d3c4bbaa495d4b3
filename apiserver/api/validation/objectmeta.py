"""Validation of `metadata` (apimachinery `api/validation/objectmeta.go`), the same for every kind."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from apiserver.api.field_errors import (
    FieldError,
    field_forbidden,
    field_invalid,
    not_supported,
    required,
    too_long,
)
from apiserver.api.label_format import label_key_problems, label_value_problems
from apiserver.api.validation.names import NAME_RULES, NameRule, dns_label_problems

__all__ = [
    "ANNOTATIONS_BYTES_MAX",
    "IMMUTABLE",
    "validate_annotations",
    "validate_labels",
    "validate_object_meta",
    "validate_object_meta_update",
]

ANNOTATIONS_BYTES_MAX: Final = 256 * 1024
FIELD_MANAGER_BYTES_MAX: Final = 128
SUBRESOURCE_NAME_BYTES_MAX: Final = 256
IMMUTABLE: Final = "field is immutable"
NEGATIVE: Final = "must be greater than or equal to 0"

_STANDARD_FINALIZERS: Final = frozenset({"kubernetes", "orphan", "foregroundDeletion"})
_IMMUTABLE_MEMBERS: Final = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_STRING_MEMBERS: Final = frozenset({"name", "namespace", "uid"})

Metadata = dict[str, Any]


def validate_object_meta(
    metadata: Metadata, namespaced: bool, *, name: str | NameRule = "path", path: str = "metadata"
) -> list[FieldError]:
    """Everything about the metadata of a new object, after its name was generated.

    Args:
        name: which names the kind allows: a key of `NAME_RULES`, or a rule; "path" is what every kind must satisfy.
    """
    rule = NAME_RULES[name] if isinstance(name, str) else name
    errors: list[FieldError] = []
    generate_name = metadata.get("generateName")
    if generate_name:
        for problem in rule(generate_name, True):
            errors.append(field_invalid(f"{path}.generateName", generate_name, problem))
    own_name = metadata.get("name")
    if not own_name:
        errors.append(required(f"{path}.name", "name or generateName is required"))
    else:
        for problem in rule(own_name, False):
            errors.append(field_invalid(f"{path}.name", own_name, problem))
    _check_namespace(errors, metadata.get("namespace"), namespaced, path)
    _check_members(errors, metadata, path)
    finalizers = metadata.get("finalizers")
    if finalizers:
        _check_finalizers(errors, finalizers, f"{path}.finalizers")
    return errors


def validate_object_meta_update(metadata: Metadata, old: Metadata, *, path: str = "metadata") -> list[FieldError]:
    """Everything about the change of an object's metadata."""
    errors: list[FieldError] = []
    finalizers = metadata.get("finalizers") or ()
    if old.get("deletionTimestamp"):
        new = sorted(set(finalizers) - set(old.get("finalizers") or ()))
        if new:
            listed = ", ".join(f'"{finalizer}"' for finalizer in new)
            text = (
                "no new finalizers can be added if the object is being deleted,"
                f" found new finalizers []string{{{listed}}}"
            )
            errors.append(field_forbidden(f"{path}.finalizers", text))
    if not metadata.get("resourceVersion"):
        errors.append(field_invalid(f"{path}.resourceVersion", "", "must be specified for an update"))
    if metadata.get("generation", 0) < old.get("generation", 0):
        errors.append(field_invalid(f"{path}.generation", metadata.get("generation", 0), "must not be decremented"))
    for member in _IMMUTABLE_MEMBERS:
        if metadata.get(member) != old.get(member):
            value = metadata.get(member)
            if value is None and member in _STRING_MEMBERS:
                value = ""
            errors.append(field_invalid(f"{path}.{member}", value, IMMUTABLE))
    _check_members(errors, metadata, path)
    for index, finalizer in enumerate(finalizers):
        _check_kube_finalizer(errors, finalizer, f"{path}.finalizers[{index}]")
    return errors


def _check_namespace(errors: list[FieldError], namespace: str | None, namespaced: bool, path: str) -> None:
    if not namespaced:
        if namespace:
            errors.append(field_forbidden(f"{path}.namespace", "not allowed on this type"))
    elif not namespace:
        errors.append(required(f"{path}.namespace"))
    else:
        for problem in dns_label_problems(namespace):
            errors.append(field_invalid(f"{path}.namespace", namespace, problem))


def _check_members(errors: list[FieldError], metadata: Metadata, path: str) -> None:
    """What is checked on create and on update alike."""
    if metadata.get("generation", 0) < 0:
        errors.append(field_invalid(f"{path}.generation", metadata["generation"], NEGATIVE))
    labels = metadata.get("labels")
    if labels:
        errors += validate_labels(labels, f"{path}.labels")
    annotations = metadata.get("annotations")
    if annotations:
        errors += validate_annotations(annotations, f"{path}.annotations")
    references = metadata.get("ownerReferences")
    if references:
        _check_owner_references(errors, references, f"{path}.ownerReferences")
    managed = metadata.get("managedFields")
    if managed:
        _check_managed_fields(errors, managed, f"{path}.managedFields")


@lru_cache(maxsize=4096)
def _is_label_key(key: str) -> bool:
    """The same few keys come again and again."""
    return not label_key_problems(key)


def validate_labels(labels: dict[str, str], path: str) -> list[FieldError]:
    """Keys and values of labels."""
    errors = []
    for key, value in labels.items():
        if not _is_label_key(key):
            errors += [field_invalid(path, key, problem) for problem in label_key_problems(key)]
        for problem in label_value_problems(value):
            errors.append(field_invalid(path, value, problem))
    return errors


def validate_annotations(annotations: dict[str, str], path: str) -> list[FieldError]:
    """Keys of annotations, which may have capitals in the prefix, and their total size."""
    errors = []
    total = 0
    for key, value in annotations.items():
        if not _is_label_key(key.lower()):
            errors += [field_invalid(path, key, problem) for problem in label_key_problems(key.lower())]
        total += len(key) + len(value)
    # Counted in characters first: only what comes near the limit is worth encoding.
    if total * 4 > ANNOTATIONS_BYTES_MAX:
        total = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
        if total > ANNOTATIONS_BYTES_MAX:
            errors.append(too_long(path, ANNOTATIONS_BYTES_MAX))
    return errors


def _check_owner_references(errors: list[FieldError], references: list[dict[str, Any]], path: str) -> None:
    controller = ""
    for index, reference in enumerate(references):
        at = f"{path}[{index}]"
        _check_owner_reference(errors, reference, at)
        if reference.get("controller"):
            current = f"{reference.get('kind', '')}/{reference.get('name', '')}"
            if controller:
                text = (
                    "Only one reference can have Controller set to true."
                    f' Found "true" in references for {controller} and {current}'
                )
                errors.append(field_invalid(path, references, text))
            else:
                controller = current


def _check_owner_reference(errors: list[FieldError], reference: dict[str, Any], path: str) -> None:
    api_version = reference.get("apiVersion", "")
    _group, slash, version = api_version.partition("/")
    if not api_version:
        errors.append(required(f"{path}.apiVersion", "must not be empty"))
    elif "/" in version or (slash and not version):
        text = "must be <group>/<version> or <version>"
        errors.append(field_invalid(f"{path}.apiVersion", api_version, text))
    for member in ("kind", "name", "uid"):
        if not reference.get(member):
            errors.append(required(f"{path}.{member}", "must not be empty"))
    if api_version == "v1" and reference.get("kind") == "Event":
        errors.append(field_invalid(path, reference, "/v1, Kind=Event is disallowed from being an owner"))


def _check_finalizers(errors: list[FieldError], finalizers: list[str], path: str) -> None:
    for finalizer in finalizers:
        for problem in label_key_problems(finalizer):
            errors.append(field_invalid(path, finalizer, problem))
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        text = "finalizer orphan and foregroundDeletion cannot be both set"
        errors.append(field_invalid(path, finalizers, text))
    for index, finalizer in enumerate(finalizers):
        _check_kube_finalizer(errors, finalizer, f"{path}[{index}]")


def _check_kube_finalizer(errors: list[FieldError], finalizer: str, path: str) -> None:
    if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
        text = "name is neither a standard finalizer name nor is it fully qualified"
        errors.append(field_invalid(path, finalizer, text))


def _check_managed_fields(errors: list[FieldError], entries: list[dict[str, Any]], path: str) -> None:
    for index, entry in enumerate(entries):
        operation = entry.get("operation", "")
        if operation not in ("Apply", "Update"):
            at = f"{path}[{index}].operation"
            if operation:
                errors.append(not_supported(at, operation, ["Apply", "Update"]))
            else:
                errors.append(required(at, "must not be empty"))
        if entry.get("fieldsType", "FieldsV1") not in ("FieldsV1", ""):
            text = "must be `FieldsV1`"
            errors.append(field_invalid(f"{path}[{index}].fieldsType", entry["fieldsType"], text))
        manager = entry.get("manager", "")
        if len(manager) * 4 > FIELD_MANAGER_BYTES_MAX and len(manager.encode()) > FIELD_MANAGER_BYTES_MAX:
            errors.append(too_long(f"{path}[{index}].manager", FIELD_MANAGER_BYTES_MAX))
        for position, character in enumerate(manager):
            if not character.isprintable():
                text = f"invalid character U+{ord(character):04X} (at position {position})"
                errors.append(field_invalid(f"{path}[{index}].manager", manager, text))
        if len(entry.get("subresource", "")) > SUBRESOURCE_NAME_BYTES_MAX:
            errors.append(too_long(f"{path}[{index}].subresource", SUBRESOURCE_NAME_BYTES_MAX))
