"""The schema tables: they load, hang together, and hold what Kubernetes 1.37 serves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from apiserver.api.scheme import (
    FieldLabel,
    GroupVersion,
    Scheme,
    UnknownKindError,
    UnknownTypeError,
    load_scheme,
    parse_api_version,
)


@pytest.fixture(scope="module")
def scheme() -> Scheme:
    return load_scheme()


def test_every_type_reachable_from_a_kind_is_in_the_tables(scheme: Scheme) -> None:
    seen: set[str] = set()
    waiting = [scheme.type_of(*kind).name for kind in scheme.kinds()]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting.extend(field.type_name for field in scheme.type(name).fields if field.is_message)
    assert len(seen) > 900


def test_field_numbers_are_unique_and_every_field_has_a_name(scheme: Scheme) -> None:
    for kind in scheme.kinds():
        type_ = scheme.type_of(*kind)
        numbers = [field.number for field in type_.fields if field.number is not None]
        assert len(numbers) == len(set(numbers)), type_.name
        assert all(field.json_name or field.inline or type_.json_form != "object" for field in type_.fields) or (
            type_.short_name == "List"
        ), type_.name


def test_field_attributes(scheme: Scheme) -> None:
    ports = scheme.type("k8s.io.api.core.v1.ServiceSpec").by_json_name["ports"]
    assert (ports.number, ports.repeated, ports.type_name) == (1, True, "k8s.io.api.core.v1.ServicePort")
    assert (ports.list_type, ports.list_map_keys) == ("map", ("port", "protocol"))
    assert (ports.patch_strategy, ports.patch_merge_key) == ("merge", "port")
    protocol = scheme.type("k8s.io.api.core.v1.ServicePort").by_json_name["protocol"]
    assert protocol.default == "TCP"
    assert protocol.enum == ("SCTP", "TCP", "UDP")
    limits = scheme.type("k8s.io.api.core.v1.ResourceRequirements").by_json_name["limits"]
    assert limits.is_map
    assert limits.map_key_type == "string"
    assert limits.map_value_type == limits.type_name == "k8s.io.apimachinery.pkg.api.resource.Quantity"


def test_an_empty_string_is_a_default(scheme: Scheme) -> None:
    assert scheme.type("k8s.io.api.core.v1.AzureDiskVolumeSource").by_json_name["readOnly"].default is False
    assert scheme.type("k8s.io.api.core.v1.PodSpec").by_json_name["nodeName"].default is None


def test_inlined_fields_stand_at_the_outer_level(scheme: Scheme) -> None:
    volume = scheme.type("k8s.io.api.core.v1.Volume")
    assert {"name", "emptyDir", "configMap"} <= set(volume.by_json_name)
    assert [field.json_name for field in volume.fields] == ["name", ""]


def test_default_rules(scheme: Scheme) -> None:
    rules = {rule.path: rule for rule in scheme.type("k8s.io.api.core.v1.PodSpec").default_rules}
    assert rules["restartPolicy"].value == "Always"
    assert rules["restartPolicy"].condition == "empty"
    assert rules["serviceAccount"].rule.startswith("mirror of")


def test_groups_are_in_discovery_order(scheme: Scheme) -> None:
    groups = scheme.groups()
    assert [group.name for group in groups[:3]] == ["", "apiregistration.k8s.io", "apps"]
    autoscaling = scheme.group("autoscaling")
    assert autoscaling is not None
    assert [version.version for version in autoscaling.versions] == ["v2", "v1"]
    assert autoscaling.preferred == "v2"
    assert scheme.group("extensions") is None


def test_resources(scheme: Scheme) -> None:
    pods = scheme.resource("", "v1", "pods")
    assert pods is not None
    assert pods is scheme.resource_for_kind("", "v1", "Pod")
    assert (pods.namespaced, pods.short_names, pods.categories) == (True, ("po",), ("all",))
    assert pods.storage_prefix == "/registry/pods/"
    assert pods.graceful_deletion
    assert pods.selectable_fields["spec.nodeName"] == FieldLabel("spec.nodeName", "spec.nodeName")
    assert [column.name for column in pods.columns[:2]] == ["Name", "Ready"]
    eviction = pods.subresource("eviction")
    assert eviction is not None
    assert (eviction.group, eviction.version, eviction.kind, eviction.verbs) == (
        "policy",
        "v1",
        "Eviction",
        ("create",),
    )
    assert pods.subresource("scale") is None
    assert scheme.resource("", "v1", "podz") is None


def test_virtual_resources_have_no_storage(scheme: Scheme) -> None:
    virtual = {resource.plural for resource in scheme.resources() if resource.is_virtual}
    assert virtual == {
        "bindings",
        "componentstatuses",
        "localsubjectaccessreviews",
        "selfsubjectaccessreviews",
        "selfsubjectreviews",
        "selfsubjectrulesreviews",
        "subjectaccessreviews",
        "tokenreviews",
    }


@pytest.mark.parametrize(
    ("group", "version", "plural", "stored"),
    [
        ("", "v1", "events", GroupVersion("", "v1")),
        ("events.k8s.io", "v1", "events", GroupVersion("", "v1")),
        ("autoscaling", "v1", "horizontalpodautoscalers", GroupVersion("autoscaling", "v2")),
        ("resource.k8s.io", "v1beta1", "resourceclaims", GroupVersion("resource.k8s.io", "v1")),
    ],
)
def test_storage_versions(scheme: Scheme, group: str, version: str, plural: str, stored: GroupVersion) -> None:
    resource = scheme.resource(group, version, plural)
    assert resource is not None
    assert resource.storage_group_version == stored


def test_versions_not_served_by_default_are_present(scheme: Scheme) -> None:
    alpha = scheme.resource("internal.apiserver.k8s.io", "v1alpha1", "storageversions")
    assert alpha is not None
    assert not alpha.served_by_default


def test_lists_options_and_tables_are_kinds(scheme: Scheme) -> None:
    assert scheme.type_of("", "v1", "PodList").short_name == "PodList"
    assert scheme.type_of("apps", "v1", "DeleteOptions").short_name == "DeleteOptions"
    assert scheme.type_of("meta.k8s.io", "v1beta1", "Table").json_only
    with pytest.raises(UnknownKindError, match='no kind "Poddy" is registered for version "v1"'):
        scheme.type_of("", "v1", "Poddy")
    with pytest.raises(UnknownTypeError):
        scheme.type("k8s.io.api.extensions.v1beta1.Deployment")


def test_parse_api_version() -> None:
    assert parse_api_version("v1") == GroupVersion("", "v1")
    assert parse_api_version("apps/v1").api_version == "apps/v1"
    with pytest.raises(ValueError, match="unexpected GroupVersion string: a/b/c"):
        parse_api_version("a/b/c")


def test_tables_are_what_the_generator_makes(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[4]
    facts = root.parent / "shared" / "api-facts"
    if not facts.is_dir():
        pytest.skip("the shared API facts are not here")
    command = [sys.executable, str(root / "hack" / "update_schema.py"), str(facts), "--output", str(tmp_path)]
    subprocess.run(command, check=True)
    committed = root / "apiserver" / "api" / "schema"
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.json")}
    assert made == {path.relative_to(committed): path.read_bytes() for path in committed.rglob("*.json")}
