"""Pods over their life: create, update, status, ephemeral containers, resize, binding (core `ValidatePod…`)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final

from apiserver.api.field_errors import (
    FieldError,
    duplicate,
    field_forbidden,
    field_invalid,
    not_supported,
    required,
)
from apiserver.api.validation.changes import show_diff
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_ip, check_label_key, check_name
from apiserver.api.validation.names import dns_subdomain_problems, range_problem
from apiserver.api.validation.objectmeta import IMMUTABLE
from apiserver.api.validation.pod_gates import check_gated_placement
from apiserver.api.validation.pod_resources import qos_class
from apiserver.api.validation.pods import INT32_MAX, check_pod
from apiserver.api.validation.scheduling import check_tolerations

__all__ = [
    "check_binding",
    "check_ephemeral_update",
    "check_pod_create",
    "check_pod_resize",
    "check_pod_status",
    "check_pod_update",
]

_MIRROR: Final = "kubernetes.io/config.mirror"
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_UPDATABLE: Final = (
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def check_pod_create(errors: Errors, pod: Obj) -> None:
    """A new pod."""
    check_pod(errors, pod)
    spec = pod.get("spec") or EMPTY
    if spec.get("ephemeralContainers"):
        errors.append(field_forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        text = "cannot be set until all schedulingGates have been cleared"
        errors.append(field_forbidden("spec.nodeName", text))


def check_pod_update(errors: Errors, pod: Obj, old: Obj) -> None:
    """A change of a pod's metadata or of the few members of its spec that may change."""
    check_pod(errors, pod)
    _check_annotation_changes(errors, pod, old)
    spec, before = pod.get("spec") or {}, old.get("spec") or {}
    for member in ("containers", "initContainers"):
        if not _check_container_list(errors, f"spec.{member}", spec.get(member) or [], before.get(member) or []):
            return
    if not _check_deadline(errors, spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")):
        return
    _check_added_tolerations(errors, spec.get("tolerations") or [], before.get("tolerations") or [])
    _check_deleted_gates(errors, spec.get("schedulingGates") or [], before.get("schedulingGates") or [])
    if spec == before:
        return
    munged = _without_allowed_changes(spec, before)
    if before.get("schedulingGates"):
        check_gated_placement(errors, munged, before)
    if munged != before:
        text = f"pod updates may not change fields other than {_UPDATABLE}\n{show_diff(before, munged)}"
        errors.append(field_forbidden("spec", text))


def _check_annotation_changes(errors: Errors, pod: Obj, old: Obj) -> None:
    now, before = (of["metadata"].get("annotations") or EMPTY for of in (pod, old))
    for key in before:
        if now.get(key) != before[key]:
            if key.startswith(_APPARMOR):
                text = "may not remove or update AppArmor annotations"
                errors.append(field_forbidden(f"metadata.annotations[{key}]", text))
            if key == _MIRROR:
                text = "may not remove or update mirror pod annotation"
                errors.append(field_forbidden(f"metadata.annotations[{key}]", text))
    for key in now:
        if key not in before:
            if key.startswith(_APPARMOR):
                errors.append(field_forbidden(f"metadata.annotations[{key}]", "may not add AppArmor annotations"))
            if key == _MIRROR:
                errors.append(field_forbidden(f"metadata.annotations[{key}]", "may not add mirror pod annotation"))


def _check_container_list(errors: Errors, path: str, containers: Sequence[Obj], before: Sequence[Obj]) -> bool:
    """Whether the lists are comparable at all."""
    if len(containers) != len(before):
        errors.append(field_forbidden(path, "pod updates may not add or remove containers"))
        return False
    for index, container in enumerate(containers):
        image = container.get("image", "")
        if not image:
            errors.append(required(f"{path}[{index}].image"))
        if image != image.strip():
            text = "must not have leading or trailing whitespace"
            errors.append(field_invalid(f"{path}[{index}].image", image, text))
    return True


def _check_deadline(errors: Errors, deadline: int | None, before: int | None) -> bool:
    path = "spec.activeDeadlineSeconds"
    if deadline is None:
        if before is not None:
            errors.append(field_invalid(path, None, "must not update from a positive integer to nil value"))
        return True
    if not 0 <= deadline <= INT32_MAX:
        errors.append(field_invalid(path, deadline, range_problem(0, INT32_MAX)))
        return False
    if before is not None and before < deadline:
        errors.append(field_invalid(path, deadline, "must be less than or equal to previous value"))
        return False
    return True


def _check_added_tolerations(errors: Errors, tolerations: list[Obj], before: list[Obj]) -> None:
    kept = [_without_seconds(toleration) for toleration in tolerations]
    for old in before:
        if _without_seconds(old) not in kept:
            text = "existing toleration can not be modified except its tolerationSeconds"
            errors.append(field_forbidden("spec.tolerations", text))
            return
    check_tolerations(errors, "spec.tolerations", tolerations)


def _without_seconds(toleration: Obj) -> Obj:
    return {name: value for name, value in toleration.items() if name != "tolerationSeconds"}


def _check_deleted_gates(errors: Errors, gates: list[Obj], before: list[Obj]) -> None:
    known = {gate.get("name") for gate in before}
    for index, gate in enumerate(gates):
        name = gate.get("name", "")
        if name not in known:
            text = f"only deletion is allowed, but found new scheduling gate '{name}'"
            errors.append(field_forbidden(f"spec.schedulingGates[{index}].name", text))


def _without_allowed_changes(spec: Obj, before: Obj) -> Obj:
    """The new spec with everything put back that an update may change."""
    munged = dict(spec)
    for member in ("containers", "initContainers"):
        if spec.get(member):
            munged[member] = [
                {**container, "image": was.get("image", "")}
                for container, was in zip(spec[member], before[member], strict=True)
            ]
    for member in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        _put_back(munged, before, member)
    if (before.get("terminationGracePeriodSeconds") or 0) < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        _put_back(munged, before, "terminationGracePeriodSeconds")
    return munged


def _put_back(munged: Obj, before: Obj, member: str) -> None:
    if member in before:
        munged[member] = before[member]
    else:
        munged.pop(member, None)


def check_pod_status(errors: Errors, pod: Obj, old: Obj) -> None:
    """A change of a pod's status, mostly the kubelet's."""
    _check_annotation_changes(errors, pod, old)
    status, before = pod.get("status") or EMPTY, old.get("status") or EMPTY
    spec = old.get("spec") or EMPTY
    for index, condition in enumerate(status.get("conditions") or ()):
        if condition.get("observedGeneration", 0) < 0:
            at = f"status.conditions[{index}].observedGeneration"
            errors.append(field_invalid(at, condition["observedGeneration"], "must be a non-negative integer"))
        kind = condition.get("type", "")
        if kind not in ("PodScheduled", "Ready", "Initialized"):
            check_label_key(errors, f"status.conditions[{index}].Type", kind)
    nominated = status.get("nominatedNodeName")
    if spec.get("nodeName") and nominated and nominated != before.get("nominatedNodeName"):
        text = "may not be set on pods that are already bound to a node"
        errors.append(field_forbidden("status.nominatedNodeName", text))
    if status.get("observedGeneration", 0) < 0:
        text = "must be a non-negative integer"
        errors.append(field_invalid("status.observedGeneration", status["observedGeneration"], text))
    if status.get("qosClass", "") != before.get("qosClass", ""):
        errors.append(field_invalid("status.qosClass", status.get("qosClass", ""), IMMUTABLE))
    for member, containers in (("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")):
        _check_transitions(errors, member, status, before, spec, containers)
    _check_ips(errors, status, before)
    _check_claim_statuses(errors, status, spec)


def _check_transitions(errors: Errors, member: str, status: Obj, before: Obj, spec: Obj, containers: str) -> None:
    """A container that ended for good does not run again."""
    now = {each.get("name"): each for each in status.get(member) or ()}
    declared = {each.get("name"): each for each in spec.get(containers) or ()}
    for index, was in enumerate(before.get(member) or ()):
        ended = (was.get("state") or EMPTY).get("terminated")
        current = now.get(was.get("name"))
        if ended is None or current is None or (current.get("state") or EMPTY).get("terminated") is not None:
            continue
        if not _may_restart(declared.get(was.get("name")) or EMPTY, spec, ended.get("exitCode", 0)):
            text = "may not be transitioned to non-terminated state"
            errors.append(field_forbidden(f"status.{member}[{index}].state", text))


def _may_restart(container: Obj, spec: Obj, exit_code: int) -> bool:
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or EMPTY
        if (exit_code in (codes.get("values") or ())) == (codes.get("operator") == "In"):
            return True
    policy = container.get("restartPolicy") or spec.get("restartPolicy")
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def _check_ips(errors: Errors, status: Obj, before: Obj) -> None:
    for single, several in (("podIP", "podIPs"), ("hostIP", "hostIPs")):
        addresses = [each.get("ip", "") for each in status.get(several) or ()]
        known = [each.get("ip", "") for each in before.get(several) or ()]
        for index, address in enumerate(addresses):
            check_ip(errors, f"status.{several}[{index}]", address, known)
        if len(addresses) > 1 and (len(addresses) > 2 or len({_family(address) for address in addresses}) < 2):
            text = "may specify no more than one IP for each IP family"
            errors.append(field_invalid(f"status.{several}", status[several], text))
        if single == "podIP" and bool(status.get(single)) != bool(addresses):
            text = "podIP and podIPs must either both be set or both be unset"
            errors.append(field_invalid("status.podIPs", status.get(several), text))
        elif addresses and addresses[0] != status.get(single, ""):
            errors.append(field_invalid(f"status.{several}[0].ip", addresses[0], f"must be equal to `{single}`"))


def _family(address: str) -> int:
    try:
        return ip_address(address).version
    except ValueError:
        return 0


def _check_claim_statuses(errors: Errors, status: Obj, spec: Obj) -> None:
    known = {claim.get("name") for claim in spec.get("resourceClaims") or ()}
    seen: set[str] = set()
    for index, claim in enumerate(status.get("resourceClaimStatuses") or ()):
        name, at = claim.get("name", ""), f"status.resourceClaimStatuses[{index}]"
        if name not in known:
            text = "must match the name of an entry in `spec.resourceClaims`"
            errors.append(field_invalid(f"{at}.name", name, text))
        if name in seen:
            errors.append(duplicate(f"{at}.name", name))
        seen.add(name)
        if claim.get("resourceClaimName") is not None:
            check_name(errors, f"{at}.resourceClaimName", claim["resourceClaimName"], dns_subdomain_problems)


def check_ephemeral_update(errors: Errors, pod: Obj, old: Obj) -> list[FieldError]:
    """Ephemeral containers come, and stay as they are. Returns all errors, or the one that makes the rest moot."""
    if _MIRROR in (old["metadata"].get("annotations") or EMPTY):
        return [field_forbidden("[]", "static pods do not support ephemeral containers")]
    check_pod(errors, pod)
    _check_annotation_changes(errors, pod, old)
    now = {each.get("name"): each for each in (pod.get("spec") or EMPTY).get("ephemeralContainers") or ()}
    for was in (old.get("spec") or EMPTY).get("ephemeralContainers") or ():
        name = was.get("name", "")
        if name not in now:
            text = f'existing ephemeral containers "{name}" may not be removed\n'
            errors.append(field_forbidden("spec.ephemeralContainers", text))
        elif now[name] != was:
            text = f'existing ephemeral containers "{name}" may not be changed\n{show_diff(was, now[name])}'
            errors.append(field_forbidden("spec.ephemeralContainers", text))
    return errors


def check_pod_resize(errors: Errors, pod: Obj, old: Obj) -> list[FieldError]:
    """CPU and memory of containers, or of the pod as a whole, may change; nothing else (KEP-1287)."""
    before, spec = old.get("spec") or EMPTY, pod.get("spec") or EMPTY
    if _MIRROR in (old["metadata"].get("annotations") or EMPTY):
        return [field_forbidden("[]", "static pods cannot be resized")]
    if (before.get("os") or EMPTY).get("name") == "windows":
        return [field_forbidden("[]", "windows pods cannot be resized")]
    check_pod(errors, pod)
    quality = (old.get("status") or EMPTY).get("qosClass") or qos_class(before)
    if quality != qos_class(spec):
        text = "Pod QOS Class may not change as a result of resizing"
        errors.append(field_invalid("spec", (pod.get("status") or EMPTY).get("qosClass", ""), text))
    count = len(errors)
    for member in ("containers", "initContainers"):
        _check_same_containers(errors, member, spec.get(member) or [], before.get(member) or [])
    if len(errors) > count:
        return errors
    for member in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(member) or ()):
            _check_container_resize(errors, f"spec.{member}[{index}]", member, container, before[member][index])
    if _without_resources(spec) != _without_resources(before):
        errors.append(field_forbidden("spec", "only cpu and memory resources are mutable"))
    return errors


def _check_same_containers(errors: Errors, member: str, containers: list[Obj], before: list[Obj]) -> None:
    if len(containers) != len(before):
        errors.append(field_forbidden(f"spec.{member}", f"{member} may not be added or removed on resize"))
        return
    for index, container in enumerate(containers):
        if container.get("name") != before[index].get("name"):
            text = f"{member} may not be renamed or reordered on resize"
            errors.append(field_forbidden(f"spec.{member}[{index}].name", text))


def _check_container_resize(errors: Errors, path: str, member: str, container: Obj, before: Obj) -> None:
    now, was = container.get("resources") or EMPTY, before.get("resources") or EMPTY
    for kind in ("requests", "limits"):
        if set(was.get(kind) or ()) - set(now.get(kind) or ()):
            errors.append(field_forbidden(f"{path}.resources.{kind}", f"resource {kind} cannot be removed"))
    if member == "initContainers" and container != before and container.get("restartPolicy") != "Always":
        errors.append(field_forbidden("spec", "resources for non-sidecar init containers are immutable"))
    elif _without_amounts(now) != _without_amounts(was):
        errors.append(field_forbidden("spec", "only cpu and memory resources are mutable"))


def _without_amounts(resources: Obj) -> Obj:
    rest: Obj = {}
    for member, value in resources.items():
        if isinstance(value, dict):
            value = {name: text for name, text in value.items() if name not in ("cpu", "memory")}
        if value:
            rest[member] = value
    return rest


def _without_resources(spec: Obj) -> dict[str, Any]:
    rest = {**spec}
    rest.pop("resources", None)
    for member in ("containers", "initContainers"):
        if spec.get(member):
            rest[member] = [{name: of for name, of in each.items() if name != "resources"} for each in spec[member]]
    return rest


def check_binding(errors: Errors, binding: Obj) -> None:
    """A Binding: a pod to a node."""
    target = binding.get("target") or EMPTY
    kind, name = target.get("kind", ""), target.get("name", "")
    if kind not in ("", "Node"):
        errors.append(not_supported("target.kind", kind, ("Node", "<empty>")))
    if not name:
        errors.append(required("target.name"))
    elif kind in ("", "Node"):
        check_name(errors, "target.name", name, dns_subdomain_problems)
