"""Security contexts of pods and containers (core `ValidateSecurityContext`, `validatePodSpecSecurityContext`)."""

from __future__ import annotations

import re
from typing import Final

from apiserver.api.field_errors import (
    duplicate,
    field_forbidden,
    field_invalid,
    not_supported,
    required,
    too_long,
)
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_relative_path
from apiserver.api.validation.names import range_problem
from apiserver.api.validation.volume_parts import ID_MAX, check_id

__all__ = ["check_apparmor", "check_container_security", "check_os_rules", "check_pod_security"]

SYSCTL_NAME_BYTES_MAX: Final = 253
APPARMOR_PROFILE_BYTES_MAX: Final = 4095
_SYSCTL_SEGMENT: Final = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL: Final = f"({_SYSCTL_SEGMENT}[\\./])*{_SYSCTL_SEGMENT}"
_is_sysctl = re.compile(_SYSCTL).fullmatch
_PROFILE_TYPES: Final = ("Localhost", "RuntimeDefault", "Unconfined")
_NETWORK_SYSCTLS: Final = ("net.",)
_IPC_SYSCTLS: Final = ("kernel.shm", "kernel.msg", "fs.mqueue.")
_WINDOWS_TEXT: Final = "cannot be set for a windows pod"
_LINUX_TEXT: Final = "windows options cannot be set for a linux pod"
_POD_MEMBERS_NOT_ON_WINDOWS: Final = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
)
_CONTAINER_MEMBERS_NOT_ON_WINDOWS: Final = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)


def check_container_security(errors: Errors, path: str, context: Obj, *, host_users: bool) -> None:
    """The SecurityContext of a container."""
    for member in ("runAsUser", "runAsGroup"):
        check_id(errors, f"{path}.{member}", context.get(member))
    proc_mount = context.get("procMount")
    if proc_mount is not None:
        if proc_mount not in ("Default", "Unmasked"):
            errors.append(not_supported(f"{path}.procMount", proc_mount, ("Default", "Unmasked")))
        if host_users and proc_mount == "Unmasked":
            text = "`hostUsers` must be false to use `Unmasked`"
            errors.append(field_invalid(f"{path}.procMount", proc_mount, text))
    _check_seccomp(errors, f"{path}.seccompProfile", context.get("seccompProfile"))
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            text = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            errors.append(field_invalid(path, context, text))
        for capability in (context.get("capabilities") or EMPTY).get("add") or ():
            if capability == "CAP_SYS_ADMIN":
                text = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
                errors.append(field_invalid(path, context, text))
    check_apparmor(errors, f"{path}.appArmorProfile", context.get("appArmorProfile"))


def _check_seccomp(errors: Errors, path: str, profile: Obj | None) -> None:
    if profile is None:
        return
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    if not kind:
        errors.append(required(f"{path}.type", "type is required when seccompProfile is set"))
    elif kind not in _PROFILE_TYPES:
        errors.append(not_supported(f"{path}.type", kind, _PROFILE_TYPES))
    if kind == "Localhost":
        if local is None:
            errors.append(required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost"))
        else:
            check_relative_path(errors, f"{path}.localhostProfile", local)
    elif local is not None:
        text = "can only be set when seccomp type is Localhost"
        errors.append(field_invalid(f"{path}.localhostProfile", profile, text))


def check_apparmor(errors: Errors, path: str, profile: Obj | None) -> None:
    """An AppArmorProfile; None passes."""
    if profile is None:
        return
    kind, local, at = profile.get("type", ""), profile.get("localhostProfile"), f"{path}.localhostProfile"
    if not kind:
        errors.append(required(f"{path}.type", "type is required when appArmorProfile is set"))
    elif kind not in _PROFILE_TYPES:
        errors.append(not_supported(f"{path}.type", kind, _PROFILE_TYPES))
    elif kind != "Localhost":
        if local is not None:
            errors.append(field_invalid(at, local, "can only be set when AppArmor type is Localhost"))
    elif local is None or local == "":
        errors.append(required(at, "must be set when AppArmor type is Localhost"))
    else:
        if local.strip() != local:
            errors.append(field_invalid(at, local, "must not be padded with whitespace"))
        if len(local) > APPARMOR_PROFILE_BYTES_MAX:
            errors.append(too_long(at, APPARMOR_PROFILE_BYTES_MAX))


def check_pod_security(errors: Errors, path: str, context: Obj, spec: Obj) -> None:
    """The PodSecurityContext of a pod's spec."""
    for member in ("fsGroup", "runAsUser", "runAsGroup"):
        check_id(errors, f"{path}.{member}", context.get(member))
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= group <= ID_MAX:
            errors.append(field_invalid(f"{path}.supplementalGroups[{index}]", group, range_problem(0, ID_MAX)))
    if context.get("sysctls"):
        _check_sysctls(errors, f"{path}.sysctls", context["sysctls"], spec)
    for member, supported in (
        ("fsGroupChangePolicy", ("Always", "OnRootMismatch")),
        ("supplementalGroupsPolicy", ("Merge", "Strict")),
        ("seLinuxChangePolicy", ("MountOption", "Recursive")),
    ):
        value = context.get(member)
        if value is not None and value not in supported:
            errors.append(not_supported(f"{path}.{member}", value, supported))
    _check_seccomp(errors, f"{path}.seccompProfile", context.get("seccompProfile"))
    check_apparmor(errors, f"{path}.appArmorProfile", context.get("appArmorProfile"))


def _check_sysctls(errors: Errors, path: str, sysctls: list[Obj], spec: Obj) -> None:
    seen: set[str] = set()
    for index, sysctl in enumerate(sysctls):
        at, name = f"{path}[{index}].name", sysctl.get("name", "")
        if not name:
            errors.append(required(at))
        elif len(name) > SYSCTL_NAME_BYTES_MAX or not _is_sysctl(name):
            text = f"must have at most {SYSCTL_NAME_BYTES_MAX} characters and match regex ^{_SYSCTL}$"
            errors.append(field_invalid(at, name, text))
        elif name in seen:
            errors.append(duplicate(at, name))
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith(_NETWORK_SYSCTLS):
            errors.append(field_invalid(at, name, "may not be specified when 'hostNetwork' is true"))
        elif spec.get("hostIPC") and (dotted.startswith(_IPC_SYSCTLS) or dotted == "kernel.sem"):
            errors.append(field_invalid(at, name, "may not be specified when 'hostIPC' is true"))
        seen.add(name)


def check_os_rules(errors: Errors, path: str, spec: Obj, containers: list[tuple[str, Obj]]) -> None:
    """What a pod may not have for the operating system it says it is for.

    Args:
        containers: all containers with their paths.
    """
    system = spec["os"].get("name", "")
    if not system:
        errors.append(required(f"{path}.os.name"))
        return
    if system not in ("linux", "windows"):
        errors.append(not_supported(f"{path}.os.name", system, ("linux", "windows")))
        return
    context = spec.get("securityContext") or EMPTY
    if system == "linux":
        if context.get("windowsOptions") is not None:
            errors.append(field_forbidden(f"{path}.securityContext.windowsOptions", _LINUX_TEXT))
        for at, container in containers:
            if (container.get("securityContext") or EMPTY).get("windowsOptions") is not None:
                errors.append(field_forbidden(f"{at}.securityContext.windowsOptions", _LINUX_TEXT))
        return
    for member in _POD_MEMBERS_NOT_ON_WINDOWS:
        if context.get(member) is not None:
            errors.append(field_forbidden(f"{path}.securityContext.{member}", _WINDOWS_TEXT))
    for member in ("hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"):
        if spec.get(member) not in (None, False):
            errors.append(field_forbidden(f"{path}.{member}", _WINDOWS_TEXT))
    for at, container in containers:
        own = container.get("securityContext") or EMPTY
        for member in _CONTAINER_MEMBERS_NOT_ON_WINDOWS:
            if own.get(member) is not None:
                errors.append(field_forbidden(f"{at}.securityContext.{member}", _WINDOWS_TEXT))
