"""Services: addresses and ports between one service, one server and several."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from apiserver.api.status import StatusError
from tests.conformance.storage.fake_clock import settle
from tests.unit.apiserver.strategies.strategy_world import Cluster, Server


def service(name: str = "a", **spec: Any) -> dict[str, Any]:
    ports = spec.pop("ports", [{"port": 80}])
    given = {"selector": {"app": "a"}, **spec}
    if ports:
        given["ports"] = ports
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": given}


def updated(obj: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """What a client sends that read the object and changes its spec; None takes a member away."""
    manifest = copy.deepcopy(obj)
    for name, value in spec.items():
        if value is None:
            manifest["spec"].pop(name, None)
        else:
            manifest["spec"][name] = value
    return manifest


def causes(error: StatusError) -> list[str]:
    return [f"{cause.field}: {cause.message}" for cause in error.causes]


async def test_a_service_gets_an_address_above_the_static_band_and_an_ip_address_object(server, cluster):
    spec = (await server.create(service()))["spec"]
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert int(spec["clusterIP"].rpartition(".")[2]) > 16
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    found = cluster.objects["networking.k8s.io", "ipaddresses", "", spec["clusterIP"]]
    assert found["spec"]["parentRef"] == {"group": "", "resource": "services", "namespace": "default", "name": "a"}
    assert found["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"clusterIP": "None"}, {"clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv4"]}),
        ({"clusterIP": "10.0.0.9"}, {"clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"]}),
        ({"clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"]}, {"clusterIPs": ["10.0.0.9"]}),
        ({"type": "ExternalName", "externalName": "x.org", "ports": []}, {"clusterIP": None, "ipFamilies": None}),
    ],
)
async def test_addresses_a_service_asks_for(server, given, wanted):
    spec = (await server.create(service(**given)))["spec"]
    assert {name: spec.get(name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (
            {"clusterIP": "10.0.0.9"},
            'spec.clusterIPs: Invalid value: ["10.0.0.9"]: failed to allocate IP 10.0.0.9: '
            "provided IP is already allocated",
        ),
        (
            {"clusterIP": "10.9.0.9"},
            'spec.clusterIPs: Invalid value: ["10.9.0.9"]: failed to allocate IP 10.9.0.9: '
            "the provided network does not match the current range",
        ),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30009}]},
            "spec.ports[0].nodePort: Invalid value: 30009: provided port is already allocated",
        ),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]},
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
            "The range of valid ports is 30000-32767",
        ),
        (
            {"ipFamilies": ["IPv6"]},
            'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster',
        ),
        (
            {"ipFamilyPolicy": "RequireDualStack"},
            'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
            "this cluster is not configured for dual-stack services",
        ),
    ],
)
async def test_what_cannot_be_had(server, cluster, given, wanted):
    taken = service(clusterIP="10.0.0.9", type="NodePort", ports=[{"port": 80, "nodePort": 30009}])
    await server.create(taken)
    with pytest.raises(StatusError) as raised:
        await server.create(service("b", **given))
    assert causes(raised.value) == [wanted]
    assert raised.value.reason == "Invalid"
    assert cluster.names("networking.k8s.io", "ipaddresses") == ["10.0.0.9"], "nothing is left behind"


async def test_a_dry_run_and_a_failed_write_leave_nothing_behind(server, cluster):
    manifest = service(clusterIP="10.0.0.9", type="NodePort", ports=[{"port": 80, "nodePort": 30009}])
    assert (await server.create(manifest, dry_run=True))["spec"]["clusterIPs"] == ["10.0.0.9"]
    await server.create(manifest, fail=True)
    assert cluster.names("networking.k8s.io", "ipaddresses") == []
    assert (await server.create(manifest))["spec"]["clusterIPs"] == ["10.0.0.9"]


async def test_a_deleted_service_gives_everything_back_at_once(server, cluster):
    manifest = service(clusterIP="10.0.0.9", type="NodePort", ports=[{"port": 80, "nodePort": 30009}])
    for _ in range(3):
        await server.delete(await server.create(manifest))
        assert cluster.names("networking.k8s.io", "ipaddresses") == []


async def test_every_address_is_given_out_once_until_none_is_left():
    server = Server(service_cidrs=("10.0.0.0/28",))
    created = [await server.create(service(f"s{number}")) for number in range(14)]
    assert len({obj["spec"]["clusterIP"] for obj in created}) == 14
    with pytest.raises(StatusError, match="failed to allocate a serviceIP"):
        await server.create(service("one-more"))
    await server.delete(created[3])
    again = await server.create(service("one-more"))
    assert again["spec"]["clusterIP"] == created[3]["spec"]["clusterIP"]


async def test_two_servers_never_give_out_the_same_address(cluster):
    servers = [Server(cluster, service_cidrs=("10.0.0.0/27",)) for _ in range(2)]
    created = [await servers[number % 2].create(service(f"s{number}")) for number in range(30)]
    assert len({obj["spec"]["clusterIP"] for obj in created}) == 30


async def test_what_another_server_did_is_heard_of(cluster):
    one, two = Server(cluster), Server(cluster)
    manifest = service(type="NodePort", ports=[{"port": 80, "nodePort": 30009}])
    await one.create(service("first"))
    obj = await two.create(manifest)
    await settle()
    with pytest.raises(StatusError, match="already allocated"):
        await one.create({**manifest, "metadata": {"name": "b"}})
    await two.delete(obj)
    await settle()
    await one.create({**manifest, "metadata": {"name": "b"}})


async def test_a_restarted_server_knows_what_is_taken_and_clears_what_was_never_used(cluster):
    before = Server(cluster)
    obj = await before.create(service(clusterIP="10.0.0.9"))
    await before.create(service("lost", clusterIP="10.0.0.10"), fail=True)
    orphan = copy.deepcopy(cluster.objects["networking.k8s.io", "ipaddresses", "", "10.0.0.9"])
    for name, created in (("10.0.0.11", "2001-01-01T00:00:00Z"), ("10.0.0.12", "2040-01-01T00:00:00Z")):
        young = copy.deepcopy(orphan)
        young["metadata"].update(name=name, creationTimestamp=created)
        cluster.put("networking.k8s.io", "ipaddresses", young)
    after = Server(cluster)
    with pytest.raises(StatusError, match="already allocated"):
        await after.create(service("b", clusterIP="10.0.0.9"))
    assert cluster.names("networking.k8s.io", "ipaddresses") == ["10.0.0.12", "10.0.0.9"]
    await after.delete(obj)
    await after.create(service("b", clusterIP="10.0.0.9"))


@pytest.mark.parametrize(
    ("given", "families"),
    [
        ({}, ["IPv4"]),
        ({"ipFamilyPolicy": "PreferDualStack"}, ["IPv4", "IPv6"]),
        ({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}, ["IPv6", "IPv4"]),
        ({"clusterIP": "fd00::5"}, ["IPv6"]),
        ({"clusterIP": "None", "selector": {}}, ["IPv4", "IPv6"]),
    ],
)
async def test_two_families(given, families):
    server = Server(service_cidrs=("10.0.0.0/24", "fd00::/112"))
    spec = (await server.create(service(**given)))["spec"]
    assert spec["ipFamilies"] == families
    if spec["clusterIP"] != "None":
        assert [":" in address for address in spec["clusterIPs"]] == [family == "IPv6" for family in families]


async def test_a_second_family_comes_and_goes(cluster):
    server = Server(cluster, service_cidrs=("10.0.0.0/24", "fd00::/112"))
    single = await server.create(service())
    dual = await server.update(updated(single, ipFamilyPolicy="RequireDualStack"), single)
    assert dual["spec"]["clusterIPs"][0] == single["spec"]["clusterIP"]
    assert len(cluster.names("networking.k8s.io", "ipaddresses")) == 2
    again = await server.update(updated(dual, ipFamilyPolicy="SingleStack"), dual)
    assert again["spec"]["clusterIPs"] == [single["spec"]["clusterIP"]]
    assert again["spec"]["ipFamilies"] == ["IPv4"]
    assert cluster.names("networking.k8s.io", "ipaddresses") == [single["spec"]["clusterIP"]]


async def test_ports_of_different_protocols_share_a_node_port(server):
    ports = [
        {"name": "udp", "port": 53, "protocol": "UDP"},
        {"name": "tcp", "port": 53, "protocol": "TCP"},
        {"name": "other", "port": 54},
    ]
    given = (await server.create(service(type="NodePort", ports=ports)))["spec"]["ports"]
    numbers = [port["nodePort"] for port in given]
    assert numbers[0] == numbers[1] != numbers[2]


async def test_a_balancer_with_local_traffic_gets_a_port_for_health_checks(server):
    obj = await server.create(service(type="LoadBalancer", externalTrafficPolicy="Local"))
    port = obj["spec"]["healthCheckNodePort"]
    assert 30000 <= port <= 32767
    assert port != obj["spec"]["ports"][0]["nodePort"]
    changed = await server.update(updated(obj, externalTrafficPolicy="Cluster"), obj)
    assert "healthCheckNodePort" not in changed["spec"]
    await server.create(service("b", type="NodePort", ports=[{"port": 80, "nodePort": port}]))


async def test_a_balancer_may_do_without_node_ports(server):
    obj = await server.create(service(type="LoadBalancer", allocateLoadBalancerNodePorts=False))
    assert "nodePort" not in obj["spec"]["ports"][0]


async def test_a_client_that_knows_nothing_of_allocation_does_not_lose_it(server):
    manifest = service(type="NodePort")
    obj = await server.create(manifest)
    manifest["spec"]["ports"][0]["targetPort"] = 8080
    changed = await server.update(manifest, obj)
    for member in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        assert changed["spec"][member] == obj["spec"][member]
    assert changed["spec"]["ports"][0]["nodePort"] == obj["spec"]["ports"][0]["nodePort"]


async def test_a_change_of_type_takes_and_gives_back(server, cluster):
    manifest = service(clusterIP="10.0.0.9", type="NodePort", ports=[{"port": 80, "nodePort": 30009}])
    obj = await server.create(manifest)
    plain = await server.update(updated(obj, type="ClusterIP", externalTrafficPolicy=None), obj)
    assert "nodePort" not in plain["spec"]["ports"][0]
    await server.create(service("b", type="NodePort", ports=[{"port": 80, "nodePort": 30009}]))
    name = await server.update(updated(plain, type="ExternalName", externalName="x.org"), plain)
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & set(name["spec"])
    assert "10.0.0.9" not in cluster.names("networking.k8s.io", "ipaddresses")
    back = await server.update(updated(name, type="ClusterIP", externalName=None), name)
    assert back["spec"]["clusterIP"].startswith("10.0.0.")


async def test_the_address_does_not_change(server):
    obj = await server.create(service())
    with pytest.raises(AssertionError, match="may not change once set"):
        await server.update(updated(obj, clusterIP="10.0.0.9", clusterIPs=["10.0.0.9"]), obj)


@pytest.mark.parametrize(
    ("given", "warnings"),
    [
        ({}, []),
        (
            {"externalIPs": ["1.2.3.4"]},
            ["spec.externalIPs is deprecated and may no longer be implemented in some clusters"],
        ),
        ({"clusterIP": "None", "externalIPs": ["1.2.3.4"]}, ["spec.externalIPs is ignored for headless services"]),
        ({"externalName": "x.org"}, ['spec.externalName is ignored when spec.type is not "ExternalName"']),
        (
            {"trafficDistribution": "PreferClose"},
            ['spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'],
        ),
        (
            {"type": "LoadBalancer", "loadBalancerSourceRanges": ["2001:DB8::/32"]},
            [
                'spec.loadBalancerSourceRanges[0]: IPv6 CIDR value "2001:DB8::/32" should be in RFC 5952 canonical '
                'format ("2001:db8::/32")'
            ],
        ),
    ],
)
async def test_warnings(given, warnings):
    server = Server(Cluster())
    await server.create(service(**given))
    assert server.warnings == warnings
