"""Warnings about pods and pod templates: what is valid and yet hardly what its author meant (`pkg/api/pod`).

Paths are built only where there is something to warn of, for most pods give no reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from apiserver.api.quantity import Quantity, QuantityError
from apiserver.api.validation.pods import all_containers

__all__ = [
    "deprecated_node_label",
    "warnings_for_claim_spec",
    "warnings_for_pod",
    "warnings_for_selector_term",
    "warnings_for_template",
]

Obj = dict[str, Any]

_DEPRECATED_NODE_LABELS: Final = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}
_DEPRECATED_ANNOTATIONS: Final = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_DEPRECATED_VOLUMES: Final = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_SECCOMP_POD: Final = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER: Final = "container.seccomp.security.alpha.kubernetes.io/"
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_TEXT: Final = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_NO_SELECTOR: Final = "a null labelSelector results in matching no pod"
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"
_BYTES: Final = ("memory", "ephemeral-storage")
_EMPTY: Final[Obj] = {}
_is_whole: Final = re.compile("[0-9]+([KMGTPE]i?|k)?").fullmatch  # most quantities, and no fraction


def warnings_for_pod(pod: Obj) -> list[str]:
    """Of a new pod."""
    return list(_warnings("", pod))


def warnings_for_template(path: str, template: Obj | None) -> list[str]:
    """Of a pod template at a path."""
    return list(_warnings(f"{path}.", template)) if template else []


def warnings_for_claim_spec(path: str, spec: Obj) -> list[str]:
    """Of the spec of a PersistentVolumeClaim."""
    resources = spec.get("resources") or _EMPTY
    return [
        warning
        for kind in ("requests", "limits")
        for warning in _of_fractions(f"{path}.resources.{kind}", resources.get(kind), ("storage",))
    ]


def deprecated_node_label(key: str) -> str:
    """Why a label should not be used to choose nodes; empty when it may."""
    return _DEPRECATED_NODE_LABELS.get(key, "")


def warnings_for_selector_term(path: str, term: Obj) -> Iterator[str]:
    """Of a NodeSelectorTerm."""
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        text = deprecated_node_label(expression.get("key", ""))
        if text:
            yield f"{path}.matchExpressions[{index}].key: {expression['key']} is {text}"


def _warnings(prefix: str, owner: Obj) -> Iterator[str]:
    """`prefix` is the path of the owner and a dot, or empty for a pod. What is not there costs a look-up."""
    spec = owner.get("spec") or _EMPTY
    annotations = (owner.get("metadata") or _EMPTY).get("annotations") or _EMPTY
    at = f"{prefix}spec"
    if spec.get("nodeSelector") or spec.get("affinity") or spec.get("topologySpreadConstraints"):
        yield from _of_placement(at, spec)
    for key, text in _DEPRECATED_ANNOTATIONS.items() if annotations else ():
        if key in annotations:
            yield f"{prefix}metadata.annotations[{key}]: {text}"
    if spec.get("volumes"):
        yield from _of_volumes(at, spec["volumes"])
    if spec.get("hostAliases") or spec.get("imagePullSecrets"):
        yield from _of_lists(at, spec)
    if spec.get("overhead"):
        yield from _of_fractions(f"{at}.overhead", spec["overhead"])
    if _SECCOMP_POD in annotations and not (spec.get("securityContext") or _EMPTY).get("seccompProfile"):
        yield f"{prefix}metadata.annotations[{_SECCOMP_POD}]: {_SECCOMP_TEXT}"
    containers = all_containers(spec, at)
    for path, container in containers:
        if annotations:
            yield from _of_container_annotations(prefix, spec, container, annotations)
        resources = container.get("resources")
        if resources:
            for kind in ("limits", "requests"):
                yield from _of_fractions(f"{path}.resources.{kind}", resources.get(kind))
        if len(container.get("env") or ()) > 1:
            yield from _of_environment(f"{path}.env", container["env"])
    if any(container.get("ports") for _, container in containers):
        yield from _of_ports(containers)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        yield f"{at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
    if spec.get("affinity"):
        yield from _of_pod_affinity(f"{at}.affinity", spec["affinity"])


def _of_placement(at: str, spec: Obj) -> Iterator[str]:
    for key in spec.get("nodeSelector") or ():
        text = deprecated_node_label(key)
        if text:
            yield f"{at}.nodeSelector[{key}]: {text}"
    nodes = (spec.get("affinity") or _EMPTY).get("nodeAffinity") or _EMPTY
    path = f"{at}.affinity.nodeAffinity"
    for index, term in enumerate((nodes.get(_REQUIRED) or _EMPTY).get("nodeSelectorTerms") or ()):
        yield from warnings_for_selector_term(f"{path}.{_REQUIRED}.nodeSelectorTerms[{index}]", term)
    for index, weighted in enumerate(nodes.get(_PREFERRED) or ()):
        yield from warnings_for_selector_term(
            f"{path}.{_PREFERRED}[{index}].preference", weighted.get("preference") or _EMPTY
        )
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        path = f"{at}.topologySpreadConstraints[{index}]"
        key = constraint.get("topologyKey", "")
        text = deprecated_node_label(key)
        if text:
            yield f"{path}.topologyKey: {key} is {text}"
        if constraint.get("labelSelector") is None:
            yield f"{path}.labelSelector: {_NO_SELECTOR}"


def _of_volumes(at: str, volumes: list[Obj]) -> Iterator[str]:
    for index, volume in enumerate(volumes):
        for source in volume:
            if source in _DEPRECATED_VOLUMES and volume[source] is not None:
                yield f"{at}.volumes[{index}].{_go_name(source)}: {_DEPRECATED_VOLUMES[source]}"
        template = (volume.get("ephemeral") or _EMPTY).get("volumeClaimTemplate")
        if template:
            path = f"{at}.volumes[{index}].ephemeral.volumeClaimTemplate.spec"
            yield from warnings_for_claim_spec(path, template.get("spec") or _EMPTY)


def _go_name(source: str) -> str:
    return "storageOS" if source == "storageos" else source


def _of_lists(at: str, spec: Obj) -> Iterator[str]:
    addresses: set[str] = set()
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        address = alias.get("ip", "")
        if address in addresses:
            yield f'{at}.hostAliases[{index}].ip: duplicate ip "{address}"'
        addresses.add(address)
    secrets = [secret.get("name", "") for secret in spec.get("imagePullSecrets") or ()]
    for index, name in enumerate(secrets):
        if name in secrets[:index]:
            yield f'{at}.imagePullSecrets[{index}].name: duplicate name "{name}"'
    for index, name in enumerate(secrets):
        if not name:
            yield f'{at}.imagePullSecrets[{index}].name: invalid empty name ""'


def _of_fractions(at: str, amounts: Obj | None, names: tuple[str, ...] = _BYTES) -> Iterator[str]:
    for name in names:
        text = (amounts or _EMPTY).get(name)
        if text is not None and _is_fraction(text):
            yield f'{at}[{name}]: fractional byte value "{text}" is invalid, must be an integer'


def _is_fraction(text: str) -> bool:
    if _is_whole(text):
        return False
    try:
        return not Quantity.parse(text).is_integer()
    except QuantityError:
        return False


def _of_container_annotations(prefix: str, spec: Obj, container: Obj, annotations: Obj) -> Iterator[str]:
    name, security = container.get("name", ""), container.get("securityContext") or _EMPTY
    key = f"{_SECCOMP_CONTAINER}{name}"
    if key in annotations and not security.get("seccompProfile"):
        yield f"{prefix}metadata.annotations[{key}]: {_SECCOMP_TEXT}"
    key = f"{_APPARMOR}{name}"
    has_profile = security.get("appArmorProfile") or (spec.get("securityContext") or _EMPTY).get("appArmorProfile")
    if prefix and key in annotations and not has_profile:  # a pod is warned when the annotation is applied
        text = 'deprecated since v1.30; use the "appArmorProfile" field instead'
        yield f"{prefix}metadata.annotations[{key}]: {text}"


def _of_environment(at: str, variables: list[Obj]) -> Iterator[str]:
    names: set[str] = set()
    for index, variable in enumerate(variables):
        name, value = variable.get("name", ""), variable.get("value", "")
        reference = f"$({name})"
        extends = variable.get("valueFrom") is None and value != reference and reference in value
        if name in names and not extends:
            text = f'hides previous definition of "{name}", which may be dropped when using apply'
            yield f"{at}[{index}]: {text}"
        names.add(name)


def _of_ports(containers: list[tuple[str, Obj]]) -> Iterator[str]:
    known: dict[tuple[int, str], list[tuple[str, Obj]]] = {}
    for path, container in containers:
        for index, port in enumerate(container.get("ports") or ()):
            at = f"{path}.ports[{index}]"
            if port.get("hostIP") and not port.get("hostPort"):
                yield f"{at}: hostIP set without hostPort: {_go_port(port)}"
            others = known.setdefault((port.get("containerPort", 0), port.get("protocol", "")), [])
            for other_at, other in others:
                conflict = _port_conflict(port, other)
                if conflict:
                    yield f"{at}: {conflict} port definition with {other_at}"
            others.append((at, port))


def _port_conflict(port: Obj, other: Obj) -> str:
    address, other_address = port.get("hostIP", ""), other.get("hostIP", "")
    number, other_number = port.get("hostPort", 0), other.get("hostPort", 0)
    if (address, number) == (other_address, other_number):
        return "duplicate"
    if not number or not other_number:
        return "overlapping"
    if number == other_number and bool(address) != bool(other_address):
        return "dangerously ambiguous"
    return ""


def _go_port(port: Obj) -> str:
    """As Go prints the struct."""
    return (
        f"{{Name:{port.get('name', '')} HostPort:{port.get('hostPort', 0)} "
        f"ContainerPort:{port.get('containerPort', 0)} Protocol:{port.get('protocol', '')} "
        f"HostIP:{port.get('hostIP', '')}}}"
    )


def _of_pod_affinity(at: str, affinity: Obj) -> Iterator[str]:
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind) or _EMPTY
        for index, term in enumerate(terms.get(_REQUIRED) or ()):
            if term.get("labelSelector") is None:
                yield f"{at}.{kind}.{_REQUIRED}[{index}].labelSelector: {_NO_SELECTOR}"
        for index, weighted in enumerate(terms.get(_PREFERRED) or ()):
            if (weighted.get("podAffinityTerm") or _EMPTY).get("labelSelector") is None:
                yield f"{at}.{kind}.{_PREFERRED}[{index}].podAffinityTerm.labelSelector: {_NO_SELECTOR}"
