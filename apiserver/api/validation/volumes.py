"""Volumes of pods (core `ValidateVolumes`): every source that pods can name, the deprecated in-tree ones by their
required members."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from apiserver.api.field_errors import duplicate, field_forbidden, field_invalid, not_supported, required, too_long
from apiserver.api.validation.claims import check_claim_template
from apiserver.api.validation.common import (
    EMPTY,
    Errors,
    Obj,
    check_local_path,
    check_name,
    check_no_backsteps,
    check_one_of,
    check_relative_path,
    parse_quantity,
)
from apiserver.api.validation.downward import FIELDS_OF_VOLUMES, check_field_reference, check_resource_reference
from apiserver.api.validation.names import dns_label_problems, dns_subdomain_problems, range_problem
from apiserver.api.validation.projected import check_projected
from apiserver.api.validation.volume_parts import check_file_mode, check_key_to_path, check_user

__all__ = ["HOST_PATH_TYPES", "IN_TREE_REQUIRED", "check_csi_driver_name", "check_volume_source", "check_volumes"]

HOST_PATH_TYPES: Final = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
CSI_DRIVER_NAME_BYTES_MAX: Final = 63

# Members that in-tree sources must have, by source.
IN_TREE_REQUIRED: Final[dict[str, tuple[str, ...]]] = {
    "awsElasticBlockStore": ("volumeID",),
    "azureDisk": ("diskName", "diskURI"),
    "azureFile": ("secretName", "shareName"),
    "cephfs": ("monitors",),
    "cinder": ("volumeID",),
    "flexVolume": ("driver",),
    "gcePersistentDisk": ("pdName",),
    "gitRepo": ("repository",),
    "glusterfs": ("endpoints", "path"),
    "iscsi": ("targetPortal", "iqn"),
    "nfs": ("server", "path"),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "quobyte": ("registry", "volume"),
    "rbd": ("monitors", "image"),
    "scaleIO": ("gateway", "system", "volumeName"),
    "vsphereVolume": ("volumePath",),
}


def check_volumes(errors: Errors, path: str, volumes: list[Obj], pod_name: str) -> dict[str, Obj]:
    """The volumes of a pod; the valid ones by name, for the mounts to look up.

    Args:
        pod_name: empty for a template, whose pods have no names yet.
    """
    valid: dict[str, Obj] = {}
    created = {f"{pod_name}-{v.get('name', '')}" for v in volumes if v.get("ephemeral") is not None and pod_name}
    for index, volume in enumerate(volumes):
        at, name, before = f"{path}[{index}]", volume.get("name", ""), len(errors)
        _check_source(errors, at, volume, name, pod_name)
        if not name:
            errors.append(required(f"{at}.name"))
        else:
            check_name(errors, f"{at}.name", name, dns_label_problems)
        if name in valid:
            errors.append(duplicate(f"{at}.name", name))
        if len(errors) == before:
            valid[name] = volume
        claim = (volume.get("persistentVolumeClaim") or EMPTY).get("claimName")
        if claim in created:
            text = "must not reference a PVC that gets created for an ephemeral volume"
            errors.append(field_invalid(f"{at}.persistentVolumeClaim.claimName", claim, text))
    return valid


def _check_source(errors: Errors, path: str, volume: Obj, name: str, pod_name: str) -> None:
    sources = 0
    for source, value in volume.items():
        if source == "name" or value is None:
            continue
        if sources:
            errors.append(field_forbidden(f"{path}.{source}", "may not specify more than 1 volume type"))
            continue
        sources += 1
        check = _SOURCES.get(source)
        if check is not None:
            check(errors, f"{path}.{source}", value)
        else:
            _check_in_tree(errors, f"{path}.{source}", source, value)
        if source == "ephemeral" and pod_name and name:
            claim = f"{pod_name}-{name}"
            for problem in dns_subdomain_problems(claim):
                errors.append(field_invalid(f"{path}.name", name, f'PVC name "{claim}": {problem}'))
    if not sources:
        errors.append(required(path, "must specify a volume type"))


def check_volume_source(errors: Errors, path: str, source: str, value: Obj) -> None:
    """A source that pods and persistent volumes share, by its name."""
    _SOURCES[source](errors, path, value)


def _check_in_tree(errors: Errors, path: str, source: str, value: Obj) -> None:
    for member in IN_TREE_REQUIRED.get(source, ()):
        if not value.get(member):
            errors.append(required(f"{path}.{member}"))


def _check_empty_dir(errors: Errors, path: str, value: Obj) -> None:
    limit = value.get("sizeLimit")
    if limit is not None and parse_quantity(limit).sign() < 0:
        errors.append(field_forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity"))
    mode = value.get("mode")
    if mode is not None and not 0 <= mode <= 0o1777:
        text = "must be a number between 0 and 01777 (octal), both inclusive"
        errors.append(field_invalid(f"{path}.mode", mode, text))


def _check_host_path(errors: Errors, path: str, value: Obj) -> None:
    if not value.get("path"):
        errors.append(required(f"{path}.path"))
        return
    check_no_backsteps(errors, f"{path}.path", value["path"])
    kind = value.get("type")
    if kind is not None and kind not in HOST_PATH_TYPES:
        errors.append(not_supported(f"{path}.type", kind, HOST_PATH_TYPES))


def _check_git_repo(errors: Errors, path: str, value: Obj) -> None:
    if not value.get("repository"):
        errors.append(required(f"{path}.repository"))
    check_relative_path(errors, f"{path}.directory", value.get("directory", ""))


def _check_nfs(errors: Errors, path: str, value: Obj) -> None:
    _check_in_tree(errors, path, "nfs", value)
    if value.get("path") and not value["path"].startswith("/"):
        errors.append(field_invalid(f"{path}.path", value["path"], "must be an absolute path"))


def _check_fc(errors: Errors, path: str, value: Obj) -> None:
    names, ids = value.get("targetWWNs"), value.get("wwids")
    if not names and not ids:
        text = "must specify either targetWWNs or wwids, but not both"
        errors.append(required(f"{path}.targetWWNs", text))
    if names and ids:
        text = "targetWWNs and wwids can not be specified simultaneously"
        errors.append(field_invalid(f"{path}.targetWWNs", names, text))
    if names:
        lun = value.get("lun")
        if lun is None:
            errors.append(required(f"{path}.lun", "lun is required if targetWWNs is specified"))
        elif not 0 <= lun <= 255:
            errors.append(field_invalid(f"{path}.lun", lun, range_problem(0, 255)))


def _check_secret(errors: Errors, path: str, value: Obj) -> None:
    if not value.get("secretName"):
        errors.append(required(f"{path}.secretName"))
    _check_items(errors, path, value)


def _check_config_map(errors: Errors, path: str, value: Obj) -> None:
    if not value.get("name"):
        errors.append(required(f"{path}.name"))
    _check_items(errors, path, value)


def _check_items(errors: Errors, path: str, value: Obj) -> None:
    check_file_mode(errors, f"{path}.defaultMode", value.get("defaultMode"))
    check_user(errors, f"{path}.defaultUser", value.get("defaultUser"))
    for index, item in enumerate(value.get("items") or ()):
        check_key_to_path(errors, f"{path}.items[{index}]", item)


def _check_claim(errors: Errors, path: str, value: Obj) -> None:
    if not value.get("claimName"):
        errors.append(required(f"{path}.claimName"))


def _check_downward(errors: Errors, path: str, value: Obj) -> None:
    check_file_mode(errors, f"{path}.defaultMode", value.get("defaultMode"))
    check_user(errors, f"{path}.defaultUser", value.get("defaultUser"))
    for item in value.get("items") or ():
        check_downward_file(errors, path, item)


def check_downward_file(errors: Errors, path: str, item: Obj) -> None:
    """One file of a downward API volume; kube-apiserver gives the path of the volume."""
    if not item.get("path"):
        errors.append(required(f"{path}.path"))
    check_local_path(errors, f"{path}.path", item.get("path", ""))
    if item.get("fieldRef") is not None:
        check_field_reference(errors, f"{path}.fieldRef", item["fieldRef"], FIELDS_OF_VOLUMES)
        if item.get("resourceFieldRef") is not None:
            text = "fieldRef and resourceFieldRef can not be specified simultaneously"
            errors.append(field_invalid(path, "resource", text))
    elif item.get("resourceFieldRef") is not None:
        check_resource_reference(errors, f"{path}.resourceFieldRef", item["resourceFieldRef"], in_volume=True)
    else:
        errors.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    check_file_mode(errors, f"{path}.mode", item.get("mode"))
    check_user(errors, f"{path}.user", item.get("user"))


def _check_projected(errors: Errors, path: str, value: Obj) -> None:
    check_projected(errors, path, value, check_downward_file)


def check_csi_driver_name(errors: Errors, path: str, name: str) -> None:
    """The name of a CSI driver: a subdomain of at most 63 characters, in any case."""
    if not name:
        errors.append(required(path))
        return
    if len(name) > CSI_DRIVER_NAME_BYTES_MAX:
        errors.append(too_long(path, CSI_DRIVER_NAME_BYTES_MAX))
    for problem in dns_subdomain_problems(name.lower()):
        errors.append(field_invalid(path, name, problem))


def _check_csi(errors: Errors, path: str, value: Obj) -> None:
    check_csi_driver_name(errors, f"{path}.driver", value.get("driver", ""))
    reference = value.get("nodePublishSecretRef")
    if reference is not None:
        if not reference.get("name"):
            errors.append(required(f"{path}.nodePublishSecretRef.name"))
        else:
            check_name(errors, f"{path}.name", reference["name"], dns_subdomain_problems)


def _check_ephemeral(errors: Errors, path: str, value: Obj) -> None:
    template = value.get("volumeClaimTemplate")
    if template is None:
        errors.append(required(f"{path}.volumeClaimTemplate"))
    else:
        check_claim_template(errors, f"{path}.volumeClaimTemplate", template)


def _check_image(errors: Errors, path: str, value: Obj) -> None:
    if not value.get("reference"):
        errors.append(required(f"{path}.reference"))
    check_one_of(errors, f"{path}.pullPolicy", value.get("pullPolicy"), PULL_POLICIES)


_SOURCES: Final[dict[str, Callable[[Errors, str, Any], None]]] = {
    "configMap": _check_config_map,
    "csi": _check_csi,
    "downwardAPI": _check_downward,
    "emptyDir": _check_empty_dir,
    "ephemeral": _check_ephemeral,
    "fc": _check_fc,
    "gitRepo": _check_git_repo,
    "hostPath": _check_host_path,
    "image": _check_image,
    "nfs": _check_nfs,
    "persistentVolumeClaim": _check_claim,
    "projected": _check_projected,
    "secret": _check_secret,
}
