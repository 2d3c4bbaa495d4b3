from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from apiserver.api.scheme import Resource, Scheme
from apiserver.api.status import StatusError
from apiserver.endpoints.discovery import APIResource, APISubresource, APIVersion, Discovery
from apiserver.request import Request, Response

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# What kubectl 1.37 sends.
KUBECTL = f"{AGGREGATED},application/json"

Get = Callable[..., Request]


def by_default(resource: Resource) -> bool:
    return resource.served_by_default


@pytest.fixture
def discovery(scheme: Scheme) -> Discovery:
    return Discovery(scheme, by_default, server_address="10.0.0.1:6443")


def answer(discovery: Discovery, request: Request) -> Response:
    response = discovery.respond(request)
    assert response is not None
    return response


def document(discovery: Discovery, request: Request) -> Any:
    response = answer(discovery, request)
    assert isinstance(response.body, bytes)
    return orjson.loads(response.body)


def test_legacy_root(discovery: Discovery, get: Get) -> None:
    assert document(discovery, get("/api")) == {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "10.0.0.1:6443"}],
    }


def test_group_list(discovery: Discovery, get: Get) -> None:
    groups = document(discovery, get("/apis/"))
    assert (groups["kind"], groups["apiVersion"]) == ("APIGroupList", "v1")
    names = [group["name"] for group in groups["groups"]]
    assert names[:4] == ["apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io"]
    assert "internal.apiserver.k8s.io" not in names
    autoscaling = next(group for group in groups["groups"] if group["name"] == "autoscaling")
    assert autoscaling == {
        "name": "autoscaling",
        "versions": [
            {"groupVersion": "autoscaling/v2", "version": "v2"},
            {"groupVersion": "autoscaling/v1", "version": "v1"},
        ],
        "preferredVersion": {"groupVersion": "autoscaling/v2", "version": "v2"},
    }
    assert document(discovery, get("/apis/autoscaling")) == {"kind": "APIGroup", "apiVersion": "v1", **autoscaling}


def test_resource_lists(discovery: Discovery, get: Get) -> None:
    core = document(discovery, get("/api/v1"))
    assert list(core) == ["kind", "groupVersion", "resources"]
    assert (core["kind"], core["groupVersion"]) == ("APIResourceList", "v1")
    names = [resource["name"] for resource in core["resources"]]
    assert names == sorted(names)
    assert {"pods", "pods/log", "pods/exec", "namespaces/finalize", "serviceaccounts/token"} <= set(names)
    apps = document(discovery, get("/apis/apps/v1"))
    assert apps["apiVersion"] == "v1"
    deployments = [item for item in apps["resources"] if item["name"].startswith("deployments")]
    assert deployments == [
        {
            "name": "deployments",
            "singularName": "deployment",
            "namespaced": True,
            "kind": "Deployment",
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            "shortNames": ["deploy"],
            "categories": ["all"],
            "storageVersionHash": "8aSe+NMegvE=",
        },
        {
            "name": "deployments/scale",
            "singularName": "",
            "namespaced": True,
            "group": "autoscaling",
            "version": "v1",
            "kind": "Scale",
            "verbs": ["get", "patch", "update"],
        },
        {
            "name": "deployments/status",
            "singularName": "",
            "namespaced": True,
            "kind": "Deployment",
            "verbs": ["get", "patch", "update"],
        },
    ]


@pytest.mark.parametrize("path", ["/apis/nope", "/apis/apps/v9", "/api/v2", "/apis/apps/v1/x", "/other", "/"])
def test_what_is_not_there(discovery: Discovery, get: Get, path: str) -> None:
    assert discovery.respond(get(path)) is None


def test_aggregated_documents(discovery: Discovery, get: Get) -> None:
    response = answer(discovery, get("/apis", accept=KUBECTL))
    assert response.content_type == AGGREGATED
    assert isinstance(response.body, bytes)
    groups = orjson.loads(response.body)
    assert (groups["kind"], groups["apiVersion"], groups["metadata"]) == (
        "APIGroupDiscoveryList",
        "apidiscovery.k8s.io/v2",
        {},
    )
    assert [group["metadata"]["name"] for group in groups["items"]][:2] == ["apiregistration.k8s.io", "apps"]
    version = groups["items"][1]["versions"][0]
    assert (version["version"], version["freshness"]) == ("v1", "Current")
    deployments = next(item for item in version["resources"] if item["resource"] == "deployments")
    assert deployments == {
        "resource": "deployments",
        "responseKind": {"group": "", "version": "", "kind": "Deployment"},
        "scope": "Namespaced",
        "singularResource": "deployment",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["deploy"],
        "categories": ["all"],
        "subresources": [
            {
                "subresource": "scale",
                "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
                "verbs": ["get", "patch", "update"],
            },
            {
                "subresource": "status",
                "responseKind": {"group": "", "version": "", "kind": "Deployment"},
                "verbs": ["get", "patch", "update"],
            },
        ],
    }
    core = document(discovery, get("/api", accept=KUBECTL))
    assert [group["metadata"] for group in core["items"]] == [{}]
    nodes = next(item for item in core["items"][0]["versions"][0]["resources"] if item["resource"] == "nodes")
    assert nodes["scope"] == "Cluster"


def test_aggregated_documents_are_cached_by_tag(discovery: Discovery, get: Get) -> None:
    headers = dict(answer(discovery, get("/apis", accept=KUBECTL)).headers)
    assert re.fullmatch(r'"[0-9A-F]{128}"', headers["ETag"])
    assert (headers["Vary"], headers["Cache-Control"]) == ("Accept", "public")
    again = answer(discovery, get("/apis", accept=KUBECTL, if_none_match=headers["ETag"]))
    assert (again.status, again.body, dict(again.headers)) == (304, b"", headers)
    assert answer(discovery, get("/apis", accept=KUBECTL, if_none_match='"0"')).status == 200
    assert answer(discovery, get("/apis", if_none_match=headers["ETag"])).status == 200


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        (AGGREGATED, AGGREGATED),
        (f"application/json,{AGGREGATED}", "application/json"),
        (f"application/json;q=0.5,{AGGREGATED};q=0.9", AGGREGATED),
        # A version that is gone, an unknown form, another encoding: the next clause counts.
        (
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
            "application/json",
        ),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "application/json"),
        (f"application/vnd.kubernetes.protobuf,{AGGREGATED}", AGGREGATED),
        (f"{AGGREGATED};profile=nopeer", AGGREGATED),
    ],
)
def test_negotiation(discovery: Discovery, get: Get, accept: str, content_type: str) -> None:
    assert answer(discovery, get("/apis", accept=accept)).content_type == content_type


@pytest.mark.parametrize("accept", ["image/png", "application/json;g=x;v=v2;as=APIGroupDiscoveryList"])
def test_nothing_acceptable(discovery: Discovery, get: Get, accept: str) -> None:
    with pytest.raises(StatusError) as caught:
        discovery.respond(get("/apis", accept=accept))
    assert caught.value.code == 406


def test_documents_are_indented_for_people(discovery: Discovery, get: Get) -> None:
    def lines(request: Request) -> int:
        body = answer(discovery, request).body
        assert isinstance(body, bytes)
        return len(body.splitlines())

    assert lines(get("/api")) == 1
    assert lines(get("/api", user_agent="curl/8.5")) > 5
    assert lines(get("/api?pretty=true")) > 5
    assert lines(get("/api?pretty=0", user_agent="curl/8.5")) == 1


def test_what_is_not_enabled_is_not_there(scheme: Scheme, get: Get) -> None:
    discovery = Discovery(scheme, lambda resource: (resource.group, resource.plural) == ("apps", "deployments"))
    assert [group["name"] for group in document(discovery, get("/apis"))["groups"]] == ["apps"]
    assert [item["name"] for item in document(discovery, get("/apis/apps/v1"))["resources"]] == [
        "deployments",
        "deployments/scale",
        "deployments/status",
    ]
    assert discovery.respond(get("/apis/batch")) is None
    assert discovery.serves("apps", "v1")
    assert not discovery.serves("batch", "v1")
    assert discovery.paths() == ["/api", "/apis", "/apis/apps", "/apis/apps/v1"]


def widgets(version: str) -> APIVersion:
    status = APISubresource("status", "Widget", ("get", "patch", "update"), "example.com", version)
    widget = APIResource(
        "widgets", "widget", "Widget", True, ("get", "list"), ("w",), (), (status,), "", "example.com", version
    )
    return APIVersion("example.com", version, (widget,))


def test_custom_resources_come_and_go(discovery: Discovery, get: Get) -> None:
    served: list[APIVersion] = []
    discovery.add_provider(lambda: served)
    assert discovery.respond(get("/apis/example.com")) is None
    tag = dict(answer(discovery, get("/apis", accept=KUBECTL)).headers)["ETag"]
    served += [widgets(version) for version in ("v1alpha1", "v1", "vnext", "v2", "v1beta2")]
    discovery.invalidate()
    group = document(discovery, get("/apis/example.com"))
    assert [item["version"] for item in group["versions"]] == ["v2", "v1", "v1beta2", "v1alpha1", "vnext"]
    assert document(discovery, get("/apis"))["groups"][-1]["name"] == "example.com"
    assert answer(discovery, get("/apis", accept=KUBECTL, if_none_match=tag)).status == 200
    rows = document(discovery, get("/apis/example.com/v1"))["resources"]
    assert [(row["name"], row["group"], row["version"]) for row in rows] == [
        ("widgets", "example.com", "v1"),
        ("widgets/status", "example.com", "v1"),
    ]
    served.clear()
    discovery.invalidate()
    assert discovery.respond(get("/apis/example.com")) is None
    assert dict(answer(discovery, get("/apis", accept=KUBECTL)).headers)["ETag"] == tag
