"""Where containers mount volumes and see block devices (core `ValidateVolumeMounts`, `ValidateVolumeDevices`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from apiserver.api.field_errors import (
    duplicate,
    field_forbidden,
    field_invalid,
    field_not_found,
    not_supported,
    required,
)
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_relative_path

__all__ = ["check_volume_devices", "check_volume_mounts"]

_PROPAGATIONS: Final = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE: Final = ("Disabled", "Enabled", "IfPossible")
_BIND_OPTIONS: Final = ("nodev", "noexec", "nosuid")


def check_volume_mounts(
    errors: Errors, path: str, mounts: Sequence[Obj], devices: Sequence[Obj], volumes: dict[str, Obj], container: Obj
) -> None:
    """The mounts of a container, against the pod's valid volumes and the container's devices."""
    device_paths = {device.get("name", ""): device.get("devicePath", "") for device in devices}
    taken: set[str] = set()
    for index, mount in enumerate(mounts):
        at, name, target = f"{path}[{index}]", mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            errors.append(required(f"{at}.name"))
        if name not in volumes:
            errors.append(field_not_found(f"{at}.name", name))
        if not target:
            errors.append(required(f"{at}.mountPath"))
        if target in taken:
            errors.append(field_invalid(f"{at}.mountPath", target, "must be unique"))
        taken.add(target)
        if name in device_paths:
            errors.append(field_invalid(f"{at}.name", name, "must not already exist in volumeDevices"))
        if target in device_paths.values():
            text = "must not already exist as a path in volumeDevices"
            errors.append(field_invalid(f"{at}.mountPath", target, text))
        if len(mount) > 2:
            _check_mount_options(errors, path, at, mount, volumes, container)


def _check_mount_options(
    errors: Errors, path: str, at: str, mount: Obj, volumes: dict[str, Obj], container: Obj
) -> None:
    """What few mounts have. kube-apiserver gives the path of the list for some of these."""
    sub_path, expression = mount.get("subPath"), mount.get("subPathExpr")
    if sub_path:
        check_relative_path(errors, f"{path}.subPath", sub_path)
    if expression:
        if sub_path:
            text = "subPathExpr and subPath are mutually exclusive"
            errors.append(field_invalid(f"{at}.subPathExpr", expression, text))
        check_relative_path(errors, f"{path}.subPathExpr", expression)
    propagation = mount.get("mountPropagation")
    if propagation is not None:
        if propagation not in _PROPAGATIONS:
            errors.append(not_supported(f"{path}.mountPropagation", propagation, _PROPAGATIONS))
        if propagation == "Bidirectional" and not (container.get("securityContext") or EMPTY).get("privileged"):
            text = "Bidirectional mount propagation is available only to privileged containers"
            errors.append(field_forbidden(f"{path}.mountPropagation", text))
    _check_recursive(errors, f"{path}.recursiveReadOnly", mount)
    options = mount.get("bindMountOptions") or ()
    for index, option in enumerate(options):
        if option not in _BIND_OPTIONS:
            errors.append(not_supported(f"{at}.bindMountOptions[{index}]", option, _BIND_OPTIONS))
        if option in options[:index]:
            errors.append(duplicate(f"{at}.bindMountOptions[{index}]", option))
    if options and (volumes.get(mount.get("name", "")) or EMPTY).get("image") is not None:
        text = "bindMountOptions may not be used with image volumes"
        errors.append(field_invalid(f"{at}.bindMountOptions", options, text))


def _check_recursive(errors: Errors, path: str, mount: Obj) -> None:
    recursive = mount.get("recursiveReadOnly")
    if recursive is None or recursive == "Disabled":
        return
    if recursive not in _RECURSIVE:
        errors.append(not_supported(path, recursive, _RECURSIVE))
        return
    if not mount.get("readOnly"):
        errors.append(field_forbidden(path, "may only be specified when readOnly is true"))
    if mount.get("mountPropagation", "None") != "None":
        text = "may only be specified when mountPropagation is None or not specified"
        errors.append(field_forbidden(path, text))


def check_volume_devices(
    errors: Errors, path: str, devices: Sequence[Obj], mounts: Sequence[Obj], volumes: dict[str, Obj]
) -> None:
    """The block devices of a container."""
    mount_paths = {mount.get("name", ""): mount.get("mountPath", "") for mount in mounts}
    names: set[str] = set()
    taken: set[str] = set()
    for index, device in enumerate(devices):
        at, name, target = f"{path}[{index}]", device.get("name", ""), device.get("devicePath", "")
        volume = volumes.get(name)
        if not name:
            errors.append(required(f"{at}.name"))
        if name in names:
            errors.append(field_invalid(f"{at}.name", name, "must be unique"))
        if volume is None:
            errors.append(field_not_found(f"{at}.name", name))
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            text = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            errors.append(field_invalid(f"{at}.name", name, text))
        if not target:
            errors.append(required(f"{at}.devicePath"))
        if target in taken:
            errors.append(field_invalid(f"{at}.devicePath", target, "must be unique"))
        if ".." in target.split("/"):
            errors.append(field_invalid(f"{at}.devicePath", target, "can not contain backsteps ('..')"))
        else:
            taken.add(target)
        if name in mount_paths:
            errors.append(field_invalid(f"{at}.name", name, "must not already exist in volumeMounts"))
        if target in mount_paths.values():
            text = "must not already exist as a path in volumeMounts"
            errors.append(field_invalid(f"{at}.devicePath", target, text))
        if name:
            names.add(name)
