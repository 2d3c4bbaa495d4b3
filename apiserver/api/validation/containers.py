"""Containers of pods (core `validateContainers`, `validateInitContainers`, `validateEphemeralContainers`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from apiserver.api.field_errors import (
    duplicate,
    field_forbidden,
    field_invalid,
    field_not_found,
    not_supported,
    required,
    too_many,
)
from apiserver.api.validation.common import (
    EMPTY,
    Errors,
    Obj,
    check_name,
    check_nonnegative,
    check_one_of,
    check_port,
    check_port_or_name,
)
from apiserver.api.validation.environment import check_env, check_env_from
from apiserver.api.validation.mounts import check_volume_devices, check_volume_mounts
from apiserver.api.validation.names import dns_label_problems, http_header_name_problems, port_name_problems
from apiserver.api.validation.resources import check_requirements
from apiserver.api.validation.security import check_container_security

__all__ = ["PodParts", "check_containers", "check_ephemeral_containers", "check_init_containers"]

PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
RESTART_POLICIES: Final = ("Always", "Never", "OnFailure")
RESTART_RULES_MAX: Final = 20
EXIT_CODES_MAX: Final = 255
_MESSAGE_POLICIES: Final = ("File", "FallbackToLogsOnError")
_INIT_TEXT: Final = "may not be set for init containers without restartPolicy=Always"
_EPHEMERAL_TEXT: Final = "cannot be set for an Ephemeral Container"
_NOT_FOR_EPHEMERAL: Final = (
    "ports",
    "resources",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
)


class PodParts:
    """What of a pod's spec its containers are checked against."""

    __slots__ = ("claim_names", "grace_seconds", "host_users", "os_name", "restart_policy", "volumes")

    def __init__(self, spec: Obj, volumes: dict[str, Obj]) -> None:
        self.volumes = volumes
        self.claim_names = [claim["name"] for claim in spec.get("resourceClaims") or () if claim.get("name")]
        self.grace_seconds: int | None = spec.get("terminationGracePeriodSeconds")
        self.host_users = spec.get("hostUsers") is not False
        self.restart_policy = spec.get("restartPolicy", "")
        self.os_name = (spec.get("os") or EMPTY).get("name", "")


def check_containers(errors: Errors, path: str, containers: list[Obj], parts: PodParts) -> None:
    """The regular containers."""
    if not containers:
        errors.append(required(path))
        return
    names: set[str] = set()
    for index, container in enumerate(containers):
        at, name = f"{path}[{index}]", container.get("name", "")
        _check_common(errors, at, container, parts)
        if name in names:
            errors.append(duplicate(f"{at}.name", name))
        names.add(name)
        _check_lifecycle_and_probes(errors, at, container, parts)
        _check_restart(errors, at, container)
    _check_host_ports(errors, path, containers)


def check_init_containers(
    errors: Errors, path: str, containers: list[Obj], regular: Iterable[Obj], parts: PodParts
) -> None:
    """The init containers, which are sidecars when their restartPolicy is Always."""
    names = {container.get("name", "") for container in regular}
    for index, container in enumerate(containers):
        at, name = f"{path}[{index}]", container.get("name", "")
        _check_common(errors, at, container, parts)
        _check_restart(errors, at, container)
        if name in names:
            errors.append(duplicate(f"{at}.name", name))
        elif name:
            names.add(name)
        _check_host_ports(errors, path, [container])
        if container.get("restartPolicy") == "Always":
            _check_lifecycle_and_probes(errors, at, container, parts)
            continue
        for member in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            if container.get(member) is not None:
                errors.append(field_forbidden(f"{at}.{member}", _INIT_TEXT))
        for position, policy in enumerate(container.get("resizePolicy") or ()):
            if policy.get("restartPolicy") == "RestartContainer":
                text = "must not be set to 'RestartContainer' for non-sidecar initContainers"
                errors.append(
                    field_invalid(f"{at}.resizePolicy[{position}].restartPolicy", policy["restartPolicy"], text)
                )


def check_ephemeral_containers(
    errors: Errors, path: str, containers: list[Obj], others: Iterable[Obj], parts: PodParts
) -> None:
    """The ephemeral containers, for debugging."""
    other_names = {container.get("name", "") for container in others}
    names = set(other_names)
    for index, container in enumerate(containers):
        at, name = f"{path}[{index}]", container.get("name", "")
        _check_common(errors, at, container, parts)
        check_image_whitespace(errors, at, container)
        if name in names:
            errors.append(duplicate(f"{at}.name", name))
        names.add(name)
        target = container.get("targetContainerName")
        if target and target not in other_names:
            errors.append(field_not_found(f"{at}.targetContainerName", target))
        for member in _NOT_FOR_EPHEMERAL:
            if container.get(member):
                errors.append(field_forbidden(f"{at}.{member}", _EPHEMERAL_TEXT))
        for position, mount in enumerate(container.get("volumeMounts") or ()):
            for member in ("subPath", "subPathExpr"):
                if mount.get(member):
                    errors.append(field_forbidden(f"{at}.volumeMounts[{position}].{member}", _EPHEMERAL_TEXT))


def check_image_whitespace(errors: Errors, path: str, container: Obj) -> None:
    """In pods, though not in templates, an image may not have spaces around it."""
    image = container.get("image", "")
    if image != image.strip():
        errors.append(field_invalid(f"{path}.image", image, "must not have leading or trailing whitespace"))


def _check_common(errors: Errors, path: str, container: Obj, parts: PodParts) -> None:
    get = container.get
    name = get("name")
    if not name:
        errors.append(required(f"{path}.name"))
    else:
        check_name(errors, f"{path}.name", name, dns_label_problems)
    if not get("image"):
        errors.append(required(f"{path}.image"))
    policy = get("terminationMessagePolicy")
    if policy not in _MESSAGE_POLICIES:
        check_one_of(errors, f"{path}.terminationMessagePolicy", policy, _MESSAGE_POLICIES)
    mounts, devices = get("volumeMounts") or (), get("volumeDevices") or ()
    if get("ports"):
        _check_ports(errors, f"{path}.ports", container["ports"])
    if get("env"):
        check_env(errors, f"{path}.env", container["env"])
    if get("envFrom"):
        check_env_from(errors, f"{path}.envFrom", container["envFrom"])
    if mounts:
        check_volume_mounts(errors, f"{path}.volumeMounts", mounts, devices, parts.volumes, container)
    if devices:
        check_volume_devices(errors, f"{path}.volumeDevices", devices, mounts, parts.volumes)
    policy = get("imagePullPolicy")
    if policy not in PULL_POLICIES:
        check_one_of(errors, f"{path}.imagePullPolicy", policy, PULL_POLICIES)
    if get("resources"):
        check_requirements(errors, f"{path}.resources", container["resources"], parts.claim_names)
    if get("resizePolicy"):
        _check_resize_policy(errors, f"{path}.resizePolicy", container["resizePolicy"], parts.restart_policy)
    if get("securityContext"):
        check_container_security(
            errors, f"{path}.securityContext", container["securityContext"], host_users=parts.host_users
        )


def _check_ports(errors: Errors, path: str, ports: list[Obj]) -> None:
    names: set[str] = set()
    for index, port in enumerate(ports):
        name, number = port.get("name"), port.get("containerPort", 0)
        if name:
            problems = port_name_problems(name)
            for problem in problems:
                errors.append(field_invalid(f"{path}[{index}].name", name, problem))
            if not problems and name in names:
                errors.append(duplicate(f"{path}[{index}].name", name))
            elif not problems:
                names.add(name)
        if not number:
            errors.append(required(f"{path}[{index}].containerPort"))
        elif not 0 < number <= 65535:
            check_port(errors, f"{path}[{index}].containerPort", number)
        if port.get("hostPort"):
            check_port(errors, f"{path}[{index}].hostPort", port["hostPort"])
        if port.get("protocol") not in PROTOCOLS:
            check_one_of(errors, f"{path}[{index}].protocol", port.get("protocol"), PROTOCOLS)


def _check_host_ports(errors: Errors, path: str, containers: list[Obj]) -> None:
    taken: set[str] = set()
    for index, container in enumerate(containers):
        for position, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            identity = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if identity in taken:
                errors.append(duplicate(f"{path}[{index}].ports[{position}].hostPort", identity))
            taken.add(identity)


def _check_resize_policy(errors: Errors, path: str, policies: list[Obj], restart_policy: str) -> None:
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        resource, action = policy.get("resourceName", ""), policy.get("restartPolicy", "")
        if resource in seen:
            errors.append(duplicate(f"{path}[{index}]", resource))
        seen.add(resource)
        check_one_of(errors, path, resource, ("cpu", "memory"))
        check_one_of(errors, path, action, ("NotRequired", "RestartContainer"))
        if restart_policy == "Never" and action != "NotRequired":
            text = "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
            errors.append(field_invalid(path, action, text))


def _check_restart(errors: Errors, path: str, container: Obj) -> None:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    if policy is None:
        if rules:
            text = "must specify restartPolicy when restart rules are used"
            errors.append(required(f"{path}.restartPolicy", text))
        return
    if policy not in RESTART_POLICIES:
        errors.append(not_supported(f"{path}.restartPolicy", policy, RESTART_POLICIES))
    if len(rules) > RESTART_RULES_MAX:
        errors.append(too_many(f"{path}.restartPolicyRules", len(rules), RESTART_RULES_MAX))
    for index, rule in enumerate(rules):
        at = f"{path}.restartPolicyRules[{index}]"
        if rule.get("action") not in ("Restart", "RestartAllContainers"):
            errors.append(not_supported(f"{at}.action", rule.get("action", ""), ("Restart", "RestartAllContainers")))
        codes = rule.get("exitCodes")
        if codes is None:
            errors.append(required(f"{at}.exitCodes", "must be specified"))
            continue
        if codes.get("operator") not in ("In", "NotIn"):
            errors.append(not_supported(f"{at}.exitCodes.operator", codes.get("operator", ""), ("In", "NotIn")))
        if len(codes.get("values") or ()) > EXIT_CODES_MAX:
            errors.append(too_many(f"{at}.exitCodes.values", len(codes["values"]), EXIT_CODES_MAX))


def _check_lifecycle_and_probes(errors: Errors, path: str, container: Obj, parts: PodParts) -> None:
    lifecycle = container.get("lifecycle")
    if lifecycle is not None:
        for member in ("postStart", "preStop"):
            if lifecycle.get(member) is not None:
                _check_handler(errors, f"{path}.lifecycle.{member}", lifecycle[member], _LIFECYCLE_HANDLERS, parts)
        if lifecycle.get("stopSignal") is not None and not parts.os_name:
            text = "may not be set for containers with empty `spec.os.name`"
            errors.append(field_forbidden(f"{path}.lifecycle.stopSignal", text))
    for member in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(member)
        if probe is not None:
            _check_probe(errors, f"{path}.{member}", member, probe, parts)


def _check_probe(errors: Errors, path: str, kind: str, probe: Obj, parts: PodParts) -> None:
    _check_handler(errors, path, probe, _PROBE_HANDLERS, parts)
    for member in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ):
        check_nonnegative(errors, f"{path}.{member}", probe.get(member))
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        errors.append(field_invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0"))
    if kind == "readinessProbe":
        if grace is not None:
            text = "must not be set for readinessProbes"
            errors.append(field_invalid(f"{path}.terminationGracePeriodSeconds", grace, text))
    elif probe.get("successThreshold") != 1:
        errors.append(field_invalid(f"{path}.successThreshold", probe.get("successThreshold", 0), "must be 1"))


_PROBE_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "grpc")
_LIFECYCLE_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "sleep")


def _check_handler(errors: Errors, path: str, handler: Obj, kinds: tuple[str, ...], parts: PodParts) -> None:
    given = [kind for kind in kinds if handler.get(kind) is not None]
    if not given:
        errors.append(required(path, "must specify a handler type"))
        return
    for kind in given[1:]:
        errors.append(field_forbidden(f"{path}.{kind}", "may not specify more than 1 handler type"))
    kind, action = given[0], handler[given[0]]
    at = f"{path}.{kind}"
    if kind == "exec":
        if not action.get("command"):
            errors.append(required(f"{at}.command"))
    elif kind == "httpGet":
        _check_http_get(errors, at, action)
    elif kind == "sleep":
        seconds, limit = action.get("seconds", 0), parts.grace_seconds
        if limit is not None and not 0 <= seconds <= limit:
            text = f"must be non-negative and less than terminationGracePeriodSeconds ({limit})"
            errors.append(field_invalid(at, seconds, text))
    else:
        check_port_or_name(errors, f"{at}.port", action.get("port", 0))


def _check_http_get(errors: Errors, path: str, action: Obj) -> None:
    if not action.get("path"):
        errors.append(required(f"{path}.path"))
    check_port_or_name(errors, f"{path}.port", action.get("port", 0))
    scheme: Any = action.get("scheme", "")
    if scheme not in ("HTTP", "HTTPS"):
        errors.append(not_supported(f"{path}.scheme", scheme, ("HTTP", "HTTPS")))
    for header in action.get("httpHeaders") or ():
        check_name(errors, f"{path}.httpHeaders", header.get("name", ""), http_header_name_problems)
