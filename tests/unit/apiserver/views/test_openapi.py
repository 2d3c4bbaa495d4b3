from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
import pytest

from apiserver.api.scheme import Scheme
from apiserver.endpoints.openapi import Dialect, OpenAPI, Schemas, custom_type_name, custom_version_document
from apiserver.request import Request, Response

Get = Callable[..., Request]


@pytest.fixture(scope="module")
def everything(scheme: Scheme) -> OpenAPI:
    """The API with every version enabled."""
    return OpenAPI(scheme, lambda resource: True, "v1.37.0")


def answer(openapi: OpenAPI, request: Request) -> Response:
    response = openapi.respond(request)
    assert response is not None
    return response


def load(openapi: OpenAPI, name: str) -> dict[str, Any]:
    document = openapi.document(name)
    assert document is not None
    value: dict[str, Any] = orjson.loads(document.body)
    return value


def schema(openapi: OpenAPI, document: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = load(openapi, document)["components"]["schemas"][name]
    return found


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref" and isinstance(item, str):
                yield item
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


@pytest.fixture(scope="module")
def swagger(everything: OpenAPI) -> dict[str, Any]:
    document = everything.swagger()
    value: dict[str, Any] = orjson.loads(document.body)
    return value


def test_the_index_names_every_document_with_its_hash(everything: OpenAPI, get: Get) -> None:
    response = answer(everything, get("/openapi/v3"))
    assert isinstance(response.body, bytes)
    paths = orjson.loads(response.body)["paths"]
    assert {"api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "apis/resource.k8s.io/v1alpha3", "version"} <= set(
        paths
    )
    url = paths["apis/apps/v1"]["serverRelativeURL"]
    assert re.fullmatch(r"/openapi/v3/apis/apps/v1\?hash=[0-9A-F]{128}", url)
    document = answer(everything, get(url))
    assert (document.status, document.content_type) == (200, "application/json")
    assert isinstance(document.body, bytes)
    assert orjson.loads(document.body)["openapi"] == "3.0.0"


def test_a_document_asked_for_by_hash_may_be_kept_for_good(everything: OpenAPI, get: Get) -> None:
    plain = answer(everything, get("/openapi/v3/apis/apps/v1"))
    headers = dict(plain.headers)
    assert headers["Vary"] == "Accept"
    assert "Cache-Control" not in headers
    tag = headers["ETag"].strip('"')
    request = get(f"/openapi/v3/apis/apps/v1?hash={tag}")
    request.received_seconds = 1_800_000_000.0
    headers = dict(answer(everything, request).headers)
    assert headers["Cache-Control"] == "public, immutable"
    assert parsedate_to_datetime(headers["Expires"]).timestamp() == 1_800_000_000.0 + 365 * 86400
    old = answer(everything, get("/openapi/v3/apis/apps/v1?hash=00"))
    assert (old.status, dict(old.headers)["Location"]) == (301, f"/openapi/v3/apis/apps/v1?hash={tag}")
    cached = answer(everything, get("/openapi/v3/apis/apps/v1", if_none_match=f'"{tag}"'))
    assert (cached.status, cached.body) == (304, b"")


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("", 200),
        ("*/*", 200),
        ("application/com.github.proto-openapi.spec.v3.v1.v3+protobuf, application/json", 200),
        ("application/com.github.proto-openapi.spec.v3.v1.v3+protobuf", 406),
    ],
)
def test_negotiation(everything: OpenAPI, get: Get, accept: str, status: int) -> None:
    assert answer(everything, get("/openapi/v3/apis/apps/v1", accept=accept)).status == status


def test_swagger_is_json_or_protobuf(everything: OpenAPI, get: Get) -> None:
    assert answer(everything, get("/openapi/v2", accept="application/json")).content_type == "application/json"
    protobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    for accept in (protobuf, protobuf.replace("v2.v1", "v2@v1")):
        response = answer(everything, get("/openapi/v2", accept=accept))
        assert (response.status, response.content_type) == (200, protobuf)
        tag = dict(response.headers)["ETag"]
        assert answer(everything, get("/openapi/v2", accept=accept, if_none_match=tag)).status == 304
    assert answer(everything, get("/openapi/v2", accept="text/html")).status == 406


@pytest.mark.parametrize("path", ["/openapi", "/openapi/v3/apis/nope/v1", "/openapi/v4", "/openapi/v3x"])
def test_what_is_not_there(everything: OpenAPI, get: Get, path: str) -> None:
    assert everything.respond(get(path)) is None


def test_documents_are_closed(everything: OpenAPI) -> None:
    for name in everything.names():
        document = load(everything, name)
        known = {f"#/components/schemas/{schema}" for schema in document["components"]["schemas"]}
        missing = set(references(document)) - known
        assert not missing, name


def test_nothing_stands_beside_a_reference(everything: OpenAPI) -> None:
    def check(value: Any) -> None:
        if isinstance(value, dict):
            assert not isinstance(value.get("$ref"), str) or len(value) == 1, value
            for item in value.values():
                check(item)
        elif isinstance(value, list):
            for item in value:
                check(item)

    for name in everything.names():
        check(load(everything, name))


def test_swagger_is_closed_and_its_operations_have_their_own_names(swagger: dict[str, Any]) -> None:
    assert swagger["swagger"] == "2.0"
    known = {f"#/definitions/{name}" for name in swagger["definitions"]}
    assert not set(references(swagger)) - known
    operations = [
        operation["operationId"]
        for item in swagger["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert [name for name, count in Counter(operations).items() if count > 1] == []
    assert {
        "readCoreV1NamespacedPod",
        "readCoreV1NamespacedPodLog",
        "connectCoreV1PostNamespacedPodExec",
        "connectCoreV1GetNodeProxyWithPath",
        "listAppsV1DeploymentForAllNamespaces",
        "deleteAppsV1CollectionNamespacedDeployment",
        "patchRbacAuthorizationV1ClusterRole",
        "createCoreV1NamespacedServiceAccountToken",
        "createCoreV1NamespacedPodEviction",
        "replaceCoreV1NamespaceFinalize",
        "createAuthorizationV1SelfSubjectAccessReview",
    } <= set(operations)
    assert "default" not in swagger["definitions"]["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]


def test_patch_takes_what_kubectl_looks_for(everything: OpenAPI) -> None:
    """kubectl sends `fieldValidation` and strategic merge patches only where the document of the kind names them."""
    item = load(everything, "apis/apps/v1")["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert [parameter["name"] for parameter in item["parameters"]] == ["name", "namespace", "pretty"]
    patch = item["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "kind": "Deployment", "version": "v1"}
    assert patch["x-kubernetes-action"] == "patch"
    assert patch["operationId"] == "patchAppsV1NamespacedDeployment"
    assert [parameter["name"] for parameter in patch["parameters"]] == [
        "dryRun",
        "fieldManager",
        "fieldValidation",
        "force",
    ]
    assert list(patch["requestBody"]["content"]) == [
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ]
    for method in ("put", "patch"):
        assert "fieldValidation" in [parameter["name"] for parameter in item[method]["parameters"]]


def test_kinds_say_what_they_are(everything: OpenAPI) -> None:
    deployment = schema(everything, "apis/apps/v1", "io.k8s.api.apps.v1.Deployment")
    assert deployment["x-kubernetes-group-version-kind"] == [{"group": "apps", "kind": "Deployment", "version": "v1"}]
    assert deployment["type"] == "object"
    assert set(deployment["properties"]) == {"apiVersion", "kind", "metadata", "spec", "status"}
    assert deployment["properties"]["apiVersion"] == {"type": "string"}
    options = schema(everything, "apis/apps/v1", "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
    assert {"group": "apps", "kind": "DeleteOptions", "version": "v1"} in options["x-kubernetes-group-version-kind"]
    crd = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"
    assert schema(everything, "apis/apiextensions.k8s.io/v1", crd)["type"] == "object"


def test_fields_say_how_they_merge(everything: OpenAPI) -> None:
    spec = schema(everything, "api/v1", "io.k8s.api.core.v1.PodSpec")
    assert spec["required"] == ["containers"]
    assert spec["properties"]["containers"] == {
        "items": {"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}], "default": {}},
        "type": "array",
        "x-kubernetes-list-map-keys": ["name"],
        "x-kubernetes-list-type": "map",
        "x-kubernetes-patch-merge-key": "name",
        "x-kubernetes-patch-strategy": "merge",
    }
    strategy = schema(everything, "apis/apps/v1", "io.k8s.api.apps.v1.DeploymentSpec")["properties"]["strategy"]
    assert strategy["x-kubernetes-patch-strategy"] == "retainKeys"
    selector = schema(everything, "api/v1", "io.k8s.api.core.v1.ServiceSpec")["properties"]["selector"]
    assert selector == {
        "additionalProperties": {"type": "string", "default": ""},
        "type": "object",
        "x-kubernetes-map-type": "atomic",
    }


def test_values_of_every_form(everything: OpenAPI, swagger: dict[str, Any]) -> None:
    core = load(everything, "api/v1")["components"]["schemas"]
    container_port = core["io.k8s.api.core.v1.ContainerPort"]["properties"]
    assert container_port["containerPort"] == {"type": "integer", "format": "int32", "default": 0}
    assert container_port["protocol"] == {"type": "string", "enum": ["SCTP", "TCP", "UDP"], "default": "TCP"}
    assert core["io.k8s.api.core.v1.Secret"]["properties"]["data"]["additionalProperties"] == {
        "type": "string",
        "format": "byte",
    }
    target_port = core["io.k8s.api.core.v1.ServicePort"]["properties"]["targetPort"]
    assert target_port == {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.util.intstr.IntOrString"}
    assert core["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] == {
        "oneOf": [{"type": "integer"}, {"type": "string"}],
        "format": "int-or-string",
    }
    assert core["io.k8s.apimachinery.pkg.api.resource.Quantity"] == {"oneOf": [{"type": "string"}, {"type": "number"}]}
    assert core["io.k8s.apimachinery.pkg.apis.meta.v1.Time"] == {"type": "string", "format": "date-time"}
    assert core["io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"] == {"type": "object"}
    extra = schema(everything, "apis/authentication.k8s.io/v1", "io.k8s.api.authentication.v1.UserInfo")
    assert extra["properties"]["extra"] == {
        "additionalProperties": {"type": "array", "items": {"type": "string", "default": ""}},
        "type": "object",
    }
    definitions = swagger["definitions"]
    assert definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] == {"type": "string"}
    assert definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] == {
        "type": "string",
        "format": "int-or-string",
    }
    assert definitions["io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON"] == {}


def test_only_what_is_enabled(scheme: Scheme) -> None:
    openapi = OpenAPI(scheme, lambda resource: (resource.group, resource.plural) == ("apps", "deployments"), "v1.37.0")
    assert openapi.names() == ["api", "apis", "apis/apps", "apis/apps/v1", "version"]
    assert all("replicasets" not in path for path in load(openapi, "apis/apps/v1")["paths"])


def test_custom_resources_come_and_go(scheme: Scheme, get: Get) -> None:
    served: dict[str, dict[str, Any]] = {}
    openapi = OpenAPI(scheme, lambda resource: resource.group == "apps", "v1.37.0", providers=[lambda: served])
    before = answer(openapi, get("/openapi/v3")).body
    served["apis/example.com/v1"] = {"openapi": "3.0.0"}
    assert answer(openapi, get("/openapi/v3")).body == before
    openapi.invalidate()
    index = answer(openapi, get("/openapi/v3")).body
    assert isinstance(index, bytes)
    assert "apis/example.com/v1" in orjson.loads(index)["paths"]
    assert load(openapi, "apis/example.com/v1") == {"openapi": "3.0.0"}
    served.clear()
    openapi.invalidate()
    assert openapi.document("apis/example.com/v1") is None
    assert answer(openapi, get("/openapi/v3")).body == before


def test_documents_of_custom_resources(scheme: Scheme) -> None:
    deployments = scheme.resource("apps", "v1", "deployments")
    assert deployments is not None
    widgets = dataclasses.replace(
        deployments,
        group="example.com",
        kind="Widget",
        plural="widgets",
        list_kind="WidgetList",
        type_name=custom_type_name("example.com", "v1", "Widget"),
    )
    given = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    schemas = Schemas(scheme, Dialect.V3)
    value = custom_version_document(scheme, schemas, "v1.37.0", "example.com", "v1", [(widgets, given)])
    document = orjson.loads(orjson.dumps(value))
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert not set(references(document)) - known
    widget = document["components"]["schemas"]["com.example.v1.Widget"]
    assert set(widget["properties"]) == {"apiVersion", "kind", "metadata", "spec"}
    assert widget["x-kubernetes-group-version-kind"] == [{"group": "example.com", "kind": "Widget", "version": "v1"}]
    patch = document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]
    assert "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}/scale" in document["paths"]
    open_ended = custom_version_document(scheme, schemas, "v1.37.0", "example.com", "v1", [(widgets, None)])
    schema = open_ended["components"]["schemas"]["com.example.v1.Widget"]
    assert schema["x-kubernetes-preserve-unknown-fields"] is True
