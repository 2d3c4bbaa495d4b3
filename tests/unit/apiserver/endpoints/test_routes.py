"""Paths: resources, health, metrics, and what there is not."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.endpoints.health import HealthCheck, health_handlers
from apiserver.endpoints.version import version_handler
from apiserver.filters import RequestInfoFactory
from apiserver.request import Request

BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}


def _request(method: str, path: str, **query: str) -> Request:
    async def nothing(*args: Any) -> bytes:
        return b""

    queries = {name: [value] for name, value in query.items()}
    return Request(method, path, path, queries, {}, "", None, nothing, nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "path", "want"),
    [
        ("GET", "/api/v1/pods", ("list", "", "v1", "", "pods", "", "")),
        ("GET", "/api/v1/namespaces", ("list", "", "v1", "", "namespaces", "", "")),
        ("GET", "/api/v1/namespaces/n", ("get", "", "v1", "n", "namespaces", "n", "")),
        ("PUT", "/api/v1/namespaces/n/finalize", ("update", "", "v1", "n", "namespaces", "n", "finalize")),
        ("PATCH", "/api/v1/namespaces/n/status", ("patch", "", "v1", "n", "namespaces", "n", "status")),
        ("POST", "/api/v1/namespaces/n/pods", ("create", "", "v1", "n", "pods", "", "")),
        ("DELETE", "/api/v1/namespaces/n/pods", ("deletecollection", "", "v1", "n", "pods", "", "")),
        ("DELETE", "/api/v1/namespaces/n/pods/p", ("delete", "", "v1", "n", "pods", "p", "")),
        ("GET", "/api/v1/namespaces/n/pods/p/log", ("get", "", "v1", "n", "pods", "p", "log")),
        ("GET", "/apis/apps/v1/namespaces/n/deployments/d", ("get", "apps", "v1", "n", "deployments", "d", "")),
        ("GET", "/api/v1/watch/namespaces/n/pods", ("watch", "", "v1", "n", "pods", "", "")),
        ("GET", "/api/v1/proxy/namespaces/n/pods/p/a/b", ("proxy", "", "v1", "n", "pods", "p", "")),
        ("HEAD", "/api/v1/nodes/n/", ("get", "", "v1", "", "nodes", "n", "")),
        ("OPTIONS", "/api/v1/nodes", ("", "", "v1", "", "nodes", "", "")),
    ],
)
def test_request_info(method: str, path: str, want: tuple[str, ...]) -> None:
    info = RequestInfoFactory().info(_request(method, path))
    assert info.is_resource_request
    found = (info.verb, info.api_group, info.api_version, info.namespace, info.resource, info.name, info.subresource)
    assert found == want


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v1", "/apis/apps/v1", "/apis/apps", "/healthz", "/other/v1/pods/x"]
)
def test_other_paths(path: str) -> None:
    info = RequestInfoFactory().info(_request("GET", path))
    assert not info.is_resource_request
    assert info.verb == "get"
    assert info.path == path


def test_request_info_from_the_query() -> None:
    factory = RequestInfoFactory()
    assert factory.info(_request("GET", "/api/v1/pods", watch="true")).verb == "watch"
    assert factory.info(_request("GET", "/api/v1/pods", watch="0")).verb == "list"
    assert factory.info(_request("GET", "/api/v1/pods", fieldSelector="metadata.name=p")).name == "p"
    assert factory.info(_request("GET", "/api/v1/pods", fieldSelector="metadata.name!=p")).name == ""
    assert factory.info(_request("GET", "/api/v1/pods/p", watch="true")).verb == "get"


async def test_what_there_is_not(api: Any) -> None:
    answer = await api("GET", "/api/v1/nopes", expect=404)
    assert answer.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "the server could not find the requested resource",
        "reason": "NotFound",
        "details": {},
        "code": 404,
    }
    await api("GET", "/api/v1/pods/p", expect=404)
    await api("GET", "/api/v1/namespaces/default/nodes", expect=404)
    await api("GET", "/api/v1/namespaces/default/configmaps/a/status", expect=404)
    for path in ("/apis/nope.io/v1/things", "/nope", "/healthzz"):
        answer = await api("GET", path, expect=404)
        assert answer.body == b"404 page not found\n"
        assert answer.content_type == "text/plain; charset=utf-8"


async def test_405(api: Any) -> None:
    for method, path in (
        ("PUT", "/api/v1/namespaces/default/configmaps"),
        ("POST", "/api/v1/configmaps"),
        ("POST", "/api/v1/namespaces/default/configmaps/a"),
        ("DELETE", "/apis/apps/v1/namespaces/default/deployments/d/scale"),
        ("HEAD", "/api/v1/namespaces/default/configmaps"),
    ):
        answer = await api(method, path, expect=405)
        assert answer.json["reason"] == "MethodNotAllowed"
        assert answer.json["message"] == "the server does not allow this method on the requested resource"


async def test_health(api: Any) -> None:
    state: dict[str, str | None] = {"etcd": None}

    async def ping() -> str | None:
        return None

    async def etcd() -> str | None:
        return state["etcd"]

    async def broken() -> str | None:
        raise OSError("no")

    api.handler  # noqa: B018 - builds the router
    checks = [HealthCheck("ping", ping), HealthCheck("etcd", etcd, "stores")]
    api.router.add_paths(health_handlers("/readyz", checks, api.metrics.observe_health))
    api.router.add_path("/metrics/slis", api.metrics.slis_handler)
    api.router.add_paths(health_handlers("/livez", [*checks, HealthCheck("odd", broken)]))
    answer = await api("GET", "/readyz", expect=200)
    assert (answer.body, answer.content_type) == (b"ok", "text/plain; charset=utf-8")
    answer = await api("GET", "/readyz?verbose", expect=200)
    assert answer.body == b"[+]ping ok\n[+]etcd ok\nreadyz check passed\n"
    state["etcd"] = "gone"
    answer = await api("GET", "/readyz", expect=500)
    assert answer.body == b"[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n"
    slis = (await api("GET", "/metrics/slis", expect=200)).body.decode()
    assert 'kubernetes_healthcheck{name="etcd",type="readyz"} 0.0' in slis
    assert 'kubernetes_healthcheck{name="ping",type="readyz"} 1.0' in slis
    assert 'kubernetes_healthchecks_total{name="etcd",status="error",type="readyz"} 1.0' in slis
    answer = await api("GET", "/readyz?exclude=etcd&exclude=nope&verbose", expect=200)
    assert answer.body == (
        b"[+]ping ok\n[+]etcd excluded: ok\n"
        b'warn: some health checks cannot be excluded: no matches for "nope"\nreadyz check passed\n'
    )
    answer = await api("GET", "/readyz?exclude=stores&verbose", expect=200)
    assert b"[+]etcd excluded with stores: ok\n" in answer.body
    answer = await api("GET", "/readyz/etcd", expect=500)
    assert answer.body == b"internal server error: gone\n"
    assert (await api("GET", "/readyz/ping", expect=200)).body == b"ok"
    assert (await api("GET", "/livez/odd", expect=500)).body == b"internal server error: no\n"


async def test_version_and_index(api: Any) -> None:
    api.handler  # noqa: B018 - builds the router
    api.router.add_path("/version", version_handler({"major": "1", "minor": "37"}))
    assert (await api("GET", "/version", expect=200)).json == {"major": "1", "minor": "37"}
    assert (await api("GET", "/version/", expect=200)).json["minor"] == "37"
    api.router.list_paths(["/apis/apps/v1"])
    assert (await api("GET", "/", expect=200)).json == {"paths": ["/apis/apps/v1", "/version"]}


async def test_metrics(api: Any) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    await api("POST", path, BODY, expect=201)
    await api("GET", path + "/a", expect=200)
    await api("GET", path + "/b", expect=404)
    watch = await api("GET", path + "?watch=true", expect=200)
    await anext(watch.stream)
    api.metrics.observe_etcd_request("get", "configmaps", 0.002)
    api.router.add_path("/metrics", api.metrics.handler)
    text = (await api("GET", "/metrics", expect=200)).body.decode()
    labels = 'component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource=""'
    lines = set(text.splitlines())

    def has(name: str, value: str, **wanted: str) -> bool:
        return any(
            line.startswith(name + "{")
            and line.endswith(" " + value)
            and all(f'{key}="{text}"' in line for key, text in wanted.items())
            for line in lines
        )

    assert labels
    common = {"group": "", "version": "v1", "resource": "configmaps", "component": "apiserver"}
    assert has("apiserver_request_total", "1.0", verb="POST", code="201", scope="resource", **common)
    assert has("apiserver_request_total", "1.0", verb="GET", code="404", scope="resource", **common)
    assert has("apiserver_request_duration_seconds_count", "2.0", verb="GET", **common)
    assert has("apiserver_request_duration_seconds_bucket", "2.0", verb="GET", le="+Inf", **common)
    assert has("apiserver_response_sizes_count", "1.0", verb="GET", **common)
    assert has("apiserver_longrunning_requests", "1.0", verb="WATCH", **common)
    assert has("apiserver_watch_events_total", "1.0", version="v1", resource="configmaps")
    assert has("apiserver_current_inflight_requests", "1.0", request_kind="mutating")
    assert has("etcd_request_duration_seconds_count", "1.0", operation="get", type="configmaps")
    assert "process_resident_memory_bytes" in text
    await watch.stream.aclose()


async def test_deprecated_kinds_warn(api: Any) -> None:
    answer = await api("GET", "/api/v1/componentstatuses", expect=200)
    assert answer.json["kind"] == "ComponentStatusList"
    assert answer.warnings == ['299 - "v1 ComponentStatus is deprecated in v1.19+"']
