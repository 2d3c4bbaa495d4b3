"""APIServices (kube-aggregator `apis/apiregistration/validation`)."""

from __future__ import annotations

from typing import Final

from apiserver.api.field_errors import field_invalid, not_supported, required
from apiserver.api.validation.common import EMPTY, Errors, Obj, check_name
from apiserver.api.validation.names import (
    NameRule,
    dns1035_label_problems,
    dns_subdomain_problems,
    path_segment_problems,
    port_number_problems,
)

__all__ = ["api_service_name_rule", "check_api_service", "check_api_service_status"]

GROUP_PRIORITY_MAX: Final = 20000
VERSION_PRIORITY_MAX: Final = 1000
_STATUSES: Final = ("True", "False", "Unknown")


def api_service_name_rule(obj: Obj) -> NameRule:
    """An APIService is named after what it serves."""
    spec = obj.get("spec") or EMPTY
    wanted = f"{spec.get('version', '')}.{spec.get('group', '')}"

    def problems(name: str, prefix: bool) -> list[str]:
        found = path_segment_problems(name)
        return found or ([] if name == wanted else [f'must be `spec.version+"."+spec.group`: "{wanted}"'])

    return problems


def check_api_service(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """An APIService, new or changed."""
    spec = obj.get("spec") or EMPTY
    group, version = spec.get("group", ""), spec.get("version", "")
    if old is not None:  # kube-apiserver checks the name of a changed one like that of a new one
        name = obj["metadata"].get("name", "")
        for problem in api_service_name_rule(obj)(name, False):
            errors.append(field_invalid("metadata.name", name, problem))
    if not group and version != "v1":
        errors.append(required("spec.group", "only v1 may have an empty group and it better be legacy kube"))
    if group:
        check_name(errors, "spec.group", group, dns_subdomain_problems)
    check_name(errors, "spec.version", version, dns1035_label_problems)
    for member, limit in (("groupPriorityMinimum", GROUP_PRIORITY_MAX), ("versionPriority", VERSION_PRIORITY_MAX)):
        value = spec.get(member, 0)
        if not 0 < value <= limit:
            errors.append(field_invalid(f"spec.{member}", value, f"must be positive and less than {limit}"))
    bundle, insecure = spec.get("caBundle"), spec.get("insecureSkipTLSVerify", False)
    service = spec.get("service")
    if service is None:
        if bundle:
            size = len(bundle) // 4 * 3 - bundle[-2:].count("=")
            errors.append(field_invalid("spec.caBundle", f"{size} bytes", "local APIServices may not have a caBundle"))
        if insecure:
            text = "local APIServices may not have insecureSkipTLSVerify"
            errors.append(field_invalid("spec.insecureSkipTLSVerify", insecure, text))
        return
    for member in ("namespace", "name"):
        if not service.get(member):
            errors.append(required(f"spec.service.{member}"))
    port = service.get("port", 0)
    problems = port_number_problems(port)
    if problems:
        errors.append(field_invalid("spec.service.port", port, f"port is not valid: {', '.join(problems)}"))
    if insecure and bundle:
        errors.append(field_invalid("spec.insecureSkipTLSVerify", insecure, "may not be true if caBundle is present"))


def check_api_service_status(errors: Errors, obj: Obj, old: Obj) -> None:
    """The conditions of an APIService."""
    for index, condition in enumerate((obj.get("status") or EMPTY).get("conditions") or ()):
        status = condition.get("status", "")
        if status not in _STATUSES:
            errors.append(not_supported(f"status.conditions[{index}].status", status, _STATUSES))
