"""Persistent volumes (core `ValidatePersistentVolume…`); the in-tree sources by their required members."""

from __future__ import annotations

import posixpath
from typing import Final

from apiserver.api.field_errors import field_forbidden, field_invalid, not_supported, required
from apiserver.api.validation.changes import show_diff
from apiserver.api.validation.claims import ACCESS_MODES, VOLUME_MODES
from apiserver.api.validation.common import (
    EMPTY,
    NOT_POSITIVE,
    Errors,
    Obj,
    check_name,
    check_no_backsteps,
    parse_quantity,
)
from apiserver.api.validation.names import dns_label_problems, dns_subdomain_problems
from apiserver.api.validation.objectmeta import IMMUTABLE
from apiserver.api.validation.resources import check_quantity
from apiserver.api.validation.selectors import check_node_selector
from apiserver.api.validation.volumes import IN_TREE_REQUIRED, check_csi_driver_name, check_volume_source

__all__ = ["RECLAIM_POLICIES", "check_persistent_volume", "check_persistent_volume_spec"]

RECLAIM_POLICIES: Final = ("Delete", "Recycle", "Retain")
_INLINE: Final = "may not be specified in the context of inline volumes"
# In the order in which kube-apiserver looks at them: the first one found is the one that is checked.
_SOURCES: Final = (
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
)
_SECRETS_OF_CSI: Final = (
    "controllerPublishSecretRef",
    "controllerExpandSecretRef",
    "nodePublishSecretRef",
    "nodeExpandSecretRef",
)


def check_persistent_volume(errors: Errors, volume: Obj, old: Obj | None) -> None:
    """A PersistentVolume, new or changed."""
    spec = volume.get("spec") or EMPTY
    check_persistent_volume_spec(errors, "spec", spec)
    if old is not None:
        _check_change(errors, spec, old.get("spec") or EMPTY)


def _check_change(errors: Errors, spec: Obj, before: Obj) -> None:
    now, was = ({name: of[name] for name in _SOURCES if name in of} for of in (spec, before))
    if "csi" in now and "csi" in was and was["csi"].get("controllerExpandSecretRef") is None:
        now["csi"] = {name: value for name, value in now["csi"].items() if name != "controllerExpandSecretRef"}
    if now != was:
        text = f"spec.persistentvolumesource is immutable after creation\n{show_diff(was, now)}"
        errors.append(field_forbidden("spec.persistentvolumesource", text))
    if spec.get("volumeMode") != before.get("volumeMode"):
        errors.append(field_invalid("volumeMode", spec.get("volumeMode"), IMMUTABLE))
    if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
        text = "update from non-nil value to nil is forbidden"
        errors.append(field_forbidden("spec.volumeAttributesClassName", text))


def check_persistent_volume_spec(errors: Errors, path: str, spec: Obj, *, inline: bool = False) -> None:
    """A PersistentVolumeSpec: of a volume, or `inline` in a VolumeAttachment."""
    if inline:
        for member in ("claimRef", "capacity"):
            if spec.get(member):
                errors.append(field_forbidden(f"{path}.{member}", _INLINE))
        if spec.get("csi") is None:
            errors.append(required(f"{path}.csi", "has to be specified in the context of inline volumes"))
    _check_access_modes(errors, f"{path}.accessModes", spec.get("accessModes") or [])
    if not inline:
        _check_capacity(errors, f"{path}.capacity", spec.get("capacity") or {})
    _check_reclaim_policy(errors, f"{path}.persistentVolumeReclaimPolicy", spec, inline)
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        at = f"{path}.nodeAffinity"
        if inline:
            errors.append(field_forbidden(at, _INLINE))
        elif affinity.get("required") is None:
            errors.append(required(f"{at}.required", "must specify required node constraints"))
        else:
            check_node_selector(errors, f"{at}.required", affinity["required"])
    _check_sources(errors, path, spec)
    _check_root(errors, path, spec)
    _check_class_and_mode(errors, path, spec, inline)


def _check_access_modes(errors: Errors, path: str, modes: list[str]) -> None:
    if not modes:
        errors.append(required(path))
    for mode in modes:
        if mode not in ACCESS_MODES:
            errors.append(not_supported(path, mode, ACCESS_MODES))
    if "ReadWriteOncePod" in modes and any(mode in ACCESS_MODES and mode != "ReadWriteOncePod" for mode in modes):
        errors.append(field_forbidden(path, "may not use ReadWriteOncePod with other access modes"))


def _check_capacity(errors: Errors, path: str, capacity: dict[str, str]) -> None:
    if not capacity:
        errors.append(required(path))
    if "storage" not in capacity or len(capacity) > 1:
        errors.append(not_supported(path, capacity or None, ("storage",)))
    for name, text in capacity.items():
        check_quantity(errors, f"{path}[{name}]", name, text)
        if parse_quantity(text).sign() <= 0:
            errors.append(field_invalid(f"{path}[{name}]", text, NOT_POSITIVE))


def _check_reclaim_policy(errors: Errors, path: str, spec: Obj, inline: bool) -> None:
    policy = spec.get("persistentVolumeReclaimPolicy")
    if not policy:
        return
    if inline:
        if policy != "Retain":
            errors.append(field_forbidden(path, "may only be Retain in the context of inline volumes"))
    elif policy not in RECLAIM_POLICIES:
        errors.append(not_supported(path, policy, RECLAIM_POLICIES))


def _check_sources(errors: Errors, path: str, spec: Obj) -> None:
    found = [name for name in _SOURCES if spec.get(name) is not None]
    if not found:
        errors.append(required(path, "must specify a volume type"))
        return
    for name in found[1:]:
        errors.append(field_forbidden(f"{path}.{name}", "may not specify more than 1 volume type"))
    source = found[0]
    value, at = spec[source], f"{path}.{source}"
    if source == "local":
        if not value.get("path"):
            errors.append(required(f"{at}.path"))
        else:
            check_no_backsteps(errors, f"{at}.path", value["path"])
        if spec.get("nodeAffinity") is None:
            errors.append(required(f"{path}.nodeAffinity", "Local volume requires node affinity"))
    elif source == "csi":
        _check_csi(errors, at, value)
    elif source in ("hostPath", "nfs", "fc"):
        check_volume_source(errors, at, source, value)
    else:
        for member in IN_TREE_REQUIRED.get(source, ()):
            if not value.get(member):
                errors.append(required(f"{at}.{member}"))


def _check_csi(errors: Errors, path: str, value: Obj) -> None:
    check_csi_driver_name(errors, f"{path}.driver", value.get("driver", ""))
    if not value.get("volumeHandle"):
        errors.append(required(f"{path}.volumeHandle"))
    for member in _SECRETS_OF_CSI:
        reference = value.get(member)
        if reference is None:
            continue
        for part, problems in (("name", dns_subdomain_problems), ("namespace", dns_label_problems)):
            if not reference.get(part):
                errors.append(required(f"{path}.{member}.{part}"))
            else:
                check_name(errors, f"{path}.{member}.{part}", reference[part], problems)


def _check_root(errors: Errors, path: str, spec: Obj) -> None:
    host_path = (spec.get("hostPath") or EMPTY).get("path")
    if host_path and posixpath.normpath(host_path) == "/" and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        text = "may not be 'recycle' for a hostPath mount of '/'"
        errors.append(field_forbidden(f"{path}.persistentVolumeReclaimPolicy", text))


def _check_class_and_mode(errors: Errors, path: str, spec: Obj, inline: bool) -> None:
    if spec.get("storageClassName"):
        if inline:
            errors.append(field_forbidden(f"{path}.storageClassName", _INLINE))
        else:
            check_name(errors, f"{path}.storageClassName", spec["storageClassName"], dns_subdomain_problems)
    mode = spec.get("volumeMode")
    if mode is not None:
        if inline:
            if mode != "Filesystem":
                text = "may not specify volumeMode other than Filesystem in the context of inline volumes"
                errors.append(field_forbidden(f"{path}.volumeMode", text))
        elif mode not in VOLUME_MODES:
            errors.append(not_supported(f"{path}.volumeMode", mode, VOLUME_MODES))
    name = spec.get("volumeAttributesClassName")
    if name is not None and not inline:
        if not name:
            errors.append(required(f"{path}.volumeAttributesClassName", "an empty string is disallowed"))
        else:
            check_name(errors, f"{path}.volumeAttributesClassName", name, dns_subdomain_problems)
        if spec.get("csi") is None:
            text = "has to be specified when using volumeAttributesClassName"
            errors.append(required(f"{path}.csi", text))
