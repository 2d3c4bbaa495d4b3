"""Pod specs and templates (core `ValidatePodSpec`, `ValidatePodTemplateSpec`)."""

from __future__ import annotations

from typing import Final

from apiserver.api.field_errors import (
    duplicate,
    field_forbidden,
    field_invalid,
    field_not_found,
    not_supported,
    required,
    too_long,
)
from apiserver.api.validation.common import (
    EMPTY,
    Errors,
    Obj,
    check_ip,
    check_label_key,
    check_labels,
    check_name,
    check_nonnegative,
    check_one_of,
)
from apiserver.api.validation.containers import (
    PodParts,
    check_containers,
    check_ephemeral_containers,
    check_image_whitespace,
    check_init_containers,
)
from apiserver.api.validation.names import (
    dns_label_problems,
    dns_subdomain_problems,
    dns_subdomain_with_underscore_problems,
    range_problem,
)
from apiserver.api.validation.objectmeta import validate_annotations
from apiserver.api.validation.pod_resources import check_pod_resources
from apiserver.api.validation.projected import service_account_token_sources
from apiserver.api.validation.resources import check_requirements
from apiserver.api.validation.scheduling import check_affinity, check_tolerations, check_topology_spread
from apiserver.api.validation.security import check_os_rules, check_pod_security
from apiserver.api.validation.volumes import check_volumes

__all__ = ["all_containers", "check_pod", "check_pod_spec", "check_pod_template"]

INT32_MAX: Final = 2**31 - 1
NAMESERVERS_MAX: Final = 3
SEARCH_PATHS_MAX: Final = 32
SEARCH_CHARACTERS_MAX: Final = 2048
HOSTNAME_BYTES_MAX: Final = 64
_RESTART_POLICIES: Final = ("Always", "OnFailure", "Never")
_DNS_POLICIES: Final = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_NAMES: Final = {
    "serviceAccountName": dns_subdomain_problems,
    "nodeName": dns_subdomain_problems,
    "hostname": dns_label_problems,
    "subdomain": dns_label_problems,
    "priorityClassName": dns_subdomain_problems,
}
_MIRROR: Final = "kubernetes.io/config.mirror"
_CONTAINER_LISTS: Final = ("initContainers", "containers", "ephemeralContainers")
# Members of a spec by the function that looks at them: most pods have few of them.
_PLACEMENT: Final = frozenset(
    {"nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "schedulingGates", "readinessGates"}
)
_HOST: Final = frozenset({"hostNetwork", "shareProcessNamespace", "hostUsers", "hostnameOverride"})
_RARITIES: Final = frozenset(
    {
        "activeDeadlineSeconds",
        "dnsConfig",
        "hostAliases",
        "runtimeClassName",
        "preemptionPolicy",
        "overhead",
        "os",
    }
)


def all_containers(spec: Obj, path: str) -> list[tuple[str, Obj]]:
    """Init, regular and ephemeral containers with their paths."""
    return [
        (f"{path}.{member}[{index}]", container)
        for member in _CONTAINER_LISTS
        for index, container in enumerate(spec.get(member) or ())
    ]


def check_pod(errors: Errors, pod: Obj) -> None:
    """Annotations and spec of a pod."""
    metadata, spec = pod["metadata"], pod.get("spec") or EMPTY
    annotations = metadata.get("annotations") or EMPTY
    if annotations:
        _check_pod_annotations(errors, annotations, spec)
    check_pod_spec(errors, "spec", spec, pod_name=metadata.get("name", ""), is_pod=True)
    if not spec.get("serviceAccountName"):
        for source in service_account_token_sources(spec.get("volumes") or []):
            text = "must not be specified when serviceAccountName is not set"
            errors.append(field_forbidden(f"spec.volumes{source}", text))
    check_nonnegative(errors, "spec.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds"))
    for member in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(member) or ()):
            image = container.get("image", "")
            if image != image.strip():
                check_image_whitespace(errors, f"spec.{member}[{index}]", container)


def _check_pod_annotations(errors: Errors, annotations: dict[str, str], spec: Obj) -> None:
    if _MIRROR in annotations and not spec.get("nodeName"):
        text = "must set spec.nodeName if mirror pod annotation is set"
        errors.append(field_invalid(f"metadata.annotations[{_MIRROR}]", annotations[_MIRROR], text))
    cost = annotations.get("controller.kubernetes.io/pod-deletion-cost")
    if cost is not None and not _is_int32(cost):
        path = "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]"
        errors.append(field_invalid(path, cost, "must be a 32bit integer"))


def _is_int32(text: str) -> bool:
    digits = text[1:] if text[:1] == "-" else text
    if not digits.isascii() or not digits.isdigit() or (len(digits) > 1 and digits[0] == "0"):
        return False
    return -(2**31) <= int(text) <= INT32_MAX


def check_pod_template(errors: Errors, path: str, template: Obj) -> None:
    """A PodTemplateSpec: labels, annotations and spec."""
    metadata, spec = template.get("metadata") or EMPTY, template.get("spec") or EMPTY
    if metadata.get("labels"):
        check_labels(errors, f"{path}.labels", metadata["labels"])
    if metadata.get("annotations"):
        errors += validate_annotations(metadata["annotations"], f"{path}.annotations")
    check_pod_spec(errors, f"{path}.spec", spec, pod_name="", is_pod=False)
    if spec.get("ephemeralContainers"):
        text = "ephemeral containers not allowed in pod template"
        errors.append(field_forbidden(f"{path}.spec.ephemeralContainers", text))


def check_pod_spec(errors: Errors, path: str, spec: Obj, *, pod_name: str, is_pod: bool) -> None:
    """A PodSpec.

    Args:
        pod_name: empty in templates.
        is_pod: whether it is the spec of a pod rather than of a template.
    """
    get = spec.get
    if get("terminationGracePeriodSeconds") is None:
        errors.append(required(f"{path}.terminationGracePeriodSeconds"))
    volumes = check_volumes(errors, f"{path}.volumes", spec["volumes"], pod_name) if get("volumes") else {}
    parts = PodParts(spec, volumes)
    if get("resourceClaims"):
        _check_resource_claims(errors, f"{path}.resourceClaims", spec["resourceClaims"])
    regular, initial = get("containers") or [], get("initContainers") or []
    check_containers(errors, f"{path}.containers", regular, parts)
    if initial:
        check_init_containers(errors, f"{path}.initContainers", initial, regular, parts)
    if get("ephemeralContainers"):
        others = [*regular, *initial]
        check_ephemeral_containers(errors, f"{path}.ephemeralContainers", spec["ephemeralContainers"], others, parts)
    if get("resources") is not None:
        check_pod_resources(errors, path, spec)
    if get("restartPolicy") not in _RESTART_POLICIES:
        check_one_of(errors, f"{path}.restartPolicy", get("restartPolicy"), _RESTART_POLICIES)
    if get("dnsPolicy") not in _DNS_POLICIES:
        check_one_of(errors, f"{path}.dnsPolicy", get("dnsPolicy"), _DNS_POLICIES)
    if not _NAMES.keys().isdisjoint(spec):
        for name, problems in _NAMES.items():
            value = get(name)
            if value:
                check_name(errors, f"{path}.{name}", value, problems)
    if get("securityContext"):
        check_pod_security(errors, f"{path}.securityContext", spec["securityContext"], spec)
    if not _PLACEMENT.isdisjoint(spec):
        _check_placement(errors, path, spec)
    if not _HOST.isdisjoint(spec):
        _check_host(errors, path, spec, is_pod=is_pod)
    if not _RARITIES.isdisjoint(spec) or get("dnsPolicy") == "None":
        _check_rarities(errors, path, spec)
    _check_file_keys(errors, path, spec)


def _check_placement(errors: Errors, path: str, spec: Obj) -> None:
    if spec.get("nodeSelector"):
        check_labels(errors, f"{path}.nodeSelector", spec["nodeSelector"])
    if spec.get("affinity"):
        check_affinity(errors, f"{path}.affinity", spec["affinity"])
    if spec.get("tolerations"):
        check_tolerations(errors, f"{path}.tolerations", spec["tolerations"])
    if spec.get("topologySpreadConstraints"):
        check_topology_spread(errors, f"{path}.topologySpreadConstraints", spec["topologySpreadConstraints"])
    seen: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        name = gate.get("name", "")
        check_label_key(errors, f"{path}.schedulingGates[{index}]", name)
        if name in seen:
            errors.append(duplicate(f"{path}.schedulingGates[{index}]", name))
        seen.add(name)
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        check_label_key(errors, f"{path}.readinessGates[{index}].conditionType", gate.get("conditionType", ""))


def _check_host(errors: Errors, path: str, spec: Obj, *, is_pod: bool) -> None:
    get = spec.get
    if get("hostNetwork"):
        for index, container in enumerate(get("containers") or ()):
            for position, port in enumerate(container.get("ports") or ()):
                host_port = port.get("hostPort", 0)
                if (is_pod or host_port) and host_port != port.get("containerPort", 0):
                    text = "must match `containerPort` when `hostNetwork` is true"
                    at = f"{path}.containers[{index}].ports[{position}].hostPort"
                    errors.append(field_invalid(at, host_port, text))
    if get("shareProcessNamespace") and get("hostPID"):
        text = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.append(field_invalid(f"{path}.shareProcessNamespace", True, text))
    if get("hostUsers") is False:
        for member, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
            if get(member):
                errors.append(field_forbidden(f"{path}.{shown}", "when `hostUsers` is false"))
        for at, container in all_containers(spec, path):
            if container.get("volumeDevices"):
                errors.append(field_forbidden(f"{at}.volumeDevices", "when `hostUsers` is false"))
    override = get("hostnameOverride")
    if override is not None:
        at = f"{path}.hostnameOverride"
        for member in ("setHostnameAsFQDN", "hostNetwork"):
            if get(member):
                errors.append(field_forbidden(at, f"may not be specified when {member} is true"))
        if len(override) > HOSTNAME_BYTES_MAX:
            errors.append(too_long(at, HOSTNAME_BYTES_MAX))
        check_name(errors, at, override, dns_subdomain_problems)


def _check_rarities(errors: Errors, path: str, spec: Obj) -> None:
    get = spec.get
    deadline = get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= INT32_MAX:
        errors.append(field_invalid(f"{path}.activeDeadlineSeconds", deadline, range_problem(1, INT32_MAX)))
    if get("dnsConfig") is not None or get("dnsPolicy") == "None":
        _check_dns_config(errors, f"{path}.dnsConfig", get("dnsConfig"), get("dnsPolicy", ""))
    for index, alias in enumerate(get("hostAliases") or ()):
        check_ip(errors, f"{path}.hostAliases[{index}].ip", alias.get("ip", ""))
        for position, hostname in enumerate(alias.get("hostnames") or ()):
            at = f"{path}.hostAliases[{index}].hostnames[{position}]"
            check_name(errors, at, hostname, dns_subdomain_problems)
    if get("runtimeClassName") is not None:
        check_name(errors, f"{path}.runtimeClassName", spec["runtimeClassName"], dns_subdomain_problems)
    policy = get("preemptionPolicy")
    if policy is not None and policy not in ("PreemptLowerPriority", "Never"):
        if policy:
            errors.append(not_supported(f"{path}.preemptionPolicy", policy, ("PreemptLowerPriority", "Never")))
        else:
            errors.append(required(f"{path}.preemptionPolicy"))
    if get("overhead"):
        check_requirements(errors, f"{path}.overhead", {"limits": spec["overhead"]}, None)
    if get("os") is not None:
        check_os_rules(errors, path, spec, all_containers(spec, path))


def _check_file_keys(errors: Errors, path: str, spec: Obj) -> None:
    for member in _CONTAINER_LISTS:
        for index, container in enumerate(spec.get(member) or ()):
            for position, variable in enumerate(container.get("env") or ()):
                source = variable.get("valueFrom")
                if source is not None and source.get("fileKeyRef") is not None:
                    where = f"{path}.{member}[{index}].env[{position}].valueFrom.fileKeyRef.volumeName"
                    _check_file_key(errors, where, source["fileKeyRef"].get("volumeName", ""), spec)


def _check_file_key(errors: Errors, path: str, name: str, spec: Obj) -> None:
    volume = next((volume for volume in spec.get("volumes") or () if volume.get("name") == name), None)
    if volume is None:
        errors.append(field_not_found(path, name))
    elif volume.get("emptyDir") is None:
        errors.append(field_invalid(path, name, "referenced volume must be of type emptyDir"))


def _check_dns_config(errors: Errors, path: str, config: Obj | None, policy: str) -> None:
    if policy == "None":
        if config is None:
            errors.append(required(path, "must provide `dnsConfig` when `dnsPolicy` is None"))
            return
        if not config.get("nameservers"):
            text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            errors.append(required(f"{path}.nameservers", text))
            return
    servers, searches = (config or EMPTY).get("nameservers") or [], (config or EMPTY).get("searches") or []
    if len(servers) > NAMESERVERS_MAX:
        text = f"must not have more than {NAMESERVERS_MAX} nameservers"
        errors.append(field_invalid(f"{path}.nameservers", servers, text))
    for index, server in enumerate(servers):
        check_ip(errors, f"{path}.nameservers[{index}]", server)
    if len(searches) > SEARCH_PATHS_MAX:
        text = f"must not have more than {SEARCH_PATHS_MAX} search paths"
        errors.append(field_invalid(f"{path}.searches", searches, text))
    if len(" ".join(searches)) > SEARCH_CHARACTERS_MAX:
        text = f"must not have more than {SEARCH_CHARACTERS_MAX} characters (including spaces) in the search list"
        errors.append(field_invalid(f"{path}.searches", searches, text))
    for index, search in enumerate(searches):
        if search != ".":
            stripped = search.removesuffix(".")
            check_name(errors, f"{path}.searches[{index}]", stripped, dns_subdomain_with_underscore_problems)
    for index, option in enumerate((config or EMPTY).get("options") or ()):
        if not option.get("name"):
            errors.append(required(f"{path}.options[{index}]", "must not be empty"))


def _check_resource_claims(errors: Errors, path: str, claims: list[Obj]) -> None:
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        at, name = f"{path}[{index}]", claim.get("name", "")
        if not name:
            errors.append(required(f"{at}.name"))
        elif name in seen:
            errors.append(duplicate(f"{at}.name", name))
        else:
            check_name(errors, f"{at}.name", name, dns_label_problems)
            seen.add(name)
        given = [m for m in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(m) is not None]
        if len(given) > 1:
            text = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            errors.append(field_invalid(at, claim, text))
        elif not given:
            text = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            errors.append(field_invalid(at, claim, text))
        for member in given:
            check_name(errors, f"{at}.{member}", claim[member], dns_subdomain_problems)
