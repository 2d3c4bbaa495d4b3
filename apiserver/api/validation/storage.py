"""The kinds of storage.k8s.io (kubernetes `apis/storage/validation`); what the schema's tags say is checked by them."""

from __future__ import annotations

from typing import Final

from apiserver.api.field_errors import (
    duplicate,
    field_forbidden,
    field_invalid,
    not_supported,
    required,
    too_long,
    too_many,
)
from apiserver.api.validation.claims import ACCESS_MODES, VOLUME_MODES
from apiserver.api.validation.common import (
    EMPTY,
    NEGATIVE,
    Errors,
    Obj,
    check_label_key,
    check_name,
    check_nonnegative,
    parse_quantity,
)
from apiserver.api.validation.names import dns_subdomain_problems, range_problem
from apiserver.api.validation.objectmeta import IMMUTABLE
from apiserver.api.validation.persistent_volumes import check_persistent_volume_spec
from apiserver.api.validation.selectors import check_label_selector, check_topology_selector_term
from apiserver.api.validation.volumes import check_csi_driver_name
from apiserver.api.validation.workloads import check_immutable

__all__ = [
    "check_csi_driver",
    "check_csi_node",
    "check_csi_node_status",
    "check_csi_storage_capacity",
    "check_storage_class",
    "check_volume_attachment",
    "check_volume_attributes_class",
]

PARAMETER_BYTES_MAX: Final = 256 * 1024
PARAMETERS_MAX: Final = 512
ERROR_MESSAGE_BYTES_MAX: Final = 1024
NODE_ID_BYTES_MAX: Final = 256
HEALTH_CONDITIONS_MAX: Final = 16
TOKEN_SECONDS_MIN: Final = 600
UPDATE_PERIOD_SECONDS_MIN: Final = 10


def check_storage_class(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A StorageClass; an update may change little, which the schema's tags say."""
    if old is not None:
        return
    _check_provisioner(errors, "provisioner", obj.get("provisioner", ""))
    _check_parameters(errors, obj.get("parameters") or {})
    policy = obj.get("reclaimPolicy")
    if policy and policy not in ("Delete", "Retain"):
        errors.append(not_supported("reclaimPolicy", policy, ("Delete", "Retain")))
    mode = obj.get("volumeBindingMode")
    if mode is None:
        errors.append(required("volumeBindingMode"))
    elif mode not in ("Immediate", "WaitForFirstConsumer"):
        errors.append(not_supported("volumeBindingMode", mode, ("Immediate", "WaitForFirstConsumer")))
    known: list[dict[str, frozenset[str]]] = []
    for index, term in enumerate(obj.get("allowedTopologies") or ()):
        at = f"allowedTopologies[{index}]"
        says = check_topology_selector_term(errors, at, term)
        if says in known:
            errors.append(duplicate(f"{at}.matchLabelExpressions", ""))
        known.append(says)


def _check_provisioner(errors: Errors, path: str, name: str) -> None:
    if name:
        check_label_key(errors, path, name.lower())


def _check_parameters(errors: Errors, parameters: dict[str, str]) -> None:
    if len(parameters) > PARAMETERS_MAX:
        errors.append(too_long("parameters", PARAMETERS_MAX))
        return
    if "" in parameters:
        errors.append(field_invalid("parameters", "", "field can not be empty."))
    if _map_bytes(parameters) > PARAMETER_BYTES_MAX:
        errors.append(too_long("parameters", PARAMETER_BYTES_MAX))


def _map_bytes(strings: dict[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in strings.items())


def check_volume_attributes_class(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A VolumeAttributesClass: never changed."""
    if old is not None:
        for member in ("driverName", "parameters"):
            if (obj.get(member) or None) != (old.get(member) or None):
                errors.append(field_forbidden(member, f"updates to {member} are forbidden."))
    if not obj.get("driverName"):
        errors.append(required("driverName"))
    _check_provisioner(errors, "driverName", obj.get("driverName", ""))
    _check_parameters(errors, obj.get("parameters") or {})
    if not obj.get("parameters"):
        errors.append(required("parameters", "must contain at least one key/value pair"))


def check_volume_attachment(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A VolumeAttachment; its spec never changes, as its tags say."""
    spec = obj.get("spec") or EMPTY
    source = spec.get("source") or EMPTY
    inline, name = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    text = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    if inline is None and name is None:
        errors.append(required("spec.source", text))
    elif inline is not None and name is not None:
        errors.append(field_forbidden("spec.source", text))
    elif inline is not None:
        check_persistent_volume_spec(errors, "spec.source.inlineVolumeSpec", inline, inline=True)
    elif not name:
        errors.append(required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName"))
    check_name(errors, "spec.nodeName", spec.get("nodeName", ""), dns_subdomain_problems)
    status = obj.get("status") or EMPTY
    if _map_bytes(status.get("attachmentMetadata") or {}) > PARAMETER_BYTES_MAX:
        errors.append(too_long("status.attachmentMetadata", PARAMETER_BYTES_MAX))
    for member in ("attachError", "detachError"):
        error = status.get(member) or EMPTY
        if len(error.get("message", "").encode()) > ERROR_MESSAGE_BYTES_MAX:
            errors.append(too_long(f"status.{member}.message", ERROR_MESSAGE_BYTES_MAX))
        code = error.get("errorCode")
        if code is not None and code < 0:
            errors.append(field_invalid(f"status.{member}.errorCode", code, range_problem(0, 2**31 - 1)))
    if name is not None:
        check_name(errors, "spec.source.persistentVolumeName", name, dns_subdomain_problems)


def check_csi_node(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A CSINode: one entry for each driver, of which only what is allocatable changes."""
    drivers = (obj.get("spec") or EMPTY).get("drivers") or []
    names: set[str] = set()
    for index, driver in enumerate(drivers):
        at, name = f"spec.drivers[{index}]", driver.get("name", "")
        check_csi_driver_name(errors, f"{at}.name", name)
        node = driver.get("nodeID", "")
        if not node:
            errors.append(required(f"{at}.nodeID"))
        if len(node.encode()) > NODE_ID_BYTES_MAX:
            errors.append(field_invalid(f"{at}.nodeID", node, f"must be {NODE_ID_BYTES_MAX} characters or less"))
        check_nonnegative(errors, f"{at}.allocatable.count", (driver.get("allocatable") or EMPTY).get("count"))
        if name in names:
            errors.append(duplicate(f"{at}.name", name))
        names.add(name)
        _check_topology_keys(errors, at, driver.get("topologyKeys") or [])
    if old is None:
        return
    before = {driver.get("name"): driver for driver in (old.get("spec") or EMPTY).get("drivers") or ()}
    for driver in drivers:
        was = before.get(driver.get("name"))
        if was is not None and _without_allocatable(driver) != _without_allocatable(was):
            errors.append(field_invalid("spec.drivers", _without_allocatable(driver), IMMUTABLE))


def _without_allocatable(driver: Obj) -> Obj:
    return {name: value for name, value in driver.items() if name != "allocatable"}


def _check_topology_keys(errors: Errors, path: str, keys: list[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if not key:
            errors.append(required(path))
        if key in seen:
            errors.append(duplicate(path, key))
        seen.add(key)
        check_label_key(errors, path, key)


def check_csi_node_status(errors: Errors, obj: Obj, old: Obj) -> None:
    """What drivers say of the health of their storage."""
    seen: set[str] = set()
    for index, health in enumerate((obj.get("status") or EMPTY).get("storageHealth") or ()):
        at, name = f"status.storageHealth[{index}]", health.get("name", "")
        if name in seen:
            errors.append(duplicate(at, name))
        seen.add(name)
        check_csi_driver_name(errors, f"{at}.name", name)
        conditions = health.get("healthConditions") or []
        if len(conditions) > HEALTH_CONDITIONS_MAX:
            errors.append(too_many(f"{at}.healthConditions", len(conditions), HEALTH_CONDITIONS_MAX))
            continue
        for position, condition in enumerate(conditions):
            _check_health_condition(errors, f"{at}.healthConditions[{position}]", condition)


def _check_health_condition(errors: Errors, path: str, condition: Obj) -> None:
    status = condition.get("status", "")
    if status not in ("StorageDegraded", "StorageUnreachable"):
        errors.append(not_supported(f"{path}.status", status, ("StorageDegraded", "StorageUnreachable")))
    if not condition.get("reason"):
        errors.append(required(f"{path}.reason"))
    if len(condition.get("message", "").encode()) > ERROR_MESSAGE_BYTES_MAX:
        errors.append(too_long(f"{path}.message", ERROR_MESSAGE_BYTES_MAX))
    for member, values in (("accessMode", ACCESS_MODES), ("volumeMode", VOLUME_MODES)):
        value = condition.get(member)
        if value is not None and value not in values:
            errors.append(not_supported(f"{path}.{member}", value, values))


def check_csi_driver(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A CSIDriver."""
    spec = obj.get("spec") or EMPTY
    policies = ("File", "None", "ReadWriteOnceWithFSType")
    for member, shown in (("attachRequired", "attachedRequired"), ("podInfoOnMount", ""), ("storageCapacity", "")):
        if spec.get(member) is None:
            errors.append(required(f"spec.{shown or member}"))
    policy = spec.get("fsGroupPolicy")
    if policy is not None and policy not in policies:
        errors.append(not_supported("spec.fsGroupPolicy", policy, policies))
    requests = spec.get("tokenRequests") or []
    _check_token_requests(errors, requests)
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in ("Persistent", "Ephemeral"):
            errors.append(not_supported("spec.volumeLifecycleModes", mode, ("Persistent", "Ephemeral")))
    if spec.get("seLinuxMount") is None:
        errors.append(required("spec.seLinuxMount"))
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < UPDATE_PERIOD_SECONDS_MIN:
        text = f"must be greater than or equal to {UPDATE_PERIOD_SECONDS_MIN} seconds"
        errors.append(field_invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, text))
    in_secrets = spec.get("serviceAccountTokenInSecrets")
    if in_secrets is not None and not requests:
        text = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        errors.append(field_invalid("spec.serviceAccountTokenInSecrets", in_secrets, text))
    if spec.get("preventPodSchedulingIfMissing") is None:
        errors.append(required("spec.preventPodSchedulingIfMissing"))
    if old is not None:
        before = old.get("spec") or EMPTY
        if spec.get("attachRequired") != before.get("attachRequired"):
            errors.append(field_invalid("spec.attachedRequired", spec.get("attachRequired"), IMMUTABLE))
        now, was = (of.get("volumeLifecycleModes") for of in (spec, before))
        check_immutable(errors, "spec.volumeLifecycleModes", now, was)


def _check_token_requests(errors: Errors, requests: list[Obj]) -> None:
    audiences: set[str] = set()
    for index, request in enumerate(requests):
        at, audience, seconds = (
            f"spec.tokenRequests[{index}]",
            request.get("audience", ""),
            request.get("expirationSeconds"),
        )
        if audience in audiences:
            errors.append(duplicate(f"{at}.audience", audience))
            continue
        audiences.add(audience)
        if seconds is None:
            continue
        if seconds < TOKEN_SECONDS_MIN:
            text = "may not specify a duration less than 10 minutes"
            errors.append(field_invalid(f"{at}.expirationSeconds", seconds, text))
        if seconds > 1 << 32:
            text = "may not specify a duration larger than 2^32 seconds"
            errors.append(field_invalid(f"{at}.expirationSeconds", seconds, text))


def check_csi_storage_capacity(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A CSIStorageCapacity."""
    topology, name = obj.get("nodeTopology"), obj.get("storageClassName", "")
    if old is not None:
        if topology != old.get("nodeTopology"):
            errors.append(field_invalid("nodeTopology", topology, IMMUTABLE))
        if name != old.get("storageClassName", ""):
            errors.append(field_invalid("storageClassName", name, IMMUTABLE))
        return
    check_label_selector(errors, "nodeTopology", topology)
    check_name(errors, "storageClassName", name, dns_subdomain_problems)
    capacity = obj.get("capacity")
    if capacity is not None and parse_quantity(capacity).sign() < 0:
        errors.append(field_invalid("capacity", capacity, NEGATIVE))
