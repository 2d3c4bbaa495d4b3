"""CustomResourceDefinitions by themselves (`apiextensions/validation`): names, versions, columns, conversion.

Schemas are checked at their roots only; structural rules and expressions are not.
"""

from __future__ import annotations

from typing import Any, Final

from apiserver.api.field_errors import field_forbidden, field_invalid, not_supported, required
from apiserver.api.validation.common import EMPTY, Errors, Obj
from apiserver.api.validation.names import NameRule, dns1035_label_problems, dns_subdomain_problems
from apiserver.api.validation.objectmeta import IMMUTABLE
from apiserver.api.validation.webhooks import check_webhook_client

__all__ = ["check_custom_resource", "check_custom_resource_status", "custom_resource_name_rule"]

WARNING_BYTES_MAX: Final = 256
_COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS: Final = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_REVIEW_VERSIONS: Final = ("v1", "v1beta1")


def custom_resource_name_rule(obj: Obj) -> NameRule:
    """A definition is named after what it defines."""
    spec = obj.get("spec") or EMPTY
    wanted = f"{(spec.get('names') or EMPTY).get('plural', '')}.{spec.get('group', '')}"

    def problems(name: str, prefix: bool) -> list[str]:
        found = dns_subdomain_problems(name)
        return found if name == wanted else [*found, 'must be spec.names.plural+"."+spec.group']

    return problems


def check_custom_resource(errors: Errors, obj: Obj, old: Obj | None) -> None:
    """A CustomResourceDefinition, new or changed."""
    spec = obj.get("spec") or EMPTY
    _check_group(errors, spec.get("group", ""))
    scope = spec.get("scope", "")
    if not scope:
        errors.append(required("spec.scope"))
    elif scope not in ("Cluster", "Namespaced"):
        errors.append(not_supported("spec.scope", scope, ("Cluster", "Namespaced")))
    versions = spec.get("versions") or []
    shared = _is_shared(versions)
    for index, version in enumerate(versions):
        _check_version(errors, f"spec.versions[{index}]", version, shared)
    names = [version.get("name") for version in versions]
    if len(set(names)) != len(names):
        errors.append(field_invalid("spec.versions", versions, "must contain unique version names"))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        text = "must have exactly one version marked as storage version"
        errors.append(field_invalid("spec.versions", versions, text))
    for member in ("plural", "singular", "kind", "listKind"):
        if not (spec.get("names") or EMPTY).get(member):
            errors.append(required(f"spec.names.{member}"))
    _check_names(errors, "spec.names", spec.get("names") or EMPTY)
    if shared:
        _check_root_schema(errors, "spec.validation.openAPIV3Schema", _schema_of(versions[0]))
    if spec.get("conversion") is not None:
        _check_conversion(errors, "spec.conversion", spec["conversion"])
    if old is not None:
        _check_change(errors, spec, old)
    check_custom_resource_status(errors, obj, obj)
    _check_stored_versions(errors, (obj.get("status") or EMPTY).get("storedVersions") or [], versions)


def _check_group(errors: Errors, group: str) -> None:
    if not group:
        errors.append(required("spec.group"))
        return
    problems = dns_subdomain_problems(group)
    if problems:
        errors.append(field_invalid("spec.group", group, ",".join(problems)))
    elif "." not in group:
        errors.append(field_invalid("spec.group", group, "should be a domain with at least one dot"))


def _schema_of(version: Obj) -> Any:
    return (version.get("schema") or EMPTY).get("openAPIV3Schema")


def _is_shared(versions: list[Obj]) -> bool:
    """Whether all versions have one schema, which kube-apiserver then sees once, at the top."""
    if not versions or _schema_of(versions[0]) is None:
        return False
    return all(_schema_of(version) == _schema_of(versions[0]) for version in versions)


def _check_version(errors: Errors, path: str, version: Obj, shared: bool) -> None:
    _check_joined(errors, f"{path}.name", version.get("name", ""), dns1035_label_problems(version.get("name", "")))
    warning = version.get("deprecationWarning")
    if warning is not None:
        for problem in _deprecation_problems(bool(version.get("deprecated")), warning):
            errors.append(field_invalid(f"{path}.deprecationWarning", warning, problem))
    if _schema_of(version) is None:
        errors.append(required(f"{path}.schema.openAPIV3Schema"))
    elif not shared:
        _check_root_schema(errors, f"{path}.schema.openAPIV3Schema", _schema_of(version))
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        _check_column(errors, f"{path}.additionalPrinterColumns[{index}]", column)
    _check_subresources(errors, f"{path}.subresources", version.get("subresources") or EMPTY)


def _deprecation_problems(deprecated: bool, warning: str) -> list[str]:
    if not deprecated:
        return ["can only be set for deprecated versions"]
    problems = ["must be <= 256 characters long"] if len(warning.encode()) > WARNING_BYTES_MAX else []
    if not warning:
        problems.append("must not be an empty string")
    for index, character in enumerate(warning):
        if not character.isprintable():
            text = "must only contain printable UTF-8 characters; non-printable character found at index"
            problems.append(f"{text} {len(warning[:index].encode())}")
            break
    return problems


def _check_root_schema(errors: Errors, path: str, schema: Any) -> None:
    kind = schema.get("type", "") if isinstance(schema, dict) else ""
    if not kind:
        errors.append(required(f"{path}.type", "must not be empty at the root"))
    elif kind != "object":
        errors.append(field_invalid(f"{path}.type", kind, "must be object at the root"))


def _check_column(errors: Errors, path: str, column: Obj) -> None:
    if not column.get("name"):
        errors.append(required(f"{path}.name"))
    kind, text = column.get("type", ""), f"must be one of {','.join(_COLUMN_TYPES)}"
    if not kind:
        errors.append(required(f"{path}.type", text))
    elif kind not in _COLUMN_TYPES:
        errors.append(field_invalid(f"{path}.type", kind, text))
    shape = column.get("format", "")
    if shape and shape not in _COLUMN_FORMATS:
        errors.append(field_invalid(f"{path}.format", shape, f"must be one of {','.join(_COLUMN_FORMATS)}"))
    expression = column.get("jsonPath", "")
    if not expression:
        errors.append(required(f"{path}.JSONPath"))
    else:
        _check_simple_path(errors, f"{path}.JSONPath", expression)


def _check_simple_path(errors: Errors, path: str, expression: str) -> None:
    """A path of members that starts with a dot."""
    if not expression.startswith("."):
        errors.append(field_invalid(path, expression, "must be a simple json path starting with ."))


def _check_subresources(errors: Errors, path: str, subresources: Obj) -> None:
    scale = subresources.get("scale")
    if scale is None:
        return
    for member, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        value, at = scale.get(member, ""), f"{path}.scale.{member}"
        if not value:
            errors.append(required(at))
        elif not value.startswith(root):
            errors.append(field_invalid(at, value, f"should be a json path under {root[:-1]}"))
    selector = scale.get("labelSelectorPath")
    if selector and not selector.startswith((".spec.", ".status.")):
        text = "should be a json path under either .spec or .status"
        errors.append(field_invalid(f"{path}.scale.labelSelectorPath", selector, text))


def _check_names(errors: Errors, path: str, names: Obj) -> None:
    for member in ("plural", "singular"):
        value = names.get(member, "")
        if value:
            _check_joined(errors, f"{path}.{member}", value, dns1035_label_problems(value))
    for member in ("kind", "listKind"):
        value = names.get(member, "")
        problems = dns1035_label_problems(value.lower()) if value else []
        if problems:
            text = f"may have mixed case, but should otherwise match: {','.join(problems)}"
            errors.append(field_invalid(f"{path}.{member}", value, text))
    for index, value in enumerate(names.get("shortNames") or ()):
        _check_joined(errors, f"{path}.shortNames[{index}]", value, dns1035_label_problems(value))
    if names.get("kind") and names["kind"] == names.get("listKind"):
        errors.append(field_invalid(f"{path}.listKind", names["listKind"], "kind and listKind may not be the same"))
    for index, value in enumerate(names.get("categories") or ()):
        _check_joined(errors, f"{path}.categories[{index}]", value, dns1035_label_problems(value))


def _check_joined(errors: Errors, path: str, value: str, problems: list[str]) -> None:
    if problems:
        errors.append(field_invalid(path, value, ",".join(problems)))


def _check_conversion(errors: Errors, path: str, conversion: Obj) -> None:
    strategy, webhook = conversion.get("strategy", ""), conversion.get("webhook")
    client, versions = (webhook or EMPTY).get("clientConfig"), (webhook or EMPTY).get("conversionReviewVersions") or []
    if not strategy:
        errors.append(required(f"{path}.strategy"))
    elif strategy not in ("None", "Webhook"):
        errors.append(not_supported(f"{path}.strategy", strategy, ("None", "Webhook")))
    if strategy != "Webhook":
        text = "should not be set when strategy is not set to Webhook"
        if client is not None:
            errors.append(field_forbidden(f"{path}.webhookClientConfig", text))
        if versions:
            errors.append(field_forbidden(f"{path}.conversionReviewVersions", text))
        return
    if client is None:
        errors.append(required(f"{path}.webhookClientConfig", "required when strategy is set to Webhook"))
    else:
        check_webhook_client(errors, f"{path}.webhookClientConfig", client)
    at = f"{path}.conversionReviewVersions"
    if not versions:
        errors.append(required(at))
        return
    for index, version in enumerate(versions):
        if version in versions[:index]:
            errors.append(field_invalid(f"{at}[{index}]", version, "duplicate version"))
            continue
        errors += [field_invalid(f"{at}[{index}]", version, problem) for problem in dns1035_label_problems(version)]
    if not any(version in _REVIEW_VERSIONS for version in versions):
        errors.append(field_invalid(at, versions, f"must include at least one of {', '.join(_REVIEW_VERSIONS)}"))


def _check_change(errors: Errors, spec: Obj, old: Obj) -> None:
    """Once a definition is established, what clients know it by does not change."""
    before = old.get("spec") or EMPTY
    conditions = (old.get("status") or EMPTY).get("conditions") or ()
    if any(each.get("type") == "Established" and each.get("status") == "True" for each in conditions):
        if spec.get("scope") != before.get("scope"):
            errors.append(field_invalid("spec.scope", spec.get("scope", ""), IMMUTABLE))
        now, was = ((of.get("names") or EMPTY).get("kind", "") for of in (spec, before))
        if now != was:
            errors.append(field_invalid("spec.names.kind", now, IMMUTABLE))
    if spec.get("group", "") != before.get("group", ""):
        errors.append(field_invalid("spec.group", spec.get("group", ""), IMMUTABLE))
    now, was = ((of.get("names") or EMPTY).get("plural", "") for of in (spec, before))
    if now != was:
        errors.append(field_invalid("spec.names.plural", now, IMMUTABLE))


def check_custom_resource_status(errors: Errors, obj: Obj, old: Obj) -> None:
    """The names that were accepted."""
    _check_names(errors, "status.acceptedNames", (obj.get("status") or EMPTY).get("acceptedNames") or EMPTY)


def _check_stored_versions(errors: Errors, stored: list[str], versions: list[Obj]) -> None:
    at = "status.storedVersions"
    if not stored:
        errors.append(field_invalid(at, stored or None, "must have at least one stored version"))
        return
    names = [version.get("name", "") for version in versions]
    for version in versions:
        if version.get("storage") and version.get("name") not in stored:
            errors.append(field_invalid(at, stored, f"must have the storage version {version.get('name', '')}"))
    for index, name in enumerate(stored):
        if name not in names:
            text = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in"
                " spec.versions until a storage migration ensures no data remains persisted in"
                f" {name} and removes {name} from status.storedVersions"
            )
            errors.append(field_invalid(f"{at}[{index}]", name, text))
