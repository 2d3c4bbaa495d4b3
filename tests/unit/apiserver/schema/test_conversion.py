"""Conversion between versions that share storage."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest

from apiserver.api.conversion import ConversionError, convert
from apiserver.api.scheme import GroupVersion, Scheme, load_scheme
from apiserver.codec import Codec

CORE, EVENTS = GroupVersion("", "v1"), GroupVersion("events.k8s.io", "v1")
HPA_V1, HPA_V2 = GroupVersion("autoscaling", "v1"), GroupVersion("autoscaling", "v2")
DRA_BETA, DRA = GroupVersion("resource.k8s.io", "v1beta1"), GroupVersion("resource.k8s.io", "v1")


@pytest.fixture(scope="module")
def scheme() -> Scheme:
    return load_scheme()


@pytest.fixture(scope="module")
def codec(scheme: Scheme) -> Codec:
    return Codec(scheme)


def there_and_back(scheme: Scheme, codec: Codec, obj: dict[str, Any], target: GroupVersion) -> dict[str, Any]:
    """The object in the other version; checks that it is canonical there and comes back unchanged."""
    obj = codec.normalize(obj, strict=True).obj
    before = copy.deepcopy(obj)
    converted = convert(scheme, obj, target)
    assert obj == before, "conversion does not change what it is given"
    assert converted["apiVersion"] == target.api_version
    again = codec.normalize(copy.deepcopy(converted), strict=True)
    assert again.unknown == []
    assert again.obj == converted
    group, _, version = obj["apiVersion"].rpartition("/")
    assert convert(scheme, converted, GroupVersion(group, version)) == obj
    return converted


def test_same_version_is_the_object_itself(scheme: Scheme) -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    assert convert(scheme, obj, CORE) is obj


def test_event(scheme: Scheme, codec: Codec) -> None:
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "eventTime": "2024-01-01T00:00:00.000001Z",
        "note": "hello",
        "regarding": {"kind": "Pod", "name": "p"},
        "reportingController": "example.com/c",
        "deprecatedCount": 3,
        "series": {"count": 2, "lastObservedTime": None},
    }
    core = there_and_back(scheme, codec, event, CORE)
    assert core["message"] == "hello"
    assert core["involvedObject"] == {"kind": "Pod", "name": "p"}
    assert core["reportingComponent"] == "example.com/c"
    assert core["reportingInstance"] == ""
    assert core["count"] == 3
    assert core["firstTimestamp"] is None
    assert core["source"] == {}


def test_hpa_cpu_target(scheme: Scheme, codec: Codec) -> None:
    hpa = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h", "annotations": {"mine": "kept"}},
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "d"},
            "maxReplicas": 5,
            "targetCPUUtilizationPercentage": 50,
        },
    }
    stored = there_and_back(scheme, codec, hpa, HPA_V2)
    assert stored["spec"]["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    ]
    assert stored["metadata"]["annotations"] == {"mine": "kept"}


def test_hpa_without_target_means_80_percent(scheme: Scheme) -> None:
    hpa = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {}, "spec": {}, "status": {}}
    metric = convert(scheme, hpa, HPA_V2)["spec"]["metrics"][0]
    assert metric["resource"]["target"]["averageUtilization"] == 80


def test_hpa_keeps_in_annotations_what_v1_lacks(scheme: Scheme, codec: Codec) -> None:
    target = {"type": "Value", "value": "10"}
    metric = {"name": "qps", "selector": {"matchLabels": {"a": "b"}}}
    described = {"kind": "Service", "name": "s"}
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "d"},
            "maxReplicas": 5,
            "metrics": [
                {"type": "Object", "object": {"describedObject": described, "target": target, "metric": metric}},
                {"type": "Pods", "pods": {"metric": metric, "target": {"type": "AverageValue", "averageValue": "1"}}},
                {"type": "External", "external": {"metric": {"name": "q"}, "target": target}},
                {
                    "type": "ContainerResource",
                    "containerResource": {
                        "name": "memory",
                        "container": "c",
                        "target": {"type": "AverageValue", "averageValue": "1Gi"},
                    },
                },
                {"type": "Resource", "resource": cpu},
            ],
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}],
                }
            },
        },
        "status": {
            "currentReplicas": 2,
            "desiredReplicas": 3,
            "conditions": [{"type": "AbleToScale", "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z"}],
            "currentMetrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "current": {"averageUtilization": 7, "averageValue": "1"}},
                }
            ],
        },
    }
    normalized = codec.normalize(hpa, strict=True).obj
    v1 = convert(scheme, normalized, HPA_V1)
    assert v1["spec"]["targetCPUUtilizationPercentage"] == 60
    assert v1["status"]["currentCPUUtilizationPercentage"] == 7
    annotations = v1["metadata"]["annotations"]
    others = orjson.loads(annotations["autoscaling.alpha.kubernetes.io/metrics"])
    assert [other["type"] for other in others] == ["Object", "Pods", "External", "ContainerResource"]
    assert others[0]["object"]["targetValue"] == "10"
    behavior = orjson.loads(annotations["autoscaling.alpha.kubernetes.io/behavior"])
    assert behavior["ScaleUp"]["Policies"] == [{"Type": "Pods", "Value": 4, "PeriodSeconds": 60}]
    back = convert(scheme, v1, HPA_V2)
    assert back["spec"] == normalized["spec"]
    assert back["status"]["conditions"] == normalized["status"]["conditions"]
    assert back["metadata"] == {"name": "h"}


def test_hpa_ignores_annotations_that_are_no_json(scheme: Scheme) -> None:
    annotations = {"autoscaling.alpha.kubernetes.io/metrics": "{", "autoscaling.alpha.kubernetes.io/behavior": "1"}
    hpa = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"annotations": annotations},
        "spec": {},
    }
    converted = convert(scheme, hpa, HPA_V2)
    assert "behavior" not in converted["spec"]
    assert "annotations" not in converted["metadata"]


def test_resource_claim(scheme: Scheme, codec: Codec) -> None:
    requests = [
        {"name": "a", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2, "adminAccess": False},
        {"name": "b", "firstAvailable": [{"name": "x", "deviceClassName": "gpu"}]},
    ]
    claim = {
        "apiVersion": "resource.k8s.io/v1beta1",
        "kind": "ResourceClaim",
        "metadata": {"name": "c"},
        "spec": {"devices": {"requests": requests}},
    }
    stored = there_and_back(scheme, codec, claim, DRA)
    first, second = stored["spec"]["devices"]["requests"]
    assert first["exactly"]["count"] == 2
    assert first["exactly"]["adminAccess"] is False
    assert "exactly" not in second
    template = {
        "apiVersion": "resource.k8s.io/v1beta1",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": "c"},
        "spec": {"spec": {"devices": {"requests": requests}}},
    }
    stored = there_and_back(scheme, codec, template, DRA)
    assert stored["spec"]["spec"]["devices"]["requests"][0]["exactly"]["deviceClassName"] == "gpu"


def test_resource_slice(scheme: Scheme, codec: Codec) -> None:
    device = {"name": "d", "basic": {"attributes": {"x": {"bool": False}}, "capacity": {"m": {"value": "1Gi"}}}}
    resource_slice = {
        "apiVersion": "resource.k8s.io/v1beta1",
        "kind": "ResourceSlice",
        "metadata": {"name": "s"},
        "spec": {"driver": "d", "pool": {"name": "p"}, "nodeName": "n", "devices": [device]},
    }
    stored = there_and_back(scheme, codec, resource_slice, DRA)
    assert stored["spec"]["devices"] == [
        {"name": "d", "attributes": {"x": {"bool": False}}, "capacity": {"m": {"value": "1Gi"}}}
    ]


def test_same_shape_is_renamed(scheme: Scheme, codec: Codec) -> None:
    bundle = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "ClusterTrustBundle",
        "metadata": {"name": "b"},
        "spec": {"trustBundle": "x"},
    }
    there_and_back(scheme, codec, bundle, GroupVersion("certificates.k8s.io", "v1beta1"))


def test_every_resource_converts_to_its_storage_version(scheme: Scheme, codec: Codec) -> None:
    for resource in scheme.resources():
        if resource.storage_group_version is None:
            continue
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "x"}}
        stored = convert(scheme, codec.normalize(obj, strict=True).obj, resource.storage_group_version)
        assert codec.from_storage(codec.to_storage(stored)) == stored


def test_other_kinds_and_versions_are_refused(scheme: Scheme) -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap"}
    with pytest.raises(ConversionError, match='no kind "ConfigMap" is registered for version "apps/v1"'):
        convert(scheme, obj, GroupVersion("apps", "v1"))
    with pytest.raises(ConversionError, match="has no counterpart"):
        convert(scheme, {"apiVersion": "v1", "kind": "DeleteOptions"}, GroupVersion("apps", "v1"))
