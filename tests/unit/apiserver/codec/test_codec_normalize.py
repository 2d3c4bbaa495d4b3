"""Documents from clients: canonical form, unknown fields, errors in Go's words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from apiserver.codec import Codec, DecodeError, UnknownObjectKindError


def normalize(codec: Codec, api_version: str, kind: str, **fields: Any) -> dict[str, Any]:
    document = {"apiVersion": api_version, "kind": kind, **fields}
    normalized = codec.normalize(document, strict=True)
    assert normalized.unknown == []
    assert list(normalized.obj)[:2] == ["kind", "apiVersion"]
    return {name: value for name, value in normalized.obj.items() if name not in ("kind", "apiVersion")}


def test_zero_values(codec: Codec) -> None:
    """What omitempty drops is dropped, what Go always prints is there."""
    given = {
        "metadata": {"name": "d", "labels": {}, "generation": 0, "creationTimestamp": None, "finalizers": []},
        "spec": {"replicas": 0, "paused": False, "template": {"spec": {"hostNetwork": False, "containers": []}}},
    }
    assert normalize(codec, "apps/v1", "Deployment", **given) == {
        "metadata": {"name": "d"},
        "spec": {
            "replicas": 0,
            "selector": None,
            "strategy": {},
            "template": {"metadata": {}, "spec": {"containers": None}},
        },
        "status": {},
    }


def test_values_with_forms_of_their_own(codec: Codec) -> None:
    limits = {"cpu": 1.5, "memory": "1024Mi", "pods": 3}
    given = {"spec": {"hard": limits}, "metadata": {"deletionTimestamp": "2024-01-01T01:00:00.5+01:00"}}
    quota = normalize(codec, "v1", "ResourceQuota", **given)
    assert quota["spec"]["hard"] == {"cpu": "1500m", "memory": "1Gi", "pods": "3"}
    assert quota["metadata"] == {"deletionTimestamp": "2024-01-01T00:00:00Z"}
    service = normalize(codec, "v1", "Service", spec={"ports": [{"port": 80, "targetPort": "web"}, {"port": 81}]})
    assert service["spec"]["ports"] == [{"port": 80, "targetPort": "web"}, {"port": 81, "targetPort": 0}]
    secret = normalize(codec, "v1", "Secret", data={"a": "aGk=", "b": "aGk\n=", "c": "", "d": None, "e": "aGl="})
    assert secret["data"] == {"a": "aGk=", "b": "aGk=", "c": "", "d": "", "e": "aGk="}
    lease = normalize(codec, "coordination.k8s.io/v1", "Lease", spec={"renewTime": "2024-01-01T00:00:00.000001Z"})
    assert lease["spec"] == {"renewTime": "2024-01-01T00:00:00.000001Z"}


def test_nulls_are_absent(codec: Codec) -> None:
    given = {
        "metadata": None,
        "data": None,
        "binaryData": {"a": None},
        "immutable": None,
    }
    assert normalize(codec, "v1", "ConfigMap", **given) == {"metadata": {}, "binaryData": {"a": ""}}
    pod = normalize(codec, "v1", "Pod", spec={"containers": [None], "nodeSelector": {"a": None}})
    assert pod["spec"] == {"containers": [{"name": "", "resources": {}}], "nodeSelector": {"a": ""}}


def test_custom_resource_definition_schemas(codec: Codec) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"items": {"type": "string"}, "default": {"x": [1]}, "maximum": 3.0, "nullable": False}},
        "additionalProperties": False,
        "dependencies": {"a": ["b"], "c": {"type": "string"}},
        "x-kubernetes-preserve-unknown-fields": True,
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": copy.deepcopy(schema)}}
    crd = normalize(codec, "apiextensions.k8s.io/v1", "CustomResourceDefinition", spec={"versions": [version]})
    schema["properties"]["a"] = {"items": {"type": "string"}, "default": {"x": [1]}, "maximum": 3}
    assert crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == schema
    stored = codec.to_storage({"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", **crd})
    assert codec.from_storage(stored)["spec"] == crd["spec"]


def test_unknown_fields_are_pruned_and_named(codec: Codec) -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "Metadata": {},
        "spec": {
            "containers": [{"name": "a", "imag": "x", "resources": {"limits": {"cpu": "1"}, "x": 1}}],
            "foo": {"b": 1},
        },
    }
    normalized = codec.normalize(copy.deepcopy(document), strict=True)
    assert normalized.unknown == [
        'unknown field "Metadata"',
        'unknown field "spec.containers[0].imag"',
        'unknown field "spec.containers[0].resources.x"',
        'unknown field "spec.foo"',
    ]
    assert normalized.obj["spec"] == {"containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}}}]}
    assert codec.normalize(document, strict=False).unknown == []


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (
            "apps/v1 Deployment",
            {"spec": {"replicas": "3"}},
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "apps/v1 Deployment",
            {"spec": {"replicas": 2**31}},
            "json: cannot unmarshal number 2147483648 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "apps/v1 Deployment",
            {"spec": {"replicas": 1.5}},
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "apps/v1 Deployment",
            {"spec": {"template": {"spec": {"containers": [{"env": [{"name": "a", "value": 1}]}]}}}},
            "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value"
            " of type string",
        ),
        (
            "v1 Pod",
            {"spec": {"containers": {}}},
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            "v1 Pod",
            {"spec": {"containers": ["x"]}},
            "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type v1.Container",
        ),
        (
            "v1 Pod",
            {"spec": {"hostNetwork": "yes"}},
            "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
        (
            "v1 Pod",
            {"metadata": {"labels": {"a": True}}},
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            "v1 Pod",
            {"metadata": []},
            "json: cannot unmarshal array into Go struct field Pod.metadata of type v1.ObjectMeta",
        ),
        (
            "v1 ConfigMap",
            {"data": "x"},
            "json: cannot unmarshal string into Go struct field ConfigMap.data of type map[string]string",
        ),
        ("v1 ConfigMap", {"kind": 3}, "Object 'Kind' is missing"),
        ("v1 ConfigMap", {"apiVersion": ""}, "Object 'apiVersion' is missing"),
        ("v1 ConfigMap", {"apiVersion": "a/b/c"}, "unexpected GroupVersion string: a/b/c"),
        ("v1 Secret", {"data": {"a": "?"}}, "illegal base64 data"),
        ("v1 Secret", {"data": {"a": "aGk"}}, "illegal base64 data"),
        (
            "v1 Service",
            {"spec": {"ports": [{"targetPort": True}]}},
            "json: cannot unmarshal bool into Go value of type int32",
        ),
        (
            "v1 Service",
            {"spec": {"ports": [{"targetPort": 1.5}]}},
            "json: cannot unmarshal number 1.5 into Go value of type int32",
        ),
        ("v1 ResourceQuota", {"spec": {"hard": {"cpu": "x"}}}, "quantities must match the regular expression"),
        ("v1 ResourceQuota", {"spec": {"hard": {"cpu": []}}}, "unable to parse quantity"),
        ("v1 Pod", {"metadata": {"creationTimestamp": "now"}}, 'parsing time "now" as "2006-01-02T15:04:05Z07:00"'),
        (
            "v1 Pod",
            {"metadata": {"creationTimestamp": 3}},
            "json: cannot unmarshal number into Go value of type string",
        ),
    ],
)
def test_wrong_types(codec: Codec, kind: str, fields: dict[str, Any], message: str) -> None:
    api_version, name = kind.split()
    with pytest.raises(DecodeError) as error:
        codec.normalize({"apiVersion": api_version, "kind": name, **fields}, strict=True)
    assert message in str(error.value)


def test_unknown_kind(codec: Codec) -> None:
    with pytest.raises(UnknownObjectKindError) as error:
        codec.normalize({"apiVersion": "v2", "kind": "Pod"}, strict=True)
    assert (error.value.api_version, error.value.kind) == ("v2", "Pod")
    assert str(error.value) == 'no kind "Pod" is registered for version "v2"'


def test_kind_may_be_given(codec: Codec) -> None:
    options = codec.normalize({"gracePeriodSeconds": 0}, ("apps", "v1", "DeleteOptions"), strict=True).obj
    assert options == {"kind": "DeleteOptions", "apiVersion": "apps/v1", "gracePeriodSeconds": 0}


def test_shared_parts_of_canonical_objects_stay_untouched(codec: Codec) -> None:
    """A patched object shares what was not patched with the cached one."""
    cached = codec.normalize(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "c"}]}},
        strict=True,
    ).obj
    before = copy.deepcopy(cached)
    codec.normalize({**cached, "metadata": {"name": "b"}, "nope": 1}, strict=True)
    assert cached == before


def test_deep_documents_are_an_error(codec: Codec) -> None:
    schema: dict[str, Any] = {}
    for _ in range(5000):
        schema = {"not": schema}
    versions = [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]
    document = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "spec": {"versions": versions},
    }
    with pytest.raises(DecodeError, match="nested too deeply"):
        codec.normalize(document, strict=True)
