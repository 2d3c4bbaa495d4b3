"""What is special to the smaller kinds."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from apiserver.api.status import StatusError
from apiserver.registry.kinds.endpoints import repack_subsets
from apiserver.registry.kinds.ip_warnings import warnings_for_cidr, warnings_for_ip
from apiserver.registry.kinds.table import STRATEGIES
from tests.unit.apiserver.strategies.strategy_world import SCHEME, Server

NOW = "2023-11-14T22:30:00Z"


def manifest(api_version: str, kind: str, **members: Any) -> dict[str, Any]:
    metadata = {"name": "x", **members.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **members}


def test_every_strategy_is_of_a_resource_there_is():
    known = {(resource.group, resource.plural) for resource in SCHEME.resources()}
    assert set(STRATEGIES) <= known


# Volumes

VOLUME_SPEC = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
CLAIM_SPEC = {"resources": {"requests": {"storage": "1Gi"}}, "accessModes": ["ReadWriteOnce"]}


async def test_a_volume_knows_since_when_it_is_in_its_phase(server):
    obj = await server.create(manifest("v1", "PersistentVolume", spec=VOLUME_SPEC))
    assert obj["status"] == {"phase": "Pending", "lastPhaseTransitionTime": NOW}
    server.clock.seconds += 60
    given = manifest("v1", "PersistentVolume", spec=VOLUME_SPEC, status={"phase": "Pending", "message": "m"})
    same = await server.update(given, obj, "status")
    assert same["status"]["lastPhaseTransitionTime"] == NOW
    bound = await server.update({**given, "status": {"phase": "Bound"}}, same, "status")
    assert bound["status"]["lastPhaseTransitionTime"] == "2023-11-14T22:31:00Z"
    told = {"phase": "Released", "lastPhaseTransitionTime": "2024-01-01T00:00:00Z"}
    assert (await server.update({**given, "status": told}, bound, "status"))["status"] == told


PVC = {"kind": "PersistentVolumeClaim", "name": "a"}
OTHER = {"apiGroup": "x.org", "kind": "Thing", "name": "a"}


@pytest.mark.parametrize(
    ("given", "source", "reference"),
    [
        ({}, None, None),
        ({"dataSource": PVC}, PVC, PVC),
        ({"dataSourceRef": PVC}, PVC, PVC),
        ({"dataSourceRef": OTHER}, OTHER, OTHER),
        ({"dataSource": OTHER}, None, None),  # ignored since there are data sources
        ({"dataSourceRef": {**OTHER, "namespace": "b"}}, None, None),  # the gate is off
    ],
)
async def test_the_two_names_of_a_claims_source(server, given, source, reference):
    obj = await server.create(manifest("v1", "PersistentVolumeClaim", spec={**CLAIM_SPEC, **given}))
    assert obj["status"] == {"phase": "Pending"}
    for name, wanted in (("dataSource", source), ("dataSourceRef", reference)):
        found = obj["spec"].get(name)
        assert (found and {key: value for key, value in found.items() if value is not None}) == wanted
    later = copy.deepcopy(obj)
    later["metadata"]["labels"] = {"a": "b"}
    assert (await server.update(later, obj))["spec"] == obj["spec"]


# Certificates

PEM = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUFBPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K"  # MAA=


def signing_request(**status: Any) -> dict[str, Any]:
    spec = {"request": PEM, "signerName": "x.org/y", "usages": ["client auth"]}
    given = {"username": "root", "groups": ["system:masters"], "uid": "0", "extra": {"a": ["b"]}}
    return manifest("certificates.k8s.io/v1", "CertificateSigningRequest", spec=spec | given, status=status)


APPROVED = {"type": "Approved", "status": "True", "reason": "r"}


async def test_nobody_asks_for_a_certificate_in_the_name_of_another(server):
    obj = await server.create(signing_request(conditions=[APPROVED]))
    who = {name: obj["spec"].get(name) for name in ("username", "uid", "groups", "extra")}
    extra = {"scopes": ["a", "b"]}
    assert who == {"username": "jane", "uid": "u-1", "groups": ["developers"], "extra": extra}
    assert not obj["status"].get("conditions")


async def test_a_request_is_approved_by_its_own_subresource_and_stays_so(server):
    obj = await server.create(signing_request())
    plain = await server.update(signing_request(conditions=[APPROVED]), obj)
    assert not plain["status"].get("conditions")
    approved = await server.update(signing_request(conditions=[APPROVED]), plain, "approval")
    condition = {**APPROVED, "lastUpdateTime": NOW, "lastTransitionTime": NOW}
    assert approved["status"]["conditions"] == [condition]
    server.clock.seconds += 60
    failed = {"type": "Failed", "status": "True"}
    status = await server.update(signing_request(conditions=[APPROVED, failed]), approved, "status")
    later = "2023-11-14T22:31:00Z"
    assert status["status"]["conditions"] == [
        condition,
        {**failed, "lastUpdateTime": later, "lastTransitionTime": later},
    ]
    with pytest.raises(AssertionError, match="updates may not remove a condition"):
        await server.update(signing_request(conditions=[failed]), status, "status")


# The cluster


async def test_a_kubelet_registers_its_node_with_a_status(server):
    obj = await server.create(manifest("v1", "Node", status={"capacity": {"cpu": "1"}}))
    assert obj["status"]["capacity"] == {"cpu": "1"}
    changed = await server.update(manifest("v1", "Node", spec={"unschedulable": True}), obj)
    assert changed["spec"]["unschedulable"]
    assert changed["status"] == obj["status"]


async def test_a_limit_range_needs_no_name(server):
    given = manifest("v1", "LimitRange", spec={"limits": [{"type": "Pod", "max": {"cpu": "1"}}]})
    del given["metadata"]["name"]
    assert len((await server.create(given))["metadata"]["name"]) == 36


def test_events_live_as_long_as_the_option_says():
    server = Server(event_ttl_seconds=77)
    for api_version in ("v1", "events.k8s.io/v1"):
        event = manifest(api_version, "Event")
        assert server.strategy(event).ttl_seconds(event) == 77
    config = manifest("v1", "ConfigMap")
    assert server.strategy(config).ttl_seconds(config) == 0


async def test_a_service_account_refers_to_secrets_by_name_and_warns_of_what_is_deprecated(server):
    key = "kubernetes.io/enforce-mountable-secrets"
    given = manifest("v1", "ServiceAccount", metadata={"annotations": {key: "true"}})
    given["secrets"] = [{"name": "s", "namespace": "n", "kind": "Secret"}]
    obj = await server.create(given)
    assert obj["secrets"] == [{"name": "s"}]
    assert [text.partition(":")[0] for text in server.warnings] == [f"metadata.annotations[{key}]"]
    await server.update(given, obj)
    assert len(server.warnings) == 1


async def test_a_priority_class_has_one_generation(server):
    obj = await server.create(manifest("scheduling.k8s.io/v1", "PriorityClass", value=5))
    changed = manifest("scheduling.k8s.io/v1", "PriorityClass", value=5, description="d")
    assert [each["metadata"]["generation"] for each in (obj, await server.update(changed, obj))] == [1, 1]


# Networking


async def test_a_slice_counts_generations_and_drops_what_v1_does_not_write(server):
    endpoint = {"addresses": ["10.0.0.1"], "deprecatedTopology": {"a": "b"}}
    given = manifest("discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4", endpoints=[endpoint])
    obj = await server.create(given)
    assert "deprecatedTopology" not in obj["endpoints"][0]
    given["metadata"]["labels"] = {"a": "b"}
    changed = await server.update(given, obj)
    assert [each["metadata"]["generation"] for each in (obj, changed)] == [1, 2]


def test_subsets_are_packed():
    a, b = {"ip": "1.1.1.1"}, {"ip": "1.1.1.2"}
    web, tls = {"name": "web", "port": 80}, {"name": "tls", "port": 443}
    given = [
        {"addresses": [b, a], "ports": [web]},
        {"addresses": [a], "notReadyAddresses": [b], "ports": [tls]},
        {"addresses": [a, b], "ports": [{"name": "x", "port": 1}]},
        {"addresses": [a]},
    ]
    assert repack_subsets(given) == [
        {"addresses": [a]},
        {"addresses": [a], "notReadyAddresses": [b], "ports": [tls]},
        {"addresses": [a, b], "ports": [web, {"name": "x", "port": 1}]},
    ]


def test_who_is_not_ready_once_is_not_ready():
    a = {"ip": "1.1.1.1"}
    given = [{"notReadyAddresses": [a], "ports": [{"port": 80}]}, {"addresses": [a], "ports": [{"port": 80}]}]
    assert repack_subsets(given) == [{"notReadyAddresses": [a], "ports": [{"port": 80}]}]


@pytest.mark.parametrize(
    ("value", "warning"),
    [
        ("10.0.0.1", None),
        ("fd00::1", None),
        ("FD00::1", 'IPv6 address "FD00::1" should be in RFC 5952 canonical format ("fd00::1")'),
        ("::ffff:1.2.3.4", 'non-standard IP address "::ffff:1.2.3.4" is invalid: use "1.2.3.4"'),
        ("010.0.0.1", 'non-standard IP address "010.0.0.1" is invalid: use "10.0.0.1"'),
        ("nonsense", None),
    ],
)
def test_warnings_of_addresses(value, warning):
    assert warnings_for_ip("p", value) == ([f"p: {warning}"] if warning else [])


@pytest.mark.parametrize(
    ("value", "warning"),
    [
        ("10.0.0.0/8", None),
        (
            "10.0.0.1/8",
            'CIDR value "10.0.0.1/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.0.0.1/32"?)',
        ),
        ("FD00::/8", 'IPv6 CIDR value "FD00::/8" should be in RFC 5952 canonical format ("fd00::/8")'),
        ("010.0.0.0/8", 'non-standard CIDR value "010.0.0.0/8" is invalid: use "10.0.0.0/8"'),
        ("nonsense", None),
    ],
)
def test_warnings_of_networks(value, warning):
    assert warnings_for_cidr("p", value) == ([f"p: {warning}"] if warning else [])


# Extensions


def definition(*versions: str, storage: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object"}}
    names = {"kind": "Foo", "plural": "foos"}
    listed = [{"name": name, "served": True, "storage": name == storage, "schema": schema} for name in versions]
    spec = {"group": "x.org", "names": names, "scope": "Namespaced", "versions": listed}
    metadata = {"name": "foos.x.org"}
    return manifest("apiextensions.k8s.io/v1", "CustomResourceDefinition", metadata=metadata, spec=spec)


async def test_a_definition_remembers_what_objects_may_be_stored_as(server):
    given = {**definition("v1", storage="v1"), "status": {"storedVersions": ["v0"], "conditions": []}}
    obj = await server.create(given)
    assert obj["status"]["storedVersions"] == ["v1"]
    assert not obj["status"]["conditions"], "nobody serves the resources yet"
    changed = await server.update(definition("v1", "v2", storage="v2"), obj)
    assert changed["status"]["storedVersions"] == ["v1", "v2"]
    assert changed["metadata"]["generation"] == 2


@pytest.mark.parametrize(("service", "available"), [(None, True), ({"name": "s", "namespace": "n"}, False)])
async def test_a_local_api_service_is_available_at_once(server, service, available):
    spec = {"group": "x.org", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
    if service:
        spec |= {"service": service, "insecureSkipTLSVerify": True}
    name = {"name": "v1.x.org"}
    obj = await server.create(manifest("apiregistration.k8s.io/v1", "APIService", metadata=name, spec=spec))
    conditions = [(each["type"], each["status"], each["reason"]) for each in obj["status"].get("conditions") or ()]
    assert conditions == ([("Available", "True", "Local")] if available else [])


# Devices


def claim(version: str = "v1", **request: Any) -> dict[str, Any]:
    content = {"deviceClassName": "c", **request}
    asked = {"name": "r", "exactly": content} if version == "v1" else {"name": "r", **content}
    spec = {"devices": {"requests": [asked]}}
    return manifest(f"resource.k8s.io/{version}", "ResourceClaim", spec=spec)


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_admin_access_is_for_labelled_namespaces(server, cluster, version):
    await server.create(claim(version))
    given = claim(version, adminAccess=True)
    with pytest.raises(StatusError, match="admin access to devices requires"):
        await server.create(given)
    labels = {"resource.kubernetes.io/admin-access": "true"}
    cluster.put("", "namespaces", {"metadata": {"name": "default", "labels": labels}})
    await server.create(given)


async def test_the_status_of_a_device_goes_with_it(server):
    obj = await server.create(claim())
    results = [{"request": "r", "driver": "d.org", "pool": "p", "device": name} for name in ("a", "b")]
    devices = [{"driver": "d.org", "pool": "p", "device": name} for name in ("a", "b")]
    allocated = {"allocation": {"devices": {"results": results}}, "devices": devices}
    held = await server.update({**claim(), "status": allocated}, obj, "status")
    assert [device["device"] for device in held["status"]["devices"]] == ["a", "b"]
    fewer = {"allocation": {"devices": {"results": results[:1]}}, "devices": devices}
    prepared = server.changed({**claim(), "status": fewer}, held, "status")
    assert [device["device"] for device in prepared["status"]["devices"]] == ["a"]
    prepared = server.changed({**claim(), "status": {"devices": devices}}, held, "status")
    assert "devices" not in prepared["status"]
